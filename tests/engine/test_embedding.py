"""Embeddings: independent of earlier texts, evaluated in chunks that interactive work may preempt."""

from __future__ import annotations

import contextlib
import math

import pytest

from engine.tools import numbers
from llmcli.backends.base import run_requests
from llmcli.engine.embedding import Embedder
from llmcli.engine.llama.compute_thread import InlineExecutor
from llmcli.errors import InputError, InternalError
from llmcli.state_layers import vector_layers
from llmcli.tasks.embed import read_vector
from llmcli.types import Request, StateLayers

MAX_ERROR = 0.03
"""Distance of two vectors of length 1: activations are rounded to 8 bits in batches of different lengths."""


@pytest.fixture
def embedder(models):
    """Return a function from a model's name to an embedder of it."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(
            contextlib.closing(Embedder(models(name), f"{name}-id", 1, InlineExecutor()))
        )


def never() -> bool:
    return False


@pytest.mark.parametrize("name", ["llama", "gemma3", "mamba", "bert"])
def test_a_vector_does_not_depend_on_earlier_texts(embedder, models, name):
    """A context is emptied, or replaced for a longer text; every vector has length 1."""
    shared = embedder(name)
    for count in (3, 250, 30, 20):
        tokens = [token % models(name).vocab_size for token in numbers(count, count)]
        vector = shared.embed(tokens, never)
        # chunks depend on the speed so far, and sums on the chunks
        assert list(vector) == pytest.approx(list(embedder(name).embed(tokens, never)), abs=1e-3)
        assert math.isclose(math.hypot(*vector), 1, rel_tol=1e-5)


def test_the_last_state_is_one_of_a_text(embedder):
    """It depends on the end of the text alone of those states that the mean is made of."""
    llama = embedder("llama")
    tokens = numbers(30, 3)
    mean, last = llama.embed(tokens, never, "mean"), llama.embed(tokens, never, "last")
    assert list(mean) == list(llama.embed(tokens, never)) != list(last)
    for count in (1, 2):  # the first token has no part in the mean of several
        ends = [list(llama.embed(tokens[:count], never, pooling)) for pooling in ("last", "mean")]
        assert ends[0] == pytest.approx(ends[1], abs=1e-6)
    assert math.isclose(math.hypot(*last), 1, rel_tol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("name", ["llama", "gemma3", "mamba"])
def test_a_vector_is_that_of_a_request_for_hidden_states(embedder, engines, name, pooling):
    """Of the layer that ``llm embed`` reads; where only the last one can be read, of that one."""
    text, engine = "the world is in you " * 9, engines(name)
    layers = vector_layers(engine.info())
    assert bool(layers) == (name != "mamba")
    request = Request("a", (), prompt=text, hidden_states=True, state_layers=layers)
    states, _ = run_requests(engine, [request])
    expected = read_vector(getattr(states, pooling), normalizes=True)
    one = embedder(name)
    assert math.dist(one.embed(one.tokenize(text), never, pooling), expected) < MAX_ERROR


def test_the_layer_that_was_measured_is_read(embedder):
    """From the next text on, whatever context there is."""
    gemma, tokens = embedder("gemma3"), numbers(30, 3)
    assumed, first = (gemma.embed(tokens, never, None, each) for each in (None, StateLayers((1,), 1)))
    assert gemma._context.config.state_layers == (1,) and math.dist(assumed, first) > 10 * MAX_ERROR
    assert math.dist(gemma.embed(tokens, never), assumed) < MAX_ERROR


def test_an_embedding_model_pools_itself(embedder):
    """Its file says how."""
    with pytest.raises(InputError):
        embedder("bert").embed([5, 6], never, "last")


def test_a_preempted_chunk_is_evaluated_again(embedder, monkeypatch):
    """Nothing of it counts twice."""
    undisturbed = embedder("llama").embed(numbers(60, 1), never)
    disturbed, left = embedder("llama"), [3]

    def should_preempt() -> bool:
        left[0] -= 1
        return left[0] >= 0

    monkeypatch.setattr(disturbed._executor, "should_preempt", should_preempt)
    assert list(disturbed.embed(numbers(60, 1), never)) == list(undisturbed)
    assert left[0] < 0


def test_a_cancelled_text_is_not_embedded(embedder):
    """The context stays unchanged."""
    with pytest.raises(InternalError, match="cancelled"):
        embedder("llama").embed([5], lambda: True)


@pytest.mark.parametrize(("available", "batch"), [(0, 64), (1 << 30, 256)])
def test_batches_leave_memory_to_chats(embedder, models, monkeypatch, available, batch):
    """After the last layer, each token of a batch takes room for its logits, although none are computed."""
    monkeypatch.setattr(models("mamba").budget, "available_bytes", lambda _owner: available)
    one = embedder("mamba")
    one.embed(numbers(200, 1), never)
    assert one._context.batch.capacity == batch


def test_closing_releases_the_memory(embedder, models):
    """The model's budget includes the context only while there is one."""
    one = embedder("llama")
    one.embed([5], never)
    assert one in models("llama").budget._allocated
    one.close()
    assert one not in models("llama").budget._allocated
