"""Verbs that answer each record with a text: the answer is one column of a table, or a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Record
from llmcli.frozen_dataclass import replace
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.text_answers import write_text
from llmcli.types import Request, Result


class TextVerb:
    """The common part of such verbs; ``column`` is the name of the column."""

    def __init__(self, backend: Backend, prompt: str, column: str) -> None:
        self.columns: Mapping[str, type] = {column: str}
        self.backend = backend
        self.prompt_name = prompt
        self._column = column

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        model = self.backend.info().model
        return Result(record.index, record.name, None, model=model, prompt=self.prompt_name, blank=True)

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the text."""
        return {self._column: result.text}

    def line(self, result: Result) -> str:
        """Return the text; the writer of lines replaces its line breaks."""
        return result.text or ""

    async def write(self, run: TaskRun, record: Record, request: Request, options: GenerationOptions) -> Result:
        """Return the answer to a request about a record. Raises as ``write_text``."""
        result = await write_text(run, request, options, prompt=self.prompt_name, fields=record.position)
        return replace(result, text=(result.text or "").strip())
