"""The output of filter: the records that match, unchanged; their number; or the names of the files that have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.records.record_output import RecordOutput
from llmcli.documents.records.formats.record_formats import LINES
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.errors import LlmError, UsageError
from llmcli.frozen_dataclass import frozen
from llmcli.types import ItemFailed, Result

if TYPE_CHECKING:
    from llmcli.tasks.runner.record_runner import RecordProcessor


@frozen
class FilterView:
    """``count``: only the number of matches; ``numbers``: each line after its number; ``names``: only names of files.

    ``input_names`` are the inputs of the command line.
    """

    count: bool = False
    numbers: bool = False
    names: bool = False
    input_names: tuple[str, ...] = ()


class FilterOutput(RecordOutput):
    """Writes a row for each match only; ``matched`` counts those of this run."""

    def __init__(self, ctx: CommandContext, view: FilterView) -> None:
        """Raises ``UsageError`` for a count that would continue an unfinished job, whose matches are not known."""
        super().__init__(ctx)
        if view.count and (self._flags.resume or self._flags.retry_failed):
            raise UsageError("a count cannot be continued", detail="Leave out --resume, or -c.")
        self._view = view
        self.matched = 0
        self.has_matches = False
        """Whether anything matched, in this run or in an earlier one of the job."""

    def begin(self, schema: RecordSchema, verb: RecordProcessor, manifest: Callable[[], Mapping[str, Any]]) -> None:
        """Begin as ``RecordOutput`` does; rows of earlier runs are matches."""
        super().begin(schema, verb, manifest)
        if self.job is not None:
            head = b"" if self._writer is None else self._writer.head()
            self.has_matches = self.job.progress.output_bytes > len(head)

    def write_result(self, result: Result) -> LlmError | None:
        """Write the row of a match, and nothing for another record."""
        matches = bool(result.fields.get("match"))
        self.matched += matches
        self.has_matches = self.has_matches or matches
        if not matches or (self._view.count and not self._as_json):
            self._write_row(result.record, b"", result)
            return None
        plain = self._plain_row(result.record)
        if plain is None:
            return super().write_result(result)
        self._write_row(result.record, plain, result)
        return None

    def _plain_row(self, record: Record) -> bytes | None:
        """Return the row of a match in an output of lines; None for other outputs."""
        if self._as_json or self._format != LINES:
            return None
        if self._view.names:
            only = self._view.input_names[0] if self._view.input_names else "(standard input)"
            return (record.file or only).encode("utf-8", "surrogateescape") + b"\n"
        raw = record.raw if self._schema.format == LINES else record.text.replace("\n", " ").encode("utf-8", "replace")
        head = b"".join(
            (
                f"{record.file}:".encode("utf-8", "surrogateescape") if record.file else b"",
                f"{record.line}:".encode() if self._view.numbers else b"",
            )
        )
        return head + (raw if raw.endswith(b"\n") else raw + b"\n")

    def complete(self, *, ended_early: bool) -> None:
        """Write the number of matches if that was asked for, then complete the output."""
        if self._view.count and not self._as_json and not ended_early:
            self._write(f"{self.matched}\n".encode())
        super().complete(ended_early=ended_early)

    def write_failure(self, failed: ItemFailed) -> None:
        """Write the row of a record that failed where rows are written."""
        if self._view.count or self._view.names:
            self._write_row(failed.record, b"", failed)
        else:
            super().write_failure(failed)


def exit_code(code: int, output: FilterOutput) -> int:
    """Return 1 if nothing matched and nothing failed, as grep does."""
    return 1 if code == 0 and not output.has_matches else code


def view_fields(view: FilterView) -> dict[str, Any]:
    """Return the part of a job's manifest that the view decides."""
    return {"--count": view.count, "--line-number": view.numbers, "--files": view.names}
