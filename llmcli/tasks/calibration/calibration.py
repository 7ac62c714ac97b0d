"""A classifier on label scores and hidden states whose probabilities are calibrated; fitted on labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from llmcli.fast_dataclass import field, frozen
from llmcli.tasks.calibration.calibration_figures import CalibrationFigures, measure_figures
from llmcli.tasks.calibration.cross_validation import Targets, make_folds
from llmcli.tasks.calibration.feature_blocks import SCORES
from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix
from llmcli.tasks.calibration.learning_curve import LearningCurve, measure_curve
from llmcli.tasks.calibration.model_selection import (
    FitChoice,
    LinearScores,
    SelectedFit,
    SelectionOptions,
    fit_choice,
    label_margins,
    select,
)
from llmcli.tasks.calibration.softmax_regression import Tensor, softmax

MIN_ROWS = 4
NESTED_ROWS = 500
"""With more rows, the choice among a few dozen candidates no longer makes held-out figures too good."""


@frozen
class FitOptions:
    """``labels``: all labels, in their order (None: those of the rows, sorted).

    ``heldout``: also predict each row from a fit, choice included, that did not see it: nested cross-validation with
    ``outer_folds`` (Varma and Simon 2006, Bias in Error Estimation When Using Cross-Validation for Model Selection).
    ``curve``: also measure the learning curve.
    """

    labels: Sequence[str] | None = None
    heldout: bool = True
    curve: bool = True
    outer_folds: int = 5
    selection: SelectionOptions = field(default_factory=SelectionOptions)


@frozen
class Cascade:
    """The second stage of a calibration; ``choice`` and ``margin`` as in ``CascadeChoice``."""

    scores: LinearScores
    choice: FitChoice
    margin: float


@frozen
class Calibration:
    """Probabilities of ``labels`` from features.

    ``heldout`` has the probabilities (rows, labels) of the labelled rows, each from a fit that did not see it; None if
    they were not requested. A label that no row has gets the probability 0.
    """

    labels: tuple[str, ...]
    seen: tuple[int, ...]
    """The indices of the labels that rows have: the columns of ``scores``."""
    scores: LinearScores
    choice: FitChoice
    targets: Targets
    """The index of the label of each row that it was fitted on."""
    heldout: Matrix | None = None
    curve: LearningCurve | None = None
    cascade: Cascade | None = None

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks of features that it uses, those of the first stage if it is a cascade."""
        return tuple(self.scores.coefficients)

    @property
    def needs_hidden_states(self) -> bool:
        """Whether it uses more than the scores of labels."""
        return set(self.blocks) != {SCORES}

    def figures(self) -> CalibrationFigures:
        """Return the figures of the held-out probabilities. Raises ``ValueError`` if there are none."""
        if self.heldout is None:
            raise ValueError("no held-out probabilities")
        return measure_figures(self.heldout, self.targets, self.labels)

    def probabilities(self, features: FeatureSet) -> Matrix:
        """Return (rows, labels), each row summing to 1; each row has the features of both stages if this is a cascade.

        Raises ``KeyError`` for a missing block, ``ValueError`` for its width.
        """
        found = _stage_probabilities(features, self.scores, self.cascade)
        return _spread(found, self.seen, len(self.labels))

    def stage_probabilities(self, features: FeatureSet, *, second: bool) -> Matrix:
        """Return (rows, labels) of one stage, of the second one if there is a cascade and ``second``.

        Raises likewise.
        """
        scores = self.cascade.scores if second and self.cascade is not None else self.scores
        return _spread(softmax(scores.logits(features)), self.seen, len(self.labels))


def fit(features: FeatureSet, labels: Sequence[str], options: FitOptions | None = None) -> Calibration:
    """Return the calibration for rows with these labels.

    Raises ``ValueError`` if there are less than ``MIN_ROWS`` rows or two labels among them, if the numbers of rows and
    labels differ, and for a label that is not in ``options.labels``.
    """
    chosen = options or FitOptions()
    names = tuple(chosen.labels if chosen.labels is not None else sorted(set(labels)))
    unknown = set(labels) - set(names)
    if unknown:
        raise ValueError(f"unknown labels: {', '.join(sorted(unknown))}")
    if len(labels) != features.rows:
        raise ValueError("rows and labels differ in number")
    whole = np.array([names.index(label) for label in labels], dtype=np.intp)
    seen, targets = np.unique(whole, return_inverse=True)
    if len(labels) < MIN_ROWS or len(seen) < 2:  # noqa: PLR2004 (a choice)
        raise ValueError(f"a calibration needs {MIN_ROWS} rows with two labels")
    columns = tuple(map(int, seen))
    # the matrices are small: threads only wait for each other, above all beside a model that computes
    with threadpool_limits(limits=1, user_api="blas"):
        selection = select(features, targets, len(seen), chosen.selection)
        heldout = None
        if chosen.heldout:
            nested = features.rows <= NESTED_ROWS
            found = _predict_nested(features, targets, len(seen), chosen) if nested else softmax(selection.logits)
            heldout = _spread(found, columns, len(names))
        scores, cascade = _fit_stages(features, targets, len(seen), selection)
        curve = measure_curve(features, targets, len(seen), selection.choice) if chosen.curve else None
    return Calibration(names, columns, scores, selection.choice, whole, heldout, curve, cascade)


def _fit_stages(
    features: FeatureSet, targets: Targets, classes: int, selected: SelectedFit
) -> tuple[LinearScores, Cascade | None]:
    """Return the regression of the choice on all rows, and that of the second stage."""
    scores = fit_choice(features, targets, classes, selected.choice)
    if selected.cascade is None:
        return scores, None
    choice, margin = selected.cascade.choice, selected.cascade.margin
    return scores, Cascade(fit_choice(features, targets, classes, choice), choice, margin)


def _stage_probabilities(features: FeatureSet, scores: LinearScores, cascade: Cascade | None) -> Tensor:
    """Return the probabilities of the first stage, and those of the second one where the first is unsure."""
    found = softmax(scores.logits(features))
    if cascade is None:
        return found
    is_unsure = label_margins(found)[:, None] < cascade.margin
    return np.where(is_unsure, softmax(cascade.scores.logits(features)), found)


def _predict_nested(features: FeatureSet, targets: Targets, classes: int, options: FitOptions) -> Tensor:
    """Return the probabilities of each row (rows, classes) from a fit, choice included, that did not see it."""
    found = np.zeros((len(targets), classes))
    for fold in make_folds(targets, options.outer_folds, options.selection.seed + 1000):
        known, labels = features.take(fold.train), targets[fold.train]
        stages = _fit_stages(known, labels, classes, select(known, labels, classes, options.selection))
        found[fold.test] = _stage_probabilities(features.take(fold.test), *stages)
    return found


def _spread(probabilities: Tensor, seen: Sequence[int], count: int) -> Matrix:
    """Return the probabilities of all labels from those of the labels that rows have."""
    whole = np.zeros((len(probabilities), count))
    whole[:, list(seen)] = probabilities
    return whole
