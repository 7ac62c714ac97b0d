"""A calibration with its figures, and what it gains over the answers that the model gives without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llmcli.fast_dataclass import asdict, frozen
from llmcli.tasks.calibration.calibration import Calibration
from llmcli.tasks.calibration.calibration_figures import (
    CalibrationFigures,
    IntervalEstimate,
    estimate_mean,
    figures_from_json,
    measure_figures,
    squared_errors,
)
from llmcli.tasks.calibration.feature_set import Matrix


@frozen
class CalibrationGain:
    """What labelled rows get from a fit that did not see them, compared with what they get without a calibration.

    ``before``: the figures without it. ``accuracy``: the accuracy with it less that without it. ``brier``: the Brier
    score without it less that with it, so that both differences are gains where they are positive. Both are paired: the
    same rows are in each bootstrap sample of both.
    """

    before: CalibrationFigures
    accuracy: IntervalEstimate
    brier: IntervalEstimate

    @property
    def is_gain(self) -> bool:
        """Whether the probabilities are nearer to the truth, and not clearly fewer labels are right.

        The Brier score alone decides between the rest: a few rows more or less that are right are chance.
        """
        return self.brier.value > 0 and self.accuracy.high >= 0

    def to_json(self) -> dict[str, Any]:
        """Return the gain as JSON values."""
        return {
            "before": self.before.to_json(),
            "accuracy": asdict(self.accuracy),
            "brier": asdict(self.brier),
            "is_gain": self.is_gain,
        }


def gain_from_json(values: Mapping[str, Any]) -> CalibrationGain:
    """Return the gain of ``to_json``. Raises ``KeyError``, ``TypeError`` and ``ValueError`` for other values."""
    accuracy, brier = IntervalEstimate(**values["accuracy"]), IntervalEstimate(**values["brier"])
    return CalibrationGain(figures_from_json(values["before"]), accuracy, brier)


@frozen
class FittedProblem:
    """A calibration of one choice among labels, its figures, and its gain over ``uncalibrated``.

    ``uncalibrated`` has the probabilities (rows, labels) of the labelled rows without the calibration.
    """

    calibration: Calibration
    figures: CalibrationFigures
    uncalibrated: Matrix
    gain: CalibrationGain

    def to_json(self) -> dict[str, Any]:
        """Return everything but the coefficients, as JSON values."""
        calibration = self.calibration
        return {
            "rows": len(calibration.targets),
            "features": list(calibration.choice.weights),
            "cascade": None
            if calibration.cascade is None
            else {"features": list(calibration.cascade.choice.weights), "margin": calibration.cascade.margin},
            "penalty": calibration.choice.penalty,
            "temperature": calibration.choice.temperature,
            "log_losses": dict(calibration.choice.losses),
            "figures": self.figures.to_json(),
            "gain": self.gain.to_json(),
            "learning_curve": None if calibration.curve is None else calibration.curve.to_json(),
        }


def compare_with_uncalibrated(calibration: Calibration, uncalibrated: Matrix) -> FittedProblem:
    """Return a calibration with held-out probabilities, compared with those without it, (rows, labels)."""
    heldout, targets = calibration.heldout, calibration.targets
    assert heldout is not None
    right = [(each.argmax(axis=1) == targets).astype(np.float64) for each in (uncalibrated, heldout)]
    errors = [squared_errors(each, targets) for each in (uncalibrated, heldout)]
    gain = CalibrationGain(
        measure_figures(uncalibrated, targets, calibration.labels),
        estimate_mean(right[1] - right[0]),
        estimate_mean(errors[0] - errors[1]),
    )
    return FittedProblem(calibration, calibration.figures(), uncalibrated, gain)
