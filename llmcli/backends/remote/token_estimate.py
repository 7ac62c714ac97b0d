"""About how many tokens a prompt has, where no tokenizer is at hand."""

from __future__ import annotations

from llmcli.types import Request

_ASCII_CHARS_PER_TOKEN, _TOKENS_PER_MESSAGE, _TOKENS_PER_REQUEST = 3.5, 8, 16


def estimate_tokens(request: Request) -> int:
    """Return about how many tokens the prompt of a request has, rather too many than too few.

    English has more than 4 characters a token and code some 3; a character of other scripts is a token at most in
    vocabularies of today.
    """
    total = float(_TOKENS_PER_REQUEST)
    for message in request.messages:
        other = sum(not character.isascii() for character in message.content) if not message.content.isascii() else 0
        total += (len(message.content) - other) / _ASCII_CHARS_PER_TOKEN + other + _TOKENS_PER_MESSAGE
    return int(total)
