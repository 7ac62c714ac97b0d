"""The error of a conversation.

LlmError
`- InputError              65
   `- ConversationFull          (the next message does not fit, and the session's policy is to stop)
"""

from __future__ import annotations

from llmcli.errors import InputError


class ConversationFull(InputError):
    """A conversation of ``tokens`` with the next message leaves no room for an answer in ``context`` tokens."""

    def __init__(self, *, tokens: int, context: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.context = context
