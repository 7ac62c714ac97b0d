"""States of all tokens of a batch, with logits only where they are needed."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from engine.tools import each_model, logits, numbers

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import ContextConfig, HiddenStateContext


@pytest.fixture
def context(models):
    """Return a function that makes a context of 256 tokens a sequence."""
    with contextlib.ExitStack() as stack:

        def make(name: str, *, should_abort=lambda: False, sequences: int = 1, unified: bool = False):
            config = ContextConfig(256, sequences=sequences, batch=128, unified=unified)
            return stack.enter_context(contextlib.closing(HiddenStateContext(models(name), config, should_abort)))

        yield make


def evaluated(context: HiddenStateContext, *parts: tuple[list[int], int, int], needs_logits: bool = False):
    """Evaluate (tokens, position, sequence) parts; return a copy of the states."""
    context.needs_logits = needs_logits
    context.batch.clear()
    for tokens, position, sequence in parts:
        context.batch.add(tokens, position, sequence, range(len(tokens)))
    assert context.evaluate(abortable=True) == 0
    return context.read_states().copy()


@each_model
def test_states_do_not_depend_on_logits(context, name):
    """The evaluation that ends early leaves the same memory, and gives the same states."""
    tokens = numbers(60, 1)
    whole, parts = context(name), context(name)
    expected = [evaluated(whole, (tokens[a:b], a, 0), needs_logits=True) for a, b in ((0, 40), (40, 60))]
    found = [evaluated(parts, (tokens[a:b], a, 0)) for a, b in ((0, 40), (40, 60))]
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one, other)
    if name != "lfm2":
        last = [
            (evaluated(each, ([7], 60, 0), needs_logits=True), logits(each.handle, 0))[1] for each in (whole, parts)
        ]
        assert np.array_equal(*last)


@each_model
def test_nothing_follows_the_states(models, name):
    """Without logits the graph ends at the tensor of the states; with them it is computed to its end."""
    seen: list[bytes] = []

    class Recording(HiddenStateContext):
        def _visit_tensor(self, tensor: int, ask: bool, data: object) -> bool:
            seen.append(bindings.tensor_name(tensor))
            return super()._visit_tensor(tensor, ask, data)

    with contextlib.closing(Recording(models(name), ContextConfig(256, sequences=1, batch=128), lambda: False)) as one:
        evaluated(one, ([5, 6], 0, 0))
        assert seen[-1] == b"result_embd_pooled"
        evaluated(one, ([7], 2, 0), needs_logits=True)
        assert (b"result_output" in seen) == (name != "lfm2")


@pytest.mark.parametrize("name", ["llama", "mamba", "falcon-h1"])
@pytest.mark.parametrize("unified", [True, False])
def test_rows_are_in_the_order_of_the_batch(context, name, unified):
    """Also where llama.cpp evaluates sequences of different lengths in several parts."""
    a, b, c = numbers(30, 1), numbers(11, 2), numbers(25, 3)
    rows = evaluated(context(name, sequences=4, unified=unified), (a, 0, 0), (b, 0, 1), (c, 0, 3))
    start = 0
    for tokens in (a, b, c):
        alone = evaluated(context(name), (tokens, 0, 0))
        part = rows[start : start + len(tokens)]
        assert np.abs(part - alone).max() < 0.1 * np.abs(alone).max()
        start += len(tokens)


def test_an_evaluation_can_be_aborted(context):
    """Interactive work comes first."""
    aborted = context("llama", should_abort=lambda: True)
    aborted.batch.add(numbers(40, 1), 0, 0, range(40))
    assert aborted.evaluate(abortable=True) == 2
