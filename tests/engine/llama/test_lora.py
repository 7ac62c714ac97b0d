"""LoRA adapters in the engine: they change what a model computes exactly as their matrices say, on every context."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
from pathlib import Path

import gguf
import numpy as np
import pytest
import tiny_models
from engine.tools import answer, engine_of, req, wild
from tiny_adapters import ALPHA, RANK, TARGETS, random_pairs, write_adapter

from llmcli.config.engine_options import LoraAdapter
from llmcli.engine.embedding import Embedder
from llmcli.engine.llama import bindings
from llmcli.engine.llama.compute_thread import InlineExecutor
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.memory_budget import MemoryBudget, list_repacked_types
from llmcli.engine.llama.model import Model
from llmcli.errors import LogitOverflow, Unsupported
from llmcli.errors.model_errors import BadAdapter
from llmcli.models.gguf.header_parser import read_header
from llmcli.types import Sampling

PROMPT = [5, 9, 40, 77, 12, 300, 8, 21]
FTYPE_F32, FTYPE_Q4_0 = 0, 2


def adapter(path: Path, scale: float = 1.0) -> LoraAdapter:
    return LoraAdapter(str(path), scale, "ab" * 32, path.stat().st_size)


@contextlib.contextmanager
def loaded(path: Path, *adapters: LoraAdapter):
    model = Model(path, keep_going=lambda: True, adapters=adapters)
    try:
        yield model
    finally:
        model.close()


def logits(model: Model) -> np.ndarray:
    """Return the logits after each token of the prompt."""
    context = Context(model, ContextConfig(256, sequences=1), lambda: False)
    try:
        context.batch.add(PROMPT, 0, 0, range(len(PROMPT)))
        assert context.evaluate(abortable=False) == 0
        rows = bindings.lib().llama_get_logits(context.handle)
        return np.ctypeslib.as_array(rows, (len(PROMPT), model.vocab_size)).copy()
    finally:
        context.close()


def evaluated(path: Path, *adapters: LoraAdapter) -> np.ndarray:
    with loaded(path, *adapters) as model:
        return logits(model)


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """Return a function from the name of a tiny model to the same with F32 weights."""
    directory = tmp_path_factory.mktemp("f32")

    def path(name):
        file = directory / f"{name}.gguf"
        if not file.exists():
            tiny_models.Q8 = False
            try:
                tiny_models.make(directory, [name])
            finally:
                tiny_models.Q8 = True
        return file

    return path


def merged(model: Path, file: Path, seed: int, scale: float) -> Path:
    """Write the F32 ``model`` with the adapter of ``seed`` added to its weights."""
    reader = gguf.GGUFReader(model)
    pairs = random_pairs(read_header(model), TARGETS, RANK, seed)
    content = bytearray(model.read_bytes())
    for tensor in reader.tensors:
        if f"{tensor.name}.lora_a" in pairs:
            a, b = (pairs[f"{tensor.name}.lora_{half}"] for half in "ab")
            weights = tensor.data.astype(np.float64) + scale * ALPHA / RANK * (b.astype(np.float64) @ a)
            start = int(tensor.data_offset)
            content[start : start + tensor.n_bytes] = weights.astype(np.float32).tobytes()
    file.write_bytes(content)
    return file


def quantized(source: Path, file: Path, ftype: int) -> Path:
    lib = bindings.lib()
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread, params.pure = ftype, True, 1, True
    assert lib.llama_model_quantize(str(source).encode(), str(file).encode(), ctypes.byref(params)) == 0
    return file


@pytest.mark.parametrize("scale", [1.0, 0.5, -1.0])
def test_an_adapter_adds_its_product_to_the_weights(exact, tmp_path, scale):
    """The logits are those of a model whose weights are W + scale * alpha / rank * B A."""
    path = exact("llama")
    lora = write_adapter(tmp_path / "a.gguf", path, seed=1)
    expected = evaluated(merged(path, tmp_path / "merged.gguf", 1, scale))
    assert np.abs(evaluated(path) - expected).max() > 1
    assert np.abs(evaluated(path, adapter(lora, scale)) - expected).max() < 0.01


@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen3moe", "mamba", "lfm2", "falcon-h1", "qwen35"])
def test_every_architecture_takes_an_adapter(tiny, tmp_path, name):
    """Logits change, and are finite."""
    targets = (*TARGETS, "ffn_up_exps", "ssm_in", "ssm_out", "shortconv.in_proj")
    lora = write_adapter(tmp_path / "a.gguf", tiny(name), targets=targets)
    found = evaluated(tiny(name), adapter(lora))
    assert np.isfinite(found).all() and np.abs(found - evaluated(tiny(name))).max() > 0.5


def test_scale_zero_is_no_adapter(tiny, tmp_path):
    """The logits are bit-identical."""
    lora = write_adapter(tmp_path / "a.gguf", tiny("llama"))
    assert (evaluated(tiny("llama"), adapter(lora, 0.0)) == evaluated(tiny("llama"))).all()


def test_two_adapters_add_up(exact, tmp_path):
    """Both changes are in the weights, each with its own scale; the same file twice counts twice."""
    path = exact("llama")
    first, second = (write_adapter(tmp_path / f"{seed}.gguf", path, seed=seed) for seed in (1, 2))
    both = merged(merged(path, tmp_path / "one.gguf", 1, 0.5), tmp_path / "both.gguf", 2, -0.25)
    found = evaluated(path, adapter(first, 0.5), adapter(second, -0.25))
    assert np.abs(found - evaluated(both)).max() < 0.01
    twice = evaluated(path, adapter(first, 0.25), adapter(first, 0.25))
    assert np.abs(twice - evaluated(path, adapter(first, 0.5))).max() < 0.01


@pytest.mark.parametrize("ftype", [FTYPE_Q4_0, 7, 1, 32], ids=["Q4_0", "Q8_0", "F16", "BF16"])
def test_repacked_weights_take_an_adapter(exact, tmp_path, ftype):
    """Weights that llama.cpp stores again for this processor give what the same values give in F32."""
    source = exact("llama")
    stored = quantized(source, tmp_path / "stored.gguf", ftype)
    same = quantized(stored, tmp_path / "same.gguf", FTYPE_F32)
    lora = adapter(write_adapter(tmp_path / "a.gguf", source))
    assert ftype != FTYPE_Q4_0 or "Q4_0" in list_repacked_types() or "REPACK" not in bindings.system_info()
    change = evaluated(stored, lora) - evaluated(stored)
    expected = evaluated(same, lora) - evaluated(same)
    assert np.abs(expected).max() > 5
    error = np.sqrt(np.mean((change - expected) ** 2) / np.mean(expected**2))
    assert error < 0.1  # activations are rounded to 8 bits


def test_a_context_created_later_has_the_adapter(tiny, tmp_path):
    """Answers are the same whether the context grows meanwhile or not."""
    lora = adapter(write_adapter(tmp_path / "a.gguf", tiny("chatml"), seed=3))
    plain = {"threads": 1, "kv_type": "f16", "flash_attention": True, "kv_unified": True}
    with engine_of(tiny("chatml"), adapters=(lora,), **plain) as engine:
        before = answer(engine, req("a"))["a"].text
        answer(engine, req("long", "yes and no " * 200))
        again = answer(engine, req("a"))["a"].text
    with engine_of(tiny("chatml"), **plain) as engine:
        without = answer(engine, req("a"))["a"].text
    assert before == again != without


def test_embeddings_have_the_adapter(tiny, tmp_path):
    """The context of hidden states is one of the model's too."""
    lora = adapter(write_adapter(tmp_path / "a.gguf", tiny("llama")))
    vectors = []
    for adapters in ((), (lora,)):
        with loaded(tiny("llama"), *adapters) as model:
            embedder = Embedder(model, "", 1, InlineExecutor())
            vectors.append(np.array(embedder.embed(PROMPT, lambda: False)))
            embedder.close()
    assert vectors[0] @ vectors[1] < 0.99


def test_memory_includes_the_adapters(tiny):
    """They count like weights."""
    header, size = read_header(tiny("llama")), 1 << 30
    larger = dataclasses.replace(header, size=header.size + size)
    assert MemoryBudget(header, adapter_bytes=size)._limit_bytes == MemoryBudget(larger)._limit_bytes


def test_deterministic_answers_exist_with_one_adapter_or_are_refused(tiny, tmp_path):
    """Never a silent difference: the self-test includes the adapter, and several are refused."""
    first, second = (adapter(write_adapter(tmp_path / f"{n}.gguf", tiny("chatml"), seed=n)) for n in (1, 2))
    several = engine_of(tiny("chatml"), adapters=(first, second), deterministic=True)
    with several as engine, pytest.raises(Unsupported, match="deterministic"):
        engine.info()
    off = dataclasses.replace(second, scale=0.0)
    with engine_of(tiny("chatml"), adapters=(first, off), deterministic=True) as engine:
        try:
            engine.info()
        except Unsupported:
            return
        alone = answer(engine, req("a", max_tokens=40))["a"].text
        beside = answer(engine, req("a", max_tokens=40), *[req(f"{n}", f"no {n}", max_tokens=40) for n in range(5)])
        assert beside["a"].text == alone


def test_a_file_that_changed_after_the_checks_is_an_error(tiny, tmp_path):
    """llama.cpp's own message, and the model is freed."""
    path = write_adapter(tmp_path / "a.gguf", tiny("llama"))
    given = adapter(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(BadAdapter) as raised, loaded(tiny("llama"), given):
        pass
    assert raised.value.subject == str(path) and raised.value.detail
    with pytest.raises(BadAdapter), loaded(tiny("gemma3"), adapter(write_adapter(path, tiny("llama")))):
        pass


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("targets", [TARGETS, ("attn_q",), ("output",)], ids=["all", "attention", "output"])
def test_an_adapter_that_is_no_number_is_an_error_of_each_request(tiny, tmp_path, value, targets):
    """Its shapes are right. Whatever samples the tokens, no answer of llama.cpp's first token is delivered."""
    pairs = random_pairs(read_header(tiny("chatml")), targets, RANK, 1)
    broken = {name: np.full_like(pair, value) for name, pair in pairs.items() if name.endswith("_b")}
    lora = adapter(write_adapter(tmp_path / "a.gguf", tiny("chatml"), targets=targets, tensors=broken))
    requests = [
        req("greedy"),
        req("sampled", sampling=Sampling(temperature=1.0, seed=1)),
        req("wild", sampling=wild(1)),
        req("penalties", sampling=Sampling(temperature=0, repeat_penalty=1.2)),
        req("schema", schema={"type": "boolean"}),
        req("labels", candidates=("yes", "no")),
    ]
    with engine_of(tiny("chatml"), adapters=(lora,)) as engine:
        for name, outcome in answer(engine, *requests).items():
            assert isinstance(outcome.error, LogitOverflow) and not outcome.text, (name, outcome)
