"""A calibration answers only if it gains something over the model without it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from llmcli.tasks.calibration.calibration import Calibration
from llmcli.tasks.calibration.calibration_figures import estimate_mean
from llmcli.tasks.calibration.calibration_store import StoredCalibration
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, PROBE, SCORES, probe_values
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.fitted_problem import compare_with_uncalibrated, gain_from_json
from llmcli.tasks.calibration.model_selection import FitChoice, LinearScores, candidate_weights
from llmcli.tasks.calibration.record_features import fold_probe
from llmcli.tasks.labels.linear_probe import LinearProbe

LABELS = ("a", "b")
TARGETS = np.array([0, 1] * 50)
SURE = np.where(np.eye(2)[TARGETS] > 0, 0.9, 0.1)
"""Right for all rows."""


def problem(heldout, uncalibrated):
    """Return a calibration with these probabilities of rows, and those that the model gives without it."""
    scores = LinearScores({SCORES: np.zeros((2, 2))}, np.zeros(2))
    calibration = Calibration(LABELS, (0, 1), scores, FitChoice({SCORES: 1.0}, 1.0, 1.0), TARGETS, heldout)
    return compare_with_uncalibrated(calibration, uncalibrated)


def with_wrong(probabilities, count):
    """Return the probabilities with those of the first rows exchanged."""
    return np.concatenate([probabilities[:count, ::-1], probabilities[count:]])


@pytest.mark.parametrize(
    ("heldout", "uncalibrated", "is_gain"),
    [
        (SURE, with_wrong(SURE, 20), True),
        (with_wrong(SURE, 20), SURE, False),
        (SURE, SURE, False),
        (SURE, 0.8 * SURE + 0.1, True),  # the same labels, surer
        (with_wrong(SURE, 1), 0.8 * SURE + 0.1, True),  # one label fewer is chance
        (with_wrong(SURE, 9), np.where(SURE > 0.5, 0.51, 0.49), False),  # nine are none
    ],
    ids=["better", "worse", "same", "surer", "one-fewer", "fewer"],
)
def test_what_is_a_gain(heldout, uncalibrated, is_gain):
    """Probabilities nearer to the truth, with labels that are not clearly worse."""
    gain = problem(heldout, uncalibrated).gain
    assert gain.is_gain == is_gain
    assert gain.accuracy.low <= gain.accuracy.value <= gain.accuracy.high
    assert gain_from_json(json.loads(json.dumps(gain.to_json()))) == gain


def test_the_interval_of_a_difference_is_paired():
    """Rows that both get right tell nothing: with one row of a difference, it cannot be below 0."""
    found = estimate_mean(np.array([1.0] + [0.0] * 99))
    assert (found.value, found.low) == (0.01, 0.0) and found.high < 0.05


def test_the_model_answers_where_nothing_is_gained():
    """The probabilities of labelled rows are those of what answers."""
    problems = {"good": problem(SURE, with_wrong(SURE, 20)), "bad": problem(with_wrong(SURE, 20), SURE)}
    stored = StoredCalibration(problems, {}, "m", "2026")
    assert [*stored.answering()] == ["good"]
    assert np.array_equal(stored.answering_probabilities("good"), SURE)
    assert np.array_equal(stored.answering_probabilities("bad"), SURE)


def test_a_folded_probe_gives_the_same_scores():
    """The block of the probe is gone, and its share is in the coefficients of the states."""
    random = np.random.default_rng(0)
    probe = LinearProbe(
        "m", [], LABELS, [0.5, -1.0], {LAST: random.normal(size=(2, 4)), MEAN: random.normal(size=(2, 4))}
    )
    blocks = {name: random.normal(size=(3, 4)) for name in (LAST, MEAN)}
    logits = [sum(blocks[name] @ np.asarray(probe.coefficients[name]).T for name in blocks) + probe.bias]
    blocks[PROBE] = np.array([probe_values(dict(zip(LABELS, row, strict=True))) for row in logits[0]])
    coefficients = {PROBE: random.normal(size=(2, 2)), LAST: random.normal(size=(4, 2))}
    scores = LinearScores(coefficients, np.array([0.1, 0.2]))
    folded = fold_probe(scores, probe)
    assert {*folded.coefficients} == {LAST, MEAN}
    assert folded.logits(FeatureSet(blocks)) == pytest.approx(scores.logits(FeatureSet(blocks)))


def test_a_probe_is_always_among_the_features():
    """Of each combination that is tried, where there is one."""
    assert all(PROBE in each for each in candidate_weights([SCORES, LAST, MEAN, PROBE]))
    assert not any(PROBE in each for each in candidate_weights([SCORES, LAST, MEAN]))
