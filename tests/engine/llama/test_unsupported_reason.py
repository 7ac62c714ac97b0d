"""Models that cannot generate text here, whatever their needs: detected from the header."""

from __future__ import annotations

import pytest

from llmcli.engine.llama import bindings
from llmcli.engine.llama.architecture import is_known_architecture, unsupported_reason
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import read_header


def header(name, **more):
    return Header(3, {"general.architecture": name, **more}, (), 0, 0)


@pytest.mark.parametrize("name", ["llama", "chatml", "gemma3", "qwen3moe", "mamba", "lfm2", "falcon-h1", "qwen35"])
def test_supported_models(tiny, name):
    """There is no reason against the models that the engine loads."""
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
def test_unsupported_models(name, word):
    """Embedding models, encoders, projectors, and architectures unknown to this build."""
    assert word in unsupported_reason(header(name))


def test_a_model_without_causal_attention_generates_nothing():
    """Whatever the architecture is called."""
    assert "embedding" in unsupported_reason(header("llama", **{"llama.attention.causal": False}))


def test_an_unknown_architecture_is_reported_with_the_version():
    """A newer version may know it."""
    assert bindings.version() in unsupported_reason(header("invented"))


@pytest.mark.parametrize("name", ["qwen", "llama\n", "x" * 5000, "\udcff"])
def test_any_name_can_be_checked(name):
    """Names come from files that anyone can write."""
    assert is_known_architecture(name) is (name == "qwen")


def test_a_full_disk_is_no_reason(monkeypatch):
    """Without room for the test file nothing is known about the model."""

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llmcli.engine.llama.architecture.tempfile.TemporaryDirectory", full)
    assert is_known_architecture("invented while the disk was full")
