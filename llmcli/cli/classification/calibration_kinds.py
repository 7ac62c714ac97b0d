"""The two kinds of calibrations: for labels that exclude each other, and for what holds or does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from llmcli.errors.saved_state_errors import TooFewLabels

if TYPE_CHECKING:
    from llmcli.cli.classification.calibration_run import LabelledFile
    from llmcli.cli.labels.labelled_rows import LabelledRows
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures
    from llmcli.tasks.calibration.calibration_store import StoredCalibration
    from llmcli.tasks.calibration.fitted_problem import FittedProblem
    from llmcli.tasks.calibration.label_calibration import CalibratedScores
    from llmcli.tasks.calibration.presence_calibration import CalibratedPresence
    from llmcli.tasks.labels.label_scorer import LabelScorer
    from llmcli.tasks.labels.precision_threshold import PrecisionThreshold
    from llmcli.tasks.labels.scored_records import ScoredRecord

LABEL = "label"


class LabelKind:
    """One problem, ``LABEL``: which of the labels of the scorer a record has. A row's label is one of them."""

    def fit(
        self, scored: Sequence[ScoredRecord], labelled: LabelledFile, scorer: LabelScorer
    ) -> Mapping[str, FittedProblem]:
        """Return the fitted problem. Raises ``TooFewLabels``."""
        from llmcli.tasks.calibration.label_calibration import fit_labels

        labels = [label for _, label in labelled.rows]
        if len(set(labels)) == 1:
            raise TooFewLabels(labelled.path, detail=f"all are {labels[0]}")
        return {LABEL: fit_labels(scored, labels, scorer)}

    def make_calibrator(
        self, problems: Mapping[str, FittedProblem], make_scorer: Callable[[], LabelScorer]
    ) -> CalibratedScores:
        """Return what computes the probabilities of all labels."""
        from llmcli.tasks.calibration.label_calibration import CalibratedScores

        del make_scorer
        return CalibratedScores(problems[LABEL].calibration)

    def evaluate(
        self, scored: Sequence[ScoredRecord], rows: LabelledRows, scorer: LabelScorer
    ) -> Mapping[str, CalibrationFigures]:
        """Return the figures of the probabilities of labelled rows."""
        import numpy as np

        from llmcli.tasks.calibration.calibration_figures import measure_figures
        from llmcli.tasks.calibration.label_calibration import label_probabilities

        targets = np.array([scorer.labels.index(label) for _, label in rows])
        return {LABEL: measure_figures(label_probabilities(scored), targets, scorer.labels)}

    def choose_thresholds(
        self, stored: StoredCalibration, target: float, *, keep: bool
    ) -> dict[str, PrecisionThreshold]:
        """Return the threshold from which the chosen label is right that often."""
        from llmcli.tasks.labels.precision_threshold import choose_threshold

        problem = stored.problems[LABEL]
        found = stored.answering_probabilities(LABEL, keep=keep)
        right = found.argmax(axis=1) == problem.calibration.targets
        return {LABEL: choose_threshold(found.max(axis=1).tolist(), right.tolist(), target)}


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

    def fit(
        self, scored: Sequence[ScoredRecord], labelled: LabelledFile, scorer: LabelScorer
    ) -> Mapping[str, FittedProblem]:
        """Return the fitted problems. Raises ``TooFewLabels`` for a name that holds for all rows or for none."""
        from llmcli.tasks.calibration.presence_calibration import fit_presence
        from llmcli.tasks.calibration.record_features import record_features

        truth = [names for _, names in labelled.rows]
        for name in self._names:
            count = sum(name in each for each in truth)
            if count in {0, len(truth)}:
                raise TooFewLabels(labelled.path, detail=f"{name} holds for {'all' if count else 'none'} of them")
        return fit_presence(record_features(scored), truth, self._shares(scored, scorer))

    def make_calibrator(
        self, problems: Mapping[str, FittedProblem], make_scorer: Callable[[], LabelScorer]
    ) -> CalibratedPresence:
        """Return what computes the probability of each name; names without a problem have that of the scorer."""
        from llmcli.tasks.calibration.presence_calibration import CalibratedPresence
        from llmcli.tasks.labels.multi_label_scorer import MultiLabelScorer

        if len(problems) == len(self._names):
            return CalibratedPresence(problems)
        scorer = make_scorer()
        assert isinstance(scorer, MultiLabelScorer)
        _ = scorer.prior  # measured now, since no request can be made while an answer is read
        return CalibratedPresence(problems, scorer)

    def evaluate(
        self, scored: Sequence[ScoredRecord], rows: LabelledRows, scorer: LabelScorer
    ) -> Mapping[str, CalibrationFigures]:
        """Return the figures of the probabilities of each name on labelled rows."""
        from llmcli.tasks.calibration.presence_calibration import measure_presence

        truth = [names for _, names in rows]
        return {name: measure_presence(shares, truth, name) for name, shares in self._shares(scored, scorer).items()}

    def _shares(self, scored: Sequence[ScoredRecord], scorer: LabelScorer) -> dict[str, list[float]]:
        """Return by name the probabilities that it holds, one for each record."""
        from llmcli.tasks.labels.multi_label_scorer import MultiLabelScorer

        assert isinstance(scorer, MultiLabelScorer)
        found = [self._combine(scorer.presence(each.scores)) for each in scored]
        return {name: [each[name] for each in found] for name in self._names}

    def choose_thresholds(
        self, stored: StoredCalibration, target: float, *, keep: bool
    ) -> dict[str, PrecisionThreshold]:
        """Return the probability of each name from which it holds that often, or of its opposite if inverted."""
        from llmcli.tasks.calibration.presence_calibration import NO, PRESENCE_LABELS, YES
        from llmcli.tasks.labels.precision_threshold import choose_threshold

        column = PRESENCE_LABELS.index(NO if self._inverted else YES)
        found = {}
        for name, problem in stored.problems.items():
            shares = stored.answering_probabilities(name, keep=keep)[:, column]
            found[name] = choose_threshold(shares.tolist(), (problem.calibration.targets == column).tolist(), target)
        return found
