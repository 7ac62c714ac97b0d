"""Good model files in several parts, as ``llama-gguf-split`` makes them."""

from __future__ import annotations

import struct
from dataclasses import replace

from mutations import Entry, Layout


def split(content: bytes, name: str, count: int = 2) -> dict[str, bytes]:
    """Return the parts of a good file by their names: ``name-0000N-of-0000M.gguf``."""
    layout = Layout.of(content)
    ends = [*(tensor.offset for tensor in layout.tensors[1:]), len(layout.data)]
    share = -(-len(layout.tensors) // count)
    files = {}
    for number in range(count):
        chosen = range(number * share, min((number + 1) * share, len(layout.tensors)))
        tensors, data = [], b""
        for index in chosen:
            tensor = layout.tensors[index]
            tensors.append(replace(tensor, offset=len(data)))
            data += layout.data[tensor.offset : ends[index]]
        about = (
            Entry(b"split.no", 2, struct.pack("<H", number)),
            Entry(b"split.count", 2, struct.pack("<H", count)),
            Entry(b"split.tensors.count", 5, struct.pack("<i", len(layout.tensors))),
        )
        entries = (*layout.entries, *about) if number == 0 else about
        files[f"{name}-{number + 1:05d}-of-{count:05d}.gguf"] = Layout(entries, tuple(tensors), data).build()
    return files
