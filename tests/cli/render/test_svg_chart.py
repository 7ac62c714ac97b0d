"""Charts: round ticks, places, and well-formed SVG whatever the texts are."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.cli.render import svg_chart
from llmcli.cli.render.svg_chart import Axis, Chart, draw_figure, make_axis
from llmcli.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [each.text for each in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("low", "high", "percent", "shown"),
    [
        (0, 1, False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (0.549, 1, True, ["50%", "60%", "70%", "80%", "90%", "100%"]),
        (0.82, 0.9, True, ["82%", "84%", "86%", "88%", "90%"]),
        (0, 2950, False, ["0", "1,000", "2,000", "3,000"]),
        (0, 120, False, ["0", "50", "100", "150"]),
        (0, 0, False, ["0"]),
    ],
)
def test_ticks_are_round(low, high, percent, shown):
    """A reader can count with them; the axis ends at the first and the last."""
    axis = make_axis("x", low, high, percent=percent)
    words = [text for _, text in axis.ticks]
    assert words[: len(shown)] == shown and axis.low <= low and axis.high >= high


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_an_axis_holds_its_values(low, span):
    """With few ticks, in order, at any scale."""
    axis = make_axis("x", low, low + span)
    values = [value for value, _ in axis.ticks]
    tolerance = 1e-6 * (abs(low) + span)
    assert axis.low <= low + tolerance and axis.high >= low + span - tolerance
    assert values == sorted(values) and 2 <= len(values) <= 8


def test_a_figure_is_read_from_its_text():
    """Title, headings, axes, ticks, notes and names of bars; all escaped."""
    chart = Chart("How <fast>?", make_axis("tokens & seconds", 0, 10), None, "A note.")
    chart.bar("bf16", 8, "eight")
    chart.bar("q8_0", 2, "two")
    shown = texts(draw_figure("A <title>", [chart]))
    assert {"A <title>", "How <fast>?", "tokens & seconds", "A note.", "bf16", "eight", "10"} <= set(shown)


def test_places_are_proportional():
    """The origin is the lower left corner, the highest values the upper right one."""
    axis = Axis("", 0, 10, ())
    chart = Chart("", axis, axis)
    chart.points([(0, 0), (10, 10), (5, 5)])
    circles = list(ET.fromstring(draw_figure("", [chart])).iter(f"{SVG}circle"))
    assert [(each.get("cx"), each.get("cy")) for each in circles] == [
        ("0.0", "340.0"),
        ("340.0", "0.0"),
        ("170.0", "170.0"),
    ]


def test_a_name_chooses_the_format():
    """SVG without a library; other names are refused."""
    assert svg_chart.encode_figure("a.SVG", "<svg/>") == b"<svg/>"
    with pytest.raises(UsageError, match=r"\.svg or \.png"):
        svg_chart.check_plot_path("a.gif")
