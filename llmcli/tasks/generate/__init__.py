"""generate: a kind of text (one prompt file each) and its variables become a text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from llmcli.backends.base import Backend
from llmcli.documents.records.record import TEXT_COLUMN, Record, Row, value_as_text
from llmcli.errors import MissingError, UsageError
from llmcli.fast_dataclass import replace
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary, find_own_prompt
from llmcli.tasks.generate.outline import LongKind
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.tasks.runner.text_answers import TextTask, write_text
from llmcli.types import Priority, Result, TaskEvent

MAX_TOKENS = 2048
_COLUMN = "generated"
INPUT_VARIABLES = ("text", "input")


def generate(
    backend: Backend,
    prompts: PromptLibrary,
    kind: str,
    variables: Mapping[str, str],
    text: str | None,
    options: GenerationOptions,
) -> Iterator[TaskEvent]:
    """Write a text of ``kind``: Deltas, then one Result, or ItemFailed.

    ``text`` is the text from stdin, None if it was not read; it becomes the variable ``text`` or ``input`` of the
    prompt. Raises ``MissingError`` (kind "prompt", with similar kinds) and ``UsageError`` (unknown, missing or invalid
    variables; text for a prompt that takes none).
    """
    prompt = find_kind(prompts, kind)
    values = dict(variables)
    if text is not None and text.strip():
        values[_input_variable(prompt, kind, variables)] = text
    yield from run_prompt(backend, prompt, values, options, name=kind, max_tokens=MAX_TOKENS)


def run_prompt(
    backend: Backend,
    prompt: Prompt,
    values: Mapping[str, str],
    options: GenerationOptions,
    *,
    name: str,
    max_tokens: int | None,
) -> Iterator[TaskEvent]:
    """Run a prompt with the ``values`` of its variables: Deltas, then one Result called ``name``, or ItemFailed.

    ``max_tokens`` bounds an answer that neither the user nor the prompt bounds. Raises ``BadVariables``.
    """
    limit = max_answer_tokens(prompt, options, max_tokens)
    messages = prompt.render(values)
    request = make_request("generate", messages, prompt, options, max_tokens=limit, priority=Priority.INTERACTIVE)
    if prompt.output != "text" and options.schema is None:
        request = replace(request, schema=prompt.schema, labels=prompt.labels)
    yield from run_task(backend, lambda run: write_text(run, request, options, prompt=prompt.name), name=name)


def find_kind(prompts: PromptLibrary, kind: str) -> Prompt:
    """Return the prompt of a kind of text.

    Raises ``MissingError`` (with similar kinds, also long ones) and ``UsageError``.
    """
    try:
        return find_own_prompt(prompts, kind, kinds_first=True)
    except MissingError as error:
        long_kinds = difflib.get_close_matches(kind, [*LongKind])
        raise MissingError(kind, kind=error.kind, suggestions=[*long_kinds, *error.suggestions]) from error


def find_variable(prompt: Prompt, names: tuple[str, ...], given: Mapping[str, str]) -> str | None:
    """Return the first of ``names`` that the prompt declares and that is not ``given``; None if there is none."""
    return next((name for name in names if name in prompt.variables and name not in given), None)


def _input_variable(prompt: Prompt, kind: str, given: Mapping[str, str]) -> str:
    found = find_variable(prompt, INPUT_VARIABLES, given)
    if found is not None:
        return found
    takes = ", ".join(f"--var {name}=..." for name in prompt.variables)
    raise UsageError(f"generate {kind} reads no text from stdin; it takes {takes or 'no variables'}")


class GenerateTask(TextTask):
    """Writes a text for each record; the column is ``generated``.

    A variable of the prompt has the value of ``variables``, else that of the column with its name. The text of the
    record is the variable ``text`` or ``input``, if ``has_text`` says that it was chosen, or if it is a line.
    """

    def __init__(
        self,
        backend: Backend,
        prompt: Prompt,
        variables: Mapping[str, str],
        options: GenerationOptions,
        *,
        has_text: bool,
    ) -> None:
        super().__init__(backend, prompt.name, _COLUMN)
        self._prompt = prompt
        self._variables = variables
        self._options = options
        self._has_text = has_text

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the answer.

        Raises ``EmptyAnswer``, the failure of a request, ``BadVariables`` and ``ContextOverflow``.
        """
        prompt, declared = self._prompt, self._prompt.variables
        columns = {name: value_as_text(record.fields[name]) for name in declared if name in record.fields}
        values: dict[str, object] = {**columns, **self._variables}
        taken = next((name for name in INPUT_VARIABLES if name in declared), None)
        is_line = tuple(record.fields) == (TEXT_COLUMN,)
        if taken is not None and taken not in self._variables and (self._has_text or is_line):
            values[taken] = record.text
        values["row"] = Row(record.fields)
        limit = max_answer_tokens(prompt, self._options, MAX_TOKENS)
        request = make_request(str(record.index), prompt.render(values), prompt, self._options, max_tokens=limit)
        if prompt.output != "text":
            request = replace(request, schema=prompt.schema, labels=prompt.labels)
        return await self.write(run, record, request, self._options)
