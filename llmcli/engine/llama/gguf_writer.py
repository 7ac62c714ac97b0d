"""Writing small GGUF files of 32-bit tensors (version 3, little-endian; docs/gguf.md of ggml)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

_ALIGNMENT = 32
_U32, _F32, _STRING = 4, 6, 8
"""Types of metadata values."""


def gguf_bytes(
    metadata: Mapping[str, str | int | float], tensors: Mapping[str, tuple[Sequence[int], bytes]] | None = None
) -> bytes:
    """Return a GGUF file with ``metadata`` and ``tensors``: the shape of each, and its values as little-endian floats.

    The size of each tensor's values is a multiple of 32 bytes.
    """
    tensors = tensors or {}
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    head += [_string(key) + _value(value) for key, value in metadata.items()]
    offset = 0
    for name, (shape, values) in tensors.items():
        head.append(_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset))
        offset += len(values)
    start = b"".join(head)
    return start + b"\0" * (-len(start) % _ALIGNMENT) + b"".join(values for _, values in tensors.values())


def _value(value: str | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    return struct.pack("<II", _U32, value) if isinstance(value, int) else struct.pack("<If", _F32, value)


def _string(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return struct.pack("<Q", len(data)) + data
