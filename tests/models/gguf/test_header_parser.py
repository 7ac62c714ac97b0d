"""The header reader: facts of good files, and clear errors for broken ones."""

from __future__ import annotations

import io
import os
import random
import struct
import time

import pytest
from gguf_bytes import ARCHITECTURE, entry, gguf, numbers, tensor, text

from llmcli.errors import BadModelFile, MissingError
from llmcli.models.gguf.header import SkippedArray
from llmcli.models.gguf.header_parser import check_header, parse_header, read_header


def parse(content: bytes):
    return parse_header(io.BytesIO(content), len(content), "m.gguf")


def refused(content: bytes) -> str:
    with pytest.raises(BadModelFile) as caught:
        parse(content)
    assert caught.value.subject == "m.gguf"
    return caught.value.detail


def test_facts(tiny):
    """It reads a real file's architecture, context, layers, quantization and sizes."""
    header = read_header(tiny("llama"))
    assert (header.architecture, header.name, header.context_length) == ("llama", "tiny-llama", 8192)
    assert header.size == tiny("llama").stat().st_size
    assert header.weights_bytes <= header.size - header.data_offset < header.weights_bytes + 32 * len(header.tensors)
    assert header.quantization == "Q8_0"


def test_agrees_with_reference(tiny):
    """It reads the same tensor names, shapes, types and offsets as the reference implementation."""
    import gguf as reference

    file = reference.GGUFReader(tiny("gemma3"))
    header = read_header(tiny("gemma3"))
    expected = [
        (t.name, tuple(int(n) for n in t.shape), t.tensor_type.name, int(t.data_offset), int(t.n_bytes))
        for t in file.tensors
    ]
    assert [(t.name, t.shape, t.type, header.data_offset + t.offset, t.nbytes) for t in header.tensors] == expected


def test_chat_template(tiny):
    """The chat template is read completely, and is None if there is none."""
    assert "<|im_start|>" in (read_header(tiny("chatml")).chat_template or "")
    assert read_header(tiny("llama")).chat_template is None


def test_kv_bytes(tiny):
    """The cache per token is layers x key-value heads x (key + value length) x bytes of the types."""
    header = read_header(tiny("llama"))
    assert header.block_count is not None
    assert header.kv_bytes_per_token() == header.block_count * 1 * (32 + 32) * 2
    assert header.kv_bytes_per_token("q8_0", "f16") == header.block_count * (34 + 64)


@pytest.mark.parametrize(
    ("entries", "heads", "per_token"),
    [
        ([numbers(b"attention.head_count_kv", 2)], 2, 3 * 2 * (16 + 16) * 2),
        ([numbers(b"attention.head_count_kv", 4, 0, 1)], (4, 0, 1), 5 * (16 + 16) * 2),
        ([], 8, 3 * 8 * (16 + 16) * 2),
        ([numbers(b"attention.head_count_kv", 0)], 0, 0),
        ([numbers(b"attention.head_count_kv", 4, 1)], (4, 1), None),
        ([entry(b"llama.attention.head_count_kv", 8, text(b"many"))], None, None),
        ([entry(b"llama.attention.head_count_kv", 9, struct.pack("<IQ", 8, 1) + text(b"4"))], None, None),
    ],
)
def test_kv_heads(entries, heads, per_token):
    """One number for all layers, one for each, the number of heads by default, or invalid values."""
    shape = [numbers(b"block_count", 3), numbers(b"attention.head_count", 8), numbers(b"embedding_length", 128)]
    header = parse(gguf(ARCHITECTURE, *shape, *entries))
    assert (header.kv_heads, header.kv_bytes_per_token()) == (heads, per_token)


def test_heads_of_each_layer():
    """If layers differ, the cache takes the sum over them; the length of a key must be given then."""
    shape = [numbers(b"block_count", 2), numbers(b"attention.head_count", 8, 4), numbers(b"embedding_length", 128)]
    header = parse(gguf(ARCHITECTURE, *shape))
    assert header.arch_integer_per_layer("attention.head_count") == header.kv_heads == (8, 4)
    assert header.kv_bytes_per_token() is None
    lengths = [numbers(b"attention.key_length", 16), numbers(b"attention.value_length", 16)]
    assert parse(gguf(ARCHITECTURE, *shape, *lengths)).kv_bytes_per_token() == 12 * (16 + 16) * 2


@pytest.mark.parametrize("name", ["mamba", "lfm2", "falcon-h1", "qwen35", "bert"])
def test_kv_bytes_unknown(tiny, name):
    """Recurrent, hybrid and encoder models have no fixed number of cache bytes per token."""
    assert read_header(tiny(name)).kv_bytes_per_token() is None


@pytest.mark.parametrize("name", ["llama", "chatml", "gemma3", "qwen3moe"])
def test_not_recurrent(tiny, name):
    """Attention models, also with windows and experts, do not count as recurrent."""
    assert not read_header(tiny(name)).recurrent


def test_scalars():
    """Every scalar type is decoded."""
    formats = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    entries = [entry(b"k%d" % kind, kind, struct.pack("<" + code, 1)) for kind, code in formats.items()]
    assert all(parse(gguf(ARCHITECTURE, *entries)).metadata[f"k{kind}"] == 1 for kind in formats)


def test_short_arrays_kept():
    """Short arrays are kept as tuples."""
    numbers = entry(b"n", 9, struct.pack("<IQ3I", 4, 3, 7, 8, 9))
    words = entry(b"w", 9, struct.pack("<IQ", 8, 2) + text(b"en") + text(b"de"))
    header = parse(gguf(ARCHITECTURE, numbers, words))
    assert (header.metadata["n"], header.metadata["w"]) == ((7, 8, 9), ("en", "de"))


def test_long_arrays_skipped():
    """Of long arrays only kind and length are kept, and the values after them are read correctly."""
    tokens = entry(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 300_000) + text(b"token") * 300_000)
    scores = entry(b"scores", 9, struct.pack("<IQ", 6, 300_000) + b"\0" * 1_200_000)
    began = time.process_time()
    header = parse(gguf(ARCHITECTURE, tokens, scores, entry(b"after", 4, struct.pack("<I", 5))))
    assert time.process_time() - began < 1  # some 0.05 s; a loop that materializes or copies takes many
    assert header.metadata["tokenizer.ggml.tokens"] == SkippedArray("string", 300_000)
    assert header.metadata["scores"] == SkippedArray("f32", 300_000)
    assert (header.vocabulary_size, header.metadata["after"]) == (300_000, 5)


def test_long_string_in_array():
    """A string longer than the read block inside a skipped array does not lose the position."""
    body = (text(b"a" * 3_000_000) + text(b"b") * 49) * 2
    array = entry(b"a", 9, struct.pack("<IQ", 8, 100) + body)
    assert parse(gguf(ARCHITECTURE, array, entry(b"z", 4, struct.pack("<I", 5)))).metadata["z"] == 5


def test_huge_texts():
    """Texts that are too long, one or many, are refused before they are read, even if the file contains them."""
    start = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
    one = start + text(b"general.name") + struct.pack("<IQ", 8, 1 << 32)
    many = start + text(b"x") + struct.pack("<IIQ", 9, 8, 9) + 9 * (struct.pack("<Q", 8 << 20) + bytes(8 << 20))
    for content in (one, many):
        with pytest.raises(BadModelFile, match="too much text"):
            parse_header(io.BytesIO(content), 1 << 33, "m.gguf")


def test_a_stream_of_small_pieces():
    """A stream that returns a few bytes at a time gives the same header."""

    class Dribble:
        def __init__(self, content):
            self.file = io.BytesIO(content)

        def read(self, size):
            return self.file.read(min(size, 7))

    content = gguf(ARCHITECTURE, tensors=(tensor(),))
    assert parse_header(Dribble(content), len(content), "m") == parse(content)


def test_later_part():
    """The later parts of a split model contain their number and omit the architecture."""
    content = gguf(entry(b"split.no", 2, struct.pack("<H", 1)), entry(b"split.count", 2, struct.pack("<H", 2)))
    assert (parse(content).architecture, parse(content).part_count) == ("", 2)


def test_file_type_wins():
    """The label is that of general.file_type if given, also if that is 0."""
    header = parse(gguf(ARCHITECTURE, entry(b"general.file_type", 4, struct.pack("<I", 0))))
    assert header.quantization == "F32"


BROKEN = {
    "begin": gguf(ARCHITECTURE, magic=b"GGML"),
    "header": b"GGUF\3\0",
    "version 9": gguf(ARCHITECTURE, version=9),
    "big-endian": gguf(ARCHITECTURE, version=0x03000000),
    "do not fit": b"GGUF" + struct.pack("<IQQ", 3, 2**40, 1) + b"\0" * 99,
    "and 1099511627776 metadata": b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40) + b"\0" * 99,
    "architecture": gguf(entry(b"general.name", 8, text(b"x"))),
    "appears twice": gguf(ARCHITECTURE, ARCHITECTURE),
    "metadata key of": gguf(ARCHITECTURE, struct.pack("<Q", 2**63)),
    "beyond the file": gguf(ARCHITECTURE, entry(b"k", 8, struct.pack("<Q", 2**63))),
    "value of the unknown type": gguf(ARCHITECTURE, entry(b"k", 77, b"")),
    "array of the unknown type": gguf(ARCHITECTURE, entry(b"k", 9, struct.pack("<IQ", 9, 1))),
    "more than the file holds": gguf(ARCHITECTURE, entry(b"k", 9, struct.pack("<IQ", 8, 2**60))),
    "alignment": gguf(ARCHITECTURE, entry(b"general.alignment", 4, struct.pack("<I", 0))),
    "alignment 48": gguf(ARCHITECTURE, entry(b"general.alignment", 4, struct.pack("<I", 48))),
    "tensor name": gguf(ARCHITECTURE, tensors=(tensor(b"n" * 65),)),
    "9 dimensions": gguf(ARCHITECTURE, tensors=(tensor(shape=(1,) * 9),)),
    "unknown type 99": gguf(ARCHITECTURE, tensors=(tensor(kind=99),)),
    "impossible shape (0,)": gguf(ARCHITECTURE, tensors=(tensor(shape=(0,)),)),
    "impossible shape (33,)": gguf(ARCHITECTURE, tensors=(tensor(shape=(33,), kind=8),)),
    "unaligned": gguf(ARCHITECTURE, tensors=(tensor(offset=3),)),
    "ends at byte": gguf(ARCHITECTURE, tensors=(tensor(shape=(2**40,)),)),
    "the tensor 'w' appears twice": gguf(ARCHITECTURE, tensors=(tensor(), tensor())),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what):
    """The error of a broken file says what is wrong."""
    assert what in refused(BROKEN[what])


def test_a_missing_file(tmp_path):
    """A missing file is an error that names the kind."""
    with pytest.raises(MissingError) as caught:
        read_header(tmp_path / "no.gguf")
    assert caught.value.kind == "model file"


def test_directory(tmp_path):
    """The error names a directory."""
    with pytest.raises(BadModelFile, match="a directory"):
        read_header(tmp_path)


def test_pipe(tmp_path):
    """A named pipe is refused instead of waited for."""
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(BadModelFile):
        read_header(tmp_path / "m.gguf")


@pytest.mark.parametrize("name", ["llama", "qwen35"])
def test_truncated_files_are_refused(tiny, name):
    """A file cut anywhere is refused."""
    content = tiny(name).read_bytes()
    header = read_header(tiny(name))
    end = header.data_offset + max(t.offset + t.nbytes for t in header.tensors)
    for length in [*range(0, header.data_offset, 97), header.data_offset, end - 1]:
        refused(content[:length])


def test_mutations(tiny):
    """Random bytes in a header give a header or a clear error, quickly, and never another exception."""
    draw = random.Random(1)
    original = tiny("llama").read_bytes()
    end = read_header(tiny("llama")).data_offset
    refusals = 0
    for _ in range(400):
        content = bytearray(original)
        for _ in range(draw.randint(1, 8)):
            content[draw.randrange(end)] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
        try:
            header = parse(bytes(content))
        except BadModelFile:
            refusals += 1
        else:
            facts = [header.name, header.context_length, header.quantization, header.chat_template, header.licence]
            assert all(fact is None or isinstance(fact, str | int) for fact in [*facts, header.kv_bytes_per_token()])
    assert 20 < refusals < 400


LONG = b"\x1b\n\xe2\x80\xae" * 20_000


@pytest.mark.parametrize(
    "content",
    [
        gguf(ARCHITECTURE, *[entry(LONG[:60_000], 4, bytes(4))] * 2),
        gguf(ARCHITECTURE, entry(LONG[:60_000], 99, bytes(4))),
        gguf(ARCHITECTURE, entry(LONG[:60_000], 9, struct.pack("<IQ", 99, 1))),
        gguf(ARCHITECTURE, entry(LONG[:60_000], 9, struct.pack("<IQ", 4, 1 << 40))),
        gguf(ARCHITECTURE, entry(b"general.alignment", 8, text(LONG))),
        gguf(ARCHITECTURE, tensors=(tensor(LONG[:60], kind=99),)),
        gguf(ARCHITECTURE, tensors=(tensor(LONG[:60]), tensor(LONG[:60]))),
    ],
)
def test_errors_show_little_of_the_file(content):
    """A name or value of the file is cut, and has no control characters."""
    detail = refused(content)
    assert len(detail) < 180 and detail.isprintable() and "…" in detail


@pytest.mark.parametrize(
    "entries",
    [
        (entry(b"general.architecture", 8, text(LONG[:60_000])), entry(LONG[:60_000] + b".block_count", 4, bytes(4))),
        (ARCHITECTURE, entry(b"llama.block_count", 8, text(LONG))),
        (ARCHITECTURE, numbers(b"feed_forward_length", *[1 << 30] * 1000)),
        (
            *(ARCHITECTURE, numbers(b"embedding_length", 64), numbers(b"attention.head_count", 2)),
            numbers(b"rope.dimension_sections", *[1 << 30] * 1000),
        ),
    ],
)
def test_checks_show_little_of_the_file(entries):
    """So do the errors about values that no model can have."""
    content = gguf(*entries)
    with pytest.raises(BadModelFile) as caught:
        check_header(parse(content), "m.gguf")
    assert len(caught.value.detail) < 180 and caught.value.detail.isprintable()
    assert "…" in caught.value.detail
