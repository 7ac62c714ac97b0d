"""GGUF files written byte by byte: valid and invalid headers."""

from __future__ import annotations

import struct


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


ARCHITECTURE = entry(b"general.architecture", 8, text(b"llama"))


def tensor(name: bytes = b"w", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(*entries: bytes, tensors: tuple[bytes, ...] = (), data: int = 128, version: int = 3, magic=b"GGUF") -> bytes:
    body = magic + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries) + b"".join(tensors)
    return body + b"\0" * (-len(body) % 32) + b"\0" * data


def numbers(key: bytes, *values: int) -> bytes:
    kind = struct.pack(f"<IQ{len(values)}I", 4, len(values), *values)
    return entry(b"llama." + key, 9, kind) if len(values) > 1 else entry(b"llama." + key, 4, struct.pack("<I", *values))
