"""One run of filter: its query, its records, its exit code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.classification.calibrated_run import CalibratedRun
from llmcli.cli.classification.filter_output import FilterOutput, FilterView, exit_code, view_fields
from llmcli.cli.classification.prior_cache import prior_directory
from llmcli.cli.classification.scoring_flags import FilterFlags
from llmcli.cli.classification.summary_view import write_summary
from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import inputs
from llmcli.cli.records.record_run import RecordTask, prompt_manifest, run_records
from llmcli.errors import UsageError
from llmcli.frozen_dataclass import asdict, replace
from llmcli.tasks.classification.label_summary import LabelSummary
from llmcli.tasks.classification.scoring_notices import add_scoring_notices
from llmcli.tasks.filter import DEFAULT_THRESHOLD, MATCH, PROMPT, FilterOptions, FilterQuery, FilterVerb
from llmcli.types import TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.classification.calibration_run import CalibrationKind
    from llmcli.cli.classification.labelled_rows import ReadLabel
    from llmcli.tasks.execution.task_requests import GenerationOptions


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
    flags = filter_flags(ctx)
    threshold = DEFAULT_THRESHOLD if flags.threshold is None else flags.threshold
    return FilterQuery(first, together, either, never, invert=invert, threshold=threshold)


def filter_flags(ctx: CommandContext) -> FilterFlags:
    """Return the options of the command."""
    assert isinstance(ctx.flags, FilterFlags)
    return ctx.flags


def run_filter(ctx: CommandContext, query: FilterQuery, view: FilterView, files: Sequence[str]) -> int:
    """Print the records that match; return the exit code. Raises ``UsageError`` for views that exclude each other."""
    if view.names and view.numbers:
        raise UsageError("--files prints names, which have no line numbers", detail="Leave out -n.")
    run = _FilterRun(ctx, query, view)
    if run.calibrated.reports(files):
        backend = ctx.runtime.backend()
        return run.calibrated.report(backend, run.make_verb(backend, ctx.generation_options()).scorer)
    return run.print_matches(files)


class _FilterRun:
    """The parts of one run."""

    def __init__(self, ctx: CommandContext, query: FilterQuery, view: FilterView) -> None:
        self._ctx, self._query, self._view = ctx, query, view
        self._flags, self._prompt = filter_flags(ctx), ctx.runtime.prompts.get(PROMPT)
        self._summary = LabelSummary()
        self._outputs: list[FilterOutput] = []
        self.calibrated = CalibratedRun(ctx, self._make_kind, self._label_reader, self._identity)

    def _make_kind(self) -> CalibrationKind:
        from llmcli.cli.classification.calibration_kinds import PresenceKind

        query = self._query

        def combine(shares: Mapping[str, float]) -> Mapping[str, float]:
            return shares if [*shares] == [MATCH] else {MATCH: query.combine(shares)}

        return PresenceKind((MATCH,), combine, inverted=query.invert)

    @staticmethod
    def _label_reader() -> ReadLabel:
        from llmcli.cli.classification.labelled_rows import read_yes_or_no

        return read_yes_or_no(MATCH)

    def _identity(self) -> dict[str, Any]:
        query = asdict(self._query)
        statements = {name: query[name] for name in ("statement", "conjuncts", "alternatives", "excluded")}
        return {"prompt": self._prompt.fingerprint, "statement": statements}

    def make_verb(self, backend: Backend, generation: GenerationOptions) -> FilterVerb:
        """Return the verb, with the threshold of --target-precision."""
        ctx, query, prompt = self._ctx, self._query, self._prompt
        options = FilterOptions(not self._flags.no_prior, prior_directory(ctx), splits_long_texts=self._view.names)
        calibrator = self.calibrated.prepare(
            backend, lambda: FilterVerb(backend, prompt, self._query, generation, options).scorer
        )
        for chosen in self.calibrated.thresholds.values():
            # what is printed with --invert are probabilities below the threshold
            least = math.nextafter(1 - chosen.threshold, 2.0) if query.invert else chosen.threshold
            query = replace(query, threshold=least)
        return FilterVerb(backend, prompt, query, generation, replace(options, calibrator=calibrator))

    def print_matches(self, files: Sequence[str]) -> int:
        """Print the records that match; return the exit code."""
        task = RecordTask(
            self.make_verb,
            self._manifest,
            self._wrap,
            make_output=self._make_output,
            input_format="document" if self._view.names else None,
            summary=self._summary,
        )
        code = run_records(self._ctx, files, task)
        write_summary(self._ctx, self._summary, self._flags.summary)
        self.calibrated.draw_plot()
        return exit_code(code, self._outputs[0])

    def _make_output(self, ctx: CommandContext) -> FilterOutput:
        self._outputs.append(FilterOutput(ctx, self._view))
        return self._outputs[0]

    def _manifest(self) -> dict[str, Any]:
        query = {"query": asdict(self._query), **view_fields(self._view)}
        return {**prompt_manifest(self._prompt), **query, **self.calibrated.manifest()}

    def _wrap(self, events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
        if not self.calibrated.thresholds:
            self._summary.details["threshold"] = self._query.threshold
        yield from self.calibrated.notices(self._summary)
        yield from add_scoring_notices(events)
