"""Hidden states of one sequence: pooled by llama.cpp for embedding models, otherwise summed."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from engine.tools import numbers

from llmcli.engine.llama.context import ContextConfig
from llmcli.engine.llama.embedding_context import EmbeddingContext


@pytest.fixture
def context(models):
    """Return a function that makes a context of 256 tokens."""
    with contextlib.ExitStack() as stack:

        def make(name: str, *, should_abort=lambda: False, uses_pooling: bool = False) -> EmbeddingContext:
            config = ContextConfig(256, sequences=1, batch=256, unified=False)
            return stack.enter_context(
                contextlib.closing(EmbeddingContext(models(name), config, should_abort, uses_pooling=uses_pooling))
            )

        yield make


def evaluated(context: EmbeddingContext, tokens: list[int], start: int = 0) -> np.ndarray:
    context.batch.clear()
    context.batch.add(tokens, start, 0, range(len(tokens)))
    assert context.evaluate(abortable=True) == 0
    return np.array(context.read_state())


@pytest.mark.parametrize("name", ["llama", "mamba", "lfm2"])
def test_states_are_summed_over_the_last_batch(context, name):
    """A text in two batches has the same sum as in one."""
    tokens = numbers(40, 1)
    whole = evaluated(context(name), tokens)
    other = context(name)
    parts = evaluated(other, tokens[:25]) + evaluated(other, tokens[25:], 25)
    assert np.abs(whole - parts).max() < 1e-2 * np.abs(whole).max()


@pytest.mark.parametrize("name", ["llama", "mamba"])
def test_a_cleared_context_is_like_a_new_one(context, name):
    """The same text has the same states as in a new context."""
    first = context(name)
    evaluated(first, numbers(30, 2))
    first.clear()
    assert np.array_equal(evaluated(first, numbers(20, 3)), evaluated(context(name), numbers(20, 3)))


def test_an_encoder_pools_and_has_no_memory_to_clear(context):
    """Its vector does not grow with the text."""
    encoder = context("bert", uses_pooling=True)
    one = evaluated(encoder, [5])
    encoder.clear()
    assert len(one) == len(evaluated(encoder, [5] * 100)) == encoder.model.header.metadata["bert.embedding_length"]


def test_an_evaluation_can_be_aborted(context):
    """Interactive work comes first."""
    aborted = context("llama", should_abort=lambda: True)
    aborted.batch.add(numbers(40, 1), 0, 0, range(40))
    assert aborted.evaluate(abortable=True) == 2
