"""Cache settings for the waiting job: what is allowed, when they change, and how that is explained."""

from __future__ import annotations

import dataclasses
import os
import types

import pytest
from engine.profiles import attention_profile, weights_table
from engine.tools import Bench, Engine, Probe, answer, close, engine_of, equal, numbers, only_scheduler_thread, req

from llmcli import engine_library
from llmcli.app_paths import tuning_file
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import CacheSettings
from llmcli.engine.tuning import background_tuning
from llmcli.engine.tuning.cost_profile import (
    ATTENTION_KERNELS,
    AttentionCosts,
    assumed_profile,
    load_profile,
    save_profile,
)
from llmcli.engine.tuning.planner import EXPECTED_ANSWER_TOKENS, Planner, job_shape, plan_scoring
from llmcli.errors import BadModelFile, OutOfMemory, UsageError
from llmcli.models.gguf.header import Header
from llmcli.types import Finished

ALL = {CacheSettings(unified, *kernel) for unified in (True, False) for kernel in ATTENTION_KERNELS}
SHA256 = "5" * 64
RECURRENT = ("mamba", "lfm2", "falcon-h1", "qwen35")


@pytest.fixture
def planner(models):
    """Return a function from a tiny model's name and options to its planner, for one thread."""
    return lambda name="chatml", **options: Planner(models(name), EngineOptions(**options), 1)


def stand_in(size=64, **fields):
    """Return the properties that a planner uses of a model whose heads have ``size`` elements."""
    metadata = {"head_count": 4, "key_length": size, "value_length": size}
    metadata = {f"x.attention.{name}": value for name, value in metadata.items()} | {"x.block_count": 2}
    header = Header(3, {"general.architecture": "x", **metadata}, (), 0, 0)
    return types.SimpleNamespace(
        **{"recurrent": False, "sliding_window": 0, "gpu_layers": 0, "header": header, **fields}
    )


def best(*, batch=1.0, prompt=1.0, kernel=(True, "f16")):
    """Return a profile in which a unit of work takes a second, less in one kernel's separate buffers and prompts."""
    same = AttentionCosts((1, 1), (1, 1), (1, 1, 1), (1, 1))
    cheap = AttentionCosts((prompt, prompt), (1, 1), (1, 1, 1), (batch, batch))
    return attention_profile({key: cheap if key == kernel else same for key in ATTENTION_KERNELS})


DIFFERENT = [Probe(f"d{i}", numbers(40 + i, i), numbers(20, 1)) for i in range(16)]
ONE = [Probe("one", numbers(400, 1), numbers(5, 1))]

# ---- what is allowed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, ALL),
        ({"kv_unified": True}, {s for s in ALL if s.unified}),
        ({"kv_unified": False}, {s for s in ALL if not s.unified}),
        ({"flash_attention": False}, {s for s in ALL if not s.flash_attention}),
        ({"flash_attention": True}, {s for s in ALL if s.flash_attention}),
        ({"kv_type": "q8_0"}, {s for s in ALL if s.kv_type == "q8_0"}),
        ({"kv_type": "f16", "flash_attention": False}, {s for s in ALL if not s.flash_attention}),
        ({"kv_type": "bf16", "kv_unified": False}, {CacheSettings(unified=False, kv_type="bf16")}),
    ],
)
def test_options_narrow_the_choice(planner, options, allowed):
    """The user's options apply, everything else is open."""
    assert set(planner(**options).allowed_settings) == allowed


@pytest.mark.parametrize(
    "options",
    [
        {"deterministic": True, "kv_type": "f16"},
        {"deterministic": True, "flash_attention": False},
        {"deterministic": True, "kv_unified": True},
        {"flash_attention": False, "kv_type": "q8_0"},
        {"flash_attention": False, "kv_type": "bf16"},
    ],
)
@pytest.mark.parametrize("name", ["chatml", "mamba"])
def test_options_that_exclude_each_other_are_usage(planner, name, options):
    """Contradictory options are refused, whatever the model."""
    with pytest.raises(UsageError):
        planner(name, **options)


@pytest.mark.parametrize("options", [{}, {"kv_type": "q8_0"}, {"kv_unified": False}, {"flash_attention": False}])
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_models_have_no_choice(planner, name, options):
    """Exactly one setting, which follows the options; there is nothing to measure."""
    plan = planner(name, **options)
    (only,) = plan.allowed_settings
    for option, value in options.items():
        assert getattr(only, {"kv_unified": "unified"}.get(option, option)) == value
    assert not plan.measurable and plan.choose(DIFFERENT, 16, None) == only


def test_heads_without_whole_blocks_have_no_cache_in_q8_0():
    """Deterministic mode takes bf16, and a requested q8_0 is refused in our words."""
    (settings,) = Planner(stand_in(80), EngineOptions(deterministic=True), 1).allowed_settings
    assert settings == CacheSettings(unified=False, kv_type="bf16")
    for options in (EngineOptions(kv_type="q8_0"), EngineOptions(kv_type="q8_0", deterministic=True)):
        with pytest.raises(UsageError, match="a multiple of 32 elements, and this model's have 80"):
            Planner(stand_in(80), options, 1)


@pytest.mark.parametrize("kv_type", ["q8_0", "bf16"])
@pytest.mark.parametrize("name", ["chatml", "gemma3", "mamba", "lfm2"])
def test_the_deterministic_mode_has_no_choice(planner, name, kv_type):
    """Exactly the bit-identical settings of the requested type; q8_0 without one."""
    plan = planner(name, deterministic=True, kv_type=kv_type)
    assert plan.allowed_settings == (CacheSettings(unified=False, kv_type=kv_type),) and not plan.measurable
    assert planner(name, deterministic=True).allowed_settings == (CacheSettings(unified=False, kv_type="q8_0"),)


@pytest.mark.parametrize(
    ("weights", "states", "options", "kv_type"),
    [
        ("bf16", True, {}, "bf16"),
        ("bf16", False, {}, "f16"),
        ("original", True, {}, "f16"),
        ("bf16", True, {"kv_type": "f16"}, "f16"),
    ],
)
def test_states_have_a_cache_in_the_type_of_the_weights(models, weights, states, options, kv_type):
    """In BF16, as far as the user does not choose; scores keep F16."""
    planner = plan_scoring(models("chatml"), EngineOptions(weights=weights, **options), 1, states=states)
    assert planner.allowed_settings[0] == CacheSettings(unified=False, flash_attention=False, kv_type=kv_type)


def test_a_gpu_is_not_planned():
    """Measurements of a processor do not apply to layers on a GPU."""
    assert len(Planner(stand_in(gpu_layers=3), EngineOptions(), 1).allowed_settings) == 1


def test_heads_without_whole_blocks_exclude_q8_0():
    """llama.cpp refuses such a cache, so it is never chosen."""
    chosen = Planner(stand_in(48), EngineOptions(), 1).allowed_settings
    assert set(chosen) == {s for s in ALL if s.kv_type != "q8_0"}
    assert set(Planner(stand_in(64), EngineOptions(), 1).allowed_settings) == ALL


# ---- what was measured -----------------------------------------------------------------------------------------------


def measured(**changes):
    """Return a complete profile."""
    return dataclasses.replace(best(), complete=True, **changes)


def test_a_profile_in_the_cache_is_used(models, tmp_path):
    """A measurement of this model with the same number of threads replaces the assumed profile, at once."""

    def planner(model_id=SHA256, cache=tmp_path, threads=1):
        return Planner(models("chatml"), EngineOptions(cache=cache, threads=threads), threads, model_id)

    before = planner()
    assert before.profile == assumed_profile(models("chatml").header) and not before.profile.measured
    save_profile(measured(copy=7.0), tuning_file(tmp_path, SHA256, 1), 1)
    assert planner().profile.copy == 7.0 and planner().profile.measured
    before.choose(ONE, 16, None)
    assert before.profile.measured
    for other in (planner(cache=None), planner("0" * 64), planner("no hash"), planner(threads=2)):
        assert not other.profile.measured


def test_a_profile_of_another_machine_is_not_used(models, tmp_path, monkeypatch):
    """The processor, llama.cpp's version and features, and the number of threads are those of the measurement."""
    path = tuning_file(tmp_path, SHA256, None)
    save_profile(measured(), path, 1)
    assert load_profile(path, 1) == measured() and load_profile(path, 2) is None
    for name, module in (("version", bindings), ("system_info", bindings), ("processor_name", engine_library)):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda: "another")
            assert load_profile(path, 1) is None


def test_the_weights_in_use_count(models):
    """With weights whose batches take no longer than a lone sequence, running fewer sequences costs more."""
    table = weights_table(original=(0.1, 1.0, 1.0, 1.0), bf16=(0.1, 1.0, 0.01, 0.01))
    profile = dataclasses.replace(best(), weights=table)
    shape = job_shape(DIFFERENT, 16)
    seconds = {name: profile.estimate_seconds(shape, CacheSettings(), 0, name) for name in table.types}
    assert seconds["bf16"] < seconds["original"] == profile.estimate_seconds(shape, CacheSettings(), 0, "unknown")


# ---- what is chosen --------------------------------------------------------------------------------------------------


def test_the_cheapest_is_chosen_without_a_context(planner):
    """There is nothing to lose."""
    plan = planner()
    plan.profile = best(batch=0.1)
    assert plan.choose(DIFFERENT, 16, None) == CacheSettings(unified=False)
    plan.profile = best(prompt=0.1, kernel=(False, "f16"))
    assert plan.choose(ONE, 16, None) == CacheSettings(flash_attention=False)


def test_prompts_without_answers_share_a_buffer(planner):
    """Short prompts of uneven lengths are evaluated together only there, whatever attention costs."""
    records = [Probe(f"r{i}", numbers(40, 1) + numbers(10 + i, i), []) for i in range(16)]
    plan = planner()
    plan.profile = best(batch=0.0, prompt=0.0)
    assert plan.choose(records, 16, None).unified
    assert plan.choose_layout(records, 16, CacheSettings(unified=True)).unified
    assert not planner(kv_unified=False).choose(records, 16, None).unified


@pytest.mark.parametrize(("scale", "stays"), [(1e-12, True), (1.0, False)])
def test_the_present_settings_stay_unless_another_saves_much(planner, scale, stays):
    """Another context takes a moment and loses everything cached, so it has to save more than that."""
    plan = planner()
    cheap = best(batch=0.1)

    def scaled(costs):
        return AttentionCosts(*(tuple(scale * each for each in pair) for pair in dataclasses.astuple(costs)))

    plan.profile = attention_profile({key: scaled(each) for key, each in cheap.kernels.items()})
    assert plan.choose(DIFFERENT, 16, CacheSettings()) == CacheSettings(unified=stays)
    assert plan.choose(DIFFERENT, 16, None) == CacheSettings(unified=False)


@pytest.mark.parametrize(("batch", "stays"), [(1.1, True), (1.5, False)])
def test_an_assumption_has_to_save_more_than_it_may_be_off(planner, batch, stays):
    """A measured saving of a few per cent changes the settings, an assumed one does not."""
    plan, separate = planner(), CacheSettings(unified=False)
    plan.profile = best(batch=batch)
    assert plan.choose(DIFFERENT, 16, separate) != separate
    plan.profile = dataclasses.replace(plan.profile, measured=False)
    assert (plan.choose(DIFFERENT, 16, separate) == separate) is stays


def test_the_present_settings_stay_when_they_are_the_best(planner):
    """Nothing changes between jobs of one kind."""
    plan = planner()
    for jobs in (DIFFERENT, ONE):
        first = plan.choose(jobs, 16, None)
        assert plan.choose(jobs, 16, first) == first


def test_disallowed_settings_are_replaced(planner):
    """A present setting that the options exclude is replaced even if that saves nothing."""
    assert planner(kv_unified=True).choose(ONE, 16, CacheSettings(unified=False)).unified


def test_the_shape_of_a_job():
    """Lengths of prompts and answers, the common prefix, the number of forks; unlimited answers are estimated."""
    shared = numbers(50, 1)
    probes = [Probe(f"p{i}", shared + numbers(10 + i, 20 + i), numbers(i, 1)) for i in range(3)]
    shape = job_shape(probes, 8)
    assert (shape.prompts, shape.shared, shape.outputs, shape.width, shape.copies) == (
        (60, 61, 62), 50, (0, 1, 2), 8, 0,
    )  # fmt: skip
    probes[1].num_forks = 4
    assert job_shape(probes, 8).copies == 4
    assert job_shape(probes[:1], 8).shared == 0
    assert job_shape([Probe("long", [1], numbers(5000, 1))], 8).outputs == (EXPECTED_ANSWER_TOKENS,)


def test_a_long_queue_is_judged_by_its_beginning():
    """Not all of thousands of waiting requests are compared for each choice."""
    assert len(job_shape([Probe(f"p{i}", [5, 6], []) for i in range(1000)], 16).prompts) == 256


@pytest.mark.parametrize("unified", [True, False])
def test_less_memory_is_q8_0_in_the_same_layout(planner, unified):
    """Half the bytes with as little change as possible; there is nothing smaller."""
    plan = planner()
    half = CacheSettings(unified=unified, kv_type="q8_0")
    for kernel in ATTENTION_KERNELS:
        if kernel[1] != "q8_0":
            assert plan.smaller_settings(CacheSettings(unified, *kernel)) == half
    assert plan.smaller_settings(half) is None


@pytest.mark.parametrize("options", [{"kv_type": "f16"}, {"kv_type": "bf16"}, {"flash_attention": False}])
def test_the_users_settings_are_not_made_smaller(planner, options):
    """Options apply even without enough memory."""
    plan = planner(**options)
    assert all(plan.smaller_settings(settings) is None for settings in plan.allowed_settings)


# ---- why -------------------------------------------------------------------------------------------------------------


def test_the_explanation_of_a_choice(planner):
    """One sentence: the settings, and whether they are fixed, measured, or only assumed and how to measure."""
    plan, settings = planner(), CacheSettings(unified=False)
    told = "KV cache: flash attention, f16 cache, a buffer for each sequence"
    assert plan.explain(settings) == f"{told} (assumed; to measure this machine, run llm models tune)"
    plan.profile = best()
    assert plan.explain(settings) == f"{told} (the fastest for this job, measured on this machine)"
    for fixed in (planner("mamba"), planner(deterministic=True), planner(kv_type="q8_0", kv_unified=True)):
        assert fixed.explain(fixed.allowed_settings[0]).endswith(
            "(the only settings that the model and the options allow)"
        )


# ---- through the KV cache --------------------------------------------------------------------------------------------


@pytest.fixture
def planned(models):
    """Return a function that makes a scheduler whose settings a planner chooses by a profile."""
    made = []

    def make(name, profile, **options):
        bench = Bench(models(name))
        plan = Planner(models(name), EngineOptions(**options), 1)
        plan.profile = profile
        bench.kv_cache._planner = plan
        made.append(bench)
        return bench

    yield make
    for each in made:
        each.close()


def probes(count, length, salt=0, answer=4):
    return [Probe(f"p{i}", numbers(length + i, salt + i), numbers(answer, i)) for i in range(count)]


@pytest.mark.parametrize("name", ["chatml", "gemma3", "qwen3moe-all"])
def test_each_job_gets_its_settings(planned, bench, name):
    """Many at once, one alone and many again are evaluated in the best settings for each, all correctly."""
    batch, prompt = best(batch=0.1), best(prompt=0.1, kernel=(False, "f16"))
    both = attention_profile({**batch.kernels, (False, "f16"): prompt.kernels[False, "f16"]})
    apart, alone = CacheSettings(unified=False), CacheSettings(flash_attention=False)
    scheduler = planned(name, both)
    jobs = ((probes(16, 10, answer=30), apart), (probes(1, 300), alone), (probes(16, 12, 7, answer=30), apart))
    for job, settings in jobs:
        scheduler.run(*job)
        assert scheduler.kv_cache.settings == settings
        assert scheduler.kv_cache.context.config.settings == scheduler.kv_cache.settings
        for probe in (job[0], job[-1]):
            fresh = Probe("fresh", probe.tokens[: probe.prompt_length], probe.tokens[probe.prompt_length :])
            bench(name).run(fresh)
            close(probe.rows, fresh.rows)


def test_the_kernel_does_not_change_while_something_runs(planned):
    """A sequence that joins a running job uses its kernel; the next job has its own."""
    scheduler = planned("chatml", best())
    first = Probe("first", numbers(50, 1), numbers(30, 1))
    scheduler.add(first)
    scheduler.step()
    scheduler.kv_cache._planner.profile = best(prompt=0.1, batch=0.1, kernel=(False, "f16"))
    scheduler.add(*probes(15, 30))
    while not first.ended:
        assert scheduler.kv_cache.settings.flash_attention
        scheduler.step()
    scheduler.run()
    scheduler.run(*probes(16, 60, 9))
    assert not scheduler.kv_cache.settings.flash_attention


@pytest.mark.parametrize(("prompt", "reused"), [(0.5, True), (0.05, False)])
def test_a_prefix_keeps_the_settings_where_it_saves_more_than_others(planned, prompt, reused):
    """Other settings must evaluate it again: they are taken if all of that takes less time than the rest does now."""
    scheduler = planned("chatml", best(batch=0.1))
    jobs = probes(16, 80)
    scheduler.run(*jobs)
    (kept, *_) = scheduler.kv_cache.id_pool.cached.values()
    scheduler.kv_cache._planner.profile = best(prompt=prompt, kernel=(False, "f16"))
    again = Probe("again", kept.tokens + numbers(5, 3), numbers(3, 3))
    scheduler.run(again)
    assert (again.num_cached_tokens >= 80) is reused
    assert scheduler.kv_cache.settings == CacheSettings(unified=not reused, flash_attention=reused)
    scheduler.run(Probe("other", numbers(300, 50), numbers(3, 3)))
    assert scheduler.kv_cache.settings == CacheSettings(flash_attention=False)


def test_a_planner_changes_no_exact_answer(planned, bench):
    """In deterministic mode the results with and without a planner are bit-identical."""
    scheduler = planned("chatml", best(), deterministic=True)
    scheduler.kv_cache.deterministic = True
    jobs, alone = probes(5, 40), probes(5, 40)
    scheduler.run(*jobs)
    for probe in alone:
        bench("chatml", unified=False, kv_type="q8_0").run(probe)
    for a, b in zip(jobs, alone, strict=True):
        equal(a.rows, b.rows)


def test_too_little_memory_for_the_requested_type_is_out_of_memory(planned, models, monkeypatch):
    """If the user fixed f16, nothing else is tried."""
    room = int(600 * models("chatml").header.kv_bytes_per_token("f16", "f16"))
    monkeypatch.setattr("llmcli.engine.llama.hardware.available_memory", lambda: room)
    scheduler = planned("chatml", best(), kv_type="f16")
    large, small = Probe("large", numbers(900, 1), []), Probe("small", numbers(90, 1), [])
    scheduler.run(large, small)
    (ended,) = [event for event in large.sink.events if isinstance(event, Finished)]
    assert isinstance(ended.error, OutOfMemory) and small.rows
    assert scheduler.kv_cache.settings.kv_type == "f16"


# ---- through the engine ----------------------------------------------------------------------------------------------


def test_stats_are_unknown_before_the_first_job(tiny):
    """Before the first job, threads and width are None; choices are reported all the same."""
    with engine_of(tiny("chatml"), threads=1) as engine:
        engine.info()
        work = engine.stats()
    assert (work.decode_threads, work.prompt_threads, work.width) == (None, None, None)
    assert work.choices[0] == "threads: 1 (as set)" and work.choices[1].startswith("KV cache: ")


@pytest.mark.parametrize("name", ["chatml", "mamba"])
def test_stats_are_known_after_a_job(tiny, name):
    """Threads for prompts and single tokens, the concurrency, the peak of memory, and three sentences."""
    with engine_of(tiny(name), threads=1) as engine:
        answer(engine, *[req(f"r{i}", f"{i} hello", max_tokens=150, ignore_eos=True) for i in range(5)])
        work = engine.stats()
    assert (work.decode_threads, work.prompt_threads, work.width) == (1, 1, 5)
    assert work.peak_memory > 1 << 20 and len(work.choices) == 3


def test_stats_report_the_settings_in_use(tiny, tmp_path):
    """The settings of the last job, and that they were measured."""
    save_profile(best(batch=1e-9), tuning_file(tmp_path, SHA256, 1), 1)
    with engine_of(tiny("chatml"), model_id=SHA256, threads=1, cache=tmp_path) as engine:
        answer(engine, *[req(f"r{i}", f"{i} hello", max_tokens=30, ignore_eos=True) for i in range(8)])
        assert only_scheduler_thread(engine).scheduler.kv_cache.settings == CacheSettings(unified=False)
        choice = engine.stats().choices[1]
    assert (
        choice == engine._setup.planner.explain(CacheSettings(unified=False)) and "measured on this machine" in choice
    )


@pytest.fixture
def started(monkeypatch):
    """Return a list of the measurements that would have been started; any work is enough for one."""
    found = []
    monkeypatch.setattr(background_tuning, "start_process", found.append)
    monkeypatch.setattr(background_tuning, "_MIN_TOKENS", 1)
    monkeypatch.setattr(background_tuning, "pays", lambda _plan, tokens: tokens > 0)
    return found


def run_engine(path, **options):
    """Have an engine answer a request and end."""
    with engine_of(path, threads=1, **{"model_id": SHA256, "tune": True, **options}) as engine:
        answer(engine, req("a", max_tokens=2))


def test_a_job_is_followed_by_a_measurement(tiny, tmp_path, started):
    """Once, at the end, of that model with those threads and the limit for copies."""
    options = {"threads": 1, "tune": True, "cache": tmp_path, "derived_bytes": 5}
    with engine_of(tiny("chatml"), model_id=SHA256, **options) as engine:
        for number in range(3):
            answer(engine, req(f"r{number}", max_tokens=2))
        assert not started
    (task,) = started
    assert (task.path, task.sha256, task.cache) == (str(tiny("chatml")), SHA256, str(tmp_path))
    assert (task.threads, task.limit_bytes, task.parent) == (1, 5, os.getpid())


def test_a_model_that_was_measured_is_not_measured_again(tiny, tmp_path, started):
    """A complete profile is enough, and without copies one of the settings alone; one for other threads is not."""
    save_profile(measured(), tuning_file(tmp_path, SHA256, 2), 2)
    run_engine(tiny("chatml"), cache=tmp_path)
    assert len(started) == 1
    save_profile(best(), tuning_file(tmp_path, SHA256, 1), 1)
    run_engine(tiny("chatml"), cache=tmp_path)
    assert len(started) == 1
    run_engine(tiny("chatml"), cache=tmp_path, derived_bytes=1 << 30)
    assert len(started) == 2
    save_profile(measured(), tuning_file(tmp_path, SHA256, 1), 1)
    run_engine(tiny("chatml"), cache=tmp_path, derived_bytes=1 << 30)
    assert len(started) == 2


@pytest.mark.parametrize(
    "options",
    [{"tune": False}, {"cache": None}, {"deterministic": True}, {"model_id": "no hash"}],
    ids=lambda options: next(iter(options)),
)
def test_nothing_is_measured_without_a_use(tiny, tmp_path, started, options):
    """The user disabled it, there is no place for a profile, there is no choice, or the file is not identified."""
    run_engine(tiny("chatml"), **{"cache": tmp_path, **options})
    assert not started


def test_without_a_job_nothing_is_measured(tiny, tmp_path, started):
    """A command that only counted tokens, or whose model could not be loaded, starts nothing."""
    with engine_of(tiny("chatml"), model_id=SHA256, threads=1, tune=True, cache=tmp_path) as engine:
        engine.count([req("a")])
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny("chatml").read_bytes().replace(b"blk.1.attn_q.weight", b"blk.1.attn_x.weight"))
    engine = Engine(broken, "broken", SHA256, EngineOptions(tune=True, cache=tmp_path), lambda: None)
    with pytest.raises(BadModelFile):
        engine.info()
    engine.close()
    assert not started
