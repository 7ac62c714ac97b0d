"""ask: a question, with or without documents, becomes one answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.errors import EmptyInput
from llmcli.prompts import PromptLibrary
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import run_task
from llmcli.tasks.runner.text_answers import write_text
from llmcli.types import Priority, TaskEvent

if TYPE_CHECKING:
    from llmcli.tasks.questions.question_sources import IndexedSource

PROMPT = "ask"


def ask(
    backend: Backend,
    prompts: PromptLibrary,
    question: str,
    documents: Sequence[Document],
    options: GenerationOptions,
    *,
    cite: bool = False,
    indexed: Sequence[IndexedSource] = (),
) -> Iterator[TaskEvent]:
    """Answer ``question`` about ``documents`` and ``indexed`` directories (may be none): Deltas, then one Result.

    See ``DocumentQuestion`` for documents. Raises ``EmptyInput`` when both the question and the documents are blank, or
    when every named document is blank.
    """
    blank = [document for document in documents if not document.text.strip()]
    if len(blank) == len(documents) and not indexed and (documents or not question.strip()):
        raise EmptyInput(documents[0].name if documents else "")
    if documents or indexed:
        from llmcli.tasks.questions.document_question import DocumentQuestion

        asked = DocumentQuestion(backend, prompts, question, options, cite=cite)
        yield from run_task(backend, lambda run: asked.answer(run, documents, indexed))
        return
    prompt = prompts.get(PROMPT)
    request = make_request(
        "ask",
        prompt.render({"question": question}),
        prompt,
        options,
        max_tokens=max_answer_tokens(prompt, options, None),
        priority=Priority.INTERACTIVE,
    )
    yield from run_task(backend, lambda run: write_text(run, request, options, prompt=prompt.name))
