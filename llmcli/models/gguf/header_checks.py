"""Checks of header values that would crash llama.cpp or make it compute nonsense.

The header reader has compared every length with the file. Here the numbers are compared with each other and with the
shapes of the tensors. What a header cannot show is left to ``engine.llama.load_check``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NoReturn

from llmcli.errors import BadModelFile
from llmcli.models.gguf.header import Header, SkippedArray

_INTEGER_RANGES = {
    "block_count": (1, 4096),
    "embedding_length": (1, 1 << 20),
    "context_length": (1, (1 << 31) - 1),
    "attention.key_length": (1, 1 << 16),
    "attention.value_length": (1, 1 << 16),
    "attention.sliding_window": (0, (1 << 31) - 1),
    "expert_count": (0, 1 << 16),
    "expert_used_count": (0, 1 << 16),
    "rope.dimension_count": (0, 1 << 16),
    "ssm.conv_kernel": (1, 1 << 16),
    "ssm.inner_size": (1, 1 << 24),
    "ssm.state_size": (1, 1 << 20),
    "ssm.time_step_rank": (1, 1 << 20),
    "ssm.group_count": (0, 1 << 20),
    "shortconv.l_cache": (1, 1 << 16),
}
"""Minimum and maximum of a whole number of the architecture, if it is given."""
_PER_LAYER_MAXIMA = {
    "attention.head_count": 1 << 16,
    "attention.head_count_kv": 1 << 16,
    "feed_forward_length": 1 << 24,
}
"""Maximum of a whole number that may also be given for each layer."""
_VOCABULARY_ARRAY_KINDS = {"scores": ("f32",), "token_type": ("i32", "u32")}
"""Arrays with an entry for each token, whose length llama.cpp does not check, and their kinds."""
UNSUPPORTED_WEIGHT_TYPES = frozenset({"I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K"})
"""Types for which llama.cpp has no operations between weights and activations."""


def is_adapter(header: Header) -> bool:
    """Return whether a header is that of a LoRA adapter (``general.type``, by convert_lora_to_gguf.py)."""
    return header.metadata.get("general.type") == "adapter"


def check_is_model(header: Header, subject: str) -> None:
    """Raise ``BadModelFile`` about ``subject`` if it is a LoRA adapter."""
    if is_adapter(header):
        raise BadModelFile(subject, detail="it is a LoRA adapter, which --lora applies to a model")


def check_header(header: Header, subject: str) -> None:
    """Raise ``BadModelFile`` about ``subject`` if its header has values that no model can have."""

    def fail(detail: str) -> NoReturn:
        raise BadModelFile(subject, detail=detail)

    check_is_model(header, subject)

    for problem in itertools.chain(
        _integer_problems(header),
        _attention_problems(header),
        _expert_problems(header),
        _rope_problems(header),
        _tokenizer_problems(header),
        _tensor_problems(header),
    ):
        fail(problem)


def _integer_problems(header: Header) -> Iterator[str]:
    for key, (least, most) in _INTEGER_RANGES.items():
        name = f"{header.architecture}.{key}"
        if name in header.metadata:
            value = header.arch_integer(key)
            if value is None or not least <= value <= most:
                yield f"{name} is {header.metadata[name]!r}"
    for key, most in _PER_LAYER_MAXIMA.items():
        name = f"{header.architecture}.{key}"
        if name in header.metadata:
            values = _values_per_layer(header, key)
            if values is None or not all(0 <= value <= most for value in values):
                yield f"{name} is {header.metadata[name]!r}"


def _values_per_layer(header: Header, key: str) -> tuple[int, ...] | None:
    """Return a number for each layer; None if it is missing, not a whole number, or given for too few layers."""
    layers = header.block_count or 1
    value = header.arch_integer_per_layer(key)
    if isinstance(value, int):
        return (value,) * layers
    return value[:layers] if value is not None and len(value) >= layers else None


def _attention_problems(header: Header) -> Iterator[str]:
    heads, kv_heads = (
        _values_per_layer(header, "attention.head_count"),
        _values_per_layer(header, "attention.head_count_kv"),
    )
    if heads is None:
        return
    width = header.arch_integer("embedding_length")
    if not any(heads) and not header.recurrent:
        yield "it has no attention heads"
    for count, kv in zip(heads, kv_heads or heads, strict=True):
        if count and kv and count % kv:
            yield f"{count} attention heads cannot share {kv} heads of keys and values"
        if count and width and header.arch_integer("attention.key_length") is None and width % count:
            yield f"an embedding of {width} cannot be divided among {count} attention heads"


def _expert_problems(header: Header) -> Iterator[str]:
    experts, used = header.arch_integer("expert_count") or 0, header.arch_integer("expert_used_count") or 0
    if used > experts or (experts and not used):
        yield f"it uses {used} of {experts} experts"


def _head_size(header: Header) -> int | None:
    """Return the elements of an attention head, None if the header does not say."""
    heads = max(_values_per_layer(header, "attention.head_count") or (0,))
    width = header.arch_integer("embedding_length")
    return header.arch_integer("attention.key_length") or (width // heads if width and heads else None)


def _rope_problems(header: Header) -> Iterator[str]:
    rotated, size = header.arch_integer("rope.dimension_count"), _head_size(header)
    if rotated is not None and size is not None and (rotated % 2 or rotated > size):
        yield f"rotating {rotated} of {size} elements of a head is impossible"
    sections = header.metadata.get(f"{header.architecture}.rope.dimension_sections")
    if isinstance(sections, tuple) and size is not None:
        whole = all(isinstance(part, int) and part >= 0 for part in sections)
        if not whole or sum(sections) > size:
            yield f"its rotated sections are invalid: {sections}"


def _tokenizer_problems(header: Header) -> Iterator[str]:
    prefix = "tokenizer.ggml."
    tokens = header.metadata.get(prefix + "tokens")
    if tokens is None:
        return
    if not isinstance(tokens, SkippedArray) or tokens.kind != "string" or not tokens.length:
        yield "its list of tokens is invalid"
        return
    for key, kinds in _VOCABULARY_ARRAY_KINDS.items():
        array = header.metadata.get(prefix + key)
        if array is not None and not (
            isinstance(array, SkippedArray) and array.kind in kinds and array.length == tokens.length
        ):
            yield f"{prefix}{key} does not have a value for each of the {tokens.length} tokens"


def _tensor_problems(header: Header) -> Iterator[str]:
    for tensor in header.tensors:
        if tensor.type in UNSUPPORTED_WEIGHT_TYPES:
            yield f"tensor {tensor.name!r} is of type {tensor.type}, which weights cannot have"
    embedding = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    if embedding is None or header.arch_integer("features_length"):  # a later part, or an audio model
        return
    expected = (header.arch_integer("embedding_length"), header.vocabulary_size)
    for size, wanted in itertools.zip_longest(embedding.shape, expected, fillvalue=1):
        if wanted is not None and size != wanted:
            yield f"its token embedding has the shape {embedding.shape} instead of {expected}"
