"""Texts that do not fit the context: split into passages that do, each scored by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from llmcli.backends.base import Backend
from llmcli.tasks.labels.label_scorer import LabelScores
from llmcli.tasks.labels.label_scores import normalize
from llmcli.tasks.runner.context_budget import ContextBudget
from llmcli.types import Request

_MIN_CHARS_PER_TOKEN = 0.25
"""A character is at most four tokens, its bytes: shorter texts than that fit without counting."""
_LONGEST_LABEL_TOKENS = 64


class TextSplitter:
    """Splits the texts that do not fit one request; ``make_request`` returns the request for a text."""

    def __init__(self, backend: Backend, make_request: Callable[[str], Request]) -> None:
        self._backend = backend
        self._make_request = make_request
        self._budget: ContextBudget | None = None

    def split(self, text: str) -> list[str]:
        """Return the text, or its passages, cut at paragraphs if possible.

        Raises as ``ContextBudget.split_to_fit`` does.
        """
        if self._budget is None:
            self._budget = ContextBudget(self._backend, self._make_request, lambda _tokens: _LONGEST_LABEL_TOKENS)
        if len(text) < self._budget.free_tokens * _MIN_CHARS_PER_TOKEN or self._budget.fits(text):
            return [text]
        return [passage for passage in self._budget.split_to_fit(text) if passage.strip()]


def pool_scores(scores: Sequence[LabelScores], lengths: Sequence[int]) -> LabelScores:
    """Return the scores of a text from those of its passages: the mean of their probabilities, weighted by length.

    This is the linear opinion pool (Stone 1961). A product of the passages would treat them as independent evidence and
    be sure of every long text.
    """
    return LabelScores(
        _pool([each.raw for each in scores], lengths),
        _pool([each.corrected for each in scores], lengths),
        scores[0].method,
    )


def _pool(logprobs: Sequence[Mapping[str, float]], lengths: Sequence[int]) -> dict[str, float]:
    total = sum(lengths)
    means = {
        label: math.fsum(length * math.exp(each[label]) for each, length in zip(logprobs, lengths, strict=True)) / total
        for label in logprobs[0]
    }
    return normalize({label: math.log(mean) if mean > 0 else -math.inf for label, mean in means.items()})
