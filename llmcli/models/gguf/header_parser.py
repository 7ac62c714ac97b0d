"""A bounded reader of GGUF headers: it checks a file's claims before native code sees them.

Format: docs/gguf.md of ggml, versions 2 and 3, little-endian. The reader only moves forward and reads no more than it
needs, so a header can also be read over the network. Everything that a file claims (counts, lengths, offsets,
dimensions) is checked against the size of the file, so a broken or hostile file costs no more than its bytes.

A cursor over a GGUF header that checks every length against the size of the file before it uses it.

Encoding of metadata values: docs/gguf.md of ggml.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol

from llmcli.errors import BadModelFile
from llmcli.fast_dataclass import replace
from llmcli.models.files.names import part_names
from llmcli.models.files.paths import open_model, unreadable_error
from llmcli.models.gguf.header import Header, SkippedArray, TensorInfo, quote_value, show_name
from llmcli.models.gguf.tensor_types import TENSOR_TYPES

_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32  # of tensor data, unless general.alignment differs
_MAX_NAME_BYTES = 64  # GGML_MAX_NAME
_MAX_DIMS = 4  # GGML_MAX_DIMS
_MAX_KEY_BYTES = 65535
_MIN_ENTRY_BYTES = 13  # bytes: the length of a key, its type, one byte of value
_MIN_TENSOR_BYTES = 32  # bytes: the length of a name, dimensions, one dimension, type, offset


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
    """Read the header of a model that llama.cpp is about to load.

    Of a split one, it is that of the first part, with the tensors and the ``size`` of all.

    Raises as ``read_header``, and ``BadModelFile`` for claims that would crash llama.cpp.
    """
    first = read_header(path)
    files = [path]
    if first.part_count > 1:  # llama.cpp finds the other parts by name, and loads them too
        files = [path.with_name(part) for part in part_names(path.name)]
        if len(files) != first.part_count:
            raise BadModelFile(
                str(path), detail=f"it is a part of a model in {first.part_count} files, but its name does not say so"
            )
    headers = [first, *map(read_header, files[1:])]
    for file, header in zip(files, headers, strict=True):
        check_header(header, str(file))
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    return replace(first, size=sum(header.size for header in headers), tensors=tensors)


def parse_header(stream: ByteStream, size: int, subject: str) -> Header:
    """Parse the header of a GGUF file of ``size`` bytes from its beginning; errors name ``subject``.

    Raises ``BadModelFile``.
    """
    reader = _HeaderReader(stream, size, subject)
    magic = reader.read_bytes(4) if size >= 4 else b""  # noqa: PLR2004 (the bytes of the magic)
    if magic != b"GGUF":
        reader.fail("not a GGUF file: it does not begin with the letters GGUF")
    version = reader.read_scalar("I")
    if version not in _VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
        reader.fail(
            "big-endian files are not supported"
            if swapped
            else f"version {version} of GGUF is not supported, only 2 and 3"
        )
    n_tensors, n_entries = reader.read_scalar("Q"), reader.read_scalar("Q")
    if n_entries * _MIN_ENTRY_BYTES + n_tensors * _MIN_TENSOR_BYTES > size:
        reader.fail(f"{n_tensors} tensors and {n_entries} metadata entries do not fit a file of {size} bytes")
    metadata: dict[str, Any] = {}
    for _ in range(n_entries):
        key = reader.read_string(_MAX_KEY_BYTES, "a metadata key")
        if key in metadata:
            reader.fail(f"the metadata key {quote_value(key)} appears twice")
        metadata[key] = reader.read_value(key)
    if not isinstance(metadata.get("general.architecture"), str) and not metadata.get("split.no"):  # in the first part
        reader.fail("it does not name its architecture")
    tensors = tuple(_read_tensor(reader) for _ in range(n_tensors))
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        reader.fail(f"the alignment {quote_value(alignment)} is invalid")
    data_offset = -(-reader.position // alignment) * alignment
    _check_tensor_offsets(reader, tensors, data_offset, alignment)
    return Header(version, metadata, tensors, data_offset, size)


def _read_tensor(reader: _HeaderReader) -> TensorInfo:
    name = reader.read_string(_MAX_NAME_BYTES, "a tensor name")
    n_dims = reader.read_scalar("I")
    if not 1 <= n_dims <= _MAX_DIMS:
        reader.fail(f"tensor {quote_value(name)} has {n_dims} dimensions")
    shape = tuple(reader.read_scalar("Q") for _ in range(n_dims))
    kind, offset = reader.read_scalar("I"), reader.read_scalar("Q")
    if kind not in TENSOR_TYPES:
        reader.fail(f"tensor {quote_value(name)} is of the unknown type {kind}")
    label, block, block_bytes = TENSOR_TYPES[kind]
    if not all(shape) or shape[0] % block:
        reader.fail(f"tensor {quote_value(name)} of type {label} has the impossible shape {shape}")
    return TensorInfo(name, shape, label, offset, math.prod(shape) // block * block_bytes)


def _check_tensor_offsets(
    reader: _HeaderReader, tensors: tuple[TensorInfo, ...], data_offset: int, alignment: int
) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            reader.fail(f"the tensor {quote_value(tensor.name)} appears twice")
        seen.add(tensor.name)
        if tensor.offset % alignment:
            reader.fail(f"tensor {quote_value(tensor.name)} is at the unaligned offset {tensor.offset}")
        end = data_offset + tensor.offset + tensor.nbytes
        if end > reader.size:
            reader.fail(
                f"tensor {quote_value(tensor.name)} ends at byte {end} of a file of {reader.size} bytes (truncated?)"
            )


_BLOCK_BYTES = 1 << 20
_MAX_KEPT_NUMBERS = 1024  # longer arrays are scores and token types of vocabularies
_MAX_KEPT_STRINGS = 64  # longer arrays are vocabularies
_VOCABULARY_PREFIX = "tokenizer.ggml."  # arrays of these keys are never kept: only kind and length matter
_MAX_STRING_BYTES = 64 << 20  # of all texts together; real headers keep some 100 kB

# metadata value types: number -> struct format
_SCALAR_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_KINDS = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 10: "u64", 11: "i64"}
_KINDS |= {12: "f64", 8: "string"}
_STRING_TYPE, _ARRAY_TYPE = 8, 9
_LENGTH_STRUCT = struct.Struct("<Q")


class ByteStream(Protocol):
    """A file for the reader: ``read(n)`` returns up to n bytes, b"" at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        ...


class _HeaderReader:
    """A cursor over a stream; every claim is checked against ``size``, the size of the whole file in bytes."""

    def __init__(self, stream: ByteStream, size: int, subject: str) -> None:
        self.size = size
        self._stream = stream
        self._subject = subject
        self._buffer = b""
        self._cursor = 0  # position in _buffer
        self._buffer_offset = 0  # bytes of the file before _buffer
        self._string_bytes = 0  # bytes of texts

    @property
    def position(self) -> int:
        """Bytes of the file read so far."""
        return self._buffer_offset + self._cursor

    def fail(self, detail: str) -> NoReturn:
        """Raise ``BadModelFile``."""
        raise BadModelFile(self._subject, detail=detail)

    def _fill_buffer(self, count: int) -> None:
        """Make sure that the buffer has ``count`` bytes after the cursor."""
        missing = count - (len(self._buffer) - self._cursor)
        if missing <= 0:
            return
        if self.position + count > self.size:
            self.fail(f"it ends inside its header, at byte {self.size} (truncated?)")
        pieces = [self._buffer[self._cursor :]]
        while missing > 0:
            piece = self._stream.read(max(missing, _BLOCK_BYTES))
            if not piece:
                self.fail("it ends inside its header (truncated?)")
            pieces.append(piece)
            missing -= len(piece)
        self._buffer_offset += self._cursor
        self._buffer, self._cursor = b"".join(pieces), 0

    def read_bytes(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        self._fill_buffer(count)
        start = self._cursor
        self._cursor += count
        return self._buffer[start : self._cursor]

    def read_scalar(self, code: str) -> Any:
        """Return the next number, of the ``struct`` format ``code``."""
        return struct.unpack("<" + code, self.read_bytes(struct.calcsize("<" + code)))[0]

    def read_string(self, limit: int | None = None, what: str = "") -> str:
        """Return the next text, of at most ``limit`` bytes; ``what`` names it in the error."""
        length = self.read_scalar("Q")
        if limit is not None and length > limit:
            self.fail(f"{what} of {length} bytes is too long")
        if self.position + length > self.size:
            self.fail(f"a text of {length} bytes ends beyond the file (truncated?)")
        self._string_bytes += length
        if self._string_bytes > _MAX_STRING_BYTES:
            self.fail(f"its header has too much text: {self._string_bytes} bytes")
        return self.read_bytes(length).decode("utf-8", "replace")

    def read_value(self, key: str) -> Any:
        """Return the next metadata value: a number, a text, a tuple, or a ``SkippedArray``."""
        kind = self.read_scalar("I")
        if kind in _SCALAR_FORMATS:
            return self.read_scalar(_SCALAR_FORMATS[kind])
        if kind == _STRING_TYPE:
            return self.read_string()
        if kind != _ARRAY_TYPE:
            self.fail(f"the metadata key {quote_value(key)} has a value of the unknown type {kind}")
        return self._read_array(key)

    def _read_array(self, key: str) -> Any:
        kind, length = self.read_scalar("I"), self.read_scalar("Q")
        if kind != _STRING_TYPE and kind not in _SCALAR_FORMATS:
            self.fail(f"the metadata key {quote_value(key)} has an array of the unknown type {kind}")
        width = _LENGTH_STRUCT.size if kind == _STRING_TYPE else struct.calcsize("<" + _SCALAR_FORMATS[kind])
        if self.position + length * width > self.size:
            self.fail(
                f"the metadata key {quote_value(key)} has an array of {length} elements, more than the file holds"
            )
        kept = not key.startswith(_VOCABULARY_PREFIX)
        if kind == _STRING_TYPE:
            if kept and length <= _MAX_KEPT_STRINGS:
                return tuple(self.read_string() for _ in range(length))
            self._skip_strings(length)
        elif kept and length <= _MAX_KEPT_NUMBERS:
            return struct.unpack(f"<{length}{_SCALAR_FORMATS[kind]}", self.read_bytes(length * width))
        else:
            self._skip(length * width)
        return SkippedArray(_KINDS[kind], length)

    def _skip(self, count: int) -> None:
        """Skip ``count`` bytes without holding more than one block of them."""
        while count > 0:
            step = min(count, _BLOCK_BYTES)
            self._fill_buffer(step)
            self._cursor += step
            count -= step

    def _skip_strings(self, count: int) -> None:
        """Skip ``count`` strings in a tight loop, since vocabularies have hundreds of thousands."""
        unpack, width = _LENGTH_STRUCT.unpack_from, _LENGTH_STRUCT.size
        while count > 0:
            self._fill_buffer(width)
            data, position, last = self._buffer, self._cursor, len(self._buffer) - width
            while count > 0 and position <= last:
                end = position + width + unpack(data, position)[0]
                if end > len(data):
                    break
                position = end
                count -= 1
            self._cursor = position
            if count > 0 and position <= last:  # the string does not end in the buffer
                length = self.read_scalar("Q")
                if self.position + length > self.size:
                    self.fail(f"a text of {length} bytes ends beyond the file (truncated?)")
                self._skip(length)
                count -= 1


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
                yield f"{show_name(name)} is {quote_value(header.metadata[name])}"
    for key, most in _PER_LAYER_MAXIMA.items():
        name = f"{header.architecture}.{key}"
        if name in header.metadata:
            values = _values_per_layer(header, key)
            if values is None or not all(0 <= value <= most for value in values):
                yield f"{show_name(name)} is {quote_value(header.metadata[name])}"


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
            yield f"its rotated sections are invalid: {quote_value(sections)}"


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
            yield f"tensor {quote_value(tensor.name)} is of type {tensor.type}, which weights cannot have"
    embedding = next((tensor for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    if embedding is None or header.arch_integer("features_length"):  # a later part, or an audio model
        return
    expected = (header.arch_integer("embedding_length"), header.vocabulary_size)
    for size, wanted in itertools.zip_longest(embedding.shape, expected, fillvalue=1):
        if wanted is not None and size != wanted:
            yield f"its token embedding has the shape {embedding.shape} instead of {expected}"
