"""The policies for a conversation that exceeds the context."""

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
