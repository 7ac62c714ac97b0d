"""How much of a prompt the prefix cache may keep, found by rendering the chat template with other texts.

These are hints: if a template cannot be rendered with the other texts, only the reuse is lost (length 0), never the
request.
"""

from __future__ import annotations

import contextlib
import dataclasses

from llmcli.engine.sequences.token_prefix import common_prefix_length
from llmcli.engine.text.chat_template import ChatTemplate
from llmcli.errors import BadModelFile
from llmcli.types import Message, Request, Role

_PROBE_TEXTS = ("\ue000", "\U0010fffd")
"""Two messages whose texts differ from the first byte on, in case a tokenizer falls back on bytes."""


class PrefixHints:
    """Lengths in tokens for the prompts of one ``template``."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._public_prefix: tuple[tuple[tuple[Message, ...], bool], list[int]] | None = None  # messages, their tokens

    def public_prefix_length(self, request: Request, tokens: list[int]) -> int:
        """Return how many tokens do not depend on the text of the last message."""
        key = (request.messages[:-1], request.reasoning)
        known = self._public_prefix
        if known is None or known[0] != key:
            probes = []
            with contextlib.suppress(BadModelFile):
                probes = [
                    self._template.tokenize(
                        (*key[0], dataclasses.replace(request.messages[-1], content=other)), reasoning=request.reasoning
                    )[0]
                    for other in _PROBE_TEXTS
                ]
            known = self._public_prefix = (key, probes[0][: common_prefix_length(*probes)] if probes else [])
        return common_prefix_length(known[1], tokens)

    def turn_prefix_length(self, request: Request, tokens: list[int]) -> int:
        """Return how many of ``tokens`` the next turn's prompt will begin with, whatever the answer is."""
        next_prompts: list[list[int]] = []
        with contextlib.suppress(BadModelFile):
            next_prompts = [
                self._template.tokenize(
                    (*request.messages, Message(Role.ASSISTANT, text), Message(Role.USER, text)),
                    reasoning=request.reasoning,
                    tools=request.tools,
                )[0]
                for text in _PROBE_TEXTS
            ]
        return min((common_prefix_length(tokens, prompt) for prompt in next_prompts), default=0)
