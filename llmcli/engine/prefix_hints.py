"""How much of a prompt the prefix cache may keep, found by rendering the chat template with other texts.

These are hints: a template that cannot be rendered with them costs the reuse, never the request (length 0).
"""

from __future__ import annotations

import contextlib
import dataclasses

from llmcli.engine.chat import ChatTemplate
from llmcli.engine.sequence import common_prefix
from llmcli.errors import BadModelFile
from llmcli.types import Message, Request, Role

_PROBES = ("\ue000", "\U0010fffd")
"""Two messages whose texts differ from the first byte on, in case a tokenizer falls back on bytes."""


class PrefixHints:
    """Lengths in tokens for the prompts of one ``template``."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._public: tuple[tuple[tuple[Message, ...], bool], list[int]] | None = None  # messages, and their tokens

    def public_length(self, request: Request, tokens: list[int]) -> int:
        """Return how many tokens do not depend on what the last message says."""
        key = (request.messages[:-1], request.reasoning)
        known = self._public
        if known is None or known[0] != key:
            probes = []
            with contextlib.suppress(BadModelFile):
                probes = [
                    self._template.tokens(
                        (*key[0], dataclasses.replace(request.messages[-1], content=other)), reasoning=request.reasoning
                    )[0]
                    for other in _PROBES
                ]
            known = self._public = (key, probes[0][: common_prefix(*probes)] if probes else [])
        return common_prefix(known[1], tokens)

    def turn_length(self, request: Request, tokens: list[int]) -> int:
        """Return with how many of ``tokens`` the next turn's prompt will begin, whatever is answered."""
        nexts: list[list[int]] = []
        with contextlib.suppress(BadModelFile):
            nexts = [
                self._template.tokens(
                    (*request.messages, Message(Role.ASSISTANT, said), Message(Role.USER, said)),
                    reasoning=request.reasoning,
                    tools=request.tools,
                )[0]
                for said in _PROBES
            ]
        return min((common_prefix(tokens, each) for each in nexts), default=0)
