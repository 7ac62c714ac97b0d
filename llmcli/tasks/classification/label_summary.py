"""What a run over records found: counts and means, which do not grow with the number of records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmcli.types import ItemFailed, Result, TaskEvent

_DIGITS = 4


class LabelSummary:
    """Counts the results of a run; ``labels`` come in the user's order.

    ``mean_probability`` of a label is over all records with probabilities: the expected share of the label, which
    counting labels over- or underestimates. Records of earlier runs of a resumed job are not counted.
    """

    def __init__(self) -> None:
        self.details: dict[str, Any] = {}
        """More facts for ``to_json``, such as the threshold of a run."""
        self.records = 0
        self.blank = 0
        self.failed = 0
        self.abstained = 0
        self.scored = 0
        self.counts: Counter[str] = Counter()
        self._sums: dict[str, float] = {}
        self._score_sum = 0.0
        self._has_score = False

    def observe(self, events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
        """Pass on all events, and count the results among them."""
        for event in events:
            if isinstance(event, Result):
                self.add(event)
            elif isinstance(event, ItemFailed):
                self.records += 1
                self.failed += 1
            yield event

    def add(self, result: Result) -> None:
        """Count a result of a verb that labels or filters records."""
        self.records += 1
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
        self.abstained += bool(fields.get("abstain"))
        if "match" not in fields:
            self.counts.update(fields.get("labels") or ([fields["label"]] if fields["label"] else []))
        for label, share in probabilities.items():
            self._sums[label] = self._sums.get(label, 0.0) + share
        if "score" in fields:
            self._has_score = True
            self._score_sum += fields["score"]

    @property
    def mean_probabilities(self) -> Mapping[str, float]:
        """The mean probability of each label."""
        return {label: total / self.scored for label, total in self._sums.items()}

    @property
    def mean_score(self) -> float | None:
        """The mean sentiment score, None for other verbs."""
        return self._score_sum / self.scored if self._has_score and self.scored else None

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
