"""A model's vocabulary for llguidance, and its file in the cache directory."""

from __future__ import annotations

import pytest
from engine.tools import GENERATIVE, req
from grid import grid

from llmcli.engine.sampling import grammar_compiler
from llmcli.engine.sampling.grammar_compiler import (
    GrammarCompiler,
    TokenizerAdapter,
    load_or_read_vocabulary,
    read_vocabulary,
)
from llmcli.engine.text.tokenizer import Tokenizer

MODEL_ID = "5e" * 32


@pytest.fixture
def load(models, tmp_path, monkeypatch):
    """Return a function that loads the vocabulary; its second result tells whether the model was read for it."""
    model = models("chatml")
    tokenizer = Tokenizer(model)
    reads = []
    read = grammar_compiler.read_vocabulary
    monkeypatch.setattr(grammar_compiler, "read_vocabulary", lambda *given: (reads.append(1), read(*given))[1])

    def call(model_id=MODEL_ID):
        reads.clear()
        return load_or_read_vocabulary(model, tokenizer, tmp_path, model_id), bool(reads)

    call.file = tmp_path / "vocabularies" / MODEL_ID
    return call


def test_the_next_process_finds_it_in_the_cache(load):
    """The same, in a file that only its user may read, without anything beside it."""
    first, was_read = load()
    assert was_read
    again, was_read = load()
    assert not was_read and again == first
    assert load.file.stat().st_mode & 0o777 == 0o600
    assert list(load.file.parent.iterdir()) == [load.file]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_file_is_made_again(load, damage):
    """One of another model, too."""
    first, _ = load()
    data = load.file.read_bytes()
    flipped = data[:500] + bytes([data[500] ^ 1]) + data[501:]
    load.file.write_bytes({"cut": data[:-3], "flipped": flipped, "empty": b"", "other": data}[damage])
    if damage == "other":
        load.file.rename(load.file.with_name("a" * 64))
    again, was_read = load("a" * 64 if damage == "other" else MODEL_ID)
    assert was_read and again == first
    assert load("a" * 64 if damage == "other" else MODEL_ID)[1] is False


def test_one_of_another_version_is_made_again(load, monkeypatch):
    """The binding may read tokens in another way."""
    load()
    monkeypatch.setattr(grammar_compiler.bindings, "version", lambda: "99")
    assert load()[1] and not load()[1]


def test_a_directory_that_cannot_be_written_is_no_error(load):
    """The vocabulary is read each time."""
    load.file.parent.write_text("no directory")
    assert load()[1] and load()[1]


@grid("name", [*GENERATIVE, "bert"], rows=4)
def test_control_tokens_and_ends_have_no_bytes(models, name):
    """So no grammar allows them inside a text; all other tokens are those of the model."""
    tokenizer = Tokenizer(models(name))
    vocabulary = read_vocabulary(models(name), tokenizer)
    assert len(vocabulary.pieces) == models(name).vocab_size
    ends = {token for token in range(models(name).vocab_size) if tokenizer.is_eog(token)}
    assert set(vocabulary.eog_tokens) == ends
    without = {*tokenizer.control_tokens.values(), *ends}
    assert all(
        piece == (b"" if token in without else tokenizer.token_to_piece(token))
        for token, piece in enumerate(vocabulary.pieces)
    )


@grid("name", [*GENERATIVE, "bert"], rows=4)
def test_control_tokens_are_never_allowed(models, name):
    """Whatever the grammar: a text of any characters allows every other token that is UTF-8."""
    tokenizer = Tokenizer(models(name))
    found = GrammarCompiler(models(name), tokenizer, None, "").compile(req("a", grammar=r"start: /(.|\n)*/"))
    allowed = set(found.allowed_tokens().tolist())
    ends = {token for token in range(models(name).vocab_size) if tokenizer.is_eog(token)}
    assert not allowed & {*tokenizer.control_tokens.values()} - ends
    assert ends <= allowed
    pieces = {token: tokenizer.token_to_piece(token) for token in range(models(name).vocab_size)}
    assert {token for token, piece in pieces.items() if piece.isascii() and piece and token not in ends} <= allowed


@pytest.mark.parametrize("name", ["llama", "chatml"])
def test_a_text_that_must_follow_gets_tokens_of_exactly_its_bytes(models, name):
    """Also in models that put a blank before a text."""
    tokenizer = Tokenizer(models(name))
    adapter = TokenizerAdapter(read_vocabulary(models(name), tokenizer), tokenizer)
    for text in ("", "hello", " world", '{"name": "é😀', "\n\n", "<|im_end|>"):
        assert b"".join(map(tokenizer.token_to_piece, adapter(text))) == text.encode()


def test_a_text_without_tokens_is_an_error(models):
    """Not a wrong answer."""
    adapter = TokenizerAdapter(read_vocabulary(models("bert"), Tokenizer(models("bert"))), Tokenizer(models("bert")))
    with pytest.raises(ValueError, match="no token"):
        adapter("Ü")
