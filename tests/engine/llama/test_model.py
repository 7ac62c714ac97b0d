"""The vocabulary of a loaded model."""

from __future__ import annotations

from llmcli.engine.llama import model as module


def test_pieces_longer_than_the_buffer_are_read_whole(models, monkeypatch):
    """The buffer grows with the longest token so far."""
    model = models("llama")
    pieces = list(model.token_pieces(range(model.vocab_size)))
    assert max(map(len, pieces)) > 1
    monkeypatch.setattr(module, "_PIECE_BYTES", 1)
    assert list(model.token_pieces(range(model.vocab_size))) == pieces


def test_control_tokens_have_no_bytes(models):
    """An answer never contains them."""
    model = models("chatml")
    controls = [token for token, bits in enumerate(model.token_attributes()) if bits & module.ATTR_CONTROL]
    assert controls and set(model.token_pieces(controls)) == {b""}
