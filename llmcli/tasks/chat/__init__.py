"""chat: a conversation that stays within the context, and is saved."""

from __future__ import annotations

from enum import StrEnum


class OverflowPolicy(StrEnum):
    """What happens to the oldest messages when the next one would not fit."""

    SUMMARIZE = "summarize"
    """They are replaced by a summary."""
    SLIDE = "slide"
    """They are left out."""
    STOP = "stop"
    """The message is refused."""
