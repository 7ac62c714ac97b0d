"""The hidden states after a layer before the last one: the same however they are computed, and without later layers."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

import numpy as np
import pytest

from engine.tools import engine_of, numbers, req
from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import ContextConfig, HiddenStateContext, LayerStateContext
from llmcli.engine.llama.model import Model
from llmcli.engine.sequences.sequence import common_prefix_length
from llmcli.errors import InternalError, Unsupported
from llmcli.types import CandidateScores, Finished, FinishReason, HiddenStates, Message, Request, Role

TEXTS = [
    f"{text} the world is in you " * (1 + number % 5) for number, text in enumerate(["yes", "no", "hello", "it"] * 6)
]
MAX_ERROR = 1e-3
"""Of a state whose root mean square is 1: kernels round sums in different orders."""
MAX_SHARED_ERROR = 0.1
"""The same in a buffer that others share: activations are rounded to 8 bits."""


def read(context: LayerStateContext | HiddenStateContext, tokens: list[int]) -> np.ndarray:
    context.batch.clear()
    context.batch.add(tokens, 0, 0, range(len(tokens)) if context.outputs_all_tokens else [len(tokens) - 1])
    assert context.evaluate(abortable=False) == 0
    return context.read_states().copy()


def layer_states(model: Model, tokens: list[int], *layers: int, ends_early: bool = True) -> np.ndarray:
    config = ContextConfig(256, sequences=1, batch=256, state_layers=layers, ends_early=ends_early)
    with contextlib.closing(LayerStateContext(model, config, lambda: False)) as context:
        return read(context, tokens)


def normalized(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt(np.square(rows).mean(axis=1, keepdims=True))


def prune(source: Path, target: Path, layers: list[int]) -> None:
    """Write a model without these layers, counted from 0."""
    lib = bindings.lib()
    params = lib.llama_model_quantize_default_params()
    params.only_copy = True
    removed = (ctypes.c_int32 * (len(layers) + 1))(*layers, -1)
    params.prune_layers = ctypes.cast(removed, type(params.prune_layers))
    assert lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)) == 0


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_states_of_a_layer_are_those_of_a_model_that_ends_there(models, tiny, tmp_path, name):
    """Its norm's weights are divided out."""
    model, tokens = models(name), numbers(40, 3)
    count = model.header.block_count
    assert count is not None
    prune(tiny(name), tmp_path / "pruned.gguf", [*range(1, count)])
    pruned = Model(tmp_path / "pruned.gguf", keep_going=lambda: True)
    with contextlib.closing(pruned):
        config = ContextConfig(256, sequences=1, batch=256, hidden_states=True)
        with contextlib.closing(HiddenStateContext(pruned, config, lambda: False)) as context:
            ended = read(context, tokens)
    found = layer_states(model, tokens, 1)
    weights = (ended / found).mean(axis=0)
    assert np.abs(ended / weights - found).max() < MAX_ERROR


def test_states_of_several_layers_follow_each_other(models):
    model, tokens = models("gemma3"), numbers(40, 3)
    first, third, both = (layer_states(model, tokens, *each) for each in ((1,), (3,), (1, 3)))
    assert np.array_equal(both, np.concatenate([first, third], axis=1))
    assert (
        np.abs(np.square(both[:, : model.header.arch_integer("embedding_length")]).mean(axis=1) - 1).max() < MAX_ERROR
    )


def test_an_evaluation_that_ends_early_computes_no_later_layer(models, monkeypatch):
    seen = []
    visit = LayerStateContext._visit_tensor

    def record(self, tensor: int, ask: bool, data: object) -> bool:
        seen.append(bindings.tensor_name(tensor))
        return visit(self, tensor, ask, data)

    monkeypatch.setattr(LayerStateContext, "_visit_tensor", record)
    layer_states(models("gemma3"), numbers(20, 1), 2)
    assert b"l_out-1" in seen and not any(name.endswith(b"-2") for name in seen)
    layer_states(models("gemma3"), numbers(20, 1), 2, ends_early=False)
    assert b"result_norm" in seen


def test_a_layer_that_the_graph_does_not_name_is_an_error(models):
    with pytest.raises(InternalError, match="l_out-98"):
        layer_states(models("llama"), numbers(20, 1), 99)


MODES = [{}, {"deterministic": True}, {"kv_unified": True}]


@pytest.mark.parametrize("options", MODES, ids=["invariant", "deterministic", "one buffer"])
@pytest.mark.parametrize("scored", [False, True])
def test_each_text_of_a_batch_gets_its_own_states(tiny, options, scored):
    """Texts of different lengths in separate buffers, of which llama.cpp evaluates the shortest first, or in one."""
    candidates = ("yes", "no") if scored else ()
    requests = [
        req(str(n), text, max_tokens=None, candidates=candidates, hidden_states=True, state_layers=(1,))
        for n, text in enumerate(TEXTS)
    ]
    with engine_of(tiny("llama"), **options) as engine:
        together = {each.id: each for each in collect_all(engine, requests) if isinstance(each, HiddenStates)}
        for request in requests:
            (alone,) = [each for each in collect_all(engine, [request]) if isinstance(each, HiddenStates)]
            for one, other in ((alone.mean, together[alone.id].mean), (alone.last, together[alone.id].last)):
                gap = np.abs(np.frombuffer(one, "<f4") - np.frombuffer(other, "<f4")).max()
                assert gap <= (MAX_SHARED_ERROR if "kv_unified" in options else 0), gap


def test_scores_beside_states_of_a_layer_are_the_scores_alone(tiny):
    plain = [req(str(n), text, max_tokens=None, candidates=("yes", "no")) for n, text in enumerate(TEXTS[:6])]
    reading = [
        req(str(n), text, max_tokens=None, candidates=("yes", "no"), hidden_states=True, state_layers=(1,))
        for n, text in enumerate(TEXTS[:6])
    ]
    with engine_of(tiny("llama")) as engine:
        first, second = (
            {e.id: e.scores for e in collect_all(engine, each) if isinstance(e, CandidateScores)}
            for each in (plain, reading)
        )
    assert first == second


def collect_all(engine, requests: list[Request]) -> list:
    found = []
    with engine.open() as job:
        for request in requests:
            job.submit(request)
        job.close_input()
        found = list(job)
    assert all(each.reason is FinishReason.STOP for each in found if isinstance(each, Finished)), found[-1]
    return found


def test_the_number_of_layers_is_told(tiny):
    with engine_of(tiny("gemma3")) as engine:
        assert engine.info().layers == 4
    with engine_of(tiny("mamba")) as engine:
        assert engine.info().layers is None


@pytest.mark.parametrize(("name", "layers"), [("llama", (0,)), ("gemma3", (1, 4)), ("mamba", (1,))])
def test_layers_that_cannot_be_read_are_refused(tiny, name, layers):
    request = req("a", "yes", max_tokens=None, hidden_states=True, state_layers=layers)
    with engine_of(tiny(name)) as engine, engine.open() as job:
        job.submit(request)
        job.close_input()
        (finished,) = [*job]
    assert isinstance(finished.error, Unsupported)


def test_the_mean_of_a_plain_text_is_without_its_first_token(tiny, models):
    """It has a state like that of no other token, whatever it is; a text of one token has only that."""
    texts = ["some words", "a"]
    requests = [Request(text, (), prompt=text, hidden_states=True, state_layers=(1,)) for text in texts]
    with engine_of(tiny("llama")) as engine:
        engine.info()
        tokens = [engine._tokenize_prompt(request)[0][0] for request in requests]
        found = {each.id: each.mean for each in collect_all(engine, requests) if isinstance(each, HiddenStates)}
    for text, ids in zip(texts, tokens, strict=True):
        rows = layer_states(models("llama"), ids, 1)
        expected = rows[min(1, len(ids) - 1) :].mean(axis=0)
        assert np.abs(np.frombuffer(found[text], "<f4") - expected).max() < MAX_SHARED_ERROR
    assert len(tokens[0]) > 1


def test_the_mean_is_that_of_the_tokens_after_the_earlier_messages(tiny, models):
    """What all records share, such as examples, tells nothing of a text."""
    earlier = (Message(Role.USER, "the world"), Message(Role.ASSISTANT, "yes"))
    texts = [
        Request(text, (*earlier, Message(Role.USER, text)), hidden_states=True, state_layers=(1,)) for text in "yz"
    ]
    with engine_of(tiny("chatml")) as engine:
        engine.info()
        tokens, others = (engine._tokenize_prompt(request)[0][0] for request in texts)
        (found,) = [each for each in collect_all(engine, texts[:1]) if isinstance(each, HiddenStates)]
    shared = common_prefix_length(tokens, others)
    rows = layer_states(models("chatml"), tokens, 1)
    assert 0 < shared < len(tokens) - 1
    for value, expected in ((found.mean, rows[shared:].mean(axis=0)), (found.last, rows[-1])):
        assert np.abs(np.frombuffer(value, "<f4") - expected).max() < MAX_SHARED_ERROR
