"""summarize, for records: a summary of each, of any length."""

from __future__ import annotations

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.records.record import Record, Row
from llmcli.prompts import PromptLibrary
from llmcli.tasks.record_verbs.text_verb import TextVerb
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.summarization.summary_options import SummaryOptions
from llmcli.tasks.summarization.summary_plan import PROMPT
from llmcli.tasks.summarize import summarize_document
from llmcli.types import Result

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

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the summary of a record."""
        document, row = Document(record.name, record.text), Row(record.fields)
        return await summarize_document(run, self._prompts, document, self._options, self._wanted, row=row)
