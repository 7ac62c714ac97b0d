"""sentiment: a label, its probabilities and a score from -1 to 1 for each record, by scoring and without generating."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcli.fast_dataclass import frozen
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.classify import LabelTask
from llmcli.tasks.labels.label_scorer import LabelScorer, LabelScores
from llmcli.tasks.labels.label_scores import LabelDecision
from llmcli.tasks.labels.label_spec import LABEL, LabelOptions, LabelSpec, rows_digest
from llmcli.types import Result

PROMPT = "sentiment"
POSITIVE, NEGATIVE = "positive", "negative"
PROBE_FILE = Path(__file__).with_name("sentiment_probe.json")
"""The linear probe for the starter model, see ``labels.linear_probe``."""


@frozen
class SentimentSpec(LabelSpec):
    """The labels of the prompt file, for each ``unit`` of plain text.

    ``scale`` also rates from 1 to this number. ``shipped_probe``: the prompt is the one that the linear probe is for.
    """

    prompt: Prompt
    options: LabelOptions
    unit: str
    scale: int | None
    shipped_probe: bool
    verb = "sentiment"

    @property
    def names(self) -> tuple[str, ...]:
        """The labels."""
        return self.prompt.labels

    @property
    def probe(self) -> Path | None:
        """The linear probe for the starter model: examples and other prompts change what the states mean."""
        return PROBE_FILE if self.shipped_probe and not self.options.examples else None

    @property
    def suits_small_models(self) -> bool | None:
        """Always."""
        return True

    def label_identity(self) -> dict[str, Any]:
        """Return the labels, and a hash of the examples."""
        return {"label set": list(self.names), "set of --examples": rows_digest(self.options.examples)}

    def manifest(self) -> dict[str, Any]:
        """Return the options of the command."""
        return {"--by": self.unit, "--scale": self.scale, "--aspects": False}

    def make_task(self, scorer: LabelScorer, thresholds: Mapping[str, float] | None = None) -> SentimentTask:
        """Return the task. Raises the failure of a request."""
        return SentimentTask(scorer, self, thresholds)


def sentiment_spec(
    prompts: PromptLibrary, options: LabelOptions | None = None, *, unit: str = "line", scale: int | None = None
) -> SentimentSpec:
    """Return what labels the sentiment of records with the prompt of the library."""
    prompt = prompts.get(PROMPT)
    return SentimentSpec(prompt, options or LabelOptions(), unit, scale, prompt.origin.parent == prompts.builtin)


class SentimentTask(LabelTask):
    """The sentiment of a record: a ``LabelTask`` with the labels of the prompt file.

    If these include positive and negative, a Result's fields also have ``score``: P(positive) - P(negative), the mean
    polarity from -1 to 1; and with a scale of N points ``rating``: the score as a whole number from 1 to N. Both
    are columns of a table.
    """

    def __init__(self, scorer: LabelScorer, spec: SentimentSpec, thresholds: Mapping[str, float] | None = None) -> None:
        super().__init__(
            scorer,
            (thresholds or {}).get(LABEL, spec.options.threshold),
            chooser=spec.options.make_chooser(scorer.backend),
            splits_long_texts=spec.unit == "document",
        )
        self._scale = scale = spec.scale
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
