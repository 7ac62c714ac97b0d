"""What a calibration gains, what more labels would, and what to do next, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.cli.classification.scoring_flags import CalibrationFlags, ScoringFlags
from llmcli.cli.console.suggestion import format_command, format_option
from llmcli.cli.flags import Flags, model_options

if TYPE_CHECKING:
    from llmcli.tasks.calibration.calibration_figures import IntervalEstimate
    from llmcli.tasks.calibration.calibration_store import StoredCalibration
    from llmcli.tasks.calibration.fitted_problem import CalibrationGain
    from llmcli.tasks.calibration.learning_curve import LearningCurve


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


def read_curve(curve: LearningCurve) -> str:
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
