"""The interface by which a conversation is saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llmcli.store.session import Summary, Turn


class ConversationStore(Protocol):
    """A saved conversation: its earlier ``turns``, and the ``model`` that answered last ("": none yet).

    No method raises an error that would end the chat.
    """

    turns: Sequence[Turn]
    model: str

    @property
    def id(self) -> str | None:
        """Its id in requests; None while it is not saved."""
        ...

    def save(self, turns: Sequence[Turn], model: str) -> Sequence[Turn]:
        """Save the conversation that consists of ``turns``; return them with the ids of those that are saved."""
        ...

    def update(self, turn: Turn) -> None:
        """Save the text of an answer that has grown."""
        ...

    def withdraw(self, turn: Turn) -> None:
        """Remove a question that got no answer."""
        ...

    def find_summary(self, turns: Sequence[Turn]) -> Summary | None:
        """Return the saved summary that covers most of ``turns``."""
        ...

    def save_summary(self, summary: Summary) -> None:
        """Save a summary."""
        ...

    def renew(self) -> None:
        """Begin a new conversation."""
        ...
