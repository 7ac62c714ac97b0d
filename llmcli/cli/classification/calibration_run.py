"""The calibration of one run of classify, sentiment or filter: fitted on labelled rows or loaded, saved, evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from llmcli.cli.command_context import CommandContext
from llmcli.cli.labels.scoring_flags import CalibrationFlags
from llmcli.errors import RequestRejected, Unsupported, UsageError
from llmcli.errors.saved_state_errors import TooFewLabels
from llmcli.frozen_dataclass import frozen
from llmcli.runtime.model_weights import CALIBRATION_ORIGIN

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.labels.labelled_rows import LabelledRows
    from llmcli.tasks.calibration.calibration_figures import CalibrationFigures
    from llmcli.tasks.calibration.calibration_store import CalibrationStore, StoredCalibration
    from llmcli.tasks.calibration.fitted_problem import FittedProblem
    from llmcli.tasks.labels.label_scorer import LabelCalibrator, LabelScorer
    from llmcli.tasks.labels.precision_threshold import PrecisionThreshold
    from llmcli.tasks.labels.scored_records import ScoredRecord

MIN_LABELLED_ROWS = 10
"""Of all labels together; two labels at least must have one."""


@frozen
class LabelledFile:
    """The rows of a file that the command line names."""

    path: str
    rows: LabelledRows


class CalibrationKind(Protocol):
    """What is decided about a record: one of several labels, or what holds for it."""

    def fit(
        self, scored: Sequence[ScoredRecord], labelled: LabelledFile, scorer: LabelScorer
    ) -> Mapping[str, FittedProblem]:
        """Return the fitted problems by name, compared with what ``scorer`` says without them. Raises ``TooFewLabels``."""

    def make_calibrator(
        self, problems: Mapping[str, FittedProblem], make_scorer: Callable[[], LabelScorer]
    ) -> LabelCalibrator:
        """Return what computes probabilities with one problem or more; ``make_scorer`` returns the scorer without them."""

    def evaluate(
        self, scored: Sequence[ScoredRecord], rows: LabelledRows, scorer: LabelScorer
    ) -> Mapping[str, CalibrationFigures]:
        """Return the figures of the probabilities of labelled rows, by problem."""

    def choose_thresholds(
        self, stored: StoredCalibration, target: float, *, keep: bool
    ) -> dict[str, PrecisionThreshold]:
        """Return the threshold of each problem for a precision, on what the labelled rows get from what answers."""


class CalibrationRun:
    """Provides the calibration that the options ask for. ``identity``: what its features depend on, beside the model."""

    def __init__(
        self, ctx: CommandContext, flags: CalibrationFlags, kind: CalibrationKind, identity: Mapping[str, Any]
    ) -> None:
        """Load the calibration to use. Raises ``MissingError``, ``DamagedCalibration`` and ``UsageError``."""
        self._ctx = ctx
        self._kind = kind
        self._fits = flags.calibrate is not None
        self._name = flags.calibration
        self._keep = flags.keep
        self._identity = identity
        self.stored: StoredCalibration | None = None
        if self._name is not None:
            self._check_name(self._name)
            if not self._fits:
                self.stored = self._store.load(self._name)
                if self.stored.weights is not None:
                    ctx.runtime.pin_weights(self.stored.weights, f"{CALIBRATION_ORIGIN}{self._name}")

    @staticmethod
    def _check_name(name: str) -> None:
        from llmcli.tasks.calibration.calibration_store import NAME_RULE, is_calibration_name

        if not is_calibration_name(name):
            raise UsageError(f"{name!r} is no name for a calibration: {NAME_RULE}")

    @property
    def _store(self) -> CalibrationStore:
        from llmcli.tasks.calibration.calibration_store import CalibrationStore

        return CalibrationStore(self._ctx.runtime.paths.calibrations)

    def digest(self) -> str | None:
        """Return the SHA-256 of the calibration in use, None before it is fitted."""
        if self.stored is None:
            return None
        from hashlib import sha256

        from llmcli.tasks.calibration.calibration_store import encode_calibration

        return sha256(encode_calibration(self.stored)).hexdigest()

    def prepare(
        self, backend: Backend, make_scorer: Callable[[], LabelScorer], labelled: LabelledFile | None
    ) -> LabelCalibrator | None:
        """Return the calibrator, fitted and saved first if there are ``labelled`` rows; None if the model answers without one.

        ``make_scorer`` returns the scorer without a calibration. Raises ``CalibrationMismatch`` for one that was made with
        other settings, ``TooFewLabels`` and the failure of a request.
        """
        identity = {
            "model": backend.info().model_id,
            "weights": self._ctx.runtime.weights,
            **self._identity,
        }
        if labelled is not None:
            self.stored = self._fit(backend, make_scorer(), labelled, identity)
            if self._name is not None:
                path = self._store.save(self._name, self.stored)
                self._ctx.console.write_note(f"saved the calibration {self._name} in {path}")
        elif self.stored is not None:
            self.stored.require_identity(self._name or "", identity)
        if self.stored is None:
            return None
        answering = self.answering_problems()
        return self._kind.make_calibrator(answering, make_scorer) if answering else None

    def _fit(
        self, backend: Backend, scorer: LabelScorer, labelled: LabelledFile, identity: Mapping[str, Any]
    ) -> StoredCalibration:
        from llmcli.tasks.calibration.calibration_store import StoredCalibration

        count = len(labelled.rows)
        if count < MIN_LABELLED_ROWS:
            raise TooFewLabels(labelled.path, detail=f"{count}, at least {MIN_LABELLED_ROWS} are needed")
        scored = score_labelled(backend, scorer, labelled.rows, hidden_states=True)
        problems = self._kind.fit(scored, labelled, scorer)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return StoredCalibration(problems, identity, scorer.model, created, self._keep)

    def answering_problems(self) -> Mapping[str, FittedProblem]:
        """Return the problems whose calibrations answer; a calibration must be prepared."""
        assert self.stored is not None
        return self.stored.answering(keep=self._keep)

    def choose_thresholds(self, target: float) -> dict[str, PrecisionThreshold]:
        """Return the threshold of each problem for a precision; a calibration must be prepared."""
        assert self.stored is not None
        return self._kind.choose_thresholds(self.stored, target, keep=self._keep)


def score_labelled(
    backend: Backend, scorer: LabelScorer, rows: LabelledRows, *, hidden_states: bool
) -> list[ScoredRecord]:
    """Return the scores of labelled rows, with hidden states if they are requested and the backend gives them."""
    from llmcli.tasks.labels.scored_records import labelled_records, score_records

    records, _ = labelled_records(rows)
    try:
        return list(score_records(backend, scorer, records, hidden_states=hidden_states))
    except (Unsupported, RequestRejected):
        if not hidden_states:
            raise
        return list(score_records(backend, scorer, records))
