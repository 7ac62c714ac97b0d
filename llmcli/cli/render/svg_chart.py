"""Charts as SVG 1.1 or PNG, without a drawing library: axes with round ticks, points, lines, bars and notes.

A chart is a square; a figure has one or several beside each other, below a title.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from llmcli.cli.console import wrapping
from llmcli.cli.render.report_file import check_report_path
from llmcli.errors import MissingExtra, UsageError
from llmcli.fast_dataclass import frozen

_SIDE = 340
"""Pixels of a chart's sides."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 28, 92, 112
"""Pixels around a chart: to its left the vertical axis, above the titles, below the horizontal axis and a note."""
_HEADING_COLUMNS, _NOTE_COLUMNS = 50, 62
_LINE_HEIGHT = 16
_HEADING_GAP = 18
"""Pixels from the square to the headings, which a circle on its upper side does not touch."""
_TITLE_PIXELS = 9
"""Width of a character of the title."""
INK, BLUE, GREY = "#222222", "#1f77b4", "#767676"
_GRID = "#dddddd"
_ROUND_STEPS = (1, 2, 5, 10)
_NUM_TICKS = 5


@frozen
class Axis:
    """An axis from ``low`` to ``high``; ``ticks`` are values with their texts."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Return where a value is on the axis, 0 to 1 within it."""
        return (value - self.low) / (self.high - self.low)


def make_axis(label: str, low: float, high: float, *, percent: bool = False) -> Axis:
    """Return an axis with about ``_NUM_TICKS`` round ticks from ``low`` to ``high``; ``percent``: of shares."""
    rough = max(high - low, 1e-9) / _NUM_TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = size * next(each for each in _ROUND_STEPS if each * size >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    values = [round(number * step, 10) for number in range(first, last + 1)]
    ticks = tuple((value, f"{100 * value:g}%" if percent else f"{value:,g}") for value in values)
    return Axis(label, values[0], values[-1], ticks)


class Chart:
    """One chart of a figure; the methods add to its drawing. ``y`` None: the rows have names, given to ``bar``."""

    def __init__(self, heading: str, x: Axis, y: Axis | None, note: str = "") -> None:
        self.heading = heading
        self.note = note
        self._x, self._y = x, y
        self._parts: list[str] = []
        self._bars: list[tuple[str, float, str]] = []

    def points(self, places: Iterable[tuple[float, float]], radius: float = 4.0) -> None:
        """Add a circle at each place."""
        for x, y in places:
            self.circle(x, y, radius)

    def circle(self, x: float, y: float, radius: float) -> None:
        """Add a circle; ``radius`` in pixels."""
        left, top = self._place(x, y)
        self._parts.append(
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius:.1f}" fill="{BLUE}" fill-opacity="0.7"/>'
        )

    def line(self, places: Iterable[tuple[float, float]], colour: str = BLUE, *, dashed: bool = False) -> None:
        """Add a line through the places."""
        joined = " ".join(f"{left:.1f},{top:.1f}" for left, top in (self._place(x, y) for x, y in places))
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')

    def label(self, x: float, y: float, words: str, *, anchor: str = "start") -> None:
        """Add words at a place."""
        left, top = self._place(x, y)
        self._parts.append(_text(left, top, words, anchor=anchor, size=11, colour=GREY))

    def bar(self, name: str, value: float, words: str) -> None:
        """Add a row: its name, a bar as long as ``value``, and words at its end."""
        self._bars.append((name, value, words))

    def _place(self, x: float, y: float) -> tuple[float, float]:
        assert self._y is not None
        return self._x.share(x) * _SIDE, (1 - self._y.share(y)) * _SIDE

    def draw(self) -> Iterator[str]:
        """Yield the elements, with the upper left corner of the chart's square at 0, 0."""
        lines = textwrap.wrap(self.heading, _HEADING_COLUMNS)
        for number, words in enumerate(reversed(lines)):
            yield _text(0, -_HEADING_GAP - number * _LINE_HEIGHT, words)
        for value, words in self._x.ticks:
            left = self._x.share(value) * _SIDE
            yield f'<line x1="{left:.1f}" y1="0" x2="{left:.1f}" y2="{_SIDE}" stroke="{_GRID}"/>'
            yield _text(left, _SIDE + 18, words, anchor="middle")
        yield from self._draw_vertical_axis()
        yield f'<rect width="{_SIDE}" height="{_SIDE}" fill="none" stroke="{GREY}"/>'
        yield _text(_SIDE / 2, _SIDE + 38, self._x.label, anchor="middle", weight="bold")
        for number, words in enumerate(textwrap.wrap(self.note, _NOTE_COLUMNS)):
            yield _text(0, _SIDE + 60 + number * 14, words, size=11, colour=GREY)
        yield from self._draw_bars()
        yield from self._parts

    def _draw_vertical_axis(self) -> Iterator[str]:
        if self._y is None:
            return
        for value, words in self._y.ticks:
            top = (1 - self._y.share(value)) * _SIDE
            yield f'<line x1="0" y1="{top:.1f}" x2="{_SIDE}" y2="{top:.1f}" stroke="{_GRID}"/>'
            yield _text(-8, top + 4, words, anchor="end")
        turn = f' transform="rotate(-90 -52 {_SIDE / 2})"'
        yield _text(-52, _SIDE / 2, self._y.label, anchor="middle", weight="bold", more=turn)

    def _draw_bars(self) -> Iterator[str]:
        height = _SIDE / max(1, len(self._bars))
        for number, (name, value, words) in enumerate(self._bars):
            top, width = number * height + height * 0.2, max(1.0, self._x.share(value) * _SIDE)
            area = f'y="{top:.1f}" width="{width:.1f}" height="{height * 0.6:.1f}"'
            yield f'<rect x="0" {area} fill="{BLUE}" fill-opacity="0.7"/>'
            yield _text(-8, top + height * 0.3 + 4, name, anchor="end")
            inside = width > _SIDE / 2
            left = width - 8 if inside else width + 8
            yield _text(left, top + height * 0.3 + 4, words, anchor="end" if inside else "start")


def draw_figure(title: str, charts: Sequence[Chart]) -> str:
    """Return an SVG 1.1 document with the charts beside each other."""
    each = _LEFT + _SIDE + _RIGHT
    width, height = each * len(charts), _TOP + _SIDE + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<g font-family="sans-serif" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(_LEFT, 28, wrapping.truncate(title, (width - _LEFT) // _TITLE_PIXELS), size=16, weight="bold"),
    ]
    for number, chart in enumerate(charts):
        parts += [f'<g transform="translate({number * each + _LEFT} {_TOP})">', *chart.draw(), "</g>"]
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


def check_plot_path(path: str) -> None:
    """Raise ``UsageError`` unless the name ends in .svg or .png, and ``MissingExtra`` if a PNG cannot be drawn.

    Raises as ``check_report_path``, too.
    """
    check_report_path("--plot", path)
    if path.lower().endswith(".svg"):
        return
    if not path.lower().endswith(".png"):
        raise UsageError(f"--plot {path}: the name must end in .svg or .png")
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("resvg_py", "font_roboto")):
        raise MissingExtra("the library resvg-py for a PNG (an SVG needs none)", detail="plot")


def encode_figure(path: str, svg: str) -> bytes:
    """Return the content of the file ``path``, which ``check_plot_path`` accepted."""
    if path.lower().endswith(".svg"):
        return svg.encode()
    import font_roboto
    import resvg_py

    # a server may have no font of its own, and the text would be left out
    fonts = [font_roboto.Roboto, font_roboto.RobotoBold]
    drawn = resvg_py.svg_to_bytes(
        svg_string=svg, zoom=2, font_files=fonts, skip_system_fonts=True, sans_serif_family="Roboto"
    )
    return bytes(drawn)


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 13,
    colour: str = INK,
    weight: str = "normal",
    more: str = "",
) -> str:
    style = "" if weight == "normal" else f' font-weight="{weight}"'
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{style}{more}>'
        f"{escape(words)}</text>"
    )
