"""A bounded reader of GGUF headers, which are checked before native code reads them.

Format: docs/gguf.md of ggml, versions 2 and 3, little-endian. The reader goes forward only and reads as much as it
needs, so a header can also be read over the network. Everything that a file claims (counts, lengths,
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
from llmcli.models.gguf import header_checks
from llmcli.models.gguf.header_reader import ByteStream, HeaderReader, SkippedArray
from llmcli.models.gguf.tensor_types import BITS_PER_ELEMENT, FILE_TYPES, TENSOR_TYPES
from llmcli.models.names import part_names
from llmcli.models.paths import open_model, unreadable_error

__all__ = ["Header", "SkippedArray", "TensorInfo", "load_checked_header", "parse_header", "read_header"]

_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32  # of tensor data, unless general.alignment says otherwise
_MAX_NAME_BYTES = 64  # GGML_MAX_NAME
_MAX_DIMS = 4  # GGML_MAX_DIMS
_MAX_KEY_BYTES = 65535
_MIN_ENTRY_BYTES = 13  # bytes: the length of a key, its type, one byte of value
_MIN_TENSOR_BYTES = 32  # bytes: the length of a name, dimensions, one dimension, type, offset

# keys that only models with a recurrent state have; their memory does not grow by a fixed amount a token
_RECURRENT_KEYS = (".ssm.", ".wkv.", ".shortconv.", ".kda.", ".token_shift_count", ".full_attention_interval")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: ``shape`` in ggml's order (the contiguous dimension first), ``offset`` from the data section."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Header:
    """The header of a GGUF file. ``data_offset`` is where the tensor data begins, ``size`` the file's size."""

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
        """Return ``ARCHITECTURE.key``: a whole number that holds for all layers, one for each layer, or None."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        whole = isinstance(value, tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
        return value if whole else self.arch_integer(key)

    @property
    def kv_heads(self) -> int | tuple[int, ...] | None:
        """Heads of keys and values, of all layers or of each; as many as heads of attention where none are named."""
        named = f"{self.architecture}.attention.head_count_kv" in self.metadata
        return self.arch_integer_per_layer("attention.head_count_kv" if named else "attention.head_count")

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
        """Weights in this file."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors in this file."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def quantization(self) -> str | None:
        """The label of the file type, for example "Q4_1"; where none is given, the type that holds most bytes."""
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
        """How many files the model was split into (1: not split)."""
        return self._integer("split.count") or 1

    @property
    def recurrent(self) -> bool:
        """True for models that keep a recurrent state in some of their layers."""
        return any(mark in key for key in self.metadata for mark in _RECURRENT_KEYS)

    def kv_bytes_per_token(self, type_k: str = "f16", type_v: str = "f16") -> int | None:
        """Return the bytes of KV cache that one more token of context takes, or None where the header cannot tell.

        The sum over layers of key-value heads times (key length + value length), in the given cache types; layers
        with a sliding window are counted in full, so it is an upper bound. None for recurrent and hybrid models,
        compressed caches (multi-head latent attention), encoders and incomplete headers.
        """
        if self.recurrent or self.arch_integer("attention.kv_lora_rank"):
            return None
        return self.attention_bytes_per_token(type_k, type_v)

    def attention_bytes_per_token(self, type_k: str = "f16", type_v: str = "f16") -> int | None:
        """Return an upper bound of what ``kv_bytes_per_token`` returns, for compressed caches and hybrid models too.

        Recurrent states do not grow; where only every so many layers of a hybrid model have attention, those count.
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


def read_header(path: Path) -> Header:
    """Read the header of the GGUF file at ``path``.

    Raises ``BadModelFile`` (``detail`` says what is wrong) and ``MissingError``.
    """
    try:
        with open_model(path) as file:
            return parse_header(file, os.fstat(file.fileno()).st_size, str(path))
    except OSError as error:
        raise unreadable_error(path, error) from error


def load_checked_header(path: Path) -> Header:
    """Read the header of a model that llama.cpp is about to load; of a split one the first part's, ``size`` of all.

    Raises as ``read_header``, and ``BadModelFile`` for values that llama.cpp would not survive.
    """
    first = read_header(path)
    files = [path]
    if first.part_count > 1:  # llama.cpp finds the others by the name, and loads them too
        files = [path.with_name(part) for part in part_names(path.name)]
        if len(files) != first.part_count:
            raise BadModelFile(str(path), detail=f"a part of a model in {first.part_count} files, by another name")
    headers = [first, *map(read_header, files[1:])]
    for file, header in zip(files, headers, strict=True):
        header_checks.check_header(header, str(file))
    return dataclasses.replace(first, size=sum(header.size for header in headers))


def parse_header(stream: ByteStream, size: int, subject: str) -> Header:
    """Parse the header of a GGUF file of ``size`` bytes from its beginning; errors name ``subject``.

    Raises ``BadModelFile``.
    """
    reader = HeaderReader(stream, size, subject)
    magic = reader.read_bytes(4) if size >= 4 else b""  # noqa: PLR2004
    if magic != b"GGUF":
        reader.fail("no GGUF file: it does not begin with the letters GGUF")
    version = reader.read_scalar("I")
    if version not in _VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
        reader.fail("a big-endian file" if swapped else f"version {version} of GGUF; 2 and 3 are understood")
    n_tensors, n_entries = reader.read_scalar("Q"), reader.read_scalar("Q")
    if n_entries * _MIN_ENTRY_BYTES + n_tensors * _MIN_TENSOR_BYTES > size:
        reader.fail(f"{n_tensors} tensors and {n_entries} metadata entries do not fit a file of {size} bytes")
    metadata: dict[str, Any] = {}
    for _ in range(n_entries):
        key = reader.read_string(_MAX_KEY_BYTES, "a metadata key")
        if key in metadata:
            reader.fail(f"the metadata key {key!r} appears twice")
        metadata[key] = reader.read_value(key)
    if not isinstance(metadata.get("general.architecture"), str) and not metadata.get("split.no"):  # in the first part
        reader.fail("it does not name its architecture")
    tensors = tuple(_read_tensor(reader) for _ in range(n_tensors))
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        reader.fail(f"an alignment of {alignment!r}")
    data_offset = -(-reader.position // alignment) * alignment
    _check_tensor_offsets(reader, tensors, data_offset, alignment)
    return Header(version, metadata, tensors, data_offset, size)


def _read_tensor(reader: HeaderReader) -> TensorInfo:
    name = reader.read_string(_MAX_NAME_BYTES, "a tensor name")
    n_dims = reader.read_scalar("I")
    if not 1 <= n_dims <= _MAX_DIMS:
        reader.fail(f"tensor {name!r} has {n_dims} dimensions")
    shape = tuple(reader.read_scalar("Q") for _ in range(n_dims))
    kind, offset = reader.read_scalar("I"), reader.read_scalar("Q")
    if kind not in TENSOR_TYPES:
        reader.fail(f"tensor {name!r} is of the unknown type {kind}")
    label, block, block_bytes = TENSOR_TYPES[kind]
    if not all(shape) or shape[0] % block:
        reader.fail(f"tensor {name!r} of type {label} has the impossible shape {shape}")
    return TensorInfo(name, shape, label, offset, math.prod(shape) // block * block_bytes)


def _check_tensor_offsets(
    reader: HeaderReader, tensors: tuple[TensorInfo, ...], data_offset: int, alignment: int
) -> None:
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
