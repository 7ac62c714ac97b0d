"""The two kinds of calibrations: for labels that exclude each other, and for what holds or does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from llmcli.tasks.calibration.calibration_errors import TooFewLabels

if TYPE_CHECKING:
    from llmcli.cli.classification.calibration_run import LabelledFile
    from llmcli.cli.classification.labelled_rows import LabelledRows
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures
    from llmcli.tasks.calibration.calibration_store import FittedProblem
    from llmcli.tasks.calibration.feature_set import FeatureSet
    from llmcli.tasks.calibration.presence_calibration import CalibratedPresence
    from llmcli.tasks.calibration.record_features import CalibratedScores
    from llmcli.tasks.classification.label_scorer import LabelScorer
    from llmcli.tasks.classification.precision_threshold import PrecisionThreshold
    from llmcli.tasks.classification.scored_records import ScoredRecord

LABEL = "label"


class LabelKind:
    """One problem, ``LABEL``: which of the labels of the scorer a record has. A row's label is one of them."""

    def fit(self, features: FeatureSet, labelled: LabelledFile, scorer: LabelScorer) -> Mapping[str, FittedProblem]:
        """Return the fitted problem. Raises ``TooFewLabels``."""
        from llmcli.tasks.calibration.calibration import FitOptions, fit
        from llmcli.tasks.calibration.calibration_store import FittedProblem

        labels = [label for _, label in labelled.rows]
        if len(set(labels)) == 1:
            raise TooFewLabels(labelled.path, detail=f"all are {labels[0]}")
        calibration = fit(features, labels, FitOptions(labels=scorer.labels))
        return {LABEL: FittedProblem(calibration, calibration.figures())}

    def make_calibrator(self, problems: Mapping[str, FittedProblem]) -> CalibratedScores:
        """Return what computes the probabilities of all labels."""
        from llmcli.tasks.calibration.record_features import CalibratedScores

        return CalibratedScores(problems[LABEL].calibration)

    def evaluate(
        self, scored: Sequence[ScoredRecord], rows: LabelledRows, scorer: LabelScorer
    ) -> Mapping[str, CalibrationFigures]:
        """Return the figures of the probabilities of labelled rows."""
        import numpy as np

        from llmcli.tasks.calibration.calibration_figures import measure_figures

        probabilities = np.array([[*each.scores.probabilities.values()] for each in scored])
        targets = np.array([scorer.labels.index(label) for _, label in rows])
        return {LABEL: measure_figures(probabilities, targets, scorer.labels)}

    def choose_thresholds(self, problems: Mapping[str, FittedProblem], target: float) -> dict[str, PrecisionThreshold]:
        """Return the threshold from which the chosen label is right that often."""
        from llmcli.tasks.classification.precision_threshold import choose_threshold

        calibration = problems[LABEL].calibration
        assert calibration.heldout is not None
        right = calibration.heldout.argmax(axis=1) == calibration.targets
        return {LABEL: choose_threshold(calibration.heldout.max(axis=1).tolist(), right.tolist(), target)}


class PresenceKind:
    """A problem for each of ``names``: whether it holds. The label of a row is the names that hold.

    ``combine`` returns the probabilities of the names from those of the scorer without calibration. ``inverted``: a
    threshold is chosen for what does not hold.
    """

    def __init__(
        self,
        names: Sequence[str],
        combine: Callable[[Mapping[str, float]], Mapping[str, float]] = dict,
        *,
        inverted: bool = False,
    ) -> None:
        self._names = tuple(names)
        self._combine = combine
        self._inverted = inverted

    def fit(self, features: FeatureSet, labelled: LabelledFile, scorer: LabelScorer) -> Mapping[str, FittedProblem]:
        """Return the fitted problems. Raises ``TooFewLabels`` for a name that holds for all rows or for none."""
        from llmcli.tasks.calibration.presence_calibration import fit_presence

        del scorer
        truth = [names for _, names in labelled.rows]
        for name in self._names:
            count = sum(name in each for each in truth)
            if count in {0, len(truth)}:
                raise TooFewLabels(labelled.path, detail=f"{name} holds for {'all' if count else 'none'} of them")
        return fit_presence(features, truth, self._names)

    def make_calibrator(self, problems: Mapping[str, FittedProblem]) -> CalibratedPresence:
        """Return what computes the probability of each name."""
        from llmcli.tasks.calibration.presence_calibration import CalibratedPresence

        return CalibratedPresence(problems)

    def evaluate(
        self, scored: Sequence[ScoredRecord], rows: LabelledRows, scorer: LabelScorer
    ) -> Mapping[str, CalibrationFigures]:
        """Return the figures of the probabilities of each name on labelled rows."""
        from llmcli.tasks.calibration.presence_calibration import measure_presence
        from llmcli.tasks.classification.presence_scorer import PresenceScorer

        assert isinstance(scorer, PresenceScorer)
        found = [self._combine(scorer.presence(each.scores)) for each in scored]
        truth = [names for _, names in rows]
        return {name: measure_presence([each[name] for each in found], truth, name) for name in self._names}

    def choose_thresholds(self, problems: Mapping[str, FittedProblem], target: float) -> dict[str, PrecisionThreshold]:
        """Return the probability of each name from which it holds that often, or of its opposite if inverted."""
        from llmcli.tasks.calibration.presence_calibration import NO, PRESENCE_LABELS, YES
        from llmcli.tasks.classification.precision_threshold import choose_threshold

        column = PRESENCE_LABELS.index(NO if self._inverted else YES)
        found = {}
        for name, problem in problems.items():
            heldout, targets = problem.calibration.heldout, problem.calibration.targets
            assert heldout is not None
            found[name] = choose_threshold(heldout[:, column].tolist(), (targets == column).tolist(), target)
        return found
