"""summarize, for records: a summary of each, of any length."""

from __future__ import annotations

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.records.record import Record, Row
from llmcli.prompts import PromptLibrary
from llmcli.tasks.execution.document_jobs import DocumentJob
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.record_verbs.text_verb import TextVerb
from llmcli.tasks.summarization.summary_options import SummaryOptions
from llmcli.tasks.summarization.summary_plan import PROMPT
from llmcli.tasks.summarize import make_summary_job

COLUMN = "summary"


class SummarizeVerb(TextVerb):
    """Summarizes each record as ``summarize`` does a document; the column is ``summary``."""

    def __init__(
        self,
        backend: Backend,
        prompts: PromptLibrary,
        options: GenerationOptions,
        wanted: SummaryOptions,
    ) -> None:
        super().__init__(backend, PROMPT, COLUMN)
        self._prompts = prompts
        self._options = options
        self._wanted = wanted

    def make_job(self, record: Record) -> DocumentJob:
        """Return the job of a summary."""
        return make_summary_job(
            self.backend,
            self._prompts,
            Document(record.name, record.text),
            self._options,
            self._wanted,
            item=record.index,
            row=Row(record.fields),
        )
