"""A lower bound of a text's number of tokens from its bytes, which refuses long texts without tokenizing them.

Tokenizing a line of megabytes without a blank takes minutes in one native call. But the tokens of a text are its bytes
split into pieces of the vocabulary, so a text of B bytes has at least B/N tokens, where N is the length of the longest
token. A closer bound is the smallest number of pieces, each no longer than the longest token that begins with the same
two bytes: the furthest end after k pieces is the furthest that a piece reaches from any position up to the end after
k-1.
"""

from __future__ import annotations

from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.model import ATTR_CONTROL, ATTR_LSTRIP, ATTR_RSTRIP, ATTR_UNKNOWN, Model

_VOCAB_SPM, _VOCAB_BPE = 1, 2
"""Kinds of vocabularies (``llama_vocab_type``) that keep every byte of a text; others drop white space or accents."""
_MAX_UTF8_BYTES = 4
"""The most bytes of a character in UTF-8: an unknown one may be a token."""
_WINDOW_BYTES = 1 << 18


class TokenBound:
    """The bound for one vocabulary; creating it reads every token."""

    def __init__(self, model: Model) -> None:
        self._longest_token_bytes = 0  # 0: unknown
        self._longest_by_prefix: Any = None
        self._untokenized_bytes = b""  # bytes that are no token by themselves: llama.cpp returns no token for them
        keeps_bytes = bindings.lib().llama_vocab_type(model.vocab) in {_VOCAB_SPM, _VOCAB_BPE}
        if not keeps_bytes or self._strips_whitespace(model):
            return
        pieces = [piece for piece in model.token_pieces(range(model.vocab_size)) if piece]
        self._untokenized_bytes = bytes({*range(256)} - {piece[0] for piece in pieces if len(piece) == 1})
        self._longest_token_bytes = max(_MAX_UTF8_BYTES, *map(len, pieces))
        self._longest_by_prefix = _longest_token_by_two_bytes(pieces)

    @staticmethod
    def _strips_whitespace(model: Model) -> bool:
        """Return whether tokens that a text may contain strip the white space around them."""
        return any(
            attributes & (ATTR_LSTRIP | ATTR_RSTRIP) and not attributes & (ATTR_CONTROL | ATTR_UNKNOWN)
            for attributes in model.token_attributes()
        )

    def lower_bound(self, text: str, limit: int) -> int:
        """Return a lower bound of the tokens of ``text``; above ``limit`` it is not refined."""
        if not self._longest_token_bytes:
            return 0
        import numpy as np

        whole = text.encode("utf-8", "replace")
        kept = whole.translate(None, self._untokenized_bytes)
        if not kept or len(kept) < len(whole):
            return len(kept) // self._longest_token_bytes
        data = np.frombuffer(whole, np.uint8)
        count = end = furthest = 0
        for start in range(0, len(data), _WINDOW_BYTES):
            window = data[start : start + _WINDOW_BYTES + 1].astype(np.int32)
            pairs = window[:-1] * 256 + window[1:]
            ends = np.arange(start, start + len(pairs)) + self._longest_by_prefix[pairs]
            reached = np.maximum.accumulate(np.maximum(ends, furthest)).tolist()
            while end - start < len(reached):
                count, end = count + 1, reached[end - start]
            furthest = reached[-1] if reached else furthest
            rest = -(-max(0, len(data) - end) // self._longest_token_bytes)
            if count + rest > limit or not rest:
                break
        # a space before the text, which some vocabularies add, may make one token longer
        return count + rest - 1


def _longest_token_by_two_bytes(pieces: list[bytes]) -> Any:
    """Return the length of the longest token for each pair of first bytes."""
    import numpy as np

    reach = np.full(1 << 16, _MAX_UTF8_BYTES, np.int64)
    for piece in pieces:
        if len(piece) > _MAX_UTF8_BYTES:
            key = piece[0] << 8 | piece[1]
            reach[key] = max(reach[key], len(piece))
    return reach
