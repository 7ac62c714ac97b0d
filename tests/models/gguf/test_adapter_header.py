"""The header of an adapter, against the model: everything that llama.cpp would abort over or ignore is found before."""

from __future__ import annotations

import os
import struct

import gguf_bytes
import numpy as np
import pytest
import tiny_models
from mutations import Layout
from tiny_adapters import write_adapter

from llmcli.errors import BadModelFile, MissingError
from llmcli.errors.model_errors import BadAdapter, UnsupportedAdapter
from llmcli.models.gguf.adapter_header import check_adapter, read_adapter_header
from llmcli.models.gguf.header_parser import read_header

Q, EMBEDDING = "blk.0.attn_q.weight", "token_embd.weight"


@pytest.fixture
def check(tiny, tmp_path):
    """Return a function that writes an adapter for a tiny model and checks it."""

    def run(name="llama", model=None, **how):
        model = model or tiny(name)
        path = write_adapter(tmp_path / "a.gguf", model, **how)
        weights = read_header(model)
        return check_adapter(read_adapter_header(path), weights, weights.tensors, str(path))

    return run


def zeros(*shape):
    return np.zeros(shape, np.float32)


def pair(a, b, name=Q):
    return {f"{name}.lora_a": a, f"{name}.lora_b": b}


def test_good_adapters_pass(check):
    """Matrices, experts, the token embedding, rank 1, without alpha."""
    assert check() == ()
    assert check(rank=1, alpha=None) == ()
    assert check("qwen3moe", targets=("attn_q", "ffn_up_exps", "ffn_down_exps")) == ()
    assert check(targets=("token_embd",)) == ()


def test_ignored_norms_are_named(check):
    """llama.cpp reads such an adapter, and leaves them out."""
    assert check(tensors={"blk.0.attn_norm.weight": zeros(64)}) == ("blk.0.attn_norm.weight",)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"architecture": "gemma3"}, "it is for gemma3, the model is llama"),
        ({"tensors": pair(zeros(4, 32), zeros(64, 4))}, r"shapes \(32, 4\) and \(4, 64\)"),
        ({"tensors": pair(zeros(4, 64), zeros(96, 4))}, "shapes"),
        ({"tensors": pair(zeros(4, 64), zeros(64, 2))}, "shapes"),
        ({"tensors": pair(zeros(64, 4), zeros(4, 64))}, "shapes"),
        ({"tensors": pair(zeros(2, 4, 64), zeros(2, 64, 4))}, "shapes"),
        ({"tensors": pair(zeros(4, 64), zeros(64, 4), EMBEDDING)}, "shapes"),
        ({"tensors": pair(zeros(4, 64), zeros(64, 4), "blk.9.attn_q.weight")}, "no matrix blk.9.attn_q.weight"),
        ({"tensors": pair(zeros(4, 64), zeros(1, 4), "blk.0.attn_norm.weight")}, "no matrix blk.0.attn_norm"),
    ],
)
def test_an_adapter_for_another_model_is_refused(check, how, words):
    """It says for which one it was made, if the file does."""
    with pytest.raises(BadAdapter, match=words) as raised:
        check(metadata={"general.base_model.0.name": "Some Base"}, **how)
    assert raised.value.mismatch and raised.value.base_model == "Some Base"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"metadata": {"general.type": "model"}}, "general.type is 'model'"),
        ({"metadata": {"general.type": ""}}, "no general.type"),
        ({"metadata": {"general.type": lambda w, key: w.add_uint32(key, 1)}}, "general.type is 1"),
        ({"metadata": {"adapter.lora.alpha": lambda w, key: w.add_uint32(key, 8)}}, "alpha is 8"),
        ({"metadata": {"adapter.lora.alpha": lambda w, key: w.add_float32(key, float("nan"))}}, "alpha is nan"),
        ({"targets": ()}, "no matrices"),
        ({"tensors": {f"{Q}.lora_b": None}}, "only one of the matrices"),
        ({"tensors": {"extra": zeros(32)}}, "neither lora_a nor lora_b"),
        ({"tensors": {f"{Q}.lora_a": np.zeros((4, 64), np.int32)}}, "type I32"),
    ],
)
def test_what_is_no_adapter_is_refused(check, how, words):
    """Among it metadata whose type would end the process in llama.cpp."""
    with pytest.raises(BadAdapter, match=words) as raised:
        check(**how)
    assert not raised.value.mismatch


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"metadata": {"adapter.type": "control_vector"}}, "control_vector"),
        ({"metadata": {"adapter.alora.invocation_tokens": lambda w, key: w.add_array(key, [1, 2])}}, "activated"),
    ],
)
def test_other_kinds_of_adapters_are_unsupported(check, how, words):
    """They are valid, and llm cannot apply them."""
    with pytest.raises(UnsupportedAdapter, match=words):
        check(**how)


LONG = "\x1b\n" * 20_000


@pytest.mark.parametrize(
    "how",
    [
        {"metadata": {"general.type": LONG}},
        {"metadata": {"adapter.type": LONG}},
        {"metadata": {"general.base_model.0.name": LONG}, "architecture": LONG},
        {"metadata": {"adapter.lora.alpha": lambda w, key: w.add_string(key, LONG)}},
    ],
)
def test_errors_show_little_of_the_file(check, how):
    """A name or value of the file is cut, and has no control characters."""
    with pytest.raises((BadAdapter, UnsupportedAdapter)) as raised:
        check(**how)
    for words in (raised.value.detail, getattr(raised.value, "base_model", "")):
        assert len(words) < 120 and words.isprintable()


def test_a_tied_token_embedding_is_unsupported(check, tmp_path):
    """llama.cpp would multiply with the embedding's matrices as if they were the output's, and abort."""

    def without_output(path):
        writer = tiny_models.W(path, "llama", tiny_models.vocab_spm, 1)
        writer.heads()
        writer.ends(out=False)
        writer.attn("blk.0.")
        writer.done()

    without_output(tmp_path / "tied.gguf")
    with pytest.raises(UnsupportedAdapter, match="output matrix"):
        check(model=tmp_path / "tied.gguf", targets=("token_embd",))


def test_files_that_cannot_be_read(tmp_path):
    """Missing, a directory, a pipe, another format."""
    with pytest.raises(MissingError) as missing:
        read_adapter_header(tmp_path / "none.gguf")
    assert missing.value.kind == "adapter"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "other").write_bytes(b"\x10\0\0\0\0\0\0\0{}" * 50)
    for name, words in ((".", "directory"), ("pipe", "regular file"), ("other", "GGUF")):
        with pytest.raises(BadAdapter, match=words):
            read_adapter_header(tmp_path / name)


def test_every_truncation_and_hostile_count_is_refused(tiny, tmp_path):
    """The file costs no more than its bytes, and no error is anything but BadAdapter."""
    path = write_adapter(tmp_path / "a.gguf", tiny("llama"), targets=("attn_q",))
    content = path.read_bytes()
    header = read_header(tiny("llama"))
    for size in [*range(0, 600, 37), *range(600, len(content), 997), len(content) - 64]:
        path.write_bytes(content[:size])
        with pytest.raises(BadAdapter):
            read_adapter_header(path)
    layout = Layout.of(content)
    for counts in ((2**62, 5), (4, 2**62), (2**32, 2**32), (2**63, 0)):
        path.write_bytes(Layout(layout.entries, layout.tensors, layout.data, counts).build())
        with pytest.raises(BadAdapter):
            read_adapter_header(path)
    kinds = (gguf_bytes.entry(b"general.type", 8, gguf_bytes.text(b"adapter")),)
    kinds += (gguf_bytes.entry(b"adapter.type", 8, gguf_bytes.text(b"lora")), gguf_bytes.ARCHITECTURE)
    huge = struct.pack("<Q", 2**60)
    for entry in (
        gguf_bytes.entry(b"general.base_model.0.name", 8, huge),
        gguf_bytes.entry(b"x", 9, struct.pack("<I", 8) + huge),
    ):
        path.write_bytes(gguf_bytes.gguf(*kinds, entry))
        with pytest.raises((BadAdapter, BadModelFile)) as raised:
            check_adapter(read_adapter_header(path), header, header.tensors, "a")
        assert isinstance(raised.value, BadAdapter)
