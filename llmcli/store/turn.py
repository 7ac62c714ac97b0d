"""A message of a saved conversation."""

from __future__ import annotations

from dataclasses import dataclass

from llmcli.types import Role


@dataclass(frozen=True, slots=True)
class Turn:
    """A message at ``time`` (seconds of the epoch, 0: unknown); ``interrupted``: an answer that was stopped early."""

    role: Role
    content: str
    interrupted: bool = False
    time: float = 0.0
