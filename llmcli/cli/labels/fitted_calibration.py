"""The calibration of one run of classify, sentiment or filter: fitted on labelled rows or loaded, saved, evaluated.

It has two kinds of problems: labels that exclude each other, and statements that hold or do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from llmcli.cli.command_context import CommandContext
from llmcli.cli.labels.scoring_flags import CalibrationFlags
from llmcli.errors import RequestRejected, Unsupported
from llmcli.errors.saved_state_errors import TooFewLabels
from llmcli.fast_dataclass import frozen
from llmcli.runtime.model_weights import CALIBRATION_ORIGIN
from llmcli.tasks.labels.label_spec import LABEL

if TYPE_CHECKING:
    from llmcli.cli.labels.labelled_rows import LabelledRows
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures
    from llmcli.tasks.calibration.calibration_store import StoredCalibration
    from llmcli.tasks.calibration.fitted_problem import FittedProblem
    from llmcli.tasks.calibration.label_calibration import CalibratedScores
    from llmcli.tasks.calibration.presence_calibration import CalibratedPresence
    from llmcli.tasks.labels.label_scorer import LabelCalibrator, LabelScorer
    from llmcli.tasks.labels.label_spec import LabelSpec
    from llmcli.tasks.labels.multi_label_scorer import MultiLabelScorer
    from llmcli.tasks.labels.precision_threshold import PrecisionThreshold
    from llmcli.tasks.labels.scored_records import ScoredRecord

_MIN_LABELLED_ROWS = 10
"""Of all labels together; two labels at least must have one."""


@frozen
class LabelledFile:
    """The rows of a file that the command line names."""

    path: str
    rows: LabelledRows


class CalibrationProblem(Protocol):
    """What is decided about a record by a scorer: one of several labels, or what holds for it."""

    def fit(self, scored: Sequence[ScoredRecord], labelled: LabelledFile) -> Mapping[str, FittedProblem]:
        """Return the fitted problems by name, compared with what the scorer says. Raises ``TooFewLabels``."""

    def make_calibrator(self, problems: Mapping[str, FittedProblem]) -> LabelCalibrator:
        """Return what computes probabilities with one problem or more."""

    def evaluate(self, scored: Sequence[ScoredRecord], rows: LabelledRows) -> Mapping[str, CalibrationFigures]:
        """Return the figures of the probabilities of labelled rows, by problem."""

    def choose_thresholds(self, stored: StoredCalibration, target: float) -> dict[str, PrecisionThreshold]:
        """Return the threshold of each problem for a precision, on what the labelled rows get from what answers."""


def make_problem(spec: LabelSpec, scorer: LabelScorer) -> CalibrationProblem:
    """Return what is decided about a record with the labels of ``spec``, from the scores of ``scorer``."""
    if spec.is_exclusive:
        return LabelProblem(scorer)
    from llmcli.tasks.labels.multi_label_scorer import MultiLabelScorer

    assert isinstance(scorer, MultiLabelScorer)
    return PresenceProblem(spec, scorer)


class FittedCalibration:
    """Provides the calibration that the options ask for, for the labels of ``spec``."""

    def __init__(self, ctx: CommandContext, flags: CalibrationFlags, spec: LabelSpec) -> None:
        """Load the calibration to use. Raises ``MissingError``, ``DamagedCalibration`` and ``UsageError``."""
        self._ctx = ctx
        self._spec = spec
        self._name = flags.calibration
        self._problem: CalibrationProblem
        self.stored: StoredCalibration | None = None
        self.scoring_warnings: list[str] = []
        """What was said about how the labelled rows were scored."""
        if self._name is not None:
            from llmcli.tasks.calibration.calibration_store import CalibrationStore, require_calibration_name

            require_calibration_name(self._name)
            if flags.calibrate is None:
                self.stored = CalibrationStore(ctx.runtime.paths.calibrations).load(self._name)
                if self.stored.weights is not None:
                    ctx.runtime.pin_weights(self.stored.weights, f"{CALIBRATION_ORIGIN}{self._name}")

    def digest(self) -> str | None:
        """Return the SHA-256 of the calibration in use, None before it is fitted."""
        if self.stored is None:
            return None
        from hashlib import sha256

        from llmcli.tasks.calibration.calibration_store import encode_calibration

        return sha256(encode_calibration(self.stored)).hexdigest()

    def prepare(self, scorer: LabelScorer, labelled: LabelledFile | None) -> LabelCalibrator | None:
        """Return the calibrator, fitted and saved first with ``labelled`` rows; None if the model answers without one.

        ``scorer`` has no calibration. Raises ``ConfigError`` for one that was made with other settings,
        ``TooFewLabels`` and the failure of a request.
        """
        from llmcli.tasks.calibration.calibration_store import CalibrationStore

        runtime, self._problem = self._ctx.runtime, make_problem(self._spec, scorer)
        identity = self._spec.identity(scorer.backend.info().model_id, runtime.weights)
        if labelled is not None:
            self.stored = self._fit(scorer, labelled, identity)
            if self._name is not None:
                path = CalibrationStore(runtime.paths.calibrations).save(self._name, self.stored)
                self._ctx.console.write_outcome(f"saved the calibration {self._name} in {path}")
        elif self.stored is not None:
            self.stored.require_identity(self._name or "", identity, is_remote=runtime.server is not None)
        if self.stored is None:
            return None
        answering = self.stored.answering()
        return self._problem.make_calibrator(answering) if answering else None

    def _fit(self, scorer: LabelScorer, labelled: LabelledFile, identity: Mapping[str, Any]) -> StoredCalibration:
        from llmcli.tasks.calibration.calibration_store import StoredCalibration

        count = len(labelled.rows)
        if count < _MIN_LABELLED_ROWS:
            raise TooFewLabels(labelled.path, detail=f"{count}, at least {_MIN_LABELLED_ROWS} are needed")
        scored = score_labelled(scorer, labelled.rows, hidden_states=True)
        self.scoring_warnings = warn_of_scoring(self._ctx, scored)
        problems = self._problem.fit(scored, labelled)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return StoredCalibration(problems, identity, scorer.model, created)

    def choose_thresholds(self, target: float) -> dict[str, PrecisionThreshold]:
        """Return the threshold of each problem for a precision; a calibration must be prepared."""
        assert self.stored is not None
        return self._problem.choose_thresholds(self.stored, target)


def score_labelled(scorer: LabelScorer, rows: LabelledRows, *, hidden_states: bool) -> list[ScoredRecord]:
    """Return the scores of labelled rows, with hidden states if they are requested and the backend gives them."""
    from llmcli.tasks.labels.scored_records import labelled_records, score_records

    records, _ = labelled_records(rows)
    try:
        return list(score_records(scorer.backend, scorer, records, hidden_states=hidden_states))
    except (Unsupported, RequestRejected):
        if not hidden_states:
            raise
        return list(score_records(scorer.backend, scorer, records))


def warn_of_scoring(ctx: CommandContext, scored: Sequence[ScoredRecord]) -> list[str]:
    """Say if a server has scored labelled rows in another way than a model on this machine does; return what was said."""
    from llmcli.tasks.labels.label_scorer import describe_scoring

    sentences = describe_scoring(each.scores.method for each in scored)
    for sentence in sentences:
        ctx.console.write_note(sentence)
    return sentences


class LabelProblem:
    """One problem, ``LABEL``: which of the labels of ``scorer`` a record has. A row's label is one of them."""

    def __init__(self, scorer: LabelScorer) -> None:
        self._scorer = scorer

    def fit(self, scored: Sequence[ScoredRecord], labelled: LabelledFile) -> Mapping[str, FittedProblem]:
        """Return the fitted problem. Raises ``TooFewLabels``."""
        from llmcli.tasks.calibration.label_calibration import fit_labels

        labels = [label for _, label in labelled.rows]
        if len(set(labels)) == 1:
            raise TooFewLabels(labelled.path, detail=f"all are {labels[0]}")
        return {LABEL: fit_labels(scored, labels, self._scorer)}

    def make_calibrator(self, problems: Mapping[str, FittedProblem]) -> CalibratedScores:
        """Return what computes the probabilities of all labels."""
        from llmcli.tasks.calibration.label_calibration import CalibratedScores

        return CalibratedScores(problems[LABEL].calibration)

    def evaluate(self, scored: Sequence[ScoredRecord], rows: LabelledRows) -> Mapping[str, CalibrationFigures]:
        """Return the figures of the probabilities of labelled rows."""
        import numpy as np

        from llmcli.tasks.calibration.calibration_figures import measure_figures
        from llmcli.tasks.calibration.label_calibration import label_probabilities

        labels = self._scorer.labels
        targets = np.array([labels.index(label) for _, label in rows])
        return {LABEL: measure_figures(label_probabilities(scored), targets, labels)}

    def choose_thresholds(self, stored: StoredCalibration, target: float) -> dict[str, PrecisionThreshold]:
        """Return the threshold from which the chosen label is right that often."""
        from llmcli.tasks.labels.precision_threshold import choose_threshold

        problem = stored.problems[LABEL]
        found = stored.answering_probabilities(LABEL)
        right = found.argmax(axis=1) == problem.calibration.targets
        return {LABEL: choose_threshold(found.max(axis=1).tolist(), right.tolist(), target)}


class PresenceProblem:
    """A problem for each target of ``spec``: whether it holds. The label of a row is the targets that hold.

    A threshold is chosen for what does not hold if ``spec`` is inverted.
    """

    def __init__(self, spec: LabelSpec, scorer: MultiLabelScorer) -> None:
        self._spec = spec
        self._scorer = scorer

    def fit(self, scored: Sequence[ScoredRecord], labelled: LabelledFile) -> Mapping[str, FittedProblem]:
        """Return the fitted problems. Raises ``TooFewLabels`` for a target that holds for all rows or for none."""
        from llmcli.tasks.calibration.presence_calibration import fit_presence
        from llmcli.tasks.calibration.record_features import record_features

        truth = [names for _, names in labelled.rows]
        for name in self._spec.targets:
            count = sum(name in each for each in truth)
            if count in {0, len(truth)}:
                raise TooFewLabels(labelled.path, detail=f"{name} holds for {'all' if count else 'none'} of them")
        return fit_presence(record_features(scored), truth, self._shares(scored))

    def make_calibrator(self, problems: Mapping[str, FittedProblem]) -> CalibratedPresence:
        """Return what computes the probability of each target; those without a problem have that of the scorer."""
        from llmcli.tasks.calibration.presence_calibration import CalibratedPresence

        if len(problems) == len(self._spec.targets):
            return CalibratedPresence(problems)
        _ = self._scorer.prior  # measured now, since no request can be made while an answer is read
        return CalibratedPresence(problems, self._scorer)

    def evaluate(self, scored: Sequence[ScoredRecord], rows: LabelledRows) -> Mapping[str, CalibrationFigures]:
        """Return the figures of the probabilities of each name on labelled rows."""
        from llmcli.tasks.calibration.presence_calibration import measure_presence

        truth = [names for _, names in rows]
        return {name: measure_presence(shares, truth, name) for name, shares in self._shares(scored).items()}

    def _shares(self, scored: Sequence[ScoredRecord]) -> dict[str, list[float]]:
        """Return by target the probabilities that it holds, one for each record."""
        found = [self._spec.combine(self._scorer.presence(each.scores)) for each in scored]
        return {name: [each[name] for each in found] for name in self._spec.targets}

    def choose_thresholds(self, stored: StoredCalibration, target: float) -> dict[str, PrecisionThreshold]:
        """Return the probability of each name from which it holds that often, or of its opposite if inverted."""
        from llmcli.tasks.calibration.presence_calibration import NO, PRESENCE_LABELS, YES
        from llmcli.tasks.labels.precision_threshold import choose_threshold

        column = PRESENCE_LABELS.index(NO if self._spec.is_inverted else YES)
        found = {}
        for name, problem in stored.problems.items():
            shares = stored.answering_probabilities(name)[:, column]
            found[name] = choose_threshold(shares.tolist(), (problem.calibration.targets == column).tolist(), target)
        return found
