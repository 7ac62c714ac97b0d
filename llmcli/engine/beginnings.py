"""Beginnings of prompts that the next command will have too: fetched from disk, and put there once they are evaluated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from llmcli.engine.prefixes import PrefixStore
from llmcli.engine.sequence import Sequence, common_prefix
from llmcli.engine.slots import Slots
from llmcli.errors import LlmError

_WORTH_LOADING = 16
"""Tokens that a beginning on disk has to have more than those in the memory."""
_DISK = 400e6
"""Bytes a second at which a beginning is surely read from disk, checked and taken over."""
_LOSABLE = (LlmError, OSError, MemoryError)
"""What a request does not fail for: all that is lost is the time that the reuse would have saved."""


class Beginnings:
    """``stores`` returns what is on disk in a certain format of states (``Slots.format``)."""

    def __init__(self, slots: Slots, stores: Callable[[str], PrefixStore]) -> None:
        self._slots = slots
        self._stores = stores

    def recall(self, sequence: Sequence, running: list[Sequence]) -> None:
        """Fetch the beginning of ``sequence`` where it is on disk, and longer than what the memory has.

        Where it is not, ``save_at`` of the sequence says at which length to ``remember`` it.
        """
        with contextlib.suppress(*_LOSABLE):
            self._recall(sequence, running)

    def _recall(self, sequence: Sequence, running: list[Sequence]) -> None:
        if sequence.request.session:
            self._recall_session(sequence, sequence.request.session, running)
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

    def _recall_session(self, sequence: Sequence, session: str, running: list[Sequence]) -> None:
        """Fetch what was evaluated of a saved conversation, where that is more than what the memory has of it."""
        if not self._slots.portable:
            return
        here = self._slots.reusable(sequence, running)
        if len(sequence.tokens) - here < _WORTH_LOADING:
            return
        store = self._stores(self._slots.format)
        entry = store.find_session(session)
        if entry is None:
            return
        tokens = list(entry.tokens)
        usable = common_prefix(tokens, sequence.tokens)  # what a model said need not be split as its text is
        if usable < len(tokens) and not self._slots.can_cut:
            return
        if usable - here >= _WORTH_LOADING:
            state = store.load(entry)
            if state is not None:
                self._slots.adopt(tokens, state)

    def remember_sessions(self, each: float) -> None:
        """Put what is in the memory of saved conversations on disk, where reading it will be faster than evaluating.

        ``each``: seconds that a prompt's token takes.
        """
        if not self._slots.portable:
            return
        for slot, kept in self._slots.unsaved():
            session, kept.session = kept.session, None
            if session and self._slots.context.state_size(slot) / _DISK < each * len(kept.tokens):
                with contextlib.suppress(*_LOSABLE):
                    self._stores(self._slots.format).save(kept.tokens, self._slots.context.save(slot), session)

    def remember(self, sequence: Sequence) -> None:
        """Put what is evaluated of ``sequence`` on disk, where reading it will be faster than evaluating it was."""
        context = self._slots.context
        if sequence.slot is not None and context.state_size(sequence.slot) / _DISK < sequence.spent:
            with contextlib.suppress(*_LOSABLE):
                self._stores(self._slots.format).save(sequence.tokens[: sequence.done], context.save(sequence.slot))
