"""A lower bound of the tokens of a text, found without tokenizing."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from engine.tools import for_all
from hypothesis import strategies as st

from llmcli.cli.console.signals import forward_signals
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.text import tokenizer as tokenizer_module
from llmcli.engine.text.tokenizer import LONG_TEXT_CHARACTERS, TokenBound, Tokenizer
from llmcli.errors import ContextOverflow, Terminated
from llmcli.interrupt import Interrupt
from llmcli.runtime.backend_factory import open_local_backend
from llmcli.types import Finished, Message, Request, Role

FRAGMENTS = ["hello", "world", "positive", " ", "the", "\n", "é", "漢", "x", "\0", "\U0001f600", "hellohello", "<s>"]


@pytest.fixture(scope="module", params=["llama", "chatml"])
def model(models, request):
    return models(request.param)


def test_the_bound_is_never_more_than_the_tokens_of_a_text(model, monkeypatch):
    """For any text, any size of the scanned windows and any limit."""
    tokenizer, bound = Tokenizer(model), TokenBound(model)
    texts = st.text(max_size=60) | st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)

    @for_all(st.tuples(texts, st.integers(0, 100), st.sampled_from([1, 2, 3, 7, 64])))
    def check(case):
        text, limit, window = case
        monkeypatch.setattr(tokenizer_module, "_WINDOW_BYTES", window)
        assert bound.lower_bound(text, limit) <= len(tokenizer.encode(text))

    check()


def test_the_bound_of_whole_words_is_close(model):
    """A word that is one token of the vocabulary counts as one, in windows of any size."""
    bound = TokenBound(model)
    text = "positive" * 10_000
    assert 9_000 <= bound.lower_bound(text, limit=10**9) <= len(Tokenizer(model).encode(text))


def test_a_vocabulary_that_does_not_keep_all_bytes_has_no_bound(models):
    """WordPiece drops white space, so its texts may have fewer tokens than their bytes imply."""
    assert TokenBound(models("bert")).lower_bound("word " * 100_000, limit=10) == 0


def test_bytes_that_are_no_tokens_do_not_count(model, monkeypatch):
    """Some vocabularies have no token for a control character, which llama.cpp then drops."""
    pieces = list(model.token_pieces(range(model.vocab_size)))
    monkeypatch.setattr(model, "token_pieces", lambda _: [piece for piece in pieces if piece != b"\x04"])
    bound, longest = TokenBound(model), max(map(len, pieces))
    assert bound.lower_bound("\x04" * 1000, limit=10**9) == 0
    assert bound.lower_bound("x\x04" * 1000, limit=10**9) == 1000 // longest
    assert bound.lower_bound("x" * 1000, limit=10**9) > 1000 // longest


@pytest.fixture
def backend(tiny):
    """A backend with a context of 256 tokens whose engine cannot tokenize long texts."""

    def make(interrupt):
        options = EngineOptions(ctx=256, threads=1)
        return open_local_backend(tiny("chatml"), name="chatml", model_id="", options=options, interrupt=interrupt)

    return make


def request(text):
    return Request("r", (Message(Role.USER, text),), max_tokens=4)


@pytest.mark.parametrize("text", ["x" * 1_000_000, "hello world " * 100_000], ids=["line", "words"])
def test_a_text_that_cannot_fit_is_refused_without_tokenizing(backend, monkeypatch, text):
    """The size of a text of megabytes, or of a raw prompt, is enough to refuse it, with a minimum number of tokens."""
    plain = Tokenizer.encode
    monkeypatch.setattr(
        Tokenizer, "encode", lambda self, given: plain(self, given) if len(given) < LONG_TEXT_CHARACTERS else 1 / 0
    )
    engine = backend(Interrupt())
    (tokens,), _ = engine.count([request(text)])
    assert tokens > 256
    with engine.open() as job:
        job.submit(request(text))
        job.submit(Request("raw", (), prompt=text, max_tokens=4))
        job.close_input()
        errors = [event.error for event in job if isinstance(event, Finished)]
    engine.close()
    assert [type(error) for error in errors] == [ContextOverflow] * 2
    assert all(error.at_least and error.tokens > 256 and error.context == 256 for error in errors)


def test_a_signal_does_not_wait_for_the_tokenizer(backend, monkeypatch):
    """While a long text is being tokenized, a signal ends the command at once, and closing the engine does not wait."""
    plain, held, ended = Tokenizer.encode, threading.Event(), threading.Event()

    def tokenize(self, text):
        if len(text) < LONG_TEXT_CHARACTERS:
            return plain(self, text)
        os.kill(os.getpid(), signal.SIGTERM)
        held.wait()  # as long as a native call takes
        tokens = plain(self, text[:10])
        ended.set()
        return tokens

    monkeypatch.setattr(Tokenizer, "encode", tokenize)
    monkeypatch.setattr(TokenBound, "lower_bound", lambda *_: 0)
    interrupt = Interrupt()
    with forward_signals(interrupt):
        engine = backend(interrupt)
        engine.info()
        with pytest.raises(Terminated):
            engine.count([request("x" * LONG_TEXT_CHARACTERS)])
        engine.close()
    assert not ended.is_set()
    held.set()
    assert ended.wait(30), "the model was freed under the tokenizer"
