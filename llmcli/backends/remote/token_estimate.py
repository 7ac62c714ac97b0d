"""An estimate of a prompt's tokens where no tokenizer is available."""

from __future__ import annotations

import json

from llmcli.types import Request

_ASCII_CHARS_PER_TOKEN, _TOKENS_PER_MESSAGE, _TOKENS_PER_REQUEST = 3.5, 8, 16


def estimate_tokens(request: Request) -> int:
    """Return an estimate of the tokens in a request's prompt, too high rather than too low.

    English has more than 4 characters per token and code about 3; in current vocabularies, a character of another
    script takes at most one token.
    """
    total = float(_TOKENS_PER_REQUEST)
    for message in request.messages:
        total += _estimate_text(message.content) + _TOKENS_PER_MESSAGE
        for call in message.tool_calls:
            total += _estimate_text(json.dumps([call.name, call.arguments], ensure_ascii=False)) + _TOKENS_PER_MESSAGE
    for tool in request.tools:
        total += _estimate_text(json.dumps(tool, ensure_ascii=False)) + _TOKENS_PER_MESSAGE
    return int(total)


def _estimate_text(text: str) -> float:
    other = 0 if text.isascii() else sum(not character.isascii() for character in text)
    return (len(text) - other) / _ASCII_CHARS_PER_TOKEN + other
