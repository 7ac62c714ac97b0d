"""A message of a saved conversation."""

from __future__ import annotations

from llmcli.frozen_dataclass import field, frozen
from llmcli.types import Role


@frozen
class Turn:
    """A message at ``time`` (seconds of the epoch, 0: unknown); ``interrupted``: an answer that was stopped early.

    ``id`` identifies it in its file, 0: it is not saved. ``parent`` is the id of the message before it, 0: it is the
    first. ``pinned``: it is always sent to the model, however long the conversation becomes.
    """

    role: Role
    content: str
    interrupted: bool = False
    time: float = 0.0
    pinned: bool = False
    id: int = field(default=0, compare=False)
    parent: int = field(default=0, compare=False)
