"""The divergence of weights from exact evaluation."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import tiny_models
from engine.profiles import shorten_measurements

from llmcli.engine import quantize_child
from llmcli.engine.llama.model import Model
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.engine.tuning import divergence
from llmcli.engine.tuning.divergence import DivergenceMeter, NotFinite, sample_chunks
from llmcli.errors import Interrupted
from llmcli.interrupt import Interrupt


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten_measurements(monkeypatch)


def test_the_text_is_split_into_chunks_that_begin_as_the_model_expects(models, monkeypatch):
    """Two chunks of the set length, each after the BOS of a model that uses one."""
    for name in ("llama", "chatml"):
        chunks = sample_chunks(models(name))
        start = Tokenizer(models(name)).encode_prompt("")
        assert [len(chunk) for chunk in chunks] == [64, 64] and all(chunk[: len(start)] == start for chunk in chunks)
    monkeypatch.undo()
    assert 1000 <= sum(map(len, sample_chunks(models("chatml")))) <= 1024


def test_a_model_does_not_diverge_from_itself(models):
    """Equal distributions have no divergence, whatever the batches."""
    assert DivergenceMeter(models("chatml"), 1, Interrupt()).measure(models("chatml")) == 0.0


def test_the_divergence_is_that_of_the_formula(models, monkeypatch):
    """The mean over tokens of sum P (log P - log Q)."""
    rows = {
        "exact": [np.log(np.array([[0.5, 0.5], [0.25, 0.75]], np.float32))],
        "other": [np.log(np.array([[0.25, 0.75], [0.25, 0.75]], np.float32))],
    }
    found = iter(rows.values())
    monkeypatch.setattr(DivergenceMeter, "_log_probabilities", lambda *_: iter(next(found)))
    meter = DivergenceMeter(models("chatml"), 1, Interrupt())
    expected = (0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75)) / 2
    assert meter.measure(models("chatml")) == pytest.approx(expected, rel=1e-5)


def test_fewer_bits_diverge_more(tmp_path, monkeypatch):
    """BF16 and Q8_0 copies of a model are near it, Q8_0 less so."""
    paths = {name: tmp_path / f"{name}.gguf" for name in ("f16", "bf16", "q8_0")}
    monkeypatch.setattr(tiny_models, "Q8", False)
    ((_, source),) = tiny_models.make(str(tmp_path), ["chatml"])
    for name, path in paths.items():
        assert quantize_child.quantize(source, str(path), name, 1) == ""
    loaded = {name: Model(path, gpu_layers=0, keep_going=lambda: True) for name, path in paths.items()}
    try:
        meter = DivergenceMeter(loaded["f16"], 1, Interrupt())
        assert 0 <= meter.measure(loaded["f16"]) < meter.measure(loaded["bf16"]) < meter.measure(loaded["q8_0"]) < 0.1
    finally:
        for model in loaded.values():
            model.close()


def test_large_vocabularies_are_sampled(models, monkeypatch):
    """The log-probabilities in memory are limited: then only every n-th token counts, in larger batches."""
    model = models("chatml")
    monkeypatch.setattr(divergence, "_MAX_REFERENCE_BYTES", 4 * model.vocab_size * 64)
    meter = DivergenceMeter(model, 1, Interrupt())
    assert sum(map(len, meter._exact)) == 64 and meter.measure(model) == 0.0


def test_an_overflow_is_noticed(models, monkeypatch):
    """Logits that are not finite are no distribution."""
    monkeypatch.setattr(np, "isfinite", lambda values: values < -1e30)
    with pytest.raises(NotFinite):
        DivergenceMeter(models("chatml"), 1, Interrupt())


def test_an_interrupt_ends_it(models):
    """At once, also within an evaluation."""
    interrupt = Interrupt()
    interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        DivergenceMeter(models("chatml"), 1, interrupt)
