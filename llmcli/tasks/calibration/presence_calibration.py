"""Calibration of what holds or does not: one problem with two labels for each name.

Names are statements, or labels that do not exclude each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.calibration_figures import CalibrationFigures, measure_figures
from llmcli.tasks.calibration.feature_blocks import SCORES, read_layers
from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix
from llmcli.tasks.calibration.fitted_problem import FittedProblem, compare_with_uncalibrated
from llmcli.tasks.calibration.record_features import score_features
from llmcli.tasks.labels.multi_label_scorer import MultiLabelScorer
from llmcli.types import HiddenStates

YES, NO = "yes", "no"
PRESENCE_LABELS = (YES, NO)


def fit_presence(
    features: FeatureSet, truth: Sequence[Collection[str]], uncalibrated: Mapping[str, Sequence[float]]
) -> dict[str, FittedProblem]:
    """Return the problem of each name; ``truth`` has the names that hold for each row.

    ``uncalibrated`` has by name the probabilities that it holds, one for each row, without a calibration. Raises
    ``ValueError`` as ``fit`` does, above all for a name that holds for every row or for none.
    """
    found = {}
    for name, shares in uncalibrated.items():
        calibration = fit(features, presence_labels(truth, name), FitOptions(labels=PRESENCE_LABELS))
        found[name] = compare_with_uncalibrated(calibration, _both_probabilities(shares))
    return found


def presence_labels(truth: Sequence[Collection[str]], name: str) -> list[str]:
    """Return for each row whether a name holds, as a label."""
    return [YES if name in each else NO for each in truth]


def measure_presence(shares: Sequence[float], truth: Sequence[Collection[str]], name: str) -> CalibrationFigures:
    """Return the figures of the probabilities that a name holds, one for each row."""
    targets = np.array([PRESENCE_LABELS.index(label) for label in presence_labels(truth, name)])
    return measure_figures(_both_probabilities(shares), targets, PRESENCE_LABELS)


def _both_probabilities(shares: Sequence[float]) -> Matrix:
    """Return the probabilities (rows, 2) of ``PRESENCE_LABELS`` from those of the first one."""
    held = np.asarray(shares)
    return np.stack([held, 1 - held], axis=1)


class CalibratedPresence:
    """A ``LabelCalibrator`` whose probabilities are those of names, each by itself.

    Names without a problem have the probabilities of ``uncalibrated``, a scorer whose prior is measured; None if every
    name has one.
    """

    def __init__(self, problems: Mapping[str, FittedProblem], uncalibrated: MultiLabelScorer | None = None) -> None:
        self._calibrations = {name: problem.calibration for name, problem in problems.items()}
        self._uncalibrated = uncalibrated

    @property
    def needs_hidden_states(self) -> bool:
        """Whether a problem uses more than the scores."""
        return any(each.needs_hidden_states for each in self._calibrations.values())

    @property
    def needs_scores(self) -> bool:
        """Whether a problem uses the scores, or a name has none."""
        calibrations = self._calibrations.values()
        return self._uncalibrated is not None or any(SCORES in each.blocks for each in calibrations)

    @property
    def second_stage(self) -> None:
        """None: it is no cascade."""
        return None

    @property
    def state_layers(self) -> tuple[int, ...]:
        """The layers of the hidden states that the problems use."""
        return read_layers(block for each in self._calibrations.values() for block in each.blocks)

    def calibrate(self, raw: Mapping[str, float], states: HiddenStates | None) -> dict[str, float]:
        """Return the probability of each name. Raises ``KeyError`` without states that are needed."""
        scorer = self._uncalibrated
        others = {} if scorer is None else scorer.presence(scorer.correct_scores(raw, states))
        features = score_features(raw, states)
        return {
            **others,
            **{name: float(each.probabilities(features)[0, 0]) for name, each in self._calibrations.items()},
        }
