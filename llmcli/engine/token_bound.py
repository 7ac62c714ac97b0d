"""How many tokens a text has at least, by its bytes: what cannot fit a context is refused without being tokenized.

Tokenizing a line of megabytes without a blank takes minutes in one native call. But the tokens of a text are its bytes
cut into pieces that the vocabulary has, so a text of B bytes has at least B/N of them, N being the longest. Nearer comes
the fewest pieces of which each is no longer than the longest token that begins with the same two bytes: after k pieces
the furthest end is the furthest that a piece reaches from any place up to the end after k-1.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from llmcli.engine import native

if TYPE_CHECKING:
    from llmcli.engine.model import Model

_SENTENCEPIECE, _BYTE_PAIRS = 1, 2
"""Kinds of vocabularies (``llama_vocab_type``) that keep every byte of a text; others leave out white space or accents."""
_UNKNOWN, _CONTROL, _LSTRIP, _RSTRIP = 1 << 0, 1 << 3, 1 << 7, 1 << 8
_CHARACTER = 4
"""Bytes of the longest character in UTF-8: an unknown one may be a token."""
_WINDOW = 1 << 18


class TokenBound:
    """The bound for one vocabulary; making it looks at every token."""

    def __init__(self, model: Model) -> None:
        self._longest = 0  # bytes of the longest token; 0: nothing is known of the length of a text's tokens
        self._reach: Any = None
        self._lost = b""  # bytes that are no token by themselves: llama.cpp leaves them out of what it returns
        kept = native.lib().llama_vocab_type(model.vocab) in {_SENTENCEPIECE, _BYTE_PAIRS}
        if not kept or self._strips(model):
            return
        pieces = _pieces(model)
        self._lost = bytes({*range(256)} - {piece[0] for piece in pieces if len(piece) == 1})
        self._longest = max(_CHARACTER, *map(len, pieces))
        self._reach = _reach_by_two_bytes(pieces)

    @staticmethod
    def _strips(model: Model) -> bool:
        """Return whether tokens that a text may hold take the white space around them away."""
        return any(
            attributes & (_LSTRIP | _RSTRIP) and not attributes & (_CONTROL | _UNKNOWN)
            for attributes in model.token_attributes()
        )

    def least(self, text: str, limit: int) -> int:
        """Return a number of tokens that ``text`` has at least; above ``limit`` it is not looked for any closer."""
        if not self._longest:
            return 0
        import numpy as np

        whole = text.encode("utf-8", "replace")
        kept = whole.translate(None, self._lost)
        if not kept or len(kept) < len(whole):
            return len(kept) // self._longest
        data = np.frombuffer(whole, np.uint8)
        count = end = furthest = 0
        for start in range(0, len(data), _WINDOW):
            window = data[start : start + _WINDOW + 1].astype(np.int32)
            pairs = window[:-1] * 256 + window[1:]
            ends = np.arange(start, start + len(pairs)) + self._reach[pairs]
            reached = np.maximum.accumulate(np.maximum(ends, furthest)).tolist()
            while end - start < len(reached):
                count, end = count + 1, reached[end - start]
            furthest = reached[-1] if reached else furthest
            rest = -(-max(0, len(data) - end) // self._longest)
            if count + rest > limit or not rest:
                break
        # a space before the text, which some vocabularies add, may make one token longer
        return count + rest - 1


def _pieces(model: Model) -> list[bytes]:
    """Return the bytes of every token that a text can have; control tokens have none."""
    lib, buffer = native.lib(), ctypes.create_string_buffer(4096)
    found = []
    for token in range(model.vocab_size):
        length = lib.llama_token_to_piece(model.vocab, token, buffer, len(buffer), 0, False)
        if length > 0:
            found.append(buffer.raw[:length])
        elif length < 0:
            larger = ctypes.create_string_buffer(-length)
            lib.llama_token_to_piece(model.vocab, token, larger, -length, 0, False)
            found.append(larger.raw)
    return found


def _reach_by_two_bytes(pieces: list[bytes]) -> Any:
    """Return the length of the longest token by the two bytes that it begins with."""
    import numpy as np

    reach = np.full(1 << 16, _CHARACTER, np.int64)
    for piece in pieces:
        if len(piece) > _CHARACTER:
            key = piece[0] << 8 | piece[1]
            reach[key] = max(reach[key], len(piece))
    return reach
