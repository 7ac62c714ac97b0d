"""chat: a conversation that stays within the context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmcli.backends.base import Backend
from llmcli.tasks.base import Options
from llmcli.templates import Library
from llmcli.types import Role, TaskEvent


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation; ``interrupted`` marks an answer that was stopped before its end."""

    role: Role
    content: str
    interrupted: bool = False


class Conversation:
    """A conversation with one backend."""

    def __init__(self, backend: Backend, prompts: Library, options: Options, *, system: str = "") -> None:
        raise NotImplementedError

    def say(self, text: str) -> Iterator[TaskEvent]:
        """Send ``text`` and yield the answer's Deltas, Notices and its Result."""
        raise NotImplementedError

    @property
    def history(self) -> tuple[Turn, ...]:
        """Everything said so far, what is no longer sent included."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget everything said so far."""
        raise NotImplementedError
