"""What a verb does with a record, and how the records of a job are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from llmcli.documents.records.record import Record
from llmcli.frozen_dataclass import frozen
from llmcli.tasks.execution.document_jobs import DocumentJob
from llmcli.types import Progress, Result

MAX_RECORDS_AHEAD = 256
"""Records that are read ahead of the first one whose result was not yielded."""


class RecordVerb(Protocol):
    """What a verb does with a record.

    ``columns`` are the names of the fields that it adds to a table, with their Python types. ``single_request``: no job
    has more than one request. The ``item`` of a job is the index of its record.
    """

    columns: Mapping[str, type]
    single_request: bool

    def make_job(self, record: Record) -> DocumentJob:
        """Return the job of a record that is not blank. An ``LlmError`` is the failure of this record alone."""
        ...

    def blank_result(self, record: Record) -> Result:
        """Return the result of a blank record; it is ``blank``."""
        ...

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the values of ``columns`` for a result."""
        ...

    def line(self, result: Result) -> str:
        """Return the line of a result in an output of plain lines."""
        ...


@frozen
class RecordJobOptions:
    """How records are run.

    ``ordered``: results come in the order of the records. ``dedupe_key``: records with the same key are answered once,
    so it should be short; None answers each. ``progress`` returns the progress when that many records are done; by default,
    the total is the length of the records, if they have one.
    """

    ordered: bool = True
    dedupe_key: Callable[[Record], bytes] | None = None
    progress: Callable[[int], Progress] | None = None
    window: int = MAX_RECORDS_AHEAD
