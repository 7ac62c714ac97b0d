"""The vocabulary of a model for llguidance, read once for a model and kept in the cache directory.

Its tokenizer cannot be written to a file, but the bytes of the tokens can: reading 49,000 of them from the model takes 60
ms, from the file 6 ms, and making the tokenizer 110 ms. Control tokens and those that end a generation have no bytes here, so that no grammar allows them inside a
text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli.engine.llama import bindings
from llmcli.engine.llama.model import Model
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.files import private_files
from llmcli.frozen_dataclass import frozen

_FORMAT = b"llm vocabulary 1\n"
_DIGEST_BYTES = 32


@frozen
class GuidedVocabulary:
    """The bytes of each token, and the tokens that end a generation."""

    pieces: list[bytes]
    eog_tokens: list[int]


def read_vocabulary(model: Model, tokenizer: Tokenizer) -> GuidedVocabulary:
    """Return the vocabulary of a loaded model."""
    pieces = list(model.token_pieces(range(model.vocab_size)))
    eog_tokens = list(filter(tokenizer.is_eog, range(model.vocab_size)))
    for token in eog_tokens:
        pieces[token] = b""
    if tokenizer.eos in eog_tokens:  # the first one is llguidance's own
        eog_tokens.sort(key=lambda token: token != tokenizer.eos)
    return GuidedVocabulary(pieces, eog_tokens)


def load_or_read_vocabulary(model: Model, tokenizer: Tokenizer, cache: Path | None, model_id: str) -> GuidedVocabulary:
    """Return the vocabulary, from ``cache`` if it is there; else it is read and saved for the next process.

    ``model_id``: the model's SHA-256. Files that are damaged, or of another version, are replaced.
    """
    if cache is None:
        return read_vocabulary(model, tokenizer)
    path = cache / "vocabularies" / model_id
    identity = repr((model_id, bindings.version(), model.vocab_size)).encode()
    with suppress(OSError, ValueError):
        return _decode(path.read_bytes(), identity)
    vocabulary = read_vocabulary(model, tokenizer)
    with suppress(OSError):  # it is read again the next time
        private_files.replace_file(path, _encode(vocabulary, identity))
    return vocabulary


def _encode(vocabulary: GuidedVocabulary, identity: bytes) -> bytes:
    import numpy as np

    lengths = np.array([len(piece) for piece in vocabulary.pieces], "<u4").tobytes()
    ends = np.array(vocabulary.eog_tokens, "<u4").tobytes()
    counts = np.array([len(identity), len(vocabulary.pieces), len(vocabulary.eog_tokens)], "<u4").tobytes()
    body = b"".join((_FORMAT, counts, identity, lengths, ends, *vocabulary.pieces))
    return hashlib.sha256(body).digest() + body


def _decode(data: bytes, identity: bytes) -> GuidedVocabulary:
    """Return the vocabulary of a file. Raises ``ValueError`` for another one than ``identity``'s, or a damaged one."""
    import numpy as np

    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest or not body.startswith(_FORMAT):
        raise ValueError("the file is damaged")
    position = len(_FORMAT)
    identity_length, num_pieces, num_ends = np.frombuffer(body, "<u4", 3, position).tolist()
    position += 12
    if body[position : position + identity_length] != identity:
        raise ValueError("the file is of another model or version")
    position += identity_length
    lengths = np.frombuffer(body, "<u4", num_pieces, position)
    ends = np.frombuffer(body, "<u4", num_ends, position + lengths.nbytes).tolist()
    position += lengths.nbytes + 4 * num_ends
    stops = (np.cumsum(lengths, dtype=np.int64) + position).tolist()
    starts = [position, *stops[:-1]]
    return GuidedVocabulary([body[start:stop] for start, stop in zip(starts, stops, strict=True)], ends)


class TokenizerAdapter:
    """What llguidance asks of a tokenizer (``llguidance.TokenizerWrapper``): the tokens of a text that must follow."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, vocabulary: GuidedVocabulary, tokenizer: Tokenizer) -> None:
        self.tokens = vocabulary.pieces
        self.special_token_ids: list[int] = []
        self.eos_token_id = vocabulary.eog_tokens[0] if vocabulary.eog_tokens else None
        self._tokenizer = tokenizer
        self._token_by_piece: dict[bytes, int] = {}
        self._longest_piece = max(map(len, vocabulary.pieces))

    def __call__(self, text: str) -> list[int]:
        """Return tokens whose bytes are exactly ``text``, those of the model where they are."""
        data = text.encode()
        tokens = self._tokenizer.encode(text)
        return tokens if self._join(tokens) == data else self._tokenize_greedily(data)

    def _join(self, tokens: Iterable[int]) -> bytes:
        return b"".join(self.tokens[token] for token in tokens)

    def _tokenize_greedily(self, data: bytes) -> list[int]:
        """Return the longest token at each position. Raises ``ValueError`` where there is none."""
        if not self._token_by_piece:
            self._token_by_piece = {piece: token for token, piece in enumerate(self.tokens) if piece}
        tokens, start = [], 0
        while start < len(data):
            sizes = range(min(self._longest_piece, len(data) - start), 0, -1)
            size = next((size for size in sizes if data[start : start + size] in self._token_by_piece), 0)
            if not size:
                raise ValueError("the model has no token for a text that must follow")
            tokens.append(self._token_by_piece[data[start : start + size]])
            start += size
        return tokens


def make_guided_tokenizer(vocabulary: GuidedVocabulary, tokenizer: Tokenizer) -> Any:
    """Return llguidance's tokenizer. It keeps Python's lock meanwhile: about a tenth of a second for 49,000 tokens."""
    from llguidance import LLTokenizer

    adapter: Any = TokenizerAdapter(vocabulary, tokenizer)
    slices = LLTokenizer.json_slices()
    return LLTokenizer(adapter, eos_token=vocabulary.eog_tokens or None, slices=slices)
