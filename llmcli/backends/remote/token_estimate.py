"""An estimate of a prompt's tokens where no tokenizer is available."""

from __future__ import annotations

from llmcli.types import Request

_ASCII_CHARS_PER_TOKEN, _TOKENS_PER_MESSAGE, _TOKENS_PER_REQUEST = 3.5, 8, 16


def estimate_tokens(request: Request) -> int:
    """Return an estimate of the tokens in a request's prompt, too high rather than too low.

    English has more than 4 characters per token and code about 3; in current vocabularies, a character of another
    script takes at most one token.
    """
    total = float(_TOKENS_PER_REQUEST)
    for message in request.messages:
        other = sum(not character.isascii() for character in message.content) if not message.content.isascii() else 0
        total += (len(message.content) - other) / _ASCII_CHARS_PER_TOKEN + other + _TOKENS_PER_MESSAGE
    return int(total)
