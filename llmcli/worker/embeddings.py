"""``POST /v1/embeddings``: texts, or tokens, to vectors of length 1.

Source: the OpenAI API reference, "Create embeddings"; ``base64`` is the vector's little-endian 32-bit floats.
"""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmcli.worker.fields import BadField, Fields

_MOST_INPUTS = 2048
_FORMATS = ("float", "base64")

Input = str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be embedded, and how vectors are written; ``dimensions``: what the client takes them to have."""

    inputs: tuple[Input, ...]
    model: str | None
    base64: bool
    dimensions: int | None


def read(fields: Fields) -> Wish:
    """Return what a body asks for. Raises ``BadField``."""
    form = fields.text("encoding_format") or "float"
    if form not in _FORMATS:
        raise BadField("encoding_format", f"encoding_format is none of {', '.join(_FORMATS)}")
    return Wish(
        _inputs(fields.get("input")), fields.text("model"), form == "base64", fields.whole("dimensions", 1, 2**20)
    )


def _inputs(given: Any) -> tuple[Input, ...]:
    """Return one text or list of tokens, or each of several."""
    alone = isinstance(given, str) or (isinstance(given, list) and bool(given) and all(map(_is_token, given)))
    values = [given] if alone else given
    if not isinstance(values, list) or not values:
        raise BadField("input", "input is not a text, a list of texts, or tokens")
    if len(values) > _MOST_INPUTS:
        raise BadField("input", f"input has more than {_MOST_INPUTS} texts")
    return tuple(_input(value, f"input[{number}]") for number, value in enumerate(values))


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _input(value: Any, where: str) -> Input:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(map(_is_token, value)):
        return tuple(value)
    raise BadField(where, f"{where} is empty, or neither a text nor a list of tokens")


def answer(wish: Wish, model: str, vectors: Sequence[array.array[float]], tokens: int) -> dict[str, Any]:
    """Return the answer. Raises ``BadField`` for dimensions that the model does not have."""
    if wish.dimensions not in (None, len(vectors[0])):
        raise BadField("dimensions", f"dimensions must be {len(vectors[0])}, as the model has it")
    written = [_base64(vector) if wish.base64 else vector.tolist() for vector in vectors]
    data = [{"object": "embedding", "index": number, "embedding": vector} for number, vector in enumerate(written)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _base64(vector: array.array[float]) -> str:
    if sys.byteorder == "big":
        vector = vector[:]
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()
