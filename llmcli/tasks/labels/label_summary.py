"""The summary of a run over records: counts and means, which do not grow with the number of records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from llmcli.types import ItemFailed, Result

_DIGITS = 4
_COUNTS = ("records", "blank", "failed", "abstained", "scored", "rated", "unsure")
LOW_MARGIN = 0.2
"""The lead of a label, in probability, below which a record is unsure."""


class LabelSummary:
    """Counts the results of a run; ``labels`` come in the user's order.

    ``mean_probability`` of a label is over all records with probabilities: the expected share of the label, which
    counting labels over- or underestimates. ``unsure`` counts the records with a margin below ``LOW_MARGIN``.
    ``to_state`` and ``restore`` carry the counts of a job to its next run.
    """

    def __init__(self) -> None:
        self.details: dict[str, Any] = {}
        """More facts for ``to_json``, such as the threshold of a run."""
        self.records = 0
        self.blank = 0
        self.failed = 0
        self.abstained = 0
        self.scored = 0
        self.unsure = 0
        self.counts: Counter[str] = Counter()
        self._sums: dict[str, float] = {}
        self._score_sum = 0.0
        self.rated = 0

    def add(self, result: Result | ItemFailed) -> None:
        """Count the result of a verb that labels or filters records, or a record that failed."""
        self.records += 1
        if isinstance(result, ItemFailed):
            self.failed += 1
            return
        fields = result.fields
        if fields.get("match") is not None:
            self.counts["match" if fields["match"] else "no match"] += 1
            probabilities = None if fields["probability"] is None else {"match": fields["probability"]}
        else:
            probabilities = fields.get("probabilities")
        if probabilities is None:
            self.blank += 1
            return
        self.scored += 1
        self.unsure += _margin_of(fields, probabilities) < LOW_MARGIN
        self.abstained += bool(fields.get("abstain"))
        if "match" not in fields:
            self.counts.update(fields.get("labels") or ([fields["label"]] if fields["label"] else []))
        for label, share in probabilities.items():
            self._sums[label] = self._sums.get(label, 0.0) + share
        if "score" in fields:
            self.rated += 1
            self._score_sum += fields["score"]

    def to_state(self) -> dict[str, Any]:
        """Return the counts and sums so far as JSON values."""
        numbers = {name: getattr(self, name) for name in _COUNTS}
        sums = {"labels": dict(self.counts), "sums": self._sums, "score_sum": self._score_sum}
        return {**numbers, **sums, "details": self.details}

    def restore(self, state: Mapping[str, Any], *, forgets_failed: bool) -> None:
        """Continue from ``state``, {} for none; ``forgets_failed``: the records that failed will be counted again."""
        for name in _COUNTS:
            setattr(self, name, 0)
        self.counts, self._sums, self._score_sum = Counter(), {}, 0.0
        self.add_state(state)
        if forgets_failed:
            self.records -= self.failed
            self.failed = 0

    def add_state(self, state: Mapping[str, Any]) -> None:
        """Add the counts and sums of another run."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + state.get(name, 0))
        self.counts.update(state.get("labels", {}))
        for label, share in state.get("sums", {}).items():
            self._sums[label] = self._sums.get(label, 0.0) + share
        self._score_sum += state.get("score_sum", 0.0)
        self.details.update(state.get("details", {}))

    @property
    def mean_probabilities(self) -> Mapping[str, float]:
        """The mean probability of each label."""
        return {label: total / self.scored for label, total in self._sums.items()}

    @property
    def mean_score(self) -> float | None:
        """The mean sentiment score, None for other verbs."""
        return self._score_sum / self.rated if self.rated else None

    @property
    def labels(self) -> list[str]:
        """The labels that were counted or have a probability."""
        return list(dict.fromkeys([*self._sums, *self.counts]))

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        score = {} if self.mean_score is None else {"mean_score": round(self.mean_score, _DIGITS)}
        return {
            "records": self.records,
            "scored": self.scored,
            "blank": self.blank,
            "failed": self.failed,
            "abstained": self.abstained,
            "labels": {label: self.counts[label] for label in self.labels},
            "mean_probability": {label: round(share, _DIGITS) for label, share in self.mean_probabilities.items()},
            **score,
            **self.details,
        }


def _margin_of(fields: Mapping[str, Any], probabilities: Mapping[str, float]) -> float:
    """Return the lead of a label; of labels that do not exclude each other, the least lead over its absence."""
    if "margin" in fields:
        return float(fields["margin"])
    return min(abs(2 * share - 1) for share in probabilities.values())
