"""One run of filter: its query, its records, its output and exit code.

The output is the records that match, unchanged; their number; or the names of the files that have them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console.file_names import show_name
from llmcli.cli.input import inputs
from llmcli.cli.input.source_inputs import expand_names
from llmcli.cli.labels.calibration_options import CalibrationOptions
from llmcli.cli.labels.low_margin_warning import warn_about_low_margins
from llmcli.cli.labels.scoring_flags import FilterFlags
from llmcli.cli.labels.summary_view import write_summary
from llmcli.cli.records.record_output import RecordOutput
from llmcli.cli.records.record_run import RecordRunSpec, prompt_manifest, run_records
from llmcli.documents.format_registry import LINES
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.errors import LlmError, UsageError
from llmcli.fast_dataclass import asdict, frozen, replace
from llmcli.tasks.filter import DEFAULT_THRESHOLD, MATCH, PROMPT, FilterOptions, FilterQuery, FilterTask
from llmcli.tasks.labels.label_scorer import add_scoring_notices
from llmcli.tasks.labels.label_summary import LabelSummary
from llmcli.types import ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.labels.fitted_calibration import CalibrationProblem
    from llmcli.cli.labels.labelled_rows import LabelParser
    from llmcli.tasks.runner.record_runner import RecordProcessor
    from llmcli.tasks.runner.task_requests import GenerationOptions


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

    def __init__(self, ctx: CommandContext, view: FilterView) -> None:
        """Raises ``UsageError`` for a count that would continue an unfinished job, whose matches are not known."""
        super().__init__(ctx)
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

    def write_failure(self, failed: ItemFailed) -> None:
        """Write the row of a record that failed where rows are written."""
        if self._view.count or self._view.names:
            self._write_row(failed.record, None, failed)
        else:
            super().write_failure(failed)


def _exit_code(code: int, output: _FilterOutput) -> int:
    """Return 1 if nothing matched and nothing failed, as grep does."""
    return 1 if code == 0 and not output.has_matches else code


def _view_fields(view: FilterView) -> dict[str, Any]:
    """Return the part of a job's manifest that the view decides."""
    return {"--count": view.count, "--line-number": view.numbers, "--files": view.names, "--null": view.ends_with_null}


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
    run = FilterRun(ctx, query, view)
    if run.calibrated.reports(files):
        backend = ctx.runtime.backend()
        return run.calibrated.report(backend, run.make_verb(backend, ctx.generation_options()).scorer)
    return run.print_matches(files)


class FilterRun:
    """The parts of one run."""

    def __init__(self, ctx: CommandContext, query: FilterQuery, view: FilterView) -> None:
        self._ctx, self._query, self._view = ctx, query, view
        self._flags, self._prompt = _filter_flags(ctx), ctx.runtime.prompts.get(PROMPT)
        self._summary = LabelSummary()
        self._outputs: list[_FilterOutput] = []
        self._task: FilterTask | None = None
        self.calibrated = CalibrationOptions(ctx, self._make_problem, self._label_reader, self._identity)

    def _make_problem(self) -> CalibrationProblem:
        from llmcli.cli.labels.fitted_calibration import PresenceProblem

        query = self._query

        def combine(shares: Mapping[str, float]) -> Mapping[str, float]:
            return shares if [*shares] == [MATCH] else {MATCH: query.combine(shares)}

        return PresenceProblem((MATCH,), combine, inverted=query.invert)

    @staticmethod
    def _label_reader() -> LabelParser:
        from llmcli.cli.labels.labelled_rows import read_yes_or_no

        return read_yes_or_no(MATCH)

    def _identity(self) -> dict[str, Any]:
        query = asdict(self._query)
        statements = {name: query[name] for name in ("statement", "conjuncts", "alternatives", "excluded")}
        return {"prompt": self._prompt.fingerprint, "statement": statements}

    def make_verb(self, backend: Backend, generation: GenerationOptions) -> FilterTask:
        """Return the verb, with the threshold of --target-precision."""
        ctx, query, prompt = self._ctx, self._query, self._prompt
        options = FilterOptions(
            not self._flags.no_prior, ctx.runtime.prior_directory, splits_long_texts=self._view.names
        )
        calibrator = self.calibrated.prepare(
            backend, lambda: FilterTask(backend, prompt, self._query, generation, options).scorer
        )
        for chosen in self.calibrated.thresholds.values():
            # what is printed with --invert are probabilities below the threshold
            least = math.nextafter(1 - chosen.threshold, 2.0) if query.invert else chosen.threshold
            query = replace(query, threshold=least)
        self._task = FilterTask(backend, prompt, query, generation, replace(options, calibrator=calibrator))
        return self._task

    def spec(self) -> RecordRunSpec:
        """Return how records are matched and printed."""
        return RecordRunSpec(
            self.make_verb,
            self._manifest,
            self._wrap,
            make_output=self._make_output,
            input_format="document" if self._view.names else None,
            summary=self._summary,
        )

    def print_matches(self, files: Sequence[str]) -> int:
        """Print the records that match; return the exit code."""
        code = run_records(self._ctx, files, self.spec())
        if self._task is not None and not self.calibrated.is_calibrated:
            warn_about_low_margins(self._ctx, self._task.scorer, self._summary)
        write_summary(self._ctx, self._summary, self._flags.summary)
        self.calibrated.draw_plot()
        return _exit_code(code, self._outputs[0])

    def _make_output(self, ctx: CommandContext) -> _FilterOutput:
        self._outputs.append(_FilterOutput(ctx, self._view))
        return self._outputs[0]

    def _manifest(self) -> dict[str, Any]:
        query = {"query": asdict(self._query), **_view_fields(self._view)}
        return {**prompt_manifest(self._prompt), **query, **self.calibrated.manifest()}

    def _wrap(self, events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
        if not self.calibrated.thresholds:
            self._summary.details["threshold"] = self._query.threshold
        yield from self.calibrated.notices(self._summary)
        yield from add_scoring_notices(events, labels=True)
