"""The self-test of ``--deterministic``: a model that passes is exact, an inexact one is refused."""

from __future__ import annotations

import ctypes

import pytest
import tiny_models
from engine.tools import GENERATIVE, Bench, Probe, each_model, engine_of, equal, model_of, numbers, req
from grid import grid

from llmcli.engine.llama import batch_invariance, bindings
from llmcli.engine.llama.context import ContextConfig
from llmcli.errors import Unsupported

EXACT = {"unified": False, "kv_type": "q8_0"}
F32, F16, Q4_0, Q8_0, Q4_K_M, Q5_K_M, Q6_K, BF16 = 0, 1, 2, 7, 15, 17, 18, 32
"""Numbers of llama.cpp's file types (``enum llama_ftype``). Q4_0 has an output matrix in Q6_K."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Return a function from a file type to a model with rows of 256, as K-quants need; llama.cpp quantizes it."""
    directory = tmp_path_factory.mktemp("wide")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"D": 256, "H": 8, "F": 256, "Q8": False}.items():
            patch.setattr(tiny_models, name, value)
        tiny_models.MODELS["chatml"](directory / "0.gguf")

    def path(kind):
        file = directory / f"{kind}.gguf"
        if not file.exists():
            params = bindings.lib().llama_model_quantize_default_params()
            params.ftype, params.nthread = kind, 1
            source, target = (bytes(each) for each in (directory / "0.gguf", file))
            assert bindings.lib().llama_model_quantize(source, target, ctypes.byref(params)) == 0
        return file

    return path


@pytest.fixture
def unquantized(tmp_path, monkeypatch):
    """Return a function from the name of a tiny model to the same model with all matrices in F32."""

    def path(name):
        monkeypatch.setattr(tiny_models, "Q8", False)
        tiny_models.make(tmp_path, [name])
        return tmp_path / f"{name}.gguf"

    return path


def passes(model):
    try:
        batch_invariance.check_batch_invariance(model, ContextConfig(cells=0, **EXACT))
    except Unsupported:
        return False
    return True


def sixteen():
    """Sequences that begin alike, some as long as the common beginning; the logits of all steps are kept."""
    shared = numbers(90, 3)
    prompts = [shared + numbers(5 + 8 * (i % 6), 10 + i) if i % 3 else numbers(9 + i, i) for i in range(16)]
    return [Probe(f"p{i}", prompt, numbers(24, i)) for i, prompt in enumerate(prompts)]


def is_exact(model):
    """Return whether each of sixteen sequences has the same logits in a batch as alone."""
    together, alone = sixteen(), sixteen()
    bench = Bench(model, **EXACT)
    bench.run(*together)
    bench.close()
    for probe in alone:
        bench = Bench(model, **EXACT)
        bench.run(probe)
        bench.close()
    try:
        for probe, expected in zip(together, alone, strict=True):
            equal(probe.rows, expected.rows)
    except AssertionError:
        return False
    return True


@grid("kind", [F32, F16, BF16, Q4_0, Q8_0, Q4_K_M, Q5_K_M, Q6_K], rows=4)
def test_a_type_of_weights_is_exact_or_refused(wide, kind):
    """On any processor, a model that passes is exact to the bit in a batch of sixteen."""
    with model_of(wide(kind)) as model:
        assert not passes(model) or is_exact(model)


@each_model
def test_unquantized_weights_are_exact_or_refused(unquantized, name):
    """Sums of F32 differ in the last bit only, which quantized activations mostly hide; the self-test finds it."""
    with model_of(unquantized(name)) as model:
        assert not passes(model) or is_exact(model)


@pytest.mark.parametrize("experts", [4, 6])
def test_a_mixture_of_experts_is_exact_or_refused(tmp_path, experts):
    """Routers are F32 in every file; if their sums depend on the batch, the model is refused."""
    tiny_models.qwen3moe(tmp_path / "mixture.gguf", E=experts)
    with model_of(tmp_path / "mixture.gguf") as model:
        assert not passes(model) or is_exact(model)


@each_model
def test_a_q8_0_model_of_every_kind_is_exact(tiny, name):
    """Weights whose rows are multiplied alike in any batch pass, and keep the promise of the self-test."""
    with model_of(tiny(name)) as model:
        assert passes(model)
        assert is_exact(model)


@pytest.mark.parametrize("config", [{}, {"unified": False}], ids=["unified", "streams"])
@grid("name", [name for name in GENERATIVE if name != "mamba"], rows=3)
def test_the_self_test_detects_f16(models, name, config):
    """With an f16 cache the sums of attention depend on the batch, and the self-test detects it."""
    with pytest.raises(Unsupported, match="--deterministic"):
        batch_invariance.check_batch_invariance(models(name), ContextConfig(cells=0, **config))


def test_an_inexact_model_is_refused_when_it_is_loaded(tiny, monkeypatch):
    """The first call that needs the model raises the error, with exit code 69, and so does every request."""

    def fails(model, config):
        raise Unsupported("--deterministic", detail="sums depend on the batch")

    monkeypatch.setattr(batch_invariance, "check_batch_invariance", fails)
    with engine_of(tiny("chatml"), deterministic=True) as engine:
        with pytest.raises(Unsupported) as caught:
            engine.info()
        assert caught.value.exit_code == 69
        with engine.open() as job, pytest.raises(Unsupported):
            job.submit(req("a"))
    with engine_of(tiny("chatml")) as engine:
        assert engine.info().context
