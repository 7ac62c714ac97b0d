"""Figures on standard output, or as JSON, and drawn to a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from llmcli.cli.classification.calibration_advice import describe_gain, next_command, read_curve
from llmcli.cli.classification.calibration_plot import draw_plot
from llmcli.cli.classification.scoring_flags import CalibrationFlags
from llmcli.cli.classification.summary_view import write_report_file
from llmcli.cli.command_context import CommandContext

if TYPE_CHECKING:
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures, IntervalEstimate
    from llmcli.tasks.calibration.calibration_store import StoredCalibration
    from llmcli.tasks.calibration.fitted_problem import FittedProblem
    from llmcli.tasks.calibration.learning_curve import LearningCurve

_WIDTH = 100
"""Columns of a sentence."""
_BLOCK_NAMES = {
    "scores": "label scores",
    "probe": "the probe that ships with llm",
    "mean": "mean hidden state",
    "last": "last hidden state",
}


def write_calibration(ctx: CommandContext, name: str | None, stored: StoredCalibration, origin: str) -> None:
    """Write what a calibration gains and draw it, as ``draw_calibration`` does."""
    following = next_command(ctx.flags, name, stored)
    if ctx.console.as_json:
        ctx.console.write_record({"calibration": name, **stored.to_json(), "next": following})
    lines = [f"model              {stored.model}"]
    for title, problem in stored.problems.items():
        lines += [*_heading(title, stored.problems), *_describe_problem(problem, origin, keep=stored.keep)]
    _write_lines(ctx, [*lines, "", f"next: {following}"])
    draw_calibration(ctx, name, stored)


def draw_calibration(ctx: CommandContext, name: str | None, stored: StoredCalibration) -> None:
    """Draw the figures of a calibration, saved under ``name`` (None: not saved), if --plot is given."""
    for problem in stored.problems.values():
        _draw(ctx, name or stored.model, problem.figures, problem.calibration.curve)


def _describe_problem(problem: FittedProblem, origin: str, *, keep: bool) -> list[str]:
    calibration = problem.calibration
    features = ", ".join(_BLOCK_NAMES.get(each, each) for each in calibration.choice.weights)
    lines = [
        f"features           {features}",
        f"rows               {problem.figures.rows:,} {origin}",
        "",
        *_format_figures(problem.figures, problem.gain.before),
        "",
        _sentence(describe_gain(problem.gain, keep=keep)),
    ]
    if (curve := calibration.curve) is not None:
        points = ", ".join(f"{size:,}: {share:.3f}" for size, share in zip(curve.sizes, curve.accuracies, strict=True))
        lines += [_sentence(read_curve(curve)), f"Accuracy by the number of labels: {points}"]
    return [*lines, *_format_tables(problem.figures)]


def _sentence(words: str) -> str:
    return fill(f"{words[0].upper()}{words[1:]}.", _WIDTH, break_long_words=False)


def write_evaluation(ctx: CommandContext, model: str, figures: Mapping[str, CalibrationFigures], origin: str) -> None:
    """Write the figures of labels compared with those of people, and draw them if --plot is given."""
    if ctx.console.as_json:
        found = {name: {"figures": each.to_json()} for name, each in figures.items()}
        fields = {"problems": found} if len(found) > 1 else next(iter(found.values()))
        ctx.console.write_record({"model": model, **fields})
    lines = [f"model              {model}"]
    for title, each in figures.items():
        rows = f"rows               {each.rows:,} {origin}"
        lines += [*_heading(title, figures), rows, "", *_format_figures(each), *_format_tables(each)]
        _draw(ctx, model, each, None)
    _write_lines(ctx, lines)


def _heading(title: str, problems: Mapping[str, object]) -> list[str]:
    """Return the lines that name one of several problems."""
    return ["", title] if len(problems) > 1 else []


def _write_lines(ctx: CommandContext, lines: Sequence[str]) -> None:
    if not ctx.console.as_json:
        ctx.console.write_stdout("\n".join(lines) + "\n")


def _draw(ctx: CommandContext, title: str, figures: CalibrationFigures, curve: LearningCurve | None) -> None:
    flags = ctx.flags
    if isinstance(flags, CalibrationFlags) and flags.plot is not None:
        write_report_file(ctx, flags.plot, draw_plot(flags.plot, title, figures, curve))


_LEGEND = (
    "Accuracy is the share of right labels, macro F1 the same with each label counting alike. The Brier",
    "score is how far the probabilities are from the truth, the calibration error how far they are from",
    "the share of right labels.",
)


def _format_figures(figures: CalibrationFigures, before: CalibrationFigures | None = None) -> list[str]:
    """Return a table of the figures with their intervals, beside those ``before``, and what they mean."""
    columns = [figures] if before is None else [before, figures]
    heads = ["figure"] if before is None else ["without calibration", "with calibration"]
    rows = [
        ("accuracy", *(_format_interval(each.accuracy) for each in columns), "more"),
        ("macro F1", *(_format_interval(each.macro_f1) for each in columns), "more"),
        ("Brier score", *(_format_interval(each.brier) for each in columns), "less"),
        ("calibration error", *(_format_interval(each.ece) for each in columns), "less"),
    ]
    return [*_align([("", *heads, "better"), *rows], right=False), *_LEGEND]


def _format_tables(figures: CalibrationFigures) -> list[str]:
    """Return the lines of reliability and confusion."""
    return ["", *_format_reliability(figures), "", *_format_confusion(figures)]


def _format_interval(estimate: IntervalEstimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _format_reliability(figures: CalibrationFigures) -> Iterator[str]:
    rows = [
        (f"{each.low:.1f}-{each.high:.1f}", f"{each.rows:,}", f"{each.confidence:.3f}", f"{each.accuracy:.3f}")
        for each in figures.reliability
    ]
    yield from _align([("probability", "rows", "mean", "right"), *rows])


def _format_confusion(figures: CalibrationFigures) -> Iterator[str]:
    rows = [
        (label, *(f"{count:,}" for count in counts))
        for label, counts in zip(figures.labels, figures.confusion, strict=True)
    ]
    yield from _align([("true \\ chosen", *figures.labels), *rows])


def _align(rows: Sequence[Sequence[str]], *, right: bool = True) -> Iterator[str]:
    """Yield rows as columns: the first one to the left, the others to the right unless ``right`` is False."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = row
        pairs = zip(rest, widths[1:], strict=True)
        cells = (cell.rjust(width) if right else cell.ljust(width) for cell, width in pairs)
        yield "  ".join((first.ljust(widths[0]), *cells)).rstrip()
