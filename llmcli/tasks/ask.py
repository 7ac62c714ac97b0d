"""ask: a question, with or without documents, becomes one answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.errors import EmptyInput
from llmcli.prompts import PromptLibrary
from llmcli.tasks.execution.single_request import run_single_request
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.types import Priority, TaskEvent

PROMPT = "ask"
DOCUMENTS_PROMPT = "ask.documents"


def ask(
    backend: Backend, prompts: PromptLibrary, question: str, documents: Sequence[Document], options: GenerationOptions
) -> Iterator[TaskEvent]:
    """Answer ``question`` about ``documents`` (may be none): Deltas, then one Result, or ItemFailed.

    Documents are never cut: if they exceed the context, the item fails with ``ContextOverflow``. Raises ``EmptyInput``
    when both the question and the documents are blank, or when every named document is blank.
    """
    blank = [document for document in documents if not document.text.strip()]
    if len(blank) == len(documents) and (documents or not question.strip()):
        raise EmptyInput(documents[0].name if documents else "")
    prompt = prompts.get(DOCUMENTS_PROMPT if documents else PROMPT)
    messages = prompt.render({"question": question} | ({"documents": list(documents)} if documents else {}))
    request = make_request(
        "ask",
        messages,
        prompt,
        options,
        max_tokens=max_answer_tokens(prompt, options, None),
        priority=Priority.INTERACTIVE,
    )
    name = documents[0].name if len(documents) == 1 else ""
    yield from run_single_request(backend, request, options, prompt=prompt.name, name=name)
