"""Scores several statements or topics of a text, each by itself: they do not exclude each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from llmcli.backends.base import Backend
from llmcli.prompts.prompt_file import Prompt
from llmcli.tasks.labels.label_scorer import LabelScorer, LabelScores, ScorerOptions
from llmcli.tasks.runner.task_requests import GenerationOptions

OTHER_VARIABLE = "other"
"""The prompt's variable with the answer that stands for texts to which nothing applies."""
DEFAULT_OTHER = "something else"


class MultiLabelScorer(LabelScorer):
    """Scores ``names`` in one pass, each against the answer ``other`` of the prompt.

    The probability of a name is the logistic function of log P(name | text) - log P(other | text), minus the same
    difference for content-free texts: by how much the text makes the name more likely (pointwise mutual information,
    Holtzman et al. 2021, Surface Form Competition), divided by the temperature of the prompt. Texts that say nothing
    have 0.5. With a calibrator, the probabilities are those that it returns.

    Raises as ``LabelScorer`` does.
    """

    def __init__(
        self,
        backend: Backend,
        prompt: Prompt,
        names: Sequence[str],
        generation: GenerationOptions,
        options: ScorerOptions,
    ) -> None:
        declared = prompt.variables.get(OTHER_VARIABLE)
        default = None if declared is None else declared.default
        self.names = tuple(names)
        self._other = _distinct_from(self.names, default or DEFAULT_OTHER)
        super().__init__(backend, prompt, (*self.names, self._other), generation, options)

    def presence(self, scores: LabelScores) -> dict[str, float]:
        """Return the probability of each name, or of each name of the calibrator."""
        if self.calibrator is not None:
            return {name: math.exp(value) for name, value in scores.corrected.items()}
        return presence_probabilities(scores.corrected, self._other)


def presence_probabilities(logprobs: Mapping[str, float], other: str) -> dict[str, float]:
    """Return 1 / (1 + exp(-d)) for each label but ``other``, d being the difference of their log-probabilities."""
    return {
        label: _logistic(value - logprobs[other] if math.isfinite(value) else -math.inf)
        for label, value in logprobs.items()
        if label != other
    }


def _logistic(value: float) -> float:
    if value < 0:
        grown = math.exp(value)
        return grown / (1 + grown)
    return 1 / (1 + math.exp(-value))


def _distinct_from(names: Sequence[str], other: str) -> str:
    """Return an answer that none of the names is."""
    while other in names:
        other = f"{other} else"
    return other
