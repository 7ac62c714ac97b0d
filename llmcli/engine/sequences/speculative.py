"""Draft tokens taken from earlier text (prompt lookup decoding).

Text repeats itself: names, quotations of the prompt, code, lists, tables. If the last tokens occurred before, the
tokens that followed them then are the draft. A step evaluates the draft together with the last token, and accepts as
much of it as the model chooses itself: several tokens for little more than the cost of one. Each token is sampled from
the model's own logits as usual, so the output is the same as without drafts. The method: A. Saxena, "Prompt Lookup
Decoding" (2023); llama.cpp's example ``lookup`` does the same.
"""

from __future__ import annotations

import math

_NGRAM_TOKENS = 3
"""Number of tokens that must have occurred before, in this order."""
MIN_DRAFT_TOKENS, MAX_DRAFT_TOKENS = 3, 15
"""Fewest tokens of a draft: shorter ones hardly pay, since the first additional row of a batch costs most."""
_ACCEPTANCE_SMOOTHING = 0.2
"""Weight of the last token in the acceptance rate."""
_INITIAL_ACCEPTANCE_RATE = 0.5
"""The rate before the first draft: some drafts must prove right before one is evaluated."""


class PromptLookupDrafter:
    """Drafts for one sequence, proposed only while they prove right; others are only compared with each token."""

    def __init__(self) -> None:
        self._continuations: dict[tuple[int, ...], int] = {}  # the position after the last occurrence of a key
        self._num_indexed_tokens = _NGRAM_TOKENS  # positions below this are indexed
        self._last_draft: list[int] = []
        self._draft_start = 0  # the position at which the draft begins
        self._acceptance_rate = _INITIAL_ACCEPTANCE_RATE

    def draft(self, tokens: list[int], max_tokens: int, cost: float) -> list[int]:
        """Return the tokens that may follow ``tokens``, at most ``max_tokens``, none if not worth their ``cost``.

        ``tokens`` are those of the last call and those generated since. ``cost``: as ``draft_row_cost`` returns it.
        """
        self._update_acceptance_rate(tokens)
        for position in range(self._num_indexed_tokens, len(tokens)):
            self._continuations[tuple(tokens[position - _NGRAM_TOKENS : position])] = position
        self._num_indexed_tokens = max(self._num_indexed_tokens, len(tokens))
        start = self._continuations.get(tuple(tokens[-_NGRAM_TOKENS:]))
        self._draft_start = len(tokens)
        following = [] if start is None else tokens[start : start + MAX_DRAFT_TOKENS]
        # a draft that reaches the end of the text repeats it
        self._last_draft = (following * MAX_DRAFT_TOKENS)[:MAX_DRAFT_TOKENS]
        count = min(max_tokens, self._worthwhile_length(cost), len(self._last_draft))
        return self._last_draft[:count] if count >= MIN_DRAFT_TOKENS else []

    def _update_acceptance_rate(self, tokens: list[int]) -> None:
        for drafted, chosen in zip(self._last_draft, tokens[self._draft_start :], strict=False):
            self._acceptance_rate += _ACCEPTANCE_SMOOTHING * ((drafted == chosen) - self._acceptance_rate)
            if drafted != chosen:
                break

    def _worthwhile_length(self, cost: float) -> int:
        """Return how many tokens in a row are likely enough to be worth their cost."""
        return MAX_DRAFT_TOKENS if self._acceptance_rate >= 1 else int(math.log(cost) / math.log(self._acceptance_rate))
