"""Beginnings of prompts that the next command will have too: fetched from disk, and put there once they are evaluated."""

from __future__ import annotations

from collections.abc import Callable

from llmcli.engine.prefixes import PrefixStore
from llmcli.engine.sequence import Sequence
from llmcli.engine.slots import Slots

_WORTH_LOADING = 16
"""Tokens that a beginning on disk has to have more than those in the memory."""
_DISK = 400e6
"""Bytes a second at which a beginning is surely read from disk, checked and taken over."""


class Beginnings:
    """``stores`` returns what is on disk in a certain format of states (``Slots.format``)."""

    def __init__(self, slots: Slots, stores: Callable[[str], PrefixStore]) -> None:
        self._slots = slots
        self._stores = stores

    def recall(self, sequence: Sequence, running: list[Sequence]) -> None:
        """Fetch the beginning of ``sequence`` where it is on disk, and longer than what the memory has.

        Where it is not, ``save_at`` of the sequence says at which length to ``remember`` it.
        """
        length = sequence.public_length
        if length < _WORTH_LOADING or not self._slots.portable:
            return
        here = self._slots.reusable(sequence, running)
        if length - here < _WORTH_LOADING:
            return
        store = self._stores(self._slots.format)
        entry = store.find(sequence.tokens[:length])
        if entry is None or len(entry.tokens) < length:
            sequence.save_at = length
        if entry is None or len(entry.tokens) - here < _WORTH_LOADING:
            return
        state = store.load(entry)
        if state is None:  # damaged, and removed
            sequence.save_at = length
        else:
            self._slots.adopt(list(entry.tokens), state)

    def remember(self, sequence: Sequence) -> None:
        """Put what is evaluated of ``sequence`` on disk, where reading it will be faster than evaluating it was."""
        context = self._slots.context
        if sequence.slot is not None and context.state_size(sequence.slot) / _DISK < sequence.spent:
            self._stores(self._slots.format).save(sequence.tokens[: sequence.done], context.save(sequence.slot))
