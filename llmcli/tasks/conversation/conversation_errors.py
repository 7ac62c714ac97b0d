"""Errors of a conversation.

LlmError
|- InputError              65
|  `- ConversationFull          (the next message does not fit, and the session's policy is to stop)
`- PartialError             3
   `- RepetitionStopped             (an answer repeated itself and was stopped)
"""

from __future__ import annotations

from llmcli.errors import InputError, PartialError


class ConversationFull(InputError):
    """A conversation of ``tokens`` with the next message leaves no room for an answer in ``context`` tokens."""

    def __init__(self, *, tokens: int, context: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.context = context


class RepetitionStopped(PartialError):
    """An answer repeated itself and was stopped."""
