"""Features of records from the scores of their labels and the hidden states of the same request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llmcli.tasks.calibration.calibration import Calibration
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, SCORES, score_values
from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix
from llmcli.tasks.classification.scored_records import ScoredRecord
from llmcli.types import HiddenStates


def record_features(scored: Sequence[ScoredRecord]) -> FeatureSet:
    """Return the label scores of records, one or more, and their hidden states if all have them."""
    blocks = {SCORES: np.array([score_values(each.scores.raw) for each in scored])}
    states = [each.states for each in scored if each.states is not None]
    if len(states) == len(scored):
        blocks[MEAN] = np.stack([_vector(each.mean) for each in states])
        blocks[LAST] = np.stack([_vector(each.last) for each in states])
    return FeatureSet(blocks)


def _vector(values: bytes) -> Matrix:
    return np.frombuffer(values, "<f4").astype(np.float64)


def score_features(raw: Mapping[str, float], states: HiddenStates | None) -> FeatureSet:
    """Return the features of one record from the log-probabilities of its labels, and its hidden states if there are any."""
    blocks = {SCORES: np.array([score_values(raw)])}
    if states is not None:
        blocks[MEAN], blocks[LAST] = _vector(states.mean)[None], _vector(states.last)[None]
    return FeatureSet(blocks)


class CalibratedScores:
    """A ``LabelCalibrator`` that uses a calibration. ``labels`` of the scores are those of the calibration."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration

    @property
    def needs_hidden_states(self) -> bool:
        """Whether it uses more than the scores."""
        return self._calibration.needs_hidden_states

    @property
    def needs_scores(self) -> bool:
        """True: a calibration belongs to the scores of its labels."""
        return True

    def calibrate(self, raw: Mapping[str, float], states: HiddenStates | None) -> dict[str, float]:
        """Return the probability of each label. Raises ``KeyError`` without states that are needed."""
        (row,) = self._calibration.probabilities(score_features(raw, states))
        return dict(zip(self._calibration.labels, map(float, row), strict=True))
