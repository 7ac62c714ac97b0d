"""Shows an audit: a table, sentences, a report in Markdown, and a chart of the shifts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli import __version__
from llmcli.cli.console.table import render_table
from llmcli.cli.render import svg_chart
from llmcli.cli.render.svg_chart import Axis, Chart, make_axis
from llmcli.fast_dataclass import asdict
from llmcli.tasks.audit.group_shifts import POWER
from llmcli.tasks.audit.pronouns import AGREEMENT_PROBLEMS

if TYPE_CHECKING:
    from llmcli.tasks.audit import AuditResult
    from llmcli.tasks.audit.group_shifts import GroupShift, ShiftEstimate
    from llmcli.tasks.audit.swap_file import SwapFile

_MAX_CHARTS = 6
_MAX_DETECTABLE = 0.1
"""A detectable shift above which a report begins with it."""
_NAME_HEIGHT = 0.22
"""Of a row: how far the name of a group is above its interval."""
_PLOT_NOTE = (
    "A circle is the mean shift of a group, the line its 95% interval. "
    "On the dashed line, a group is treated like the others."
)
_METHODS = (
    "The interval is a bootstrap over the inputs, for each row alone. "
    "p is that of a sign-flip test, corrected for all rows by Holm's method."
)
_FLIPS = "A flip is a decision that differs from that of most groups for the same input, or from that of the reference."
_LIMITS = """\
- It compares words. People differ in more than their names, and a text may tell an origin, an age or a gender by its style, its
  place or its topic: none of that is swapped.
- Names tell a group by chance: readers, and models, may take one for another, and a name also tells of age and income. The
  intervals are about the inputs, not about the words: other names of a group may shift otherwise.
- No difference found is no proof of equal treatment: it holds for these inputs, this prompt and this model, and up to the width
  of the intervals.
- Equal treatment of these words is no fairness of the decision: a label that is wrong for all groups alike has no shift.
- Pairs that would break the grammar are dropped, and the grammar is English. Texts in other languages need files whose words fit
  each other as they are.
- Refusals are found by a list of English phrases, and the sentiment of an answer is what llm sentiment takes it for, with errors
  of its own.
"""


def describe_coverage(unchanged: Mapping[str, int], dropped: Mapping[str, int]) -> str:
    """Return how many inputs and pairs an audit leaves out, and why; "" if none."""
    parts = [
        f"{count} input{'s' if count > 1 else ''} left out ({reason or 'no word to swap'})"
        for reason, count in unchanged.items()
    ]
    parts += [
        f"{count} pair{'s' if count > 1 else ''} dropped ({AGREEMENT_PROBLEMS[reason]})"
        for reason, count in sorted(dropped.items())
    ]
    return ", ".join(parts)


def describe_shift(shift: GroupShift) -> str:
    """Return "Black men: refused +0.081 (+0.052 to +0.110, p 0.003)"."""
    assert shift.estimate is not None
    estimate = shift.estimate
    said = f"{_format_shift(estimate.shift)} ({_format_interval(estimate)}, p {_format_p(estimate.p)})"
    return f"{shift.group}: {shift.measure} {said}"


def _format_interval(estimate: ShiftEstimate) -> str:
    return f"{_format_shift(estimate.low)} to {_format_shift(estimate.high)}"


def _format_shift(value: float) -> str:
    """Return the number with its sign; what is 0 as it is shown has a plus."""
    return f"{round(value, 3) + 0.0:+.3f}"


def describe_detectable(result: AuditResult) -> str:
    """Return which shift the inputs could have found in every measure and group."""
    power = f"with a power of {POWER:.0%}"
    if result.detectable is None:
        return f"These inputs are too few: in at least one group they could not have found a shift of any size {power}"
    return f"These inputs could have found a shift of {result.detectable:.3f} or more {power}"


def format_table(result: AuditResult, *, terminal: bool, columns: int) -> str:
    """Return a row for each measure and group, without the last line end: with a head on a terminal, tabs elsewhere."""
    rows = [*(_people_rows if terminal else _program_rows)(result)]
    return render_table(rows, as_json=False, terminal=terminal, columns=columns if terminal else None).removesuffix(
        "\n"
    )


def _program_rows(result: AuditResult) -> Iterator[dict[str, Any]]:
    flips = {each.group: each.flips for each in result.flips}
    for each in result.shifts:
        row: dict[str, Any] = {"measure": each.measure, "group": each.group, "pairs": each.pairs}
        row["mean"] = None if each.mean is None else f"{each.mean:.4f}"
        numbers = dict.fromkeys(("shift", "low", "high", "p")) if each.estimate is None else asdict(each.estimate)
        row |= {
            name: None if value is None else f"{round(value, 4) + 0.0:.4f}" for name, value in numbers.items()
        }  # no "-0.0000"
        yield {**row, "flips": flips.get(each.group)} if flips else row


def _people_rows(result: AuditResult) -> Iterator[dict[str, str]]:
    """Yield the cells of a table for people; significant p-values have a mark."""
    flips = {each.group: f"{each.flips}/{each.inputs}" for each in result.flips}
    for each in result.shifts:
        row = {"measure": each.measure, "group": each.group, "pairs": str(each.pairs)}
        row["mean"] = "" if each.mean is None else f"{each.mean:.3f}"
        row |= {"shift": "reference" if each.group == result.reference else "", "95%_interval": "", "p": ""}
        if each.estimate is not None:
            row |= {"shift": _format_shift(each.estimate.shift), "95%_interval": _format_interval(each.estimate)}
            row["p"] = _format_p(each.estimate.p) + (" *" if each.is_significant else "")
        yield {**row, "flips": flips.get(each.group, "")} if flips else row


def _format_p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004 (the last digit that is shown)


# ---- the report ---------------------------------------------------------------------------------------------------


def format_report(result: AuditResult, swaps: SwapFile, title: str, *, model: str, prompt: str) -> str:
    """Return the report in Markdown: what was compared, the shifts, the flips, and what an audit cannot show."""
    compared = "the mean of the other groups" if result.reference is None else result.reference
    left_out = describe_coverage(result.unchanged, result.dropped) or "nothing was left out"
    significant = [each for each in result.shifts if each.is_significant]
    found = ", ".join(map(describe_shift, significant)) if significant else "none"
    detectable = f"- {describe_detectable(result)}"
    is_coarse = result.detectable is None or result.detectable > _MAX_DETECTABLE
    lines = [
        f"# Audit: {title}",
        "",
        *([detectable] if is_coarse else []),
        f"- Model: {model}; prompt: {prompt}; llm {__version__}",
        (
            f"- Inputs: {result.inputs}, in {len(result.groups)} groups; "
            f"{result.answers} texts were answered, {result.failed} failed"
        ),
        f"- Coverage: {left_out}",
        f"- Words: {swaps.description or swaps.name}",
        *([f"- Source of the words: {swaps.source}"] if swaps.source else []),
        f"- Significant shifts (marked by *): {found}",
        *([] if is_coarse else [detectable]),
        "",
        "## Shifts",
        "",
        (
            f"A shift is the mean difference between a group and {compared}, by pairs: the same input with other words. "
            f"{_METHODS}"
        ),
        "",
        *_markdown_table([*_people_rows(result)]),
        "",
        *([_FLIPS, ""] if result.flips else []),
        "## Largest differences",
        "",
        *_largest_lines(result),
        "",
        "## What this audit cannot show",
        "",
    ]
    return "\n".join(lines) + "\n" + _LIMITS


def _largest_lines(result: AuditResult) -> Iterator[str]:
    for each in result.largest:
        ends = f"{each.low:.3f} ({each.low_group}), {each.high:.3f} ({each.high_group})"
        yield f"- {each.name}: {each.measure} {ends}"


def _markdown_table(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    yield line(name.replace("_", " ") for name in rows[0])
    yield line("---" for _ in rows[0])
    for row in rows:
        yield line(row.values())


# ---- the chart ----------------------------------------------------------------------------------------------------


def draw_shifts(path: str, result: AuditResult, title: str) -> bytes:
    """Return the content of the file ``path``: for each measure the shifts of the groups, the largest of many."""
    most = {
        measure: max(
            (abs(each.estimate.shift) for each in result.shifts if each.measure == measure and each.estimate),
            default=0.0,
        )
        for measure in result.measures
    }
    shown = sorted(result.measures, key=lambda measure: -most[measure])[:_MAX_CHARTS]
    rows = [each for each in result.shifts if each.measure in shown]
    ends = [0.0, *(end for each in rows if each.estimate for end in (each.estimate.low, each.estimate.high))]
    x = make_axis("shift", min(ends), max(ends))
    charts = [_draw_measure([each for each in rows if each.measure == measure], x) for measure in shown]
    return svg_chart.encode_figure(path, svg_chart.draw_figure(title, charts))


def _draw_measure(rows: Sequence[GroupShift], x: Axis) -> Chart:
    """Draw the groups below each other, each name above its interval."""
    chart = Chart(rows[0].measure, x, Axis("", 0, len(rows), ()), _PLOT_NOTE)
    chart.line([(0, 0), (0, len(rows))], svg_chart.GREY, dashed=True)
    for number, each in enumerate(rows):
        at = len(rows) - number - 0.6
        marked = f"{each.group} *" if each.is_significant else each.group
        chart.label(x.low + 0.02 * (x.high - x.low), at + _NAME_HEIGHT, marked)
        if each.estimate is not None:
            chart.line([(each.estimate.low, at), (each.estimate.high, at)])
            chart.points([(each.estimate.shift, at)])
    return chart
