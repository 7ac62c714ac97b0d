"""ask: a question, with or without documents, becomes one answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.backends.base import Backend
from llmcli.errors import EmptyInput
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.tasks.runner.text_answers import TextTask, write_text
from llmcli.types import Priority, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.documents.reading.document import Document
    from llmcli.documents.records.record import Record
    from llmcli.tasks.ask.question_sources import IndexedSource

PROMPT = "ask"
_COLUMN = "answer"
_DOCUMENT_NAME = "record"


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
        from llmcli.tasks.ask.document_question import DocumentQuestion

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


def ask_prompt(prompts: PromptLibrary, question: str | None) -> Prompt:
    """Return the prompt for ``question`` about a record; None: the text of the record is the question."""
    # imported here, since most questions are not about documents
    from llmcli.tasks.ask.question_prompts import DOCUMENTS_PROMPT

    return prompts.get(PROMPT if question is None else DOCUMENTS_PROMPT)


class AskTask(TextTask):
    """Answers a question about each record, or each record that is one; the column is ``answer``."""

    def __init__(self, backend: Backend, prompt: Prompt, question: str | None, options: GenerationOptions) -> None:
        """``prompt`` is that of ``ask_prompt``."""
        super().__init__(backend, prompt.name, _COLUMN)
        self._prompt = prompt
        self._question = question
        self._options = options

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the answer. Raises ``EmptyAnswer``, the failure of a request, ``ContextOverflow``."""
        from llmcli.documents.reading.document import Document
        from llmcli.documents.records.record import Row

        values: dict[str, object] = {"question": record.text, "row": Row(record.fields)}
        if self._question is not None:
            values |= {"question": self._question, "documents": [Document(_DOCUMENT_NAME, record.text)]}
        messages, limit = self._prompt.render(values), max_answer_tokens(self._prompt, self._options, None)
        request = make_request(str(record.index), messages, self._prompt, self._options, max_tokens=limit)
        return await self.write(run, record, request, self._options)
