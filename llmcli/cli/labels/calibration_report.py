"""The report of a calibration: its figures, also as JSON, what it gains, what to do next, and a drawing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePath
from textwrap import fill
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console.suggestion import format_command, format_option
from llmcli.cli.flags import Flags, model_options
from llmcli.cli.labels.scoring_flags import CalibrationFlags, ScoringFlags
from llmcli.cli.render import svg_chart
from llmcli.cli.render.report_file import write_report_file
from llmcli.cli.render.svg_chart import Chart, make_axis
from llmcli.errors import UsageError

if TYPE_CHECKING:
    from llmcli.tasks.calibration.calibration import Cascade
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures, IntervalEstimate
    from llmcli.tasks.calibration.calibration_store import StoredCalibration
    from llmcli.tasks.calibration.fitted_problem import CalibrationGain, FittedProblem
    from llmcli.tasks.calibration.learning_curve import LearningCurve

_SCORES_COST = (
    "Label scores take the whole model, and are computed for all texts only where they clearly pay; "
    "states end after their last layer."
)
_WIDTH = 100
"""Columns of a sentence."""
SEVERAL_PLOTS = "--plot draws the figures of one choice; --multi has one for each label"
_BLOCK_NAMES = {
    "scores": "label scores",
    "probe": "the probe that ships with llm",
    "mean": "mean hidden state",
    "last": "last hidden state",
}


def write_calibration(
    ctx: CommandContext,
    name: str | None,
    stored: StoredCalibration,
    origin: str,
    plot: str | None,
    *,
    warnings: Sequence[str] | None = None,
) -> None:
    """Write what a calibration gains and draw it into the file ``plot``, as ``draw_calibration`` does.

    ``warnings`` are in the JSON.

    Raises ``UsageError`` if it has several labels, which are not drawn.
    """
    if plot is not None and len(stored.problems) > 1:
        raise UsageError(SEVERAL_PLOTS, detail="Leave it out.")
    following = next_command(ctx.flags, name, stored)
    if ctx.console.as_json:
        said = {} if warnings is None else {"warnings": [*warnings]}
        ctx.console.write_record({"calibration": name, **stored.to_json(), "next": following, **said})
    lines = [f"model              {stored.model}"]
    for title, problem in stored.problems.items():
        lines += [*_heading(title, stored.problems), *_describe_problem(problem, origin)]
    _write_lines(ctx, [*lines, "", f"next: {following}"])
    if plot is not None:
        draw_calibration(ctx, plot, name, stored)


def draw_calibration(ctx: CommandContext, plot: str, name: str | None, stored: StoredCalibration) -> None:
    """Draw the figures of a calibration of one choice, called ``name`` (None: not saved), into the file ``plot``."""
    (problem,) = stored.problems.values()
    title = f"Calibration{f' {name}' if name else ''} of llm {stored.identity['verb']}, {PurePath(stored.model).name}"
    write_report_file(ctx, plot, draw_plot(plot, title, problem.figures, problem))


def _describe_problem(problem: FittedProblem, origin: str) -> list[str]:
    calibration = problem.calibration
    features = _describe_blocks(calibration.choice.weights)
    cascade = calibration.cascade
    lines = [
        f"features           {features}",
        *([] if cascade is None else [f"where it is unsure {_describe_cascade(cascade)}"]),
        f"rows               {problem.figures.rows:,} {origin}",
        "",
        *_format_figures(problem.figures, problem.gain.before),
        "",
        _sentence(describe_gain(problem.gain)),
    ]
    if (curve := calibration.curve) is not None:
        points = ", ".join(f"{size:,}: {share:.3f}" for size, share in zip(curve.sizes, curve.accuracies, strict=True))
        lines += [_sentence(_read_curve(curve)), f"Accuracy by the number of labels: {points}"]
    losses = [*_format_losses(calibration.choice.losses)]
    return [*lines, *(["", *losses] if losses else []), *_format_tables(problem.figures)]


def _describe_cascade(cascade: Cascade) -> str:
    """Return which texts are asked about again, and what then counts."""
    return f"{_describe_blocks(cascade.choice.weights)}; if the first label leads by less than {cascade.margin:.2f}"


def _describe_blocks(names: Collection[str]) -> str:
    """Return blocks in words: each kind once, then the layers of all hidden states."""
    from llmcli.tasks.calibration.feature_blocks import read_layers, split_block

    kinds, layers = dict.fromkeys(split_block(name)[0] for name in names), [*map(str, read_layers(names))]
    said = f" (layer{'s' if len(layers) > 1 else ''} {' and '.join(layers)})" if layers else ""
    return ", ".join(_BLOCK_NAMES.get(kind, kind) for kind in kinds) + said


def _format_losses(losses: Mapping[str, float]) -> Iterator[str]:
    """Yield a table of what each combination of features gives."""
    if losses:
        rows = [(f"{loss:.3f}", _describe_blocks(names.split(", "))) for names, loss in losses.items()]
        yield from _align([("log-loss", "features tried; less is better"), *rows], right=False)
        yield _SCORES_COST


def _sentence(words: str) -> str:
    return fill(f"{words[0].upper()}{words[1:]}.", _WIDTH, break_long_words=False)


def write_evaluation(
    ctx: CommandContext,
    model: str,
    figures: Mapping[str, CalibrationFigures],
    origin: str,
    plot: str | None,
    *,
    warnings: Sequence[str],
) -> None:
    """Write the figures of labels compared with those of people, and draw them into the file ``plot``.

    ``warnings`` are in the JSON.
    """
    if ctx.console.as_json:
        found = {name: {"figures": each.to_json()} for name, each in figures.items()}
        fields = {"problems": found} if len(found) > 1 else next(iter(found.values()))
        ctx.console.write_record({"model": model, **fields, "warnings": [*warnings]})
    lines = [f"model              {model}"]
    for title, each in figures.items():
        rows = f"rows               {each.rows:,} {origin}"
        lines += [*_heading(title, figures), rows, "", *_format_figures(each), *_format_tables(each)]
        if plot is not None:
            heading = f"Labels of llm {ctx.verb}, {PurePath(model).name}"
            write_report_file(ctx, plot, draw_plot(plot, heading, each, None))
    _write_lines(ctx, lines)


def _heading(title: str, problems: Mapping[str, object]) -> list[str]:
    """Return the lines that name one of several problems."""
    return ["", title] if len(problems) > 1 else []


def _write_lines(ctx: CommandContext, lines: Sequence[str]) -> None:
    if not ctx.console.as_json:
        ctx.console.write_stdout("\n".join(lines) + "\n")


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


def describe_gain(gain: CalibrationGain) -> str:
    """Return whether the calibration helps, by how much, and what answers."""
    nearer = "nearer to" if gain.brier.value > 0 else "farther from" if gain.brier.value < 0 else "as far from"
    differs = (gain.accuracy.value < 0) == (gain.brier.value > 0)
    changes = f"the probabilities are {nearer} the truth, {'but' if differs else 'and'} {_count_right(gain.accuracy)}"
    if gain.is_gain:
        chance = ", which may be chance with so few rows" if gain.brier.low <= 0 and gain.accuracy.low <= 0 else ""
        return f"the calibration helps: {changes}{chance}"
    return f"the calibration gains nothing: {changes}; llm answers without it"


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
    return format_option("--examples", flags.examples)


_CURVE_POINTS = 40
_CURVE_MARGIN = 0.02
"""The share by which the axis of a learning curve exceeds its lowest and highest value."""
_MAX_LOW = 0.9
"""The least probability on the axes of reliability: with less than ten points between their ends, they have no
places."""
_MIN_RADIUS, _RADIUS_GROWTH = 3, 8
"""Pixels of a circle for no rows, and what the most rows add."""
_RELIABILITY_NOTE = (
    "A circle is the rows with about this probability; the more rows, the larger. "
    "On the dashed line, of the labels with 80% just 80% are right."
)
_CURVE_NOTE = "The circles were measured by fits that did not see the rows; the line is the expected course."


def draw_plot(path: str, title: str, figures: CalibrationFigures, problem: FittedProblem | None) -> bytes:
    """Return the content of the file ``path``: reliability and, of a fitted problem with one, the learning curve."""
    charts = [_draw_reliability(figures)]
    if problem is not None and problem.calibration.curve is not None:
        charts.append(_draw_curve(problem.calibration.curve, problem.gain.before.accuracy.value))
    return svg_chart.encode_figure(path, svg_chart.draw_figure(title, charts))


def _draw_reliability(figures: CalibrationFigures) -> Chart:
    heading = f"Are the probabilities honest? {figures.rows:,} rows, calibration error {figures.ece.value:.3f}"
    low = min((min(each.confidence, each.accuracy, _MAX_LOW) for each in figures.reliability), default=0.0)
    x = make_axis("probability that llm gives its label", low, 1, percent=True)
    y = make_axis("share of these labels that are right", low, 1, percent=True)
    chart = Chart(heading, x, y, _RELIABILITY_NOTE)
    chart.line([(x.low, y.low), (1, 1)], svg_chart.GREY, dashed=True)
    across = 1 - x.low
    chart.label(x.low + 0.03 * across, 1 - 0.06 * across, "more often right than it says")
    chart.label(1 - 0.03 * across, y.low + 0.04 * across, "less often right than it says", anchor="end")
    most = max((each.rows for each in figures.reliability), default=1)
    for each in figures.reliability:
        chart.circle(each.confidence, each.accuracy, _MIN_RADIUS + _RADIUS_GROWTH * (each.rows / most) ** 0.5)
    return chart


def _draw_curve(curve: LearningCurve, without: float) -> Chart:
    """Draw the accuracy by the number of labels, and that ``without`` a calibration."""
    most = max(curve.rows, *curve.sizes)
    first = curve.sizes[0]
    sizes = [first + (most - first) * step / _CURVE_POINTS for step in range(_CURVE_POINTS + 1)]
    line = [(size, min(1.0, max(0.0, curve.accuracy_at(size)))) for size in sizes]
    shares = [without, *curve.accuracies, *(share for _, share in line)]
    x = make_axis("labelled rows", 0, most)
    y = make_axis(
        "share of labels that are right",
        min(shares) - _CURVE_MARGIN,
        min(1.0, max(shares) + _CURVE_MARGIN),
        percent=True,
    )
    words = _read_curve(curve)
    chart = Chart(f"{words[0].upper()}{words[1:]}", x, y, _CURVE_NOTE)
    chart.line([(x.low, without), (x.high, without)], svg_chart.GREY, dashed=True)
    gains = line[-1][1] >= without
    beside = -0.045 if gains else 0.02  # on the side of the dashed line where the curve does not end
    chart.label(
        x.high - 0.02 * (x.high - x.low), without + beside * (y.high - y.low), "without a calibration", anchor="end"
    )
    chart.line(line)
    chart.points(zip(curve.sizes, curve.accuracies, strict=True))
    return chart
