"""Scores candidates behind the questions, and chooses what to ask about among those that are scored."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing

import numpy as np
from threadpoolctl import threadpool_limits

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Record
from llmcli.errors import RequestRejected, Unsupported
from llmcli.fast_dataclass import frozen
from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix
from llmcli.tasks.calibration.feature_space import make_space, measure_scales
from llmcli.tasks.calibration.model_selection import FitChoice, candidate_weights, fit_choice
from llmcli.tasks.calibration.record_features import record_features
from llmcli.tasks.calibration.softmax_regression import softmax
from llmcli.tasks.label.state_store import StateStore, StoredScores
from llmcli.tasks.labels.label_scorer import LabelScorer
from llmcli.tasks.labels.scored_records import ScoredRecord, score_records

MIN_POOL_ROWS = 40
"""Among fewer, there is little to choose from."""
_POLL_S = 0.1
_STOP_TIMEOUT_S = 5.0
"""How long the end waits for a request that runs."""


@frozen
class _Pool:
    """The scored rows from which ``selector`` chooses, by their position in it."""

    rows: Sequence[int]
    selector: RowSelector


class CandidateScoring:
    """Scores ``records``, known by their row, in a thread, in the order of a seeded sample.

    A question needs no score: until ``MIN_POOL_ROWS`` are scored, the rows of the sample are asked about in their
    order, which is that of the thread. Then the row that teaches most is chosen among the scored ones; each time that
    their number has doubled, the choice is made among all of them.
    """

    def __init__(
        self,
        backend: Backend,
        make_scorer: Callable[[], LabelScorer],
        records: Sequence[Record],
        open_store: Callable[[], StateStore],
    ) -> None:
        """``make_scorer`` and ``open_store`` are called in the thread, since they wait for the model."""
        self._backend, self._make_scorer, self._open_store = backend, make_scorer, open_store
        self._records = records
        self._order = [*range(len(records))]
        random.Random(0).shuffle(self._order)  # noqa: S311 (a sample, no secret)
        self._scored: dict[int, ScoredRecord] = {}
        self._pool: _Pool | None = None
        self._scorer: LabelScorer | None = None
        self._error: BaseException | None = None
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="candidates", daemon=True)

    def start(self) -> None:
        """Begin to score."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a request that runs is cancelled."""
        self._stopped = True
        self._thread.join(_STOP_TIMEOUT_S)

    # ---- what the questions need ----------------------------------------------------------------------------------

    @property
    def scored_rows(self) -> int:
        """How many candidates are scored."""
        return len(self._scored)

    @property
    def is_complete(self) -> bool:
        """Whether all candidates are scored."""
        return len(self._scored) == len(self._records)

    def check(self) -> None:
        """Raise what ended the thread."""
        if self._error is not None:
            raise self._error

    def next_row(self, answers: Mapping[int, int], skipped: Collection[int]) -> int | None:
        """Return the row to ask about, None if all have an answer or were skipped.

        ``answers``: label numbers by row.
        """
        pool = self._pool
        if pool is not None:
            positions = {row: position for position, row in enumerate(pool.rows)}
            known = {positions[row]: label for row, label in answers.items() if row in positions}
            chosen = pool.selector.next_row(known, [positions[row] for row in skipped if row in positions])
            if chosen is not None:
                return pool.rows[chosen]
        return next((row for row in self._order if row not in answers and row not in skipped), None)

    def scored(self, rows: Sequence[int]) -> list[ScoredRecord]:
        """Return the scored records of those rows that are scored, in their order."""
        return [self._scored[row] for row in rows if row in self._scored]

    def wait_for(self, rows: Sequence[int], check: Callable[[int], None]) -> LabelScorer:
        """Wait until all these rows are scored; return the scorer. Raises what ended the thread.

        ``check`` is called with the number of rows that are, and what it raises ends the wait.
        """
        with self._changed:
            while (done := len(self.scored(rows))) < len(rows) or self._scorer is None:
                self.check()
                check(done)
                self._changed.wait(_POLL_S)
            return self._scorer

    # ---- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            scorer = self._scorer = self._make_scorer()
            store = self._open_store()
            try:
                self._load(store, scorer)
                self._score(store, scorer)
            finally:
                store.close()
        except BaseException as error:  # noqa: BLE001 (raised in the thread that asks)
            self._error = error

    def _load(self, store: StateStore, scorer: LabelScorer) -> None:
        for row in self._order:
            record = self._numbered(row)
            found = store.get(record)
            if found is None or tuple(found.raw) != scorer.labels:
                continue
            if found.states is None or found.states.layers == scorer.fit_layers:
                self._scored[row] = ScoredRecord(record, scorer.correct_scores(found.raw, found.states), found.states)
        self._make_pool()

    def _score(self, store: StateStore, scorer: LabelScorer) -> None:
        """Score what is not known yet; without hidden states where the backend gives none."""
        try:
            self._score_rest(store, scorer, hidden_states=True)
        except (Unsupported, RequestRejected):
            self._score_rest(store, scorer, hidden_states=False)

    def _score_rest(self, store: StateStore, scorer: LabelScorer, *, hidden_states: bool) -> None:
        next_pool = max(MIN_POOL_ROWS, 2 * len(self._scored))
        with closing(score_records(self._backend, scorer, self._unscored(), hidden_states=hidden_states)) as found:
            for scored in found:
                store.add(scored.record, StoredScores(scored.scores.raw, scored.states))
                with self._changed:
                    self._scored[scored.record.index] = scored
                    self._changed.notify()
                if self._stopped:
                    return
                if len(self._scored) >= next_pool:
                    self._make_pool()
                    next_pool = 2 * len(self._scored)
        self._make_pool()

    def _unscored(self) -> Iterator[Record]:
        for row in self._order:
            if self._stopped:
                return
            if row not in self._scored:
                yield self._numbered(row)

    def _numbered(self, row: int) -> Record:
        """Return the record with its row as its number; the record itself keeps its number in the file."""
        record = self._records[row]
        return Record(row, record.text, record.line, fields=record.fields)

    def _make_pool(self) -> None:
        rows = [row for row in self._order if row in self._scored]
        if len(rows) >= min(MIN_POOL_ROWS, len(self._records)) and rows:
            assert self._scorer is not None
            features = record_features([self._scored[row] for row in rows])
            self._pool = _Pool(rows, RowSelector(features, len(self._scorer.labels)))


MAX_DIMENSIONS = 100
"""Principal components of the pool in which variances are computed; more change nothing and take longer."""
_PENALTY = 0.1
"""Good for random rows of many files: the answers so far are too few, and too special, to choose it."""
_BIAS_PENALTY = 0.1
_MIN_IMPURITY = 0.04
"""Of a row whose label seems certain: the fit may be wrong."""


class RowSelector:
    """Chooses rows of a pool with ``features``; the labels are numbers from 0 to ``classes`` - 1.

    Each choice minimizes the expected variance of the predicted probabilities, summed over the pool: variance
    reduction, the method that Schein and Ungar 2007 (Active Learning for Logistic Regression: An Evaluation) found to
    be the most reliable. An uncertain row that many uncertain rows resemble has the most to tell; the first rows,
    without answers to predict from, are typical ones that are unlike each other. The variances are those of the Laplace
    approximation, in which a label of row x has the Gini impurity of its probabilities as information.
    """

    def __init__(self, features: FeatureSet, classes: int) -> None:
        self._features = features
        self._classes = classes
        self._weights = candidate_weights([*features.blocks])[-1]  # all blocks
        self._scales = measure_scales(features)
        with threadpool_limits(limits=1, user_api="blas"):
            space = make_space(features, self._scales, self._weights)
        # the coordinates stand in the order of their variance; the last column is the bias
        self._points = space.design[:, -MAX_DIMENSIONS - 1 :]
        penalties = np.full(self._points.shape[1], _PENALTY)
        penalties[-1] = _BIAS_PENALTY
        self._penalties = np.diag(penalties)

    def next_row(self, answers: Mapping[int, int], skipped: Collection[int] = ()) -> int | None:
        """Return the row to ask about, None if all have an answer or were skipped. ``answers``: labels by row."""
        free = np.ones(self._features.rows, dtype=bool)
        free[[*answers, *skipped]] = False
        if not free.any():
            return None
        with threadpool_limits(limits=1, user_api="blas"):
            gains = self.variance_reductions(answers)
        return int(np.where(free, gains, -np.inf).argmax())

    def variance_reductions(self, answers: Mapping[int, int]) -> Matrix:
        """Return by how much the label of each row would reduce the variance of the pool, up to a common factor.

        With covariance C of the logits and impurity g, the label of row x reduces the variance of the logit of row j by
        C[j, x] ** 2 / (C[x, x] + 1 / g[x]), and the variance of its probability by g[j] ** 2 times as much.
        """
        impurity = self._impurities(answers)
        known = self._points[[*answers]]
        precision = self._penalties + (known.T * impurity[[*answers]]) @ known
        projected = self._points @ np.linalg.inv(precision)
        pool = (self._points.T * impurity**2) @ self._points
        variances = (projected * self._points).sum(axis=1)
        return np.asarray(((projected @ pool) * projected).sum(axis=1) / (variances + 1 / impurity))

    def _impurities(self, answers: Mapping[int, int]) -> Matrix:
        """Return the Gini impurity of each row's probabilities; equal ones until there are answers of two labels."""
        rows = np.array([*answers], dtype=np.intp)
        seen, targets = np.unique(np.array([*answers.values()], dtype=np.intp), return_inverse=True)
        if len(seen) < 2:  # noqa: PLR2004 (a choice)
            return np.full(self._features.rows, 1 - 1 / self._classes)
        choice = FitChoice(self._weights, _PENALTY, 1.0)
        fitted = fit_choice(self._features.take(rows), targets, len(seen), choice, self._scales)
        impurity = 1 - (softmax(fitted.logits(self._features)) ** 2).sum(axis=1)
        return np.asarray(np.maximum(impurity, _MIN_IMPURITY))
