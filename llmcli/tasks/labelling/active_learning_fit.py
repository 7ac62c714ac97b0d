"""The fit on rows that were chosen to be asked about.

They are harder than the others, so a cross-validation on them errs: with few rows, it prefers too strong a penalty, or the
label scores alone. It may only choose among what is good for random rows.
"""

from __future__ import annotations

from llmcli.tasks.calibration.feature_blocks import LAST
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.model_selection import PENALTIES, SelectionOptions, candidate_weights

_MAX_PENALTY = 0.5


def selection_options(features: FeatureSet, repeats: int = 2) -> SelectionOptions:
    """Return options for ``select`` and ``fit``: hidden states, if there are any, and weak penalties."""
    combinations = candidate_weights([*features.blocks])
    informed = [weights for weights in combinations if LAST in weights]
    penalties = [penalty for penalty in PENALTIES if penalty <= _MAX_PENALTY]
    return SelectionOptions(repeats=repeats, candidates=informed or combinations, penalties=penalties)
