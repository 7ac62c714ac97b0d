"""summarize, for records: a summary of each, of any length."""

from __future__ import annotations

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.records.record import Record, Row
from llmcli.prompts import PromptLibrary
from llmcli.tasks.execution.document_jobs import DocumentJob
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.record_verbs.text_verb import TextVerb
from llmcli.tasks.summarize import PROMPT, make_summary_job

COLUMN = "summary"


class SummarizeVerb(TextVerb):
    """Summarizes each record as ``summarize`` does a document; the column is ``summary``."""

    def __init__(
        self,
        backend: Backend,
        prompts: PromptLibrary,
        options: GenerationOptions,
        *,
        words: int | None = None,
        style: str = "paragraph",
    ) -> None:
        super().__init__(backend, PROMPT, COLUMN)
        self._prompts = prompts
        self._options = options
        self._words = words
        self._style = style

    def make_job(self, record: Record) -> DocumentJob:
        """Return the job of a summary."""
        return make_summary_job(
            self.backend,
            self._prompts,
            Document(record.name, record.text),
            self._options,
            item=record.index,
            words=self._words,
            style=self._style,
            row=Row(record.fields),
        )
