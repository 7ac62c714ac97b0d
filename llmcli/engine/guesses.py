"""Evaluating guesses of running sequences beside their last tokens, and taking back those that prove wrong."""

from __future__ import annotations

from collections.abc import Iterable

from llmcli.engine.sequence import Sequence, common_prefix
from llmcli.engine.slots import Slots


def price(sequences: int) -> float:
    """Return what evaluating one more row costs, as a part of a row's cost in a step of so many sequences.

    Measured with weights in Q4_1 and two threads of a processor without matrix instructions: 3.2 of 6.9 ms alone, 3.3
    of 4.2 in a batch of 16. Where decoding is bound by the memory it is less. It is the same at every step of every run,
    so that the same question gets the same batches.
    """
    return min(0.45 + 0.02 * (sequences - 1), 0.9)


class Guesses:
    """What ``drafts`` proposes, within what the memory and one evaluation allow."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._cramped = False  # the cache had no room for them: one step goes without
        self.made = self.right = 0
        """Tokens that were guessed and evaluated, and those of them that the model said."""

    def make(self, runnable: list[Sequence]) -> None:
        """Let those that decode guess what follows."""
        clients = [id(sequence.sink) for sequence in runnable if sequence.decoding]
        # another client's tokens would come later for it; and where each sequence has a buffer of its own, llama.cpp
        # evaluates together only as many tokens of each as of all
        alone = len(clients) == 1 or (len(set(clients)) == 1 and not self._slots.elastic)
        may = self._slots.may_guess and not self._cramped and alone
        self._cramped = False
        cost = price(len(clients))
        spare = self._slots.context.max_outputs - len(runnable)
        for sequence in runnable:
            sequence.draft = []
            if may and sequence.decoding:
                sequence.guess(cost)
                sequence.draft = sequence.draft[: max(0, spare)]
                spare -= len(sequence.draft)

    def settle(self, sequence: Sequence) -> None:
        """Forget those of the evaluated guesses that the model did not say."""
        start = sequence.done - len(sequence.draft)
        right = common_prefix(sequence.tokens[start:], sequence.draft)
        self.made += len(sequence.draft)
        self.right += right
        if right < len(sequence.draft):
            sequence.done = start + right
            self._slots.truncate(sequence)

    def give_up(self, sequences: Iterable[Sequence]) -> bool:
        """The cache has no room for a step of these: say whether leaving out their guesses may help."""
        self._cramped = any(sequence.draft for sequence in sequences)
        return self._cramped

    @property
    def reason(self) -> str:
        """Say in one sentence what came of them; "" where there were none."""
        said = f"guesses: {self.right} of {self.made} tokens that stood in the text before were what the model said"
        return said if self.made else ""
