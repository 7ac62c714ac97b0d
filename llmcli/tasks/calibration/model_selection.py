"""Chooses blocks of features, their weights and the penalty by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llmcli.fast_dataclass import field, frozen
from llmcli.tasks.calibration.cross_validation import Fold, Targets, make_folds, predict_folds, row_losses
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, PROBE, SCORES, read_layers, split_block, state_block
from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix
from llmcli.tasks.calibration.feature_space import BlockScale, FeatureSpace, make_space, measure_scales
from llmcli.tasks.calibration.softmax_regression import Tensor, fit_softmax, softmax

PENALTIES = tuple(10.0 ** np.arange(-2.0, 2.1, 0.5))
"""Candidates, for blocks whose rows have a mean square of 1."""
_LARGE_ROWS = 1000
"""With more rows, one division tells candidates apart."""
CASCADE_SHARE = 0.1
"""Of the rows: those that the second stage of a cascade labels."""
_SURE_MARGIN = 0.9
"""A text whose most likely label leads by more is not asked about again, even if it is among the least sure."""
_TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(4.0), 121))


@frozen
class FitChoice:
    """The weight of each block that is used, the penalty, and the temperature by which logits are divided.

    ``losses``: the held-out log-loss of each combination of blocks that was tried, by their names with ", " between
    them.
    """

    weights: Mapping[str, float]
    penalty: float
    temperature: float
    losses: Mapping[str, float] = field(default_factory=dict)


@frozen
class CascadeChoice:
    """The second stage of a cascade (Viola and Jones 2001, Rapid Object Detection using a Boosted Cascade).

    It labels the rows whose two most likely labels are less than ``margin`` apart by the first stage, in probability.
    """

    choice: FitChoice
    margin: float


@frozen
class LinearScores:
    """Logits as a linear function of features: ``coefficients`` by block (width, classes), ``bias`` (classes,)."""

    coefficients: Mapping[str, Matrix]
    bias: Matrix

    def logits(self, features: FeatureSet) -> Tensor:
        """Return the logits, (rows, classes). Raises ``KeyError`` for a missing block, ``ValueError`` for its width."""
        parts = [features.blocks[name] @ matrix for name, matrix in self.coefficients.items()]
        return np.asarray(sum(parts) + self.bias)


def candidate_weights(names: Sequence[str]) -> list[dict[str, float]]:
    """Return the combinations of blocks to try, the simplest first, among the blocks that there are.

    The hidden states of a combination are those of all layers that were read: a choice between them by a few hundred
    labels is right less often than both together.
    """
    found: dict[frozenset[str], dict[str, float]] = {}
    layers = read_layers(names) or (None,)
    for kinds in _PROBE_COMBINATIONS if PROBE in names else _COMBINATIONS:
        weights = {
            name: weight
            for kind, weight in kinds.items()
            for name in ([state_block(kind, layer) for layer in layers] if kind in {MEAN, LAST} else [kind])
            if name in names
        }
        found.setdefault(frozenset(weights), weights)
    return [weights for weights in found.values() if weights]


_COMBINATIONS: list[dict[str, float]] = [
    {SCORES: 1.0},
    {LAST: 1.0, MEAN: 0.7},
    {SCORES: 0.5, LAST: 1.0, MEAN: 0.7},
]
"""The last state tells most, since the model answers from it; hence the smaller weights of the others."""
_PROBE_COMBINATIONS: list[dict[str, float]] = [
    {PROBE: 3.0},
    {PROBE: 3.0, LAST: 1.0, MEAN: 0.7},
    {PROBE: 3.0, SCORES: 0.5, LAST: 1.0, MEAN: 0.7},
]
"""A probe that was fitted to other texts of the same kind tells more than few rows can: its large weight is a small
penalty, so that the rest only has to learn what it misses."""


@frozen
class SelectionOptions:
    """``folds`` divisions of the rows, ``repeats`` times in other ways (once for more than ``_LARGE_ROWS``).

    ``candidates`` None: all combinations. ``penalties``: those to try. ``cascades``: label scores may be
    computed for the ``CASCADE_SHARE`` of rows that need them most, instead of for all or none.
    """

    folds: int = 5
    repeats: int = 2
    seed: int = 0
    candidates: Sequence[Mapping[str, float]] | None = None
    penalties: Sequence[float] = PENALTIES
    cascades: bool = False


@frozen
class SelectedFit:
    """What was chosen, and the held-out logits of the rows with it (rows, classes), temperature applied.

    ``cascade``: the second stage, None if one is enough.
    """

    choice: FitChoice
    logits: Tensor
    cascade: CascadeChoice | None = None


@frozen
class TriedBlocks:
    """Blocks with the best penalty: the held-out logits, temperature not applied, and the loss of each row."""

    weights: Mapping[str, float]
    penalty: float
    logits: Tensor
    losses: Tensor

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())


def select(features: FeatureSet, targets: Targets, classes: int, options: SelectionOptions) -> SelectedFit:
    """Return the choice with the least held-out log-loss, without label scores unless these pay.

    Scores take the layers after those whose states are read, and the output matrix. States alone take their place
    unless the loss is higher by more than the standard error of the difference (Breiman et al. 1984, Classification and
    Regression Trees: the rule of one standard error), and if scores make it higher by more than that. With
    ``cascades``, one whose first stage reads the first layer alone takes the place of either by the same rule: its
    second stage is with scores, or if that is not as good and states are enough, with the states of all layers. Where
    scores pay, the first stage may read all layers too.
    """
    scales = measure_scales(features)
    repeats = options.repeats if len(targets) <= _LARGE_ROWS else 1
    folds = [fold for repeat in range(repeats) for fold in make_folds(targets, options.folds, options.seed + repeat)]
    tried = [
        try_blocks(make_space(features, scales, weights), targets, classes, options.penalties, folds)
        for weights in options.candidates or candidate_weights([*features.blocks])
    ]
    losses = {", ".join(each.weights): each.loss for each in tried}
    best, early = min(tried, key=lambda each: each.loss), _find_early(tried)
    cheaper = best if early is None or not is_as_good(early.losses, best.losses) else early
    alone = _finish(cheaper, losses, targets)
    whole = min((each for each in tried if SCORES in each.weights), key=lambda each: each.loss, default=None)
    if not options.cascades or early is None or whole is None or not is_as_good(whole.losses, early.losses):
        return alone
    first_layer = make_space(features, scales, _first_layer_weights(early.weights))
    first = _finish(try_blocks(first_layer, targets, classes, options.penalties, folds), losses, targets)
    second, states = (_finish(stage, losses, targets) for stage in (whole, early))
    for stages in ((first, second), (first, states) if cheaper is early else (states, second)):
        cascade = _join_stages(*stages)
        if is_as_good(row_losses(cascade.logits, targets), row_losses(alone.logits, targets)):
            return cascade
    return alone


def _finish(chosen: TriedBlocks, losses: Mapping[str, float], targets: Targets) -> SelectedFit:
    """Return the choice of tried blocks, with the best temperature."""
    temperature = choose_temperature(chosen.logits, targets)
    return SelectedFit(FitChoice(chosen.weights, chosen.penalty, temperature, losses), chosen.logits / temperature)


def _join_stages(first: SelectedFit, second: SelectedFit) -> SelectedFit:
    """Return the cascade of two stages, whose margin leaves ``CASCADE_SHARE`` of the rows to the second one."""
    margins = label_margins(softmax(first.logits))
    margin = min(float(np.quantile(margins, CASCADE_SHARE)), _SURE_MARGIN)
    logits = np.where(margins[:, None] < margin, second.logits, first.logits)
    return SelectedFit(first.choice, logits, CascadeChoice(second.choice, margin))


def label_margins(probabilities: Tensor) -> Tensor:
    """Return by how much the most likely label of each row leads, (rows,), from probabilities (rows, labels)."""
    ordered = np.sort(probabilities, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def try_blocks(
    space: FeatureSpace, targets: Targets, classes: int, penalties: Sequence[float], folds: Sequence[Fold]
) -> TriedBlocks:
    """Return the blocks of a space with the best of the penalties, by the held-out log-loss."""
    logits = predict_folds(space, targets, classes, np.asarray(penalties), folds)
    losses = row_losses(logits, targets)
    index = int(losses.mean(axis=0).argmin())
    return TriedBlocks(space.weights, float(penalties[index]), logits[:, index], losses[:, index])


def _find_early(tried: Sequence[TriedBlocks]) -> TriedBlocks | None:
    """Return the best candidate without label scores, of states that are not those of the last layer.

    It is None if there is none.
    """
    early = [each for each in tried if SCORES not in each.weights and read_layers(each.weights)]
    return min(early, key=lambda each: each.loss, default=None)


def _first_layer_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weights without the states of later layers than the first one that is read."""
    first = read_layers(weights)[0]
    return {name: weight for name, weight in weights.items() if split_block(name)[1] in {None, first}}


def is_as_good(losses: Tensor, best: Tensor) -> bool:
    """Whether the mean of losses is higher than that of ``best`` by at most the standard error of the difference."""
    differences = losses - best
    return bool(differences.mean() <= differences.std(ddof=1) / np.sqrt(len(differences)))


def choose_temperature(logits: Tensor, targets: Targets) -> float:
    """Return the temperature whose held-out log-loss is least (Guo et al.

    2017, On Calibration of Modern Neural Networks).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    right = shifted[np.arange(len(targets)), targets].mean()
    losses = [np.log(np.exp(shifted / each).sum(axis=1)).mean() - right / each for each in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def fit_choice(
    features: FeatureSet,
    targets: Targets,
    classes: int,
    choice: FitChoice,
    scales: Mapping[str, BlockScale] | None = None,
) -> LinearScores:
    """Return the regression with a choice on all rows, temperature applied.

    ``scales``: those of more rows than these, None for those of the rows. Their means make no difference.
    """
    known = scales or measure_scales(features)
    # around the mean of the rows, so that the bias is orthogonal to the columns
    scales = {name: known[name].centred_on(features.blocks[name]) for name in choice.weights}
    space = make_space(features, scales, choice.weights)
    solved = fit_softmax(space.design, targets, classes, np.array([choice.penalty]), space.bound)[:, 0]
    coefficients = space.columns_to_blocks(solved[:-1] / choice.temperature)
    shift = sum(scales[name].mean @ matrix for name, matrix in coefficients.items())
    return LinearScores(coefficients, np.asarray(solved[-1] / choice.temperature - shift))
