"""One run of filter: its query, its records, its output and exit code.

The output is the records that match, unchanged; their number; or the names of the files that have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console.file_names import show_name
from llmcli.cli.input import inputs
from llmcli.cli.input.source_inputs import expand_names
from llmcli.cli.labels.label_run import LabelRun
from llmcli.cli.labels.scoring_flags import FilterFlags
from llmcli.cli.records.record_inputs import RecordWork
from llmcli.cli.records.record_output import RecordOutput
from llmcli.cli.records.record_run import RecordRunSpec
from llmcli.documents.format_registry import LINES
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.errors import LlmError, UsageError
from llmcli.fast_dataclass import frozen, replace
from llmcli.tasks.filter import DEFAULT_THRESHOLD, PROMPT, FilterQuery, FilterSpec
from llmcli.types import ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.tasks.runner.record_runner import RecordProcessor


@frozen
class FilterView:
    """``count``: only the number of matches; ``numbers``: each line after its number; ``names``: only names of files.

    ``ends_with_null``: a null character ends each name, not a line feed. ``input_names`` are the inputs of the command
    line.
    """

    count: bool = False
    numbers: bool = False
    names: bool = False
    ends_with_null: bool = False
    input_names: tuple[str, ...] = ()


class _FilterOutput(RecordOutput):
    """Writes a row for each match only; ``matched`` counts those of this run."""

    def __init__(self, ctx: CommandContext, work: RecordWork, *, view: FilterView) -> None:
        """Raises ``UsageError`` for a count that would continue an unfinished job, whose matches are not known."""
        super().__init__(ctx, work)
        if view.count and self._as_json:
            raise UsageError("--json prints an object for each match, and -c their number", detail="Leave out one.")
        if view.count and (self._flags.resume or self._flags.retry_failed):
            raise UsageError("a count cannot be continued", detail="Leave out --resume, or -c.")
        if view.count and self._flags.shard is not None:
            raise UsageError("counts of shards are not merged", detail="Leave out -c, or --shard.")
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

    def _choose_format(self, schema: RecordSchema) -> str:
        """Return the format of the rows; a count is a line.

        Raises ``UsageError`` for numbers that rows have no place for.
        """
        chosen = super()._choose_format(schema)
        if self._view.numbers and not (self._view.count or self._as_json) and chosen != LINES:
            detail = "Leave out -n, or add --output-format lines."
            raise UsageError("-n numbers matches that are printed as lines, not rows of a table", detail=detail)
        return LINES if self._view.count else chosen

    def write_result(self, result: Result) -> LlmError | None:
        """Write the row of a match, and nothing for another record."""
        matches = bool(result.fields.get("match"))
        self.matched += matches
        self.has_matches = self.has_matches or matches
        if not matches or self._view.count:
            self._write_row(result.record, None, result)
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
            return self._plain_name(record.file or only)
        raw = record.raw if self._schema.format == LINES else record.text.replace("\n", " ").encode("utf-8", "replace")
        head = b"".join(
            (
                f"{record.file}:".encode("utf-8", "surrogateescape") if record.file else b"",
                f"{record.line}:".encode() if self._view.numbers else b"",
            )
        )
        return head + (raw if raw.endswith(b"\n") else raw + b"\n")

    def _plain_name(self, name: str) -> bytes:
        """Return the name of a file as it is, with its end; on a terminal, as ``ls`` shows it."""
        if self._view.ends_with_null:
            return name.encode("utf-8", "surrogateescape") + b"\0"
        return (show_name(name) if self._on_terminal else name).encode("utf-8", "surrogateescape") + b"\n"

    def complete(self, *, ended_early: bool) -> None:
        """Write the number of matches if that was asked for, then complete the output."""
        if self._view.count and not ended_early:
            self._write(f"{self.matched}\n".encode())
        super().complete(ended_early=ended_early)

    def exit_code(self, code: int) -> int:
        """Return 1 if nothing matched and nothing failed, as grep does."""
        return 1 if code == 0 and not self.has_matches else code

    def write_failure(self, failed: ItemFailed) -> None:
        """Write the row of a record that failed where rows are written."""
        if self._view.count or self._view.names:
            self._write_row(failed.record, None, failed)
        else:
            super().write_failure(failed)


def make_query(
    ctx: CommandContext,
    statement: Sequence[str],
    conjuncts: Sequence[str] | None,
    alternatives: Sequence[str] | None,
    excluded: Sequence[str] | None,
    *,
    invert: bool,
) -> FilterQuery:
    """Return the query of a command line. Raises ``UsageError`` for a blank statement and ``NotUtf8``."""
    groups = [
        tuple(inputs.decode_argument(text).strip() for text in group or ())
        for group in (statement, conjuncts, alternatives, excluded)
    ]
    if any(not text for group in groups for text in group):
        raise UsageError("a statement is empty", detail='Try: llm filter "the customer is angry" FILE')
    (first,), together, either, never = groups
    flags = _filter_flags(ctx)
    threshold = DEFAULT_THRESHOLD if flags.threshold is None else flags.threshold
    return FilterQuery(first, together, either, never, invert=invert, threshold=threshold)


def _filter_flags(ctx: CommandContext) -> FilterFlags:
    """Return the options of the command."""
    assert isinstance(ctx.flags, FilterFlags)
    return ctx.flags


def run_filter(ctx: CommandContext, query: FilterQuery, view: FilterView, files: Sequence[str]) -> int:
    """Print the records that match; return the exit code. Raises ``UsageError`` for views that exclude each other."""
    if view.names and view.numbers:
        raise UsageError("--files prints names, which have no line numbers", detail="Leave out -n.")
    if view.ends_with_null and not view.names:
        raise UsageError("-0 ends names of files", detail="Add --files, or leave out -0.")
    if view.ends_with_null and ctx.console.as_json:
        raise UsageError("--json prints an object for each match, and -0 names", detail="Leave out one.")
    files = expand_names(ctx, files) if view.names else files
    return FilterRun(ctx, query, view).run(files)


class FilterRun(LabelRun):
    """A run whose output are the records that match."""

    def __init__(self, ctx: CommandContext, query: FilterQuery, view: FilterView) -> None:
        spec = FilterSpec(ctx.runtime.prompts.get(PROMPT), query, splits_long_texts=view.names)
        super().__init__(ctx, spec, input_format="document" if view.names else None)
        self._query, self._view = query, view

    def record_spec(self) -> RecordRunSpec:
        """Return how records are matched and printed."""
        return replace(super().record_spec(), make_output=partial(_FilterOutput, view=self._view))

    def view_manifest(self) -> dict[str, Any]:
        """Return the part of a job's manifest that the view decides."""
        view = self._view
        return {
            "--count": view.count,
            "--line-number": view.numbers,
            "--files": view.names,
            "--null": view.ends_with_null,
        }

    def add_notices(self, events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
        """Add what there is to say about the calibration and the scores; the summary always has the threshold."""
        if not self.calibration.thresholds:
            self.summary.details["threshold"] = self._query.threshold
        yield from super().add_notices(events)
