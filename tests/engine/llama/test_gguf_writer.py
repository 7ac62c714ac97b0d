"""The reader of headers understands the small GGUF files that are written."""

import struct

from llmcli.engine.llama.gguf_writer import gguf_bytes
from llmcli.models.gguf.header_parser import read_header


def test_a_written_file_can_be_read(tmp_path):
    """Metadata of all three types, shapes, and tensors at the offsets of their values."""
    metadata = {"general.architecture": "llama", "llama.block_count": 2, "llama.rope.freq_base": 0.5}
    first, second = struct.pack("<8f", *range(8)), struct.pack("<16f", *range(16))
    data = gguf_bytes(metadata, {"a.weight": ((8,), first), "b.weight": ((8, 2), second)})
    path = tmp_path / "small.gguf"
    path.write_bytes(data)
    header = read_header(path)
    assert dict(header.metadata) == metadata
    assert [(tensor.name, tensor.shape, tensor.type) for tensor in header.tensors] == [
        ("a.weight", (8,), "F32"),
        ("b.weight", (8, 2), "F32"),
    ]
    assert data[header.data_offset :] == first + second and header.data_offset % 32 == 0
