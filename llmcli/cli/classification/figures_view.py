"""The figures of a calibration or an evaluation, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures, IntervalEstimate
    from llmcli.tasks.calibration.learning_curve import LearningCurve

_FLAT_GAIN = 0.001
"""Less than a tenth of a point is no gain."""


def format_figures(figures: CalibrationFigures, curve: LearningCurve | None, origin: str) -> list[str]:
    """Return the lines: figures, reading of the learning curve, reliability and confusion. ``origin``: of the rows."""
    lines = [
        f"rows               {figures.rows:,} {origin}",
        f"accuracy           {_format_interval(figures.accuracy)}",
        f"macro F1           {_format_interval(figures.macro_f1)}",
        f"Brier score        {figures.brier:.3f}",
        f"calibration error  {figures.ece:.3f}",
    ]
    if curve is not None:
        points = ", ".join(f"{size:,}: {share:.3f}" for size, share in zip(curve.sizes, curve.accuracies, strict=True))
        lines += [f"learning curve     {points}", f"                   {read_curve(curve)}"]
    return [*lines, "", *_format_reliability(figures), "", *_format_confusion(figures)]


def _format_interval(estimate: IntervalEstimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def read_curve(curve: LearningCurve) -> str:
    """Return what more labels would gain, as a sentence."""
    from llmcli.tasks.calibration.learning_curve import MORE_ROWS

    gain = curve.gain()
    if gain < _FLAT_GAIN:
        return f"{MORE_ROWS} more labels would gain almost nothing"
    return f"{MORE_ROWS} more labels would gain about {100 * gain:.1f} points"


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


def _align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows as columns: the first one to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = row
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        yield "  ".join((first.ljust(widths[0]), *cells))
