"""How much of a prompt the prefix cache may keep, found by rendering the chat template with other texts.

These are hints: if a template cannot be rendered with the other texts, only the reuse is lost (length 0), never the
request.
"""

from __future__ import annotations

import contextlib

from llmcli.engine.sequences.sequence import common_prefix_length
from llmcli.engine.text.chat_template import ChatTemplate
from llmcli.errors import BadModelFile
from llmcli.frozen_dataclass import field, frozen, replace
from llmcli.types import Message, Request, Role

_PROBE_TEXTS = ("\ue000", "\U0010fffd")
"""Two messages whose texts differ from the first byte on, in case a tokenizer falls back on bytes."""


@frozen
class _Prefix:
    """The tokens of ``messages`` before a last message that begins with ``start``."""

    messages: tuple[Message, ...]
    start: str
    reasoning: bool
    tokens: list[int] = field(default_factory=list, compare=False)


class PrefixHints:
    """Lengths in tokens for the prompts of one ``template``."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._public_prefix = self._document_prefix = _Prefix((), "", reasoning=False)

    def public_prefix_length(self, request: Request, tokens: list[int]) -> int:
        """Return how many tokens do not depend on the text of the last message."""
        self._public_prefix = self._update(self._public_prefix, request, "")
        return common_prefix_length(self._public_prefix.tokens, tokens)

    def document_prefix_length(self, request: Request, tokens: list[int]) -> int:
        """Return how many tokens do not depend on what follows the document in the last message."""
        if not request.document_chars or not request.messages:
            return 0
        document = request.messages[-1].content[: request.document_chars]
        self._document_prefix = self._update(self._document_prefix, request, document)
        return common_prefix_length(self._document_prefix.tokens, tokens)

    def _update(self, known: _Prefix, request: Request, start: str) -> _Prefix:
        """Return the prefix of requests whose last message begins with ``start``: ``known`` if it is that one."""
        wanted = _Prefix(request.messages[:-1], start, reasoning=request.reasoning)
        if known == wanted and known.tokens:
            return known
        probes = []
        with contextlib.suppress(BadModelFile):
            probes = [
                self._template.tokenize(
                    (*wanted.messages, replace(request.messages[-1], content=start + other)),
                    reasoning=request.reasoning,
                )[0]
                for other in _PROBE_TEXTS
            ]
        tokens = probes[0][: common_prefix_length(*probes)] if probes else []
        return replace(wanted, tokens=tokens)

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
