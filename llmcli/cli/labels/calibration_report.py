"""The report of a calibration: its figures on standard output or as JSON, what it gains, what to do next, and a drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from textwrap import fill
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console.suggestion import format_command, format_option
from llmcli.cli.flags import Flags, model_options
from llmcli.cli.labels.scoring_flags import CalibrationFlags, ScoringFlags
from llmcli.cli.labels.summary_view import write_report_file
from llmcli.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures, IntervalEstimate
    from llmcli.tasks.calibration.calibration_store import StoredCalibration
    from llmcli.tasks.calibration.fitted_problem import CalibrationGain, FittedProblem
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
        lines += [_sentence(_read_curve(curve)), f"Accuracy by the number of labels: {points}"]
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


def describe_gain(gain: CalibrationGain, *, keep: bool) -> str:
    """Return whether the calibration helps, by how much, and what answers; ``keep``: the calibration in any case."""
    nearer = "nearer to" if gain.brier.value > 0 else "farther from" if gain.brier.value < 0 else "as far from"
    differs = (gain.accuracy.value < 0) == (gain.brier.value > 0)
    changes = f"the probabilities are {nearer} the truth, {'but' if differs else 'and'} {_count_right(gain.accuracy)}"
    if gain.is_gain:
        chance = ", which may be chance with so few rows" if gain.brier.low <= 0 and gain.accuracy.low <= 0 else ""
        return f"the calibration helps: {changes}{chance}"
    answers = "it answers because of --keep" if keep else "llm answers without it, unless you give --keep"
    return f"the calibration gains nothing: {changes}; {answers}"


def _count_right(accuracy: IntervalEstimate) -> str:
    """Return the difference of accuracies as a number of labels in a hundred."""
    interval = f"95% interval {100 * accuracy.low:+.1f} to {100 * accuracy.high:+.1f}"
    if accuracy.value == 0:
        return f"as many labels are right ({interval} in 100)"
    which = "more" if accuracy.value > 0 else "fewer"
    return f"{abs(100 * accuracy.value):.1f} {which} of 100 labels are right ({interval})"


def _read_curve(curve: LearningCurve) -> str:
    """Return how many more labels are worth the work, and what they would gain."""
    from llmcli.tasks.calibration.learning_curve import MORE_ROWS

    more = curve.worthwhile_rows()
    if not more:
        return f"more labels are hardly worth it: {MORE_ROWS} would gain about {100 * curve.gain():.1f} points"
    return f"about {more:,} more labels are worth it: they would gain about {100 * curve.gain(more):.1f} points"


def next_command(flags: Flags, name: str | None, stored: StoredCalibration) -> str:
    """Return the command that uses the calibration ``name``, that saves it (None: it has no name), or that labels more.

    Where no calibration answers, records are labelled without one, or more rows by hand.
    """
    verb, problem = str(stored.identity["verb"]), _problem_options(stored)
    is_answering, given = bool(stored.answering()), [*_scoring_options(flags), *model_options(flags)]
    if is_answering and name is None and isinstance(flags, CalibrationFlags) and flags.calibrate is not None:
        return format_command(verb, *problem, "--calibrate", flags.calibrate, "--calibration", "NAME", *given)
    if is_answering and name is not None:
        return format_command(verb, *problem, "--calibration", name, *given, "FILE")
    if verb == "classify" and "--multi" not in problem:
        return format_command("label", *problem, *model_options(flags), "FILE")
    return format_command(verb, *problem, *given, "FILE")


def _problem_options(stored: StoredCalibration) -> list[str]:
    """Return the arguments that name the labels or the statements of a calibration."""
    identity = stored.identity
    if identity["verb"] == "filter":
        statement = identity["statement"]
        options = {"--and": "conjuncts", "--or": "alternatives", "--not": "excluded"}
        rest = [word for option, key in options.items() for word in format_option(option, list(statement[key]))]
        return [statement["statement"], *rest]
    if identity["verb"] != "classify":
        return []
    labels = identity["label set"]
    is_plain = all(not label["description"] and not label["examples"] for label in labels)
    names = ",".join(label["name"] for label in labels) if is_plain else "@LABELS_FILE"
    return ["--labels", names, *(["--multi"] if [*stored.problems] != ["label"] else [])]


def _scoring_options(flags: Flags) -> list[str]:
    """Return the options on which the scores of labels depend."""
    if not isinstance(flags, ScoringFlags):
        return []
    return [*format_option("--examples", flags.examples), *format_option("--nearest", flags.nearest)]


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
    svg = _draw_svg(title, figures, curve)
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


def _draw_svg(title: str, figures: CalibrationFigures, curve: LearningCurve | None) -> str:
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
    yield from _frame(left, _read_curve(curve), "labelled rows", [(share, f"{most * share:.0f}") for share in _GRID])
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
