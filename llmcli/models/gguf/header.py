"""The header of a GGUF file: the metadata and the tensors, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from llmcli.fast_dataclass import frozen
from llmcli.models.gguf.tensor_types import BITS_PER_ELEMENT, FILE_TYPES

# keys that only models with a recurrent state have; their memory does not grow by a fixed amount per token
_RECURRENT_KEYS = (".ssm.", ".wkv.", ".shortconv.", ".kda.", ".token_shift_count", ".full_attention_interval")

_NAMED_LAYERS_ARCHITECTURES = frozenset(
    [
        "deepseek2",
        "exaone",
        "falcon",
        "gemma",
        "gemma2",
        "gemma3",
        "gpt2",
        "granite",
        "llama",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen2moe",
        "qwen3",
        "qwen3moe",
        "smollm3",
        "stablelm",
        "starcoder2",
    ]
)
"""Architectures whose graph names the output of each layer ``l_out-N``, N from 0."""


_MAX_QUOTED_CHARS = 60


def quote_value(value: object) -> str:
    """Return what a message shows of a key, name or value of a file: quoted, escaped, and at most 60 characters."""
    shown = repr(value[: _MAX_QUOTED_CHARS + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= _MAX_QUOTED_CHARS else f"{shown[: _MAX_QUOTED_CHARS - 2]}…{shown[-1]}"


def show_name(name: str) -> str:
    """Return a name as ``quote_value`` does, but without the quotation marks."""
    return quote_value(name)[1:-1]


@frozen
class SkippedArray:
    """An array that was not kept: the kind of its elements ("string", "f32", ...) and their number."""

    kind: str
    length: int


@frozen
class TensorInfo:
    """One tensor: ``shape`` in ggml's order (the contiguous dimension first), ``offset`` from the data section."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    nbytes: int


@frozen
class Header:
    """The header of a GGUF file. ``data_offset`` is where the tensor data begins, ``size`` the file's size.

    The metadata must not change: what follows from it is derived once.
    """

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    size: int

    def _text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def _integer(self, key: str) -> int | None:
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def arch_integer(self, key: str) -> int | None:
        """Return the whole number ``ARCHITECTURE.key``, or None."""
        return self._integer(f"{self.architecture}.{key}")

    def arch_integer_per_layer(self, key: str) -> int | tuple[int, ...] | None:
        """Return ``ARCHITECTURE.key``: one whole number for all layers, one for each layer, or None."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        whole = isinstance(value, tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
        return value if whole else self.arch_integer(key)

    @property
    def readable_layers(self) -> int | None:
        """The number of layers if the states after each can be read, else None.

        None for a model that was trained for vectors: its last layer gives these.
        """
        causal = self.metadata.get(f"{self.architecture}.attention.causal")
        trained_for_vectors = self.arch_integer("pooling_type") or causal is False
        known = self.architecture in _NAMED_LAYERS_ARCHITECTURES
        return self.block_count if known and not trained_for_vectors else None

    @property
    def kv_heads(self) -> int | tuple[int, ...] | None:
        """Heads of keys and values, of all layers or of each; the number of attention heads if not given."""
        named = f"{self.architecture}.attention.head_count_kv" in self.metadata
        return self.arch_integer_per_layer("attention.head_count_kv" if named else "attention.head_count")

    @cached_property
    def architecture(self) -> str:
        """general.architecture, for example "llama"."""
        return self._text("general.architecture") or ""

    @property
    def name(self) -> str | None:
        """general.name."""
        return self._text("general.name")

    @property
    def licence(self) -> str | None:
        """general.license, an SPDX-like identifier."""
        return self._text("general.license")

    @property
    def chat_template(self) -> str | None:
        """The Jinja text of the chat template."""
        return self._text("tokenizer.chat_template")

    @property
    def context_length(self) -> int | None:
        """Tokens of the context that the model was trained with."""
        return self.arch_integer("context_length")

    @property
    def block_count(self) -> int | None:
        """Layers."""
        return self.arch_integer("block_count")

    @property
    def vocabulary_size(self) -> int | None:
        """Number of tokens."""
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        if isinstance(tokens, SkippedArray):
            return tokens.length
        return len(tokens) if isinstance(tokens, tuple) else None

    @property
    def n_params(self) -> int:
        """Number of weights in this file."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors in this file."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def quantization(self) -> str | None:
        """The label of the file type, for example "Q4_1"; without one, the type with the most bytes."""
        file_type = self._integer("general.file_type")
        if file_type in FILE_TYPES:
            return FILE_TYPES[file_type]
        if not self.tensors:
            return None
        held: dict[str, int] = {}
        for tensor in self.tensors:
            held[tensor.type] = held.get(tensor.type, 0) + tensor.nbytes
        return max(held, key=lambda kind: held[kind])

    @property
    def part_count(self) -> int:
        """The number of files that the model was split into (1: not split)."""
        return self._integer("split.count") or 1

    @cached_property
    def recurrent(self) -> bool:
        """True for models that keep a recurrent state in some of their layers."""
        return any(mark in key for key in self.metadata for mark in _RECURRENT_KEYS)

    def kv_bytes_per_token(self, type_k: str = "f16", type_v: str = "f16") -> int | None:
        """Return the bytes of KV cache for one more token of context, or None if the header cannot tell.

        The sum over layers of key-value heads times (key length + value length), in the given cache types; layers with
        a sliding window count in full, so it is an upper bound. None for recurrent and hybrid models, compressed caches
        (multi-head latent attention), encoders and incomplete headers.
        """
        if self.recurrent or self.arch_integer("attention.kv_lora_rank"):
            return None
        return self.attention_bytes_per_token(type_k, type_v)

    def attention_bytes_per_token(self, type_k: str = "f16", type_v: str = "f16") -> int | None:
        """Return an upper bound of what ``kv_bytes_per_token`` returns, for compressed caches and hybrid models too.

        Recurrent states do not grow; in a hybrid model only the layers with attention count.
        """
        layers, heads = self.block_count, self.arch_integer("attention.head_count")
        width = self.arch_integer("embedding_length")
        if not self.metadata.get(f"{self.architecture}.attention.causal", True) or not layers:
            return None
        kv_heads = self.kv_heads
        if isinstance(kv_heads, int):
            total = kv_heads * -(-layers // (self.arch_integer("full_attention_interval") or 1))
        elif kv_heads is not None and len(kv_heads) >= layers:
            total = sum(kv_heads[:layers])
        else:
            return None
        default = width // heads if width and heads else None
        key = self.arch_integer("attention.key_length") or default
        value = self.arch_integer("attention.value_length") or default
        if key is None or value is None or total < 0:
            return None
        bits = key * BITS_PER_ELEMENT[type_k.upper()] + value * BITS_PER_ELEMENT[type_v.upper()]
        return math.ceil(total * bits / 8)
