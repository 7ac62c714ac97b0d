"""A bounded reader of GGUF headers: what a file says about itself, checked before native code sees it.

Format: docs/gguf.md of ggml, versions 2 and 3, little-endian. The reader goes forward only and asks its stream for
as much as it needs, so a header can also be read over the network. Everything that a file claims (counts, lengths,
offsets, dimensions) is checked against the size of the file, so a broken or hostile file costs no more than its bytes.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmcli.errors import BadModelFile
from llmcli.models import gguf_checks
from llmcli.models.gguf_reader import Reader, SkippedArray, Stream
from llmcli.models.gguf_types import BITS_PER_ELEMENT, FILE_TYPES, TENSOR_TYPES
from llmcli.models.names import parts
from llmcli.models.paths import open_model, unreadable

__all__ = ["Header", "SkippedArray", "Tensor", "load_header", "parse_header", "read_header"]

_VERSIONS = (2, 3)
_ALIGNMENT = 32  # of tensor data, unless general.alignment says otherwise
_MAX_NAME = 64  # GGML_MAX_NAME
_MAX_DIMS = 4  # GGML_MAX_DIMS
_MAX_KEY = 65535
_LEAST_ENTRY = 13  # bytes: the length of a key, its type, one byte of value
_LEAST_TENSOR = 32  # bytes: the length of a name, dimensions, one dimension, type, offset

# keys that only models with a recurrent state have; their memory does not grow by a fixed amount a token
_RECURRENT = (".ssm.", ".wkv.", ".shortconv.", ".kda.", ".token_shift_count", ".full_attention_interval")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: ``shape`` in ggml's order (the contiguous dimension first), ``offset`` from the data section."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Header:
    """What a GGUF file says about itself. ``data_offset`` is where the tensor data begins, ``size`` the file's size."""

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    data_offset: int
    size: int

    def _text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def _whole(self, key: str) -> int | None:
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def number(self, key: str) -> int | None:
        """Return the whole number ``ARCHITECTURE.key``, or None."""
        return self._whole(f"{self.architecture}.{key}")

    def per_layer(self, key: str) -> int | tuple[int, ...] | None:
        """Return ``ARCHITECTURE.key``: a whole number that holds for all layers, one for each layer, or None."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        whole = isinstance(value, tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
        return value if whole else self.number(key)

    @property
    def kv_heads(self) -> int | tuple[int, ...] | None:
        """Heads of keys and values, of all layers or of each; as many as heads of attention where none are named."""
        named = f"{self.architecture}.attention.head_count_kv" in self.metadata
        return self.per_layer("attention.head_count_kv" if named else "attention.head_count")

    @property
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
        """Tokens that the model was trained for."""
        return self.number("context_length")

    @property
    def block_count(self) -> int | None:
        """Layers."""
        return self.number("block_count")

    @property
    def vocabulary(self) -> int | None:
        """Number of tokens."""
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        if isinstance(tokens, SkippedArray):
            return tokens.length
        return len(tokens) if isinstance(tokens, tuple) else None

    @property
    def n_params(self) -> int:
        """Weights in this file."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors in this file."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def quantization(self) -> str | None:
        """The label of the file type, for example "Q4_1"; where none is given, the type that holds most bytes."""
        file_type = self._whole("general.file_type")
        if file_type in FILE_TYPES:
            return FILE_TYPES[file_type]
        if not self.tensors:
            return None
        held: dict[str, int] = {}
        for tensor in self.tensors:
            held[tensor.type] = held.get(tensor.type, 0) + tensor.nbytes
        return max(held, key=lambda kind: held[kind])

    @property
    def parts(self) -> int:
        """How many files the model was split into (1: not split)."""
        return self._whole("split.count") or 1

    @property
    def recurrent(self) -> bool:
        """True for models that keep a recurrent state in some of their layers."""
        return any(mark in key for key in self.metadata for mark in _RECURRENT)

    def kv_bytes_per_token(self, type_k: str = "f16", type_v: str = "f16") -> int | None:
        """Return the bytes of KV cache that one more token of context takes, or None where the header cannot tell.

        The sum over layers of key-value heads times (key length + value length), in the given cache types; layers
        with a sliding window are counted in full, so it is an upper bound. None for recurrent and hybrid models,
        compressed caches (multi-head latent attention), encoders and incomplete headers.
        """
        if self.recurrent or self.number("attention.kv_lora_rank"):
            return None
        return self.attention_bytes_per_token(type_k, type_v)

    def attention_bytes_per_token(self, type_k: str = "f16", type_v: str = "f16") -> int | None:
        """Return an upper bound of what ``kv_bytes_per_token`` returns, for compressed caches and hybrid models too.

        Recurrent states do not grow; where only every so many layers of a hybrid model have attention, those count.
        """
        layers, heads = self.block_count, self.number("attention.head_count")
        width = self.number("embedding_length")
        if not self.metadata.get(f"{self.architecture}.attention.causal", True) or not layers:
            return None
        kv_heads = self.kv_heads
        if isinstance(kv_heads, int):
            total = kv_heads * -(-layers // (self.number("full_attention_interval") or 1))
        elif kv_heads is not None and len(kv_heads) >= layers:
            total = sum(kv_heads[:layers])
        else:
            return None
        default = width // heads if width and heads else None
        key = self.number("attention.key_length") or default
        value = self.number("attention.value_length") or default
        if key is None or value is None or total < 0:
            return None
        bits = key * BITS_PER_ELEMENT[type_k.upper()] + value * BITS_PER_ELEMENT[type_v.upper()]
        return math.ceil(total * bits / 8)


def read_header(path: Path) -> Header:
    """Read the header of the GGUF file at ``path``.

    Raises ``BadModelFile`` (``detail`` says what is wrong) and ``MissingError``.
    """
    try:
        with open_model(path) as file:
            return parse_header(file, os.fstat(file.fileno()).st_size, str(path))
    except OSError as error:
        raise unreadable(path, error) from error


def load_header(path: Path) -> Header:
    """Read the header of a model that llama.cpp is about to load; of a split one the first part's, ``size`` of all.

    Raises as ``read_header``, and ``BadModelFile`` for claims that llama.cpp would not survive.
    """
    first = read_header(path)
    files = [path]
    if first.parts > 1:  # llama.cpp finds the others by the name, and loads them too
        files = [path.with_name(part) for part in parts(path.name)]
        if len(files) != first.parts:
            raise BadModelFile(str(path), detail=f"a part of a model in {first.parts} files, by another name")
    headers = [first, *map(read_header, files[1:])]
    for file, header in zip(files, headers, strict=True):
        gguf_checks.check(header, str(file))
    return dataclasses.replace(first, size=sum(header.size for header in headers))


def parse_header(stream: Stream, size: int, subject: str) -> Header:
    """Parse the header of a GGUF file of ``size`` bytes from its beginning; errors name ``subject``.

    Raises ``BadModelFile``.
    """
    reader = Reader(stream, size, subject)
    magic = reader.take(4) if size >= 4 else b""  # noqa: PLR2004
    if magic != b"GGUF":
        reader.fail("no GGUF file: it does not begin with the letters GGUF")
    version = reader.scalar("I")
    if version not in _VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
        reader.fail("a big-endian file" if swapped else f"version {version} of GGUF; 2 and 3 are understood")
    n_tensors, n_entries = reader.scalar("Q"), reader.scalar("Q")
    if n_entries * _LEAST_ENTRY + n_tensors * _LEAST_TENSOR > size:
        reader.fail(f"{n_tensors} tensors and {n_entries} metadata entries do not fit a file of {size} bytes")
    metadata: dict[str, Any] = {}
    for _ in range(n_entries):
        key = reader.string(_MAX_KEY, "a metadata key")
        if key in metadata:
            reader.fail(f"the metadata key {key!r} appears twice")
        metadata[key] = reader.value(key)
    if not isinstance(metadata.get("general.architecture"), str) and not metadata.get("split.no"):  # in the first part
        reader.fail("it does not name its architecture")
    tensors = tuple(_read_tensor(reader) for _ in range(n_tensors))
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        reader.fail(f"an alignment of {alignment!r}")
    data_offset = -(-reader.position // alignment) * alignment
    _check_places(reader, tensors, data_offset, alignment)
    return Header(version, metadata, tensors, data_offset, size)


def _read_tensor(reader: Reader) -> Tensor:
    name = reader.string(_MAX_NAME, "a tensor name")
    n_dims = reader.scalar("I")
    if not 1 <= n_dims <= _MAX_DIMS:
        reader.fail(f"tensor {name!r} has {n_dims} dimensions")
    shape = tuple(reader.scalar("Q") for _ in range(n_dims))
    kind, offset = reader.scalar("I"), reader.scalar("Q")
    if kind not in TENSOR_TYPES:
        reader.fail(f"tensor {name!r} is of the unknown type {kind}")
    label, block, block_bytes = TENSOR_TYPES[kind]
    if not all(shape) or shape[0] % block:
        reader.fail(f"tensor {name!r} of type {label} has the impossible shape {shape}")
    return Tensor(name, shape, label, offset, math.prod(shape) // block * block_bytes)


def _check_places(reader: Reader, tensors: tuple[Tensor, ...], data_offset: int, alignment: int) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            reader.fail(f"the tensor {tensor.name!r} appears twice")
        seen.add(tensor.name)
        if tensor.offset % alignment:
            reader.fail(f"tensor {tensor.name!r} lies at the unaligned offset {tensor.offset}")
        end = data_offset + tensor.offset + tensor.nbytes
        if end > reader.size:
            reader.fail(f"tensor {tensor.name!r} ends at byte {end} of a file of {reader.size} bytes (truncated?)")
