"""Header values that would crash llama.cpp or make it compute nonsense."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import pytest
from mutations import Entry, Layout, Place
from split_models import split

from llmcli.errors import BadModelFile
from llmcli.models.gguf import header_parser
from llmcli.models.gguf.header_parser import load_checked_header, parse_header, read_header


def changed(content: bytes, key: bytes, value: bytes, kind: int) -> bytes:
    """Return a good file in which the entry ``key`` is added or has another value."""
    layout = Layout.of(content)
    kept = [entry for entry in layout.entries if entry.key != key]
    return replace(layout, entries=(*kept, Entry(key, kind, value))).build()


def refused(content: bytes) -> str:
    header = parse_header(io.BytesIO(content), len(content), "m.gguf")
    with pytest.raises(BadModelFile) as caught:
        header_parser.check_header(header, "m.gguf")
    return caught.value.detail


def test_an_adapter_is_no_model(tiny):
    """llama.cpp would say only which key it misses."""
    content = tiny("llama").read_bytes()
    value = len(b"adapter").to_bytes(8, "little") + b"adapter"
    assert "--lora" in refused(changed(content, b"general.type", value, 8))


@pytest.mark.parametrize(
    "name", ["llama", "chatml", "gemma3", "qwen3moe", "mamba", "lfm2", "falcon-h1", "qwen35", "bert"]
)
def test_good_files_pass(tiny, name):
    """Good files of every kind pass."""
    assert load_checked_header(tiny(name)) == read_header(tiny(name))


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("llama", b"llama.block_count", 0, "llama.block_count is 0"),
        ("llama", b"llama.block_count", 1 << 20, "llama.block_count is 1048576"),
        ("llama", b"llama.embedding_length", 0, "llama.embedding_length is 0"),
        ("llama", b"llama.context_length", 1 << 31, "llama.context_length is 2147483648"),
        ("llama", b"llama.attention.key_length", 0, "llama.attention.key_length is 0"),
        ("llama", b"llama.attention.head_count", 1 << 30, "llama.attention.head_count is"),
        ("llama", b"llama.attention.head_count", 0, "no attention heads"),
        ("llama", b"llama.attention.head_count_kv", 3, "2 attention heads cannot share 3"),
        ("llama", b"llama.rope.dimension_count", 7, "rotating 7 of 32 elements of a head is impossible"),
        ("llama", b"llama.rope.dimension_count", 64, "rotating 64 of 32 elements of a head is impossible"),
        ("llama", b"llama.embedding_length", 128, "its token embedding has the shape"),
        ("qwen3moe", b"qwen3moe.expert_used_count", 7, "it uses 7 of 6 experts"),
        ("qwen3moe", b"qwen3moe.expert_used_count", 0, "it uses 0 of 6 experts"),
        ("mamba", b"mamba.ssm.conv_kernel", 0, "mamba.ssm.conv_kernel is 0"),
    ],
)
def test_impossible_numbers_are_reported(tiny, name, key, value, words):
    """Numbers that no model has, alone or in combination, are reported."""
    assert words in refused(changed(tiny(name).read_bytes(), key, struct.pack("<I", value), 4))


def array(kind: int, *values: bytes) -> bytes:
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (b"llama.block_count", array(4, bytes(4)), "llama.block_count is (0,)"),
        (b"llama.attention.head_count_kv", array(4, b"\1\0\0\0"), "llama.attention.head_count_kv is (1,)"),
        (
            b"llama.rope.dimension_sections",
            array(4, *[b"\x10\0\0\0"] * 4),
            "rotated sections are invalid: (16, 16, 16, 16)",
        ),
        (b"tokenizer.ggml.tokens", array(4, bytes(4)), "list of tokens is invalid"),
        (b"tokenizer.ggml.scores", array(6, bytes(4)), "tokenizer.ggml.scores does not have a value for each"),
        (b"tokenizer.ggml.token_type", array(0, bytes(1)), "tokenizer.ggml.token_type does not have"),
    ],
)
def test_wrong_arrays_are_reported(tiny, key, value, words):
    """Arrays of the wrong kind or length are reported, above all those that llama.cpp reads without a check."""
    assert words in refused(changed(tiny("llama").read_bytes(), key, value, 9))


def test_types_without_operations(tiny):
    """Weights of a type that llama.cpp cannot multiply are refused."""
    layout = Layout.of(tiny("llama").read_bytes())
    index = next(i for i, tensor in enumerate(layout.tensors) if tensor.kind == 0)
    tensor: Place = replace(layout.tensors[index], kind=26)  # 32-bit integers take as much space as 32-bit floats
    assert "is of type I32, which weights cannot have" in refused(layout.with_tensor(index, tensor).build())


@pytest.fixture
def parts(tiny, tmp_path):
    """Return the paths of the two parts of a split model."""
    paths = []
    for name, content in split(tiny("llama").read_bytes(), "m").items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    return paths


def test_all_parts_are_read(parts):
    """The header of a split model has the size of all parts."""
    header = load_checked_header(parts[0])
    assert (header.part_count, header.size) == (2, sum(path.stat().st_size for path in parts))


def test_a_broken_part_is_reported(parts):
    """A part that llama.cpp would find by its name is checked like the first."""
    parts[1].write_bytes(parts[1].read_bytes()[:-100])
    with pytest.raises(BadModelFile, match="truncated") as caught:
        load_checked_header(parts[0])
    assert caught.value.subject == str(parts[1])


def test_a_part_with_another_name_is_refused(parts):
    """A part whose name does not lead to the others is refused."""
    moved = parts[0].rename(parts[0].with_name("m.gguf"))
    with pytest.raises(BadModelFile, match="a model in 2 files"):
        load_checked_header(moved)
