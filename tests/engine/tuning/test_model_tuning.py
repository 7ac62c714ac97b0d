"""Measuring a model: what is planned, what remains, and what an interrupt leaves."""

from __future__ import annotations

import hashlib
import signal

import pytest
import tiny_models
from engine.profiles import shorten_measurements

from llmcli.engine.derivation import DerivationSource
from llmcli.engine.llama import hardware
from llmcli.engine.tuning import microbenchmark, tuning_plan
from llmcli.engine.tuning.cost_profile import ATTENTION_KERNELS
from llmcli.engine.tuning.divergence import DivergenceMeter, NotFinite
from llmcli.engine.tuning.model_tuning import ModelTuner
from llmcli.engine.tuning.tuning_plan import candidate_types, make_plan
from llmcli.errors import Interrupted
from llmcli.interrupt import Interrupt
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.weights_times import StepTimes

EPYC = "CPU : SSE3 = 1 | F16C = 1 | AVX512 = 1 | AVX512_VNNI = 1 | AVX512_BF16 = 1 | REPACK = 1 | "
HASWELL = "CPU : SSE3 = 1 | F16C = 1 | AVX2 = 1 | REPACK = 1 | "


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten_measurements(monkeypatch)
    monkeypatch.setattr(tuning_plan.bindings, "system_info", lambda: EPYC)


@pytest.fixture
def store(tmp_path):
    return DerivedWeightsStore(tmp_path / "derived", 1 << 30)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Return a tiny model with weights in F32."""
    monkeypatch.setattr(tiny_models, "Q8", False)
    ((_, path),) = tiny_models.make(str(tmp_path), ["chatml"])
    path = tmp_path / "chatml.gguf"
    return DerivationSource(path, "tiny", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def times(monkeypatch):
    """Let each type take the seconds a token that are set here; the types are told by the sizes of their files."""
    table = {"original": StepTimes(1.0, 1.0, 1.0, 1.0)}

    def time_steps(model, _threads, _interrupt):
        name = model.path.name.split("-")[1] if "-" in model.path.name else "original"
        return table.get(name, table["original"])

    monkeypatch.setattr(microbenchmark, "time_steps", time_steps)
    return table


def tune(source, store, **options):
    plan = make_plan(source.path, store)
    return ModelTuner(source, plan, store, 1, options.pop("interrupt", Interrupt()), **options).run()


def kept(store):
    return {copy.key.weights for copy in store.list_copies()}


@pytest.mark.parametrize(
    ("features", "types"), [(EPYC, ("bf16", "q8_0")), (HASWELL, ("f16", "q8_0")), ("", ("f16", "q8_0"))]
)
def test_candidates_are_what_the_processor_computes_fast(features, types):
    """BF16 only with instructions for it."""
    assert candidate_types(features) == types


def test_everything_is_measured(source, store):
    """Speed and divergence of every type, all kernels, and whether copies were possible."""
    profile = tune(source, store)
    assert set(profile.weights.types) == {"original", "bf16", "q8_0"} and set(profile.kernels) == set(ATTENTION_KERNELS)
    assert profile.measured and profile.complete
    found = {name: each.divergence for name, each in profile.weights.types.items()}
    assert 0 <= found["original"] < found["bf16"] < found["q8_0"]
    assert all(each.size > 0 and each.load_s > 0 for each in profile.weights.types.values())


@pytest.mark.parametrize("name", ["mamba", "lfm2", "qwen35", "gemma3", "qwen3moe"])
def test_every_kind_of_model_is_measured(tiny, store, name):
    """Recurrent models have one setting of the cache, and weights to choose from."""
    path = tiny(name)
    profile = tune(DerivationSource(path, name, hashlib.sha256(path.read_bytes()).hexdigest()), store)
    assert "bf16" in profile.weights.types and profile.weights.types["original"].divergence is not None
    assert bool(profile.kernels) is (name in {"gemma3", "qwen3moe"})


def test_only_copies_that_some_work_needs_remain(source, store, times):
    """Slower ones, and the one for exact evaluation, are removed; the divergence of the others is recorded."""
    times["bf16"] = StepTimes(0.5, 1.0, 1.0, 1.0)
    profile = tune(source, store)
    assert kept(store) == {"bf16"}
    assert store.list_copies()[0].divergence == profile.weights.types["bf16"].divergence is not None
    times["bf16"] = times["original"]
    tune(source, store)
    assert not kept(store)


def test_a_type_that_diverges_is_not_kept_however_fast(source, store, times, monkeypatch):
    """Faithful answers come first."""
    times["bf16"] = times["q8_0"] = StepTimes(0.1, 0.1, 0.1, 0.1)
    monkeypatch.setattr(DivergenceMeter, "measure", lambda _self, model: 0.27 if "-q8_0-" in model.path.name else 0.001)
    assert "q8_0" not in tune(source, store).weights.faithful and kept(store) == {"bf16"}


def test_bf16_is_exact_where_f16_overflows(source, store, monkeypatch):
    """Then the reference is evaluated in BF16, and the overflowing copy does not remain."""
    seen = []
    whole = DivergenceMeter.__init__

    def overflow(self, model, *rest):
        seen.append(model.path.name)
        if "-f16-" in model.path.name:
            raise NotFinite
        whole(self, model, *rest)

    monkeypatch.setattr(DivergenceMeter, "__init__", overflow)
    profile = tune(source, store)
    assert [("-f16-" in name, "-bf16-" in name) for name in seen] == [(True, False), (False, True)]
    assert profile.weights.types["bf16"].divergence == 0.0 and "f16" not in kept(store)


def test_without_exact_evaluation_nothing_is_admitted(source, store, times, monkeypatch):
    """If both overflow there is no measure of divergence, so the original answers."""

    def overflow(*_):
        raise NotFinite

    times["bf16"] = StepTimes(0.1, 0.1, 0.1, 0.1)
    monkeypatch.setattr(DivergenceMeter, "__init__", overflow)
    profile = tune(source, store)
    assert profile.weights.faithful == ("original",) and not kept(store)


def test_the_exact_copy_is_removed_before_it_is_evaluated(source, store, monkeypatch):
    """So that it does not remain when the process ends in the middle of the long evaluation."""
    kept_then = []

    def evaluate(_self, model, *_rest):
        kept_then.append((model.path.name, kept(store)))
        raise NotFinite

    monkeypatch.setattr(DivergenceMeter, "__init__", evaluate)
    tune(source, store)
    assert "-f16-" in kept_then[0][0] and "f16" not in kept_then[0][1]


@pytest.mark.parametrize("at", range(0, 14, 2))
def test_an_interrupt_leaves_what_can_be_used_again(source, store, at):
    """After any step: its error at once, and complete copies only."""
    interrupt = Interrupt()

    def stop(done, _total):
        if done == at:
            interrupt.set(signal.SIGINT)

    if at == 0:
        interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        tune(source, store, interrupt=interrupt, on_progress=stop)
    leftovers = {path.suffix for path in store.directory.iterdir()} if store.directory.exists() else set()
    assert leftovers <= {".gguf", ".json"}
    assert tune(source, store).complete


def test_progress_ends_at_its_total(source, store):
    """Steps are counted, never backwards, and a copying process is announced around each copy."""
    steps, copying = [], []
    tune(source, store, on_progress=lambda done, total: steps.append((done, total)), on_copying=copying.append)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] <= steps[-1][1] and steps[-1][1] - steps[-1][0] <= 1
    assert copying == [True, False] * 3


# ---- plans -----------------------------------------------------------------------------------------------------------


def test_without_room_only_the_original_is_measured(source, tmp_path):
    """A limit of 0 makes copies impossible; one that is too small says so."""
    none = make_plan(source.path, DerivedWeightsStore(tmp_path / "d", 0))
    assert (none.types, none.skipped, none.disk) == ((), {}, 0) and len(none.kernels) == 4
    profile = tune(source, DerivedWeightsStore(tmp_path / "d", 0))
    assert set(profile.weights.types) == {"original"} and not profile.complete
    small = make_plan(source.path, DerivedWeightsStore(tmp_path / "d", 1000))
    assert not small.types and set(small.skipped) == {"bf16", "q8_0"}
    assert "derived_weights" in small.skipped["bf16"]


def test_copies_share_the_limit(source, store):
    """A second type that does not fit beside the first is left out."""
    both = make_plan(source.path, store)
    assert both.types == ("bf16", "q8_0")
    store.limit_bytes = both.disk - 1
    assert make_plan(source.path, store).types == ("bf16",)


def test_without_memory_nothing_is_copied(source, store, monkeypatch):
    """A type that does not fit the free memory is not made."""
    monkeypatch.setattr(hardware, "available_memory", lambda: 700 << 20)
    plan = make_plan(source.path, store)
    assert not plan.types and plan.skipped["bf16"] == "too little memory is free"


def test_a_plan_is_shortened_to_its_time(source, store, monkeypatch):
    """First without repetitions, then without the last types; the first one is always measured."""
    monkeypatch.setattr(tuning_plan, "_FIXED_SECONDS", 0.0)
    monkeypatch.setattr(tuning_plan, "_ROUNDS", 2)
    whole = make_plan(source.path, store)
    third = whole.seconds / 3
    plans = [make_plan(source.path, store, seconds) for seconds in (whole.seconds, 1.6 * third, 1.1 * third, 0)]
    assert plans[0] == whole and [plan.rounds for plan in plans] == [2, 1, 1, 1]
    assert [plan.types for plan in plans] == [whole.types] * 2 + [("bf16",)] * 2
    assert [plan.postponed for plan in plans] == [(), (), ("q8_0",), ("q8_0",)]
    assert plans[3].seconds > 0 and plans[2].seconds == pytest.approx(third)


def test_a_large_model_is_measured_once(source, store):
    """Below a billion parameters every type is timed twice."""
    plan = make_plan(source.path, store)
    assert plan.is_small and plan.rounds == tuning_plan._ROUNDS
    large = tuning_plan.TuningPlan(plan.types, plan.kernels, 10**9, 0, 0, {})
    assert not large.is_small and large.rounds == 1 and large.seconds > 60
