"""A drawing of reliability and learning curve, as SVG or PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from llmcli.cli.classification.calibration_advice import read_curve
from llmcli.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures
    from llmcli.tasks.calibration.learning_curve import LearningCurve

_SIDE, _MARGIN, _TOP = 320, 60, 50
"""Pixels: the side of a chart, the space to its left and between charts, the space above."""
_INK, _LINE, _GREY = "#222222", "#1f77b4", "#999999"
_GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
_CURVE_POINTS = 40


def check_plot_path(path: str) -> None:
    """Raise ``UsageError`` unless the name ends in .svg or .png, and ``MissingExtra`` if a PNG cannot be written."""
    if path.lower().endswith(".svg"):
        return
    if not path.lower().endswith(".png"):
        raise UsageError(f"--plot {path}: the name must end in .svg or .png")
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("resvg_py", "font_roboto")):
        raise MissingExtra("the library resvg-py for a PNG (an SVG needs none)", detail="plot")


def draw_plot(path: str, title: str, figures: CalibrationFigures, curve: LearningCurve | None) -> bytes:
    """Return the content of the file ``path``, which ``check_plot_path`` accepted."""
    svg = draw_svg(title, figures, curve)
    if path.lower().endswith(".svg"):
        return svg.encode()
    import font_roboto
    import resvg_py

    # a server may have no font of its own, and the text would be left out
    drawn = resvg_py.svg_to_bytes(
        svg_string=svg,
        zoom=2,
        font_files=[font_roboto.Roboto],
        skip_system_fonts=True,
        sans_serif_family="Roboto",
    )
    return bytes(drawn)


def draw_svg(title: str, figures: CalibrationFigures, curve: LearningCurve | None) -> str:
    """Return an SVG 1.1 document: reliability to the left and, if there is one, the learning curve to the right."""
    charts = 1 if curve is None else 2
    width, height = _MARGIN + charts * (_SIDE + _MARGIN), _TOP + _SIDE + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<g font-family="sans-serif" fill="{_INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(_MARGIN, 20, title, size=14),
        *_draw_reliability(figures, _MARGIN),
        *(() if curve is None else _draw_curve(curve, 2 * _MARGIN + _SIDE)),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _draw_reliability(figures: CalibrationFigures, left: float) -> Iterator[str]:
    heading = f"reliability: calibration error {figures.ece.value:.3f}, {figures.rows:,} rows"
    yield from _frame(left, heading, "probability of the label", [(share, f"{share:g}") for share in _GRID])
    yield _polyline([_point(left, 0, 0), _point(left, 1, 1)], _GREY, dashed=True)
    most = max((each.rows for each in figures.reliability), default=1)
    for each in figures.reliability:
        x, y = _point(left, each.confidence, each.accuracy)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 + 7 * (each.rows / most) ** 0.5:.1f}" fill="{_LINE}" fill-opacity="0.7"/>'


def _draw_curve(curve: LearningCurve, left: float) -> Iterator[str]:
    most = max(curve.rows, *curve.sizes)
    yield from _frame(left, read_curve(curve), "labelled rows", [(share, f"{most * share:.0f}") for share in _GRID])
    first = curve.sizes[0]
    sizes = [first + (most - first) * step / _CURVE_POINTS for step in range(_CURVE_POINTS + 1)]
    line = [_point(left, size / most, min(1.0, max(0.0, curve.accuracy_at(size)))) for size in sizes if size > 0]
    yield _polyline(line, _LINE)
    for size, accuracy in zip(curve.sizes, curve.accuracies, strict=True):
        x, y = _point(left, size / most, accuracy)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_LINE}"/>'


def _frame(left: float, heading: str, below: str, ticks: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Yield the axes of a chart; the vertical one is a share of right labels from 0 to 1."""
    yield f'<rect x="{left}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="{_GREY}"/>'
    yield _text(left, _TOP - 8, heading)
    yield _text(left + _SIDE / 2, _TOP + _SIDE + 36, below, anchor="middle")
    for share, label in ticks:
        yield _text(left + share * _SIDE, _TOP + _SIDE + 18, label, anchor="middle")
    for share in _GRID:
        yield _text(left - 6, _TOP + (1 - share) * _SIDE + 4, f"{share:g}", anchor="end")
    middle = _TOP + _SIDE / 2
    yield _text(left - 40, middle, "right", anchor="middle", turn=f' transform="rotate(-90 {left - 40} {middle})"')


def _point(left: float, x: float, y: float) -> tuple[float, float]:
    return left + x * _SIDE, _TOP + (1 - y) * _SIDE


def _polyline(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, turn: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{turn}>{escape(text)}</text>'
