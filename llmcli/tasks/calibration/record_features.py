"""Features of records from the scores of their labels and the hidden states of the same request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, PROBE, SCORES, probe_values, score_values, state_block
from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix
from llmcli.tasks.calibration.model_selection import LinearScores
from llmcli.tasks.labels.linear_probe import LinearProbe
from llmcli.tasks.labels.scored_records import ScoredRecord
from llmcli.types import HiddenStates


def record_features(scored: Sequence[ScoredRecord], *, from_probe: bool = False) -> FeatureSet:
    """Return the label scores of records, one or more, and their hidden states if all have them.

    ``from_probe``: their corrected scores are those of a linear probe, which become a block too.
    """
    blocks = {SCORES: np.array([score_values(each.scores.raw) for each in scored])}
    states = [each.states for each in scored if each.states is not None]
    if len(states) == len(scored):
        blocks |= _state_blocks(states)
        if from_probe:
            blocks[PROBE] = np.array([probe_values(each.scores.corrected) for each in scored])
    return FeatureSet(blocks)


def _state_blocks(states: Sequence[HiddenStates]) -> dict[str, Matrix]:
    """Return the blocks of hidden states, which are all of the same layers."""
    layers = states[0].layers or (None,)
    blocks: dict[str, Matrix] = {}
    for kind, rows in ((MEAN, [each.mean for each in states]), (LAST, [each.last for each in states])):
        matrix = np.stack([np.frombuffer(row, "<f4").astype(np.float64) for row in rows])
        parts = np.split(matrix, len(layers), axis=1)
        blocks |= {state_block(kind, layer): part for layer, part in zip(layers, parts, strict=True)}
    return blocks


def score_features(raw: Mapping[str, float], states: HiddenStates | None) -> FeatureSet:
    """Return the features of one record from the log-probabilities of its labels, and its hidden states if any."""
    blocks = {SCORES: np.array([score_values(raw)])}
    if states is not None:
        blocks |= _state_blocks([states])
    return FeatureSet(blocks)


def fold_probe(scores: LinearScores, probe: LinearProbe) -> LinearScores:
    """Return the same scores as a function of the other blocks alone: that of the probe is linear in the hidden states.

    So a saved calibration does not depend on a probe that a later version of llm replaces.
    """
    coefficients = dict(scores.coefficients)
    share = coefficients.pop(PROBE, None)
    if share is None:
        return scores
    bias = np.asarray(probe.bias)
    for name, rows in probe.coefficients.items():
        weights = np.asarray(rows)
        added = (weights - weights.mean(axis=0)).T @ share
        coefficients[name] = coefficients[name] + added if name in coefficients else added
    return LinearScores(coefficients, np.asarray(scores.bias + (bias - bias.mean()) @ share))
