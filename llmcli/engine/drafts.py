"""Guessing what comes next from what was there before (prompt lookup decoding).

Text repeats itself: names, quotations of the prompt, code, lists, tables. Where the last tokens stood before, those that
followed them are guessed to follow again. A step evaluates the guesses together with the last token, and as many as the
model says itself are taken: several tokens for little more than the price of one. Each token is drawn from the model's
own logits as ever, so nothing is said that would not be said without. The method: A. Saxena, "Prompt Lookup Decoding"
(2023); llama.cpp's example ``lookup`` does the same.
"""

from __future__ import annotations

import math

_KEY = 3
"""Tokens that have to have stood before, in this order."""
LEAST, MOST = 3, 15
"""Tokens of a guess: fewer hardly pay, since the first additional row of a batch costs most."""
_WEIGHT = 0.2
"""Of the last guess in the share of right ones."""
_FIRST = 0.5
"""That share before anything was guessed: some guesses have to prove right before one is evaluated."""


class Drafts:
    """Guesses for one sequence, made only while they prove right; whether they would have is noted at every token."""

    def __init__(self) -> None:
        self._followers: dict[tuple[int, ...], int] = {}  # the position after the last occurrence of a key
        self._known = _KEY  # positions below this are in there
        self._guess: list[int] = []
        self._at = 0  # the position that the guess begins at
        self._right = _FIRST

    def propose(self, tokens: list[int], most: int, cost: float) -> list[int]:
        """Return what may follow ``tokens``, at most ``most`` tokens, none where it is not worth its ``cost``.

        ``tokens`` are those of the call before and what was said since. ``cost``: as ``guesses.price`` returns it.
        """
        self._judge(tokens)
        for position in range(self._known, len(tokens)):
            self._followers[tuple(tokens[position - _KEY : position])] = position
        self._known = max(self._known, len(tokens))
        start = self._followers.get(tuple(tokens[-_KEY:]))
        self._at = len(tokens)
        ahead = [] if start is None else tokens[start : start + MOST]
        self._guess = (ahead * MOST)[:MOST]  # what comes after the end is what came after it the last time
        count = min(most, self._worth(cost), len(self._guess))
        return self._guess[:count] if count >= LEAST else []

    def _judge(self, tokens: list[int]) -> None:
        for guessed, said in zip(self._guess, tokens[self._at :], strict=False):
            self._right += _WEIGHT * ((guessed == said) - self._right)
            if guessed != said:
                break

    def _worth(self, cost: float) -> int:
        """Return how many guesses in a row are right so probably that each is worth its cost."""
        return MOST if self._right >= 1 else int(math.log(cost) / math.log(self._right))
