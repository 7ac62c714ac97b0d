"""sentiment: a label, its probabilities and a score from -1 to 1 for each record, by scoring and without generating."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcli.backends.base import Backend
from llmcli.prompts import PromptLibrary
from llmcli.tasks.classify import ClassifyOptions, LabelTask
from llmcli.tasks.labels.label_scorer import LabelScorer, LabelScores, ScorerOptions
from llmcli.tasks.labels.label_scores import LabelDecision
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Result

PROMPT = "sentiment"
POSITIVE, NEGATIVE = "positive", "negative"
PROBE_FILE = Path(__file__).with_name("sentiment_probe.json")
"""The linear probe for the starter model, see ``labels.linear_probe``."""


class SentimentTask(LabelTask):
    """The sentiment of a record: a ``LabelTask`` with the labels of the prompt file.

    If these include positive and negative, a Result's fields also have ``score``: P(positive) - P(negative), the mean
    polarity from -1 to 1; and with a ``scale`` of N points ``rating``: the score as a whole number from 1 to N. Both
    are columns of a table.

    Raises as ``LabelScorer`` does.
    """

    def __init__(
        self,
        backend: Backend,
        prompts: PromptLibrary,
        generation: GenerationOptions,
        options: ClassifyOptions | None = None,
        *,
        scale: int | None = None,
    ) -> None:
        chosen, prompt = options or ClassifyOptions(), prompts.get(PROMPT)
        # examples and other prompts change what the states mean
        probe = PROBE_FILE if chosen.chooser is None and prompt.origin.parent == prompts.builtin else None
        scoring = ScorerOptions({}, chosen.examples, chosen.corrects_prior, chosen.cache, chosen.calibrator, probe)
        super().__init__(backend, LabelScorer(backend, prompt, prompt.labels, generation, scoring), chosen)
        self._scale = scale
        self._is_polar = {POSITIVE, NEGATIVE} <= {*self.scorer.labels}
        if self._is_polar:
            rating = {} if scale is None else {"rating": int}
            self.columns = {**self.columns, "score": float, **rating}

    def result_fields(self, decision: LabelDecision, scores: LabelScores) -> dict[str, Any]:
        """Return the fields of a result apart from the position of its record."""
        fields = super().result_fields(decision, scores)
        if self._is_polar:
            fields["score"] = polarity_score(decision.probabilities)
            if self._scale is not None:
                fields["rating"] = rate(fields["score"], self._scale)
        return fields

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the values of ``LabelTask.row``, the rounded score and the rating."""
        row = {**super().row(result)}
        if row and self._is_polar:
            row["score"] = round(result.fields["score"], 4)
            if self._scale is not None:
                row["rating"] = result.fields["rating"]
        return row


def polarity_score(probabilities: Mapping[str, float]) -> float:
    """Return P(positive) - P(negative): the expected value of +1, 0 and -1."""
    return probabilities[POSITIVE] - probabilities[NEGATIVE]


def rate(score: float, points: int) -> int:
    """Return the point of a scale from 1 to ``points`` whose equal share of -1..1 holds the score."""
    return min(points, 1 + int((score + 1) / 2 * points))
