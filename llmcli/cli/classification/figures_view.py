"""The figures of a calibration or an evaluation, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures, IntervalEstimate

_LEGEND = (
    "Accuracy is the share of right labels, macro F1 the same with each label counting alike. The Brier",
    "score is how far the probabilities are from the truth, the calibration error how far they are from",
    "the share of right labels.",
)


def format_figures(figures: CalibrationFigures, before: CalibrationFigures | None = None) -> list[str]:
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


def format_tables(figures: CalibrationFigures) -> list[str]:
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
