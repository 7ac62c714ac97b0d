"""``POST /v1/embeddings``: texts, or tokens, to vectors of length 1.

Source: the OpenAI API reference, "Create embeddings"; ``base64`` is the vector's little-endian 32-bit floats.
``pooling`` is an extension: the states of a text become one vector as their mean, or as the last of them.
Requests and answers of our own servers, and answers of others.
"""

from __future__ import annotations

import array
import base64
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from llmcli.fast_dataclass import frozen
from llmcli.openai_api.fields import FieldError, Fields

_MAX_INPUTS = 2048
_ENCODING_FORMATS = ("float", "base64")
POOLINGS = ("mean", "last")

EmbeddingInput = str | tuple[int, ...]


@frozen
class EmbeddingRequest:
    """The inputs and how to encode the vectors; ``dimensions``: the length of a vector that the client expects.

    ``pooling``: one of ``POOLINGS``, None for the model's own way.
    """

    inputs: tuple[EmbeddingInput, ...]
    model: str | None
    as_base64: bool
    dimensions: int | None
    pooling: str | None


def parse_embedding_request(fields: Fields) -> EmbeddingRequest:
    """Parse a request body. Raises ``FieldError``."""
    form = fields.string("encoding_format") or "float"
    if form not in _ENCODING_FORMATS:
        raise FieldError("encoding_format", f"encoding_format must be one of {', '.join(_ENCODING_FORMATS)}")
    pooling = fields.string("pooling")
    if pooling not in {None, *POOLINGS}:
        raise FieldError("pooling", f"pooling must be one of {', '.join(POOLINGS)}")
    return EmbeddingRequest(
        _parse_inputs(fields.get("input")),
        fields.string("model"),
        form == "base64",
        fields.integer("dimensions", 1, 2**20),
        pooling,
    )


def _parse_inputs(given: Any) -> tuple[EmbeddingInput, ...]:
    """Return one text or list of tokens, or each of several."""
    alone = isinstance(given, str) or (isinstance(given, list) and bool(given) and all(map(_is_token, given)))
    values = [given] if alone else given
    if not isinstance(values, list) or not values:
        raise FieldError("input", "input is not a string, a list of strings, or tokens")
    if len(values) > _MAX_INPUTS:
        raise FieldError("input", f"input has more than {_MAX_INPUTS} strings")
    return tuple(_parse_input(value, f"input[{number}]") for number, value in enumerate(values))


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _parse_input(value: Any, where: str) -> EmbeddingInput:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(map(_is_token, value)):
        return tuple(value)
    raise FieldError(where, f"{where} is empty, or neither a string nor a list of tokens")


def build_embedding_response(
    parsed: EmbeddingRequest, model: str, vectors: Sequence[array.array[float]], tokens: int | None
) -> dict[str, Any]:
    """Return the answer, with ``tokens`` if their number is known.

    Raises ``FieldError`` for dimensions that the model does not have.
    """
    if parsed.dimensions not in (None, len(vectors[0])):
        raise FieldError("dimensions", f"dimensions must be {len(vectors[0])}, the length of the model's vectors")
    written = [_encode_base64(vector) if parsed.as_base64 else vector.tolist() for vector in vectors]
    data = [{"object": "embedding", "index": number, "embedding": vector} for number, vector in enumerate(written)]
    usage = None if tokens is None else {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _encode_base64(vector: array.array[float]) -> str:
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()


def parse_embedding_response(answer: Mapping[str, Any], count: int) -> tuple[array.array[float], ...]:
    """Return the vectors of a server's answer to ``count`` texts, as numbers or base64. Raises ``ValueError``."""
    try:
        given = {int(item["index"]): item["embedding"] for item in answer["data"]}
        vectors = tuple(_parse_vector(given[number]) for number in range(count))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError("it is not one vector for each text") from error
    if len(given) != count or len({len(vector) for vector in vectors}) != 1 or not len(vectors[0]):
        raise ValueError("it is not one vector for each text")
    if not all(math.isfinite(number) for vector in vectors for number in vector):
        raise ValueError("its vectors have components that are no numbers")
    return vectors


def _parse_vector(given: Any) -> array.array[float]:
    if not isinstance(given, str):
        return array.array("d", given)
    floats = array.array("f", base64.b64decode(given, validate=True))
    if sys.byteorder == "big":
        floats.byteswap()
    return floats
