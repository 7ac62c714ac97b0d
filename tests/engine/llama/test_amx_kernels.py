"""Models for which llama.cpp's AMX kernels are wrong are loaded without them.

Recurrent and hybrid models: with ``use_extra_bufts`` those kernels give the second and later sequence of a ubatch
logits that are off by 2 to 11 (``benchmarks/upstream_extra_bufts.py`` shows it on processors with AMX). Rows of one
block: the kernel for 32 tokens adds their product to memory that nothing has set (``mmq.cpp``, ``tinygemm_kernel_amx``
of llama-cpp-python 0.3.36), so that a prompt of 32 tokens has other logits each time, or none.
"""

from __future__ import annotations

import check_models
import pytest
from engine.tools import GENERATIVE, logits, model_of, numbers

from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import Context, ContextConfig

RECURRENT = ("mamba", "lfm2", "falcon-h1", "qwen35")


@pytest.fixture
def loads(monkeypatch):
    """Record ``use_extra_bufts`` of every load of a model."""
    lib = bindings.lib()
    original, seen = lib.llama_model_load_from_file, []

    def load(path, params):
        seen.append(bool(params.use_extra_bufts))
        return original(path, params)

    monkeypatch.setattr(lib, "llama_model_load_from_file", load)
    return seen


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_models_are_loaded_without_the_extra_buffers(tiny, loads, name):
    """Their header shows what they are, so they are loaded once, the safe way."""
    with model_of(tiny(name)) as model:
        assert model.recurrent
    assert loads == [False]


@pytest.mark.parametrize("name", [name for name in GENERATIVE if name not in RECURRENT])
def test_other_models_keep_the_faster_kernels(tiny, loads, name):
    """Models without a state do not separate sequences in a matrix product, and are loaded with llama.cpp's default."""
    with model_of(tiny(name)) as model:
        assert not model.recurrent
    assert loads == [True]


def test_a_model_with_rows_of_one_block_is_loaded_without_the_extra_buffers(tmp_path, loads, monkeypatch):
    """A matrix of Q8_0 with 32 columns: each of two prompts of 32 tokens has the logits that it has alone."""
    monkeypatch.setattr(check_models, "HIDDEN", 32)
    check_models.llama(str(tmp_path / "narrow.gguf"))
    prompts = numbers(32, 1), numbers(32, 2)

    def last_logits(*sequences):
        context = Context(model, ContextConfig(cells=256, sequences=2), lambda: False)
        try:
            for sequence in sequences:
                context.batch.add(prompts[sequence], 0, sequence, [31])
            assert context.evaluate(abortable=False) == 0
            return [logits(context.handle, 31 + 32 * place) for place in range(len(sequences))]
        finally:
            context.close()

    with model_of(tmp_path / "narrow.gguf") as model:
        assert loads == [False]
        together = last_logits(0, 1)
        for sequence in (0, 1):
            assert abs(together[sequence] - last_logits(sequence)[0]).max() < 0.5


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_model_with_an_unknown_header_is_loaded_again(tiny, loads, monkeypatch, name):
    """llama.cpp recognizes a new recurrent architecture, and the model in use has no extra buffers."""
    monkeypatch.setattr("llmcli.engine.llama.model._has_recurrent_layers", lambda _: False)
    with model_of(tiny(name)) as model:
        assert model.recurrent
    assert loads[-1] is False


@pytest.mark.parametrize("config", [{}, {"unified": False, "kv_type": "q8_0"}], ids=["unified", "streams"])
@pytest.mark.parametrize("name", RECURRENT)
def test_every_sequence_of_a_ubatch_has_the_logits_of_a_fresh_one(models, name, config):
    """In a ubatch of five prompts, then in one of five single tokens, all sequences have correct logits."""
    prompts = [numbers(24, 30 + i) for i in range(5)]

    def rows(sequences):
        context = Context(models(name), ContextConfig(cells=256, sequences=5, **config), lambda: False)
        try:
            found = {}
            for start, end in ((0, 23), (23, 24)):
                context.batch.clear()
                for sequence in sequences:
                    context.batch.add(prompts[sequence][start:end], start, sequence, [end - start - 1])
                assert context.evaluate(abortable=False) == 0
                for place, sequence in enumerate(sequences):
                    found[sequence, start] = logits(context.handle, (place + 1) * (end - start) - 1)
        finally:
            context.close()
        return found

    together = rows(range(5))
    assert len(together) == 10
    for sequence in range(5):
        for key, row in rows([sequence]).items():
            assert abs(together[key] - row).max() < 0.5
            if config:
                assert together[key].tobytes() == row.tobytes()
