"""Summaries of records, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.records.record import Record, Row
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.text_answers import TextTask
from llmcli.tasks.summarize import summarize_document
from llmcli.tasks.summarize.summary_options import SummaryOptions
from llmcli.tasks.summarize.summary_plan import PROMPT
from llmcli.types import Result

if TYPE_CHECKING:
    from llmcli.tasks.runner.work_estimate import WorkEstimate

_COLUMN = "summary"


class SummarizeTask(TextTask):
    """Summarizes each record as ``summarize`` does a document; the column is ``summary``."""

    def __init__(
        self,
        backend: Backend,
        prompts: PromptLibrary,
        options: GenerationOptions,
        wanted: SummaryOptions,
    ) -> None:
        super().__init__(backend, PROMPT, _COLUMN)
        self._prompts = prompts
        self._options = options
        self._wanted = wanted

    def estimate(self, record: Record) -> WorkEstimate:
        """Return the work for a record."""
        from llmcli.tasks.summarize.summary_estimate import estimate_summary

        document, row = Document(record.name, record.text), Row(record.fields)
        return estimate_summary(self.backend, self._prompts, document, self._options, self._wanted, earlier="", row=row)

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the summary of a record."""
        document, row = Document(record.name, record.text), Row(record.fields)
        return await summarize_document(run, self._prompts, document, self._options, self._wanted, row=row)
