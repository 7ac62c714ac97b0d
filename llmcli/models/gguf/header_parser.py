"""A bounded reader of GGUF headers: it checks a file's claims before native code sees them.

Format: docs/gguf.md of ggml, versions 2 and 3, little-endian. The reader only moves forward and reads no more than it
needs, so a header can also be read over the network. Everything that a file claims (counts, lengths, offsets,
dimensions) is checked against the size of the file, so a broken or hostile file costs no more than its bytes.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from llmcli.errors import BadModelFile
from llmcli.frozen_dataclass import replace
from llmcli.models.files.names import part_names
from llmcli.models.files.paths import open_model, unreadable_error
from llmcli.models.gguf.header import Header, TensorInfo
from llmcli.models.gguf.header_checks import check_header
from llmcli.models.gguf.header_reader import ByteStream, HeaderReader
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
    reader = HeaderReader(stream, size, subject)
    magic = reader.read_bytes(4) if size >= 4 else b""  # noqa: PLR2004
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
            reader.fail(f"the metadata key {key!r} appears twice")
        metadata[key] = reader.read_value(key)
    if not isinstance(metadata.get("general.architecture"), str) and not metadata.get("split.no"):  # in the first part
        reader.fail("it does not name its architecture")
    tensors = tuple(_read_tensor(reader) for _ in range(n_tensors))
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        reader.fail(f"the alignment {alignment!r} is invalid")
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
            reader.fail(f"tensor {tensor.name!r} is at the unaligned offset {tensor.offset}")
        end = data_offset + tensor.offset + tensor.nbytes
        if end > reader.size:
            reader.fail(f"tensor {tensor.name!r} ends at byte {end} of a file of {reader.size} bytes (truncated?)")
