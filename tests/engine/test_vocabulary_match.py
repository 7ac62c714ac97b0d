"""Two models can work on one text only if their tokens are the same."""

from __future__ import annotations

import pytest

from engine.tools import model_of
from llmcli.engine.draft_context import vocabulary_difference


@pytest.fixture
def changed(tiny, tmp_path):
    """Return a function that writes a copy of a model with some bytes replaced by as many others."""

    def write(name, old, new):
        data = tiny(name).read_bytes()
        assert len(old) == len(new) and data.count(old) >= 1
        file = tmp_path / "changed.gguf"
        file.write_bytes(data.replace(old, new, 1))
        return file

    return write


@pytest.mark.parametrize("name", ["chatml", "qwen3moe", "mamba"])
def test_other_models_with_the_same_tokens_match(models, name):
    """Architecture and weights do not matter."""
    assert vocabulary_difference(models("chatml"), models(name)) == ""


def test_another_kind_of_vocabulary(models):
    """SentencePiece instead of BPE."""
    assert vocabulary_difference(models("chatml"), models("llama")).startswith("another kind of vocabulary")


def key(name, value):
    """Return a key of GGUF with a 32-bit value."""
    return name + (4).to_bytes(4, "little") + value.to_bytes(4, "little")


def test_another_special_token(models, changed):
    """The ids of the end of a text differ."""
    name = b"tokenizer.ggml.eos_token_id"
    with model_of(changed("chatml", key(name, 2), key(name, 0))) as other:
        assert vocabulary_difference(models("chatml"), other) == "another last token of a text (EOS): 0 instead of 2"


def test_another_text_of_a_token(models, changed):
    """The first differing token is named."""
    word = "\u0120world".encode()
    with model_of(
        changed("chatml", len(word).to_bytes(8, "little") + word, len(word).to_bytes(8, "little") + word[:-1] + b"x")
    ) as other:
        difference = vocabulary_difference(models("chatml"), other)
    assert difference.startswith("another text of token ")
