"""Which models cannot generate text here, whatever they need: known from the header."""

from __future__ import annotations

import pytest

from llmcli.engine.llama import bindings
from llmcli.engine.llama.architecture import is_known_architecture, unsupported_reason
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import read_header


def header(name, **more):
    return Header(3, {"general.architecture": name, **more}, (), 0, 0)


@pytest.mark.parametrize("name", ["llama", "chatml", "gemma3", "qwen3moe", "mamba", "lfm2", "falcon-h1", "qwen35"])
def test_models_that_run(tiny, name):
    """Nothing speaks against what the engine loads."""
    assert unsupported_reason(read_header(tiny(name))) == ""


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("bert", "embedding"),
        ("modern-bert", "embedding"),
        ("t5", "encoder"),
        ("clip", "projector"),
        ("invented", "architecture invented"),
        ("", "architecture"),
    ],
)
def test_models_that_do_not(name, word):
    """Embeddings, encoders, projectors, and what this build has never heard of."""
    assert word in unsupported_reason(header(name))


def test_an_attention_that_looks_ahead_generates_nothing():
    """Whatever the architecture is called."""
    assert "embedding" in unsupported_reason(header("llama", **{"llama.attention.causal": False}))


def test_an_unknown_architecture_names_the_version():
    """A newer one may know it."""
    assert bindings.version() in unsupported_reason(header("invented"))


@pytest.mark.parametrize("name", ["qwen", "llama\n", "x" * 5000, "\udcff"])
def test_any_name_can_be_asked_about(name):
    """Names come from files that anybody may write."""
    assert is_known_architecture(name) is (name == "qwen")


def test_nothing_is_refused_because_a_disk_is_full(monkeypatch):
    """No room for the file that is shown to llama.cpp says nothing about the model."""

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llmcli.engine.llama.architecture.tempfile.TemporaryDirectory", full)
    assert is_known_architecture("invented while the disk was full")
