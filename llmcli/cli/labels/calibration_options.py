"""Calibration in a run of classify, sentiment or filter: options, labelled rows, the calibration, reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input.inputs import holds_piped_text
from llmcli.cli.labels.scoring_flags import CalibrationFlags
from llmcli.errors import UsageError
from llmcli.fast_dataclass import asdict
from llmcli.types import Notice

if TYPE_CHECKING:
    from llmcli.cli.labels.fitted_calibration import FittedCalibration, LabelledFile
    from llmcli.tasks.labels.label_scorer import LabelCalibrator, LabelScorer
    from llmcli.tasks.labels.label_spec import LabelSpec
    from llmcli.tasks.labels.label_summary import LabelSummary
    from llmcli.tasks.labels.precision_threshold import PrecisionThreshold

_RECORD_OPTIONS = {
    "output": "-o",
    "summary": "--summary",
    "limit": "--limit",
    "sample": "--sample",
    "shard": "--shard",
    "resume": "--resume",
    "retry_failed": "--retry-failed",
    "dedupe": "--dedupe",
    "output_format": "--output-format",
}
"""Options that say which records are processed or what becomes of their answers, by the names of their flags."""


class CalibrationOptions:
    """The labelled rows of one run, and the calibration that its options ask for."""

    def __init__(self, ctx: CommandContext, spec: LabelSpec, *, examples: LabelledFile | None = None) -> None:
        """Check the options, read the labelled rows and load the calibration; ``spec`` says what the labels are.

        Raises ``UsageError`` for options that exclude each other, and what reading raises.
        """
        assert isinstance(ctx.flags, CalibrationFlags)
        self._ctx = ctx
        self._flags = ctx.flags
        self._spec = spec
        self.thresholds: dict[str, PrecisionThreshold] = {}
        """The thresholds of --target-precision by target, once the calibration is prepared."""
        self._check_options()
        self._labelled = self._read(self._flags.calibrate)
        self._evaluation = self._read(self._flags.evaluate)
        check_disjoint("--calibrate", self._labelled, "--examples", examples)
        check_disjoint("--eval", self._evaluation, "--examples", examples)
        check_disjoint("--eval", self._evaluation, "--calibrate", self._labelled)
        self._calibration = self._open_calibration()

    def _check_options(self) -> None:
        flags = self._flags
        if flags.target_precision is not None and not self.is_requested:
            words = "--target-precision needs a calibration"
            raise UsageError(words, detail="Try: --target-precision 0.95 --calibrate LABELLED_FILE")
        if flags.target_precision is not None and flags.threshold is not None:
            raise UsageError("--target-precision sets the threshold", detail="Leave out --threshold.")
        if flags.summary is not None:
            from llmcli.cli.render.report_file import check_report_path

            check_report_path("--summary", flags.summary)
        if flags.plot is not None:
            from llmcli.cli.render.svg_chart import check_plot_path

            check_plot_path(flags.plot)
            if flags.calibrate is None and flags.evaluate is None:
                raise UsageError("--plot draws the figures of --calibrate or --eval", detail="Add one of them.")

    def _read(self, path: str | None) -> LabelledFile | None:
        return None if path is None else read_labelled_file(self._ctx, path, self._spec)

    def _open_calibration(self) -> FittedCalibration | None:
        """Return the calibration that the options ask for; None without one."""
        if not self.is_requested:
            return None
        from llmcli.cli.labels.fitted_calibration import FittedCalibration

        return FittedCalibration(self._ctx, self._flags, self._spec)

    @property
    def is_requested(self) -> bool:
        """Whether the options ask for a calibration."""
        return self._flags.calibrate is not None or self._flags.calibration is not None

    def reports(self, files: Sequence[str]) -> bool:
        """Whether the run reports on labelled rows instead of processing ``files``.

        Raises ``UsageError`` for both, and for records in a pipe, which would not be read.
        """
        flags = self._flags
        if flags.evaluate is not None and files:
            raise UsageError("--eval reports on labelled rows and processes no others", detail="Leave out one of them.")
        is_report = flags.evaluate is not None or (flags.calibrate is not None and not files)
        if is_report:
            self._refuse_options_of_records()
            self._refuse_piped_records()
        return is_report

    def _refuse_piped_records(self) -> None:
        if holds_piped_text(self._ctx):
            adds = "Leave out --eval to label it" if self._flags.evaluate is not None else "To label it, add -"
            words = (
                "the text in standard input would not be read: without an input file llm reports on the labelled rows"
            )
            raise UsageError(words, detail=f"{adds}; for the report alone: --no-stdin")

    def _refuse_options_of_records(self) -> None:
        """Raise ``UsageError`` for an option that a report on labelled rows would ignore."""
        given = [option for name, option in _RECORD_OPTIONS.items() if getattr(self._flags, name) not in {None, False}]
        if given:
            words = f"{given[0]} is for records, and without an input file llm reports on the labelled rows"
            raise UsageError(words, detail=f"Name the file to label (-: standard input), or leave out {given[0]}.")

    def prepare(self, scorer: LabelScorer) -> LabelCalibrator | None:
        """Return the calibrator and set the thresholds; None without a calibration.

        ``scorer`` has none. Raises as ``FittedCalibration.prepare`` does.
        """
        if self._calibration is None:
            return None
        calibrator = self._calibration.prepare(scorer, self._labelled)
        if self._flags.target_precision is not None:
            self.thresholds = self._calibration.choose_thresholds(self._flags.target_precision)
        return calibrator

    def manifest(self) -> dict[str, Any]:
        """Return what the results of a job depend on, by option, as JSON values."""
        from llmcli.tasks.labels.label_spec import rows_digest

        flags = self._flags
        return {
            "--threshold": flags.threshold,
            "--target-precision": flags.target_precision,
            "rows of --calibrate": rows_digest(() if self._labelled is None else self._labelled.rows),
            # a fitted one depends on its rows, and has the time when it was fitted
            "--calibration": None if self._calibration is None or self._labelled else self._calibration.digest(),
        }

    def report(self, scorer: LabelScorer) -> int:
        """Print the figures of the calibration, or those of --eval with ``scorer``; return the exit code."""
        from llmcli.cli.labels.calibration_report import write_calibration, write_evaluation
        from llmcli.cli.labels.fitted_calibration import make_problem, score_labelled, warn_of_scoring

        flags, rows = self._flags, self._evaluation
        if rows is not None:
            scored = score_labelled(scorer, rows.rows, hidden_states=False)
            warnings = warn_of_scoring(self._ctx, scored)
            figures = make_problem(self._spec, scorer).evaluate(scored, rows.rows)
            write_evaluation(self._ctx, scorer.model, figures, f"of {rows.path}", flags.plot, warnings=warnings)
        else:
            assert self._labelled is not None
            assert self._calibration is not None
            assert self._calibration.stored is not None
            origin = f"of {self._labelled.path}, each predicted without itself"
            write_calibration(
                self._ctx,
                flags.calibration,
                self._calibration.stored,
                origin,
                flags.plot,
                warnings=self._calibration.scoring_warnings,
            )
        for sentence in self._threshold_sentences():
            self._ctx.console.write_outcome(sentence)
        return 0

    def draw_plot(self) -> None:
        """Draw the figures of the calibration that records were labelled with, if --plot is given."""
        if self._flags.plot is not None and self._calibration is not None and self._calibration.stored is not None:
            from llmcli.cli.labels.calibration_report import draw_calibration

            draw_calibration(self._ctx, self._flags.plot, self._flags.calibration, self._calibration.stored)

    def notices(self, summary: LabelSummary) -> Iterator[Notice]:
        """Yield where the model answers without its calibration, and how the thresholds do on the labelled rows.

        Both are added to the summary. A run with --calibrate was asked for these figures, so it writes them at once.
        """
        sentences: list[str] = []
        if self._calibration is not None:
            sentences += self._gain_sentences(self._calibration, summary)
        details = {name: {**asdict(each), "precision": each.precision} for name, each in self.thresholds.items()}
        if details:
            summary.details["target_precision"] = details if len(details) > 1 else next(iter(details.values()))
        elif self._flags.threshold is not None:
            summary.details["threshold"] = self._flags.threshold
        for sentence in [*sentences, *self._threshold_sentences()]:
            if self._labelled is None:
                yield Notice(sentence)
            else:
                self._ctx.console.write_outcome(sentence)

    def _gain_sentences(self, calibration: FittedCalibration, summary: LabelSummary) -> Iterator[str]:
        """Yield where the calibration gains nothing and does not answer, and what a new one gains."""
        from llmcli.cli.labels.calibration_report import describe_gain

        assert calibration.stored is not None
        problems, answering = calibration.stored.problems, calibration.stored.answering()
        for name, problem in problems.items():
            words = describe_gain(problem.gain)
            sentence = f"{name}: {words}" if len(problems) > 1 else words
            if name not in answering or self._labelled is not None:
                yield sentence
        summary.details["calibration_answers"] = len(answering) == len(problems)

    def _threshold_sentences(self) -> Iterator[str]:
        for name, chosen in self.thresholds.items():
            yield f"{name}: {describe_threshold(chosen)}" if len(self.thresholds) > 1 else describe_threshold(chosen)


def read_labelled_file(ctx: CommandContext, path: str, spec: LabelSpec) -> LabelledFile:
    """Return the rows of a file that the command line names. Raises as ``read_labelled_rows`` does."""
    from llmcli.cli.labels.fitted_calibration import LabelledFile
    from llmcli.cli.labels.labelled_rows import labelled_rows_name, read_labelled_rows

    assert isinstance(ctx.flags, CalibrationFlags)
    rows = read_labelled_rows(ctx, path, ctx.flags.label_column, spec.read_label)
    return LabelledFile(labelled_rows_name(path), rows)


def check_disjoint(first: str, one: LabelledFile | None, second: str, other: LabelledFile | None) -> None:
    """Raise ``UsageError`` if two files have texts in common: the first one is to tell how often labels are right."""
    if one is None or other is None:
        return
    shared = {text for text, _ in one.rows} & {text for text, _ in other.rows}
    if shared:
        words = f"{len(shared)} texts of {first} are also in {second}, so they cannot tell how often labels are right"
        raise UsageError(words, detail="Leave them out of one of the files.")


def describe_threshold(chosen: PrecisionThreshold) -> str:
    """Return how the threshold does on the labelled rows, as a sentence."""
    share = f"{chosen.correct} of {chosen.answered} labels right"
    interval = f"95% interval {chosen.low:.2f} to {chosen.high:.2f}"
    head = f"threshold {chosen.threshold:.3f}: {share} ({interval}) on {chosen.rows} labelled rows"
    return head if chosen.reached else f"no threshold reaches a precision of {chosen.target:g}; {head}"
