"""Large models are timed by slices of their layers."""

from __future__ import annotations

import dataclasses
import hashlib
import signal

import pytest
from engine.profiles import shorten_measurements

from llmcli.engine import derivation
from llmcli.engine.derivation import DerivationSource
from llmcli.engine.tuning import attention_timing, microbenchmark, tuning_plan
from llmcli.engine.tuning.cost_profile import ATTENTION_KERNELS, AttentionCosts
from llmcli.engine.tuning.slice_tuning import SliceTuner
from llmcli.engine.tuning.tuning_plan import can_slice, make_plan, slice_share
from llmcli.errors import Interrupted
from llmcli.interrupt import Interrupt
from llmcli.models.gguf.header_parser import load_checked_header
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.weights_times import StepTimes


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    """Let tiny models be large ones, of which one layer is timed, on a processor with BF16."""
    shorten_measurements(monkeypatch)
    monkeypatch.setattr(tuning_plan, "SMALL_MODEL_PARAMETERS", 0)
    monkeypatch.setattr(tuning_plan, "_MIN_LAYERS", 2)
    monkeypatch.setattr(tuning_plan, "SLICE_LAYERS", (1,))
    monkeypatch.setattr(tuning_plan.bindings, "system_info", lambda: "CPU : AVX512_BF16 = 1 | ")


@pytest.fixture
def store(tmp_path):
    return DerivedWeightsStore(tmp_path / "derived", 1 << 30)


@pytest.fixture
def source(tiny):
    path = tiny("chatml")
    return DerivationSource(path, "tiny", hashlib.sha256(path.read_bytes()).hexdigest())


def tune(source, store, interrupt=None):
    return SliceTuner(source, make_plan(source.path, store), store, 1, interrupt or Interrupt()).run()


def test_the_original_and_the_exact_type_are_timed(source, store):
    """With all kernels of attention; no slice remains, and the exact type is faithful without comparison."""
    plan = make_plan(source.path, store)
    assert plan.is_sliced and plan.types == ("bf16",) and plan.evaluated_share < 1 and plan.rounds == 1
    profile = tune(source, store)
    assert set(profile.weights.types) == {"original", "bf16"} and set(profile.kernels) == set(ATTENTION_KERNELS)
    assert profile.weights.faithful == ("original", "bf16") and profile.complete
    assert profile.weights.types["original"].divergence is None
    assert not list(store.directory.glob("*_layers-*"))


def test_times_are_those_of_the_whole_model(source, store, monkeypatch):
    """Prompts in proportion to the layers, steps of answers to the weights; the least of the rounds counts."""
    seen, header = [], load_checked_header(source.path)

    def time_steps(model, _threads, _interrupt):
        seen.append(model.path.name.split("-")[1])
        slow = 2.0 if len(seen) <= 2 else 1.0
        return StepTimes(slow, slow, slow, slow)

    monkeypatch.setattr(microbenchmark, "time_steps", time_steps)
    plan = dataclasses.replace(make_plan(source.path, store), kernels=())
    times = SliceTuner(source, plan, store, 1, Interrupt()).run().weights.types["bf16"].times
    assert seen == ["original_1_layers", "bf16_1_layers"] * 2
    assert times.prompt == header.block_count
    assert times.single == times.wide == pytest.approx(1 / slice_share(header, 1))
    assert 1 < times.single < header.block_count  # all of the output matrix is in the slice


def test_a_slice_is_as_large_as_the_time_allows(source, store, monkeypatch):
    """The smallest one where none fits; what is timed is that slice."""
    monkeypatch.setattr(tuning_plan, "SLICE_LAYERS", (2, 1))
    monkeypatch.setattr(tuning_plan, "_FIXED_SECONDS", 0.0)
    whole = make_plan(source.path, store)
    plans = [make_plan(source.path, store, seconds) for seconds in (whole.seconds, 0.99 * whole.seconds, 0)]
    assert [plan.slice_layers for plan in plans] == [2, 1, 1] and plans[1].seconds < whole.seconds
    seen = []

    def time_steps(model, _threads, _interrupt):
        seen.append(model.path.name.split("-")[1])
        return StepTimes(1.0, 1.0, 1.0, 1.0)

    monkeypatch.setattr(microbenchmark, "time_steps", time_steps)
    header = load_checked_header(source.path)
    for plan in plans[:2]:
        table = SliceTuner(source, dataclasses.replace(plan, kernels=()), store, 1, Interrupt()).run().weights
        assert table.types["bf16"].times.prompt == header.block_count / plan.slice_layers
    assert set(seen) == {f"{name}_{layers}_layers" for name in ("original", "bf16") for layers in (1, 2)}


@pytest.mark.parametrize("gain", [True, False])
def test_the_copy_is_made_where_some_work_needs_it(source, store, monkeypatch, gain):
    """Otherwise nothing remains."""
    fast = StepTimes(0.001, 0.001, 0.001, 0.001)
    slow = StepTimes(0.01, 0.01, 0.01, 0.01)
    monkeypatch.setattr(
        microbenchmark, "time_steps", lambda model, *_: fast if gain and "bf16" in model.path.name else slow
    )
    costs = {kernel: AttentionCosts((0, 0), (0, 0), (0, 0, 0), (0, 0)) for kernel in ATTENTION_KERNELS}
    monkeypatch.setattr(attention_timing, "time_kernels", lambda *_: (costs, 0.0))
    tune(source, store)
    assert [copy.key.weights for copy in store.list_copies()] == ["bf16"] * gain


def test_a_slice_has_the_first_layers_only(source, tmp_path):
    """In the types of the file, or in another one."""
    for weights in ("original", "bf16"):
        derivation.write_slice(source, tmp_path / "slice.gguf", weights, 1, on_poll=lambda: None)
        header = load_checked_header(tmp_path / "slice.gguf")
        layers = {tensor.name.split(".")[1] for tensor in header.tensors if tensor.name.startswith("blk.")}
        assert header.block_count == 1 and layers == {"0"}
        assert any(tensor.type == "BF16" for tensor in header.tensors) is (weights == "bf16")


def test_an_interrupt_leaves_no_slice(source, store, monkeypatch):
    """It ends the measurement at once."""
    interrupt = Interrupt()
    monkeypatch.setattr(microbenchmark, "time_steps", lambda *_: interrupt.set(signal.SIGINT) or StepTimes(1, 1, 1, 1))
    with pytest.raises(Interrupted):
        tune(source, store, interrupt)
    assert not [path for path in store.directory.iterdir() if path.suffix in {".tmp", ".gguf"}]


@pytest.mark.parametrize(("name", "sliced"), [("chatml", True), ("qwen3moe", True), ("mamba", False), ("lfm2", False)])
def test_only_models_of_equal_layers_are_sliced(tiny, name, sliced):
    """The others are measured whole."""
    assert can_slice(load_checked_header(tiny(name))) is sliced


def test_without_room_for_the_whole_copy_only_the_original_is_timed(source, tmp_path):
    """A type that could not be used is not measured."""
    store = DerivedWeightsStore(tmp_path / "derived", 1000)
    plan = make_plan(source.path, store)
    assert plan.types == () and "derived_weights" in plan.skipped["bf16"]
    assert set(tune(source, store).weights.types) == {"original"}
