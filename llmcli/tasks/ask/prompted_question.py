"""ask with a prompt of the user's own: its variables take the question and the text of the documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.errors import UsageError
from llmcli.prompts.jinja_template import fence_text
from llmcli.prompts.prompt_file import Prompt
from llmcli.tasks.generate import INPUT_VARIABLES, find_variable, run_prompt
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import TaskEvent

QUESTION_VARIABLES = ("question", "prompt")


def ask_with_prompt(
    backend: Backend, prompt: Prompt, values: Mapping[str, str], options: GenerationOptions
) -> Iterator[TaskEvent]:
    """Answer with a prompt and the ``values`` of its variables: Deltas, then one Result, or ItemFailed.

    Raises ``BadVariables``.
    """
    yield from run_prompt(backend, prompt, values, options, name="", max_tokens=None)


def fill_variables(
    prompt: Prompt, variables: Mapping[str, str], question: str | None, documents: Sequence[Document]
) -> dict[str, str]:
    """Return the values of the prompt's variables: the given ones, the text of the documents, and the question.

    The text becomes ``text`` (or ``input``), the question ``question`` (or ``prompt``). Without documents, a prompt
    that has only ``text`` gets the question there. Raises ``UsageError`` for a text or a question that has no variable.
    """
    values = dict(variables)
    if documents:
        values[_require(prompt, INPUT_VARIABLES, values, "text")] = join_documents(documents)
    if question is not None:
        names = QUESTION_VARIABLES if documents else (*QUESTION_VARIABLES, *INPUT_VARIABLES)
        values[_require(prompt, names, values, "question")] = question
    return values


def fill_record_variables(prompt: Prompt, variables: Mapping[str, str], question: str | None) -> dict[str, str]:
    """Return the values that a prompt's variables have for every record: the given ones, and the question if any.

    Raises ``UsageError`` for a question that has no variable.
    """
    if question is None:
        return dict(variables)
    values = fill_variables(prompt, variables, question, [])
    if not any(name in values for name in QUESTION_VARIABLES):
        raise UsageError(f"the prompt {prompt.name} has no variable for the question", detail="Leave the words out.")
    return values


def join_documents(documents: Sequence[Document]) -> str:
    """Return the text of a document; of several, each after its name."""
    if len(documents) == 1:
        return documents[0].text
    return "\n\n".join(f'Document "{each.name}":\n{fence_text(each.text)}' for each in documents)


def _require(prompt: Prompt, names: tuple[str, ...], given: Mapping[str, str], what: str) -> str:
    found = find_variable(prompt, names, given)
    if found is None:
        takes = ", ".join(prompt.variables) or "none"
        said = f"the prompt {prompt.name} has no variable for the {what} (its variables: {takes})"
        raise UsageError(said, detail=f'Declare one in its file: variables: {{{what}: {{default: ""}}}}')
    return found
