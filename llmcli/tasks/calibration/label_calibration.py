"""Calibration of labels that exclude each other: one problem, whose classes are the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llmcli.fast_dataclass import replace
from llmcli.tasks.calibration.calibration import Calibration, FitOptions, fit
from llmcli.tasks.calibration.feature_blocks import SCORES, read_layers
from llmcli.tasks.calibration.feature_set import Matrix
from llmcli.tasks.calibration.fitted_problem import FittedProblem, compare_with_uncalibrated
from llmcli.tasks.calibration.model_selection import SelectionOptions
from llmcli.tasks.calibration.record_features import fold_probe, record_features, score_features
from llmcli.tasks.labels.label_scorer import LabelScorer, SecondStage
from llmcli.tasks.labels.scored_records import ScoredRecord
from llmcli.types import HiddenStates


def fit_labels(
    scored: Sequence[ScoredRecord],
    labels: Sequence[str],
    scorer: LabelScorer,
    selection: SelectionOptions | None = None,
) -> FittedProblem:
    """Return the calibration of ``scorer``, which has none, on records with these labels. Raises as ``fit``."""
    options = FitOptions(labels=scorer.labels, selection=replace(selection or SelectionOptions(), cascades=True))
    calibration = fit(record_features(scored, from_probe=scorer.probe is not None), labels, options)
    if scorer.probe is not None:
        cascade = calibration.cascade
        if cascade is not None:
            cascade = replace(cascade, scores=fold_probe(cascade.scores, scorer.probe))
        calibration = replace(calibration, scores=fold_probe(calibration.scores, scorer.probe), cascade=cascade)
    return compare_with_uncalibrated(calibration, label_probabilities(scored))


def label_probabilities(scored: Sequence[ScoredRecord]) -> Matrix:
    """Return the probabilities of the labels of the scorer, (rows, labels)."""
    return np.array([[*each.scores.probabilities.values()] for each in scored])


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
        """Whether it uses the scores of all texts."""
        return SCORES in self._calibration.blocks

    @property
    def second_stage(self) -> SecondStage | None:
        """The second stage; None if the calibration is no cascade."""
        cascade = self._calibration.cascade
        if cascade is None:
            return None
        blocks = cascade.scores.coefficients
        return SecondStage(cascade.margin, read_layers(blocks), SCORES in blocks)

    @property
    def state_layers(self) -> tuple[int, ...]:
        """The layers of the hidden states that it uses."""
        return read_layers(self._calibration.blocks)

    def calibrate(self, raw: Mapping[str, float], states: HiddenStates | None) -> dict[str, float]:
        """Return the probability of each label. Raises ``KeyError`` without states that are needed."""
        is_second = bool(raw) or (states is not None and states.layers != self.state_layers)
        (row,) = self._calibration.stage_probabilities(score_features(raw, states), second=is_second)
        return dict(zip(self._calibration.labels, map(float, row), strict=True))
