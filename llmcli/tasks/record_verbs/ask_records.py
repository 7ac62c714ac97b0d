"""ask, for records: one question about each record, or each record as a question."""

from __future__ import annotations

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.records.record import Record, Row
from llmcli.prompts import Prompt, PromptLibrary
from llmcli.tasks.ask import PROMPT
from llmcli.tasks.questions.question_prompts import DOCUMENTS_PROMPT
from llmcli.tasks.record_verbs.text_verb import TextVerb
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Result

COLUMN = "answer"
_DOCUMENT_NAME = "record"


def ask_prompt(prompts: PromptLibrary, question: str | None) -> Prompt:
    """Return the prompt for ``question`` about a record; None: the text of the record is the question."""
    return prompts.get(PROMPT if question is None else DOCUMENTS_PROMPT)


class AskVerb(TextVerb):
    """Answers a question about each record, or each record that is one; the column is ``answer``."""

    def __init__(self, backend: Backend, prompt: Prompt, question: str | None, options: GenerationOptions) -> None:
        """``prompt`` is that of ``ask_prompt``."""
        super().__init__(backend, prompt.name, COLUMN)
        self._prompt = prompt
        self._question = question
        self._options = options

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the answer. Raises ``EmptyAnswer``, the failure of a request, ``ContextOverflow``."""
        values: dict[str, object] = {"question": record.text, "row": Row(record.fields)}
        if self._question is not None:
            values |= {"question": self._question, "documents": [Document(_DOCUMENT_NAME, record.text)]}
        messages, limit = self._prompt.render(values), max_answer_tokens(self._prompt, self._options, None)
        request = make_request(str(record.index), messages, self._prompt, self._options, max_tokens=limit)
        return await self.write(run, record, request, self._options)
