"""The choice of settings by estimated costs of attention."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest
from engine.profiles import attention_profile, weights_table
from engine.tools import for_all
from hypothesis import strategies as st

from llmcli.engine.llama.context import CacheSettings
from llmcli.engine.tuning.cost_profile import (
    ATTENTION_KERNELS,
    AttentionCosts,
    CostProfile,
    JobShape,
    assumed_profile,
)
from llmcli.engine.tuning.planner import attention_head_size
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import read_header

ALL = tuple(CacheSettings(unified, *kernel) for unified in (True, False) for kernel in ATTENTION_KERNELS)
JOBS = {
    "long prompt": JobShape((4000,), 0, (16,), 16),
    "long answer": JobShape((300,), 0, (2000,), 16),
    "alike": JobShape((300,) * 16, 280, (128,) * 16, 16),
    "different": JobShape((300,) * 16, 0, (128,) * 16, 16),
}


def costs(prompt=1.0, single=1.0, unified=1.0, separate=1.0):
    """Return costs that grow with the cells, this many times as large as those of the others."""
    return AttentionCosts((prompt, prompt), (single, single), (unified, unified, unified), (separate, separate))


def profile(dear=1.0, **kernels):
    """Return a profile with ``dear`` costs for all kernels except those named by flash attention and type."""
    names = {f"{'flash' if flash else 'plain'}_{kv_type}": (flash, kv_type) for flash, kv_type in ATTENTION_KERNELS}
    assert kernels.keys() <= names.keys()
    return attention_profile({key: kernels.get(name, costs(*[dear] * 4)) for name, key in names.items()})


def of(metadata):
    """Return a header that says nothing else."""
    return Header(3, {"general.architecture": "x", **metadata}, (), 0, 0)


def choose(here, job, allowed=ALL):
    """Return the cheapest of the allowed settings."""
    return min(allowed, key=lambda settings: here.weighted_seconds(job, settings))


ASSUMED = assumed_profile(of({"x.attention.head_count": 9, "x.block_count": 30, "x.embedding_length": 576}))


# ---- what is chosen --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "wins"),
    [
        ("long prompt", CacheSettings(True, True, "f16")),
        ("long answer", CacheSettings(True, True, "q8_0")),
        ("alike", CacheSettings(True, False, "f16")),
        ("different", CacheSettings(False, True, "bf16")),
    ],
)
def test_the_cheapest_settings_are_chosen(job, wins):
    """Each kernel is good at one thing; each kind of job gets the kernel for what it does most."""
    # a token of a batch in one buffer costs by all cells in the buffer, so one buffer is for sequences that begin alike
    batch = AttentionCosts((10, 10), (10, 10), (0.1, 0.1, 0.0), (10, 10))
    here = profile(
        10,
        flash_f16=costs(prompt=0.1, single=10, unified=10, separate=10),
        flash_q8_0=costs(prompt=5, single=0.1, unified=10, separate=10),
        plain_f16=dataclasses.replace(batch, prompt=(5, 1)),
        flash_bf16=costs(prompt=5, single=10, unified=10, separate=0.1),
    )
    assert choose(here, JOBS[job], ALL) == wins


@pytest.mark.parametrize("job", JOBS)
def test_the_cheapest_allowed_settings_are_chosen(job):
    """Disallowed settings are never chosen; the only allowed one always is, whatever it costs."""
    here = profile(1, flash_q8_0=costs(*[0.01] * 4))
    for settings in ALL:
        assert choose(here, JOBS[job], (settings,)) == settings
    dear = tuple(settings for settings in ALL if settings.kv_type != "q8_0")
    assert choose(here, JOBS[job], dear) in dear


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(("saved", "kv_type"), [(0.0, "f16"), (0.04, "f16"), (0.2, "q8_0")])
def test_a_less_precise_cache_has_to_be_worth_it(job, saved, kv_type):
    """A q8_0 cache that is about as fast as f16 is not chosen; one that is clearly faster is."""
    allowed = (CacheSettings(kv_type="q8_0"), CacheSettings())
    here = profile(1, flash_q8_0=costs(*[1 - saved] * 4))
    assert choose(here, JOBS[job], allowed).kv_type == kv_type


@pytest.mark.parametrize(("saved", "unified"), [(0.0, True), (0.01, True), (0.2, False)])
def test_separate_buffers_have_to_be_worth_it(saved, unified):
    """If one buffer is about as fast as many, it is chosen; if many are clearly faster, they are."""
    allowed = (CacheSettings(unified=False), CacheSettings())
    batch = AttentionCosts((0, 0), (0, 0), (1, 0, 1), (1 - saved, 1 - saved))
    assert choose(profile(flash_f16=batch), JOBS["different"], allowed).unified is unified


def test_a_single_job_gets_one_buffer():
    """For one sequence the layouts cost the same, so the simpler one is chosen."""
    for job in ("long prompt", "long answer"):
        assert choose(ASSUMED, JOBS[job]).unified
    assert choose(profile(1), JOBS["long answer"]) == CacheSettings()


def test_in_one_buffer_every_sequence_pays_for_all_cells():
    """A token attends to the whole buffer, which is small if all begin alike, and large otherwise."""
    here = profile(flash_f16=AttentionCosts((0, 0), (0, 0), (0, 1, 0), (0, 1)))

    def steps(job, width):
        shape = dataclasses.replace(JOBS[job], width=width)
        return here.estimate_seconds(shape, CacheSettings()) / here.estimate_seconds(
            shape, CacheSettings(unified=False)
        )

    assert steps("different", 16) == pytest.approx(16)
    assert steps("different", 4) == pytest.approx(4)
    assert 1 < steps("alike", 16) < 5


def test_copying_counts_against_separate_buffers():
    """Copies to each buffer count: shared prefixes, and those that forks continue."""
    apart = CacheSettings(unified=False)
    for shape in (JOBS["alike"], dataclasses.replace(JOBS["different"], copies=16)):
        free, dear = profile(1), dataclasses.replace(profile(1), copy=1.0)
        assert dear.estimate_seconds(shape, apart) > free.estimate_seconds(shape, apart)
        assert dear.estimate_seconds(shape, CacheSettings()) == free.estimate_seconds(shape, CacheSettings())
    assert dear.estimate_seconds(JOBS["different"], apart) == free.estimate_seconds(JOBS["different"], apart)


# ---- estimates -------------------------------------------------------------------------------------------------------

cost = st.floats(0, 1e-6)
some_costs = st.builds(
    AttentionCosts, st.tuples(cost, cost), st.tuples(cost, cost), st.tuples(cost, cost, cost), st.tuples(cost, cost)
)
profiles = st.builds(
    lambda each, copied: attention_profile(dict(zip(ATTENTION_KERNELS, each, strict=True)), copied),
    st.lists(some_costs, min_size=len(ATTENTION_KERNELS), max_size=len(ATTENTION_KERNELS)),
    cost,
)


@st.composite
def shapes(draw):
    shared = draw(st.integers(0, 100))
    sequences = draw(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 512)), min_size=1, max_size=30))
    prompts, outputs = zip(*sequences, strict=True)
    return JobShape(tuple(shared + own for own in prompts), shared, outputs, draw(st.integers(1, 16)))


def without_tiles(profile):
    """Return a profile in which a cell costs short prompts no more than long ones."""
    return attention_profile(
        {
            kernel: dataclasses.replace(costs, separate=(costs.separate[0], min(costs.separate[1], costs.prompt[1])))
            for kernel, costs in profile.kernels.items()
        },
        profile.copy,
    )


@for_all(profiles.map(without_tiles), shapes(), st.integers(0, 29), st.integers(1, 500))
def test_more_to_do_never_costs_less(here, shape, index, more):
    """A longer prompt or answer of any sequence never lowers the estimate, in any settings."""

    def longer(values):
        place = index % len(values)
        return (*values[:place], values[place] + more, *values[place + 1 :])

    for settings in ALL:
        before = here.estimate_seconds(shape, settings)
        assert before >= 0
        for changed in ({"prompts": longer(shape.prompts)}, {"outputs": longer(shape.outputs)}):
            assert here.estimate_seconds(dataclasses.replace(shape, **changed), settings) >= before * (1 - 1e-9)


@pytest.mark.parametrize(
    ("unified", "prompts", "width", "per_cell"),
    [
        (True, (40,), 1, 8.0),
        (True, (64,), 1, 2.0),
        (True, (40, 40), 2, 2.0),
        (False, (40, 40), 2, 8.0),
        (False, (400, 40), 2, 8.0),
        (False, (400, 70), 2, 2.0),
    ],
)
def test_few_prompt_tokens_are_evaluated_one_by_one(unified, prompts, width, per_cell):
    """A chunk below 64 tokens costs as much for each cell as a batch of answers; separate buffers have chunks of their own."""
    costs = AttentionCosts((0, 2.0), (0, 0), (0, 0, 0), (0, 8.0))
    profile = attention_profile(dict.fromkeys(ATTENTION_KERNELS, costs))
    shape = JobShape(prompts, 0, (0,) * len(prompts), width)
    mean = sum(prompts) / len(prompts)
    before = mean * width / 2 if unified else mean / 2
    assert profile.estimate_seconds(shape, CacheSettings(unified)) == pytest.approx(sum(prompts) * per_cell * before)


# ---- JSON ------------------------------------------------------------------------------------------------------------


@for_all(profiles)
def test_a_profile_survives_json(here):
    """A written profile is read with the same bits, as measured."""
    assert CostProfile.from_json(json.loads(json.dumps(here.to_json()))) == here


def test_an_assumed_profile_becomes_a_measured_one_only_through_a_file():
    """A built-in profile was not measured here, and says so."""
    assert not ASSUMED.measured
    assert CostProfile.from_json(ASSUMED.to_json()).measured


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def places(data, path=()):
    """Yield the path to every value inside JSON data."""
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data if isinstance(data, list) else ()):
        yield from places(value, (*path, key))


WHOLE = json.loads(json.dumps(ASSUMED.to_json()))
PLACES = tuple(places(WHOLE))


def changed(path, value):
    """Return the JSON data of a profile with another value at a place."""
    if not path:
        return value
    data = copy.deepcopy(WHOLE)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


@for_all(st.sampled_from(PLACES), junk, examples=300)
def test_foreign_json_raises_only_what_is_documented(path, value):
    """Whatever replaces any part of a profile, it is read as a profile or refused with a documented error."""
    try:
        read = CostProfile.from_json(changed(path, value))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return
    kernels = set(read.kernels)
    assert not kernels or {(True, "f16"), (False, "f16")} <= kernels <= set(ATTENTION_KERNELS)
    assert isinstance(read.copy, float) and "original" in read.weights.types


@pytest.mark.parametrize(
    "path", [(), ("kernels",), ("kernels", 0, 2), ("copy",), ("weights",), ("weights", "original"), ("complete",)]
)
def test_a_profile_without_a_part_is_refused(path):
    """Every part is needed."""
    data = copy.deepcopy(WHOLE)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    if path:
        del inner[path[-1]]
    with pytest.raises((ValueError, TypeError, KeyError)):
        CostProfile.from_json(data if path else {})


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size"), [("llama", 32), ("gemma3", 32), ("qwen3moe", 32), ("lfm2", 32), ("falcon-h1", 32), ("mamba", 0)]
)
def test_the_head_size_of_each_kind_of_model(tiny, name, size):
    """It is read from the header; without attention there is none."""
    assert attention_head_size(read_header(tiny(name))) == size


BASE = {"x.attention.head_count": 8, "x.block_count": 4, "x.embedding_length": 512}


@pytest.mark.parametrize(
    ("metadata", "size"),
    [
        ({}, 64),
        ({"x.attention.key_length": 128, "x.attention.value_length": 128}, 128),
        ({"x.attention.head_count_kv": (0, 2, 0, 4)}, 64),
        ({"x.attention.head_count": (8, 0, 4, 8)}, 64),
        ({"x.attention.key_length": 128, "x.attention.value_length": 64}, 0),
        ({"x.attention.key_length": 128}, 0),
        ({"x.attention.kv_lora_rank": 512}, 0),
        ({"x.attention.head_count_kv": 0}, 0),
        ({"x.attention.head_count_kv": (0, 0, 0, 0)}, 0),
        ({"x.attention.head_count": 0}, 0),
        ({"x.attention.head_count": "eight"}, 0),
        ({"x.embedding_length": 0}, 0),
    ],
)
def test_the_head_size_of_a_header(metadata, size):
    """Each head has an equal share of the width; keys and values of different sizes and compressed caches have none."""
    assert attention_head_size(of(BASE | metadata)) == size


def test_assumptions_grow_with_the_model():
    """A model with twice the layers costs twice as much, so the choice between kernels is the same."""
    job, settings = JOBS["different"], CacheSettings()
    once, twice = (
        assumed_profile(of(BASE | {"x.block_count": layers})).estimate_seconds(job, settings) for layers in (4, 8)
    )
    assert twice == pytest.approx(2 * once) and once > 0


def test_settings_have_a_readable_description():
    """People read what was chosen."""
    assert str(CacheSettings()) == "flash attention, f16 cache, one buffer"
    told = str(CacheSettings(unified=False, flash_attention=False, kv_type="bf16"))
    assert told == "plain attention, bf16 cache, a buffer for each sequence"


def test_flash_attention_only_pays_for_the_window():
    """In most layers, flash attention skips cells before the window; plain attention does not."""
    flash, plain = CacheSettings(), CacheSettings(flash_attention=False)
    here = profile(1, flash_f16=costs(), plain_f16=costs())

    def seconds(size, settings, window):
        return here.estimate_seconds(JobShape((size,), 0, (16,), 1), settings, window)

    assert seconds(4000, flash, 256) < 0.4 * seconds(4000, flash, 0)
    assert seconds(200, flash, 256) == seconds(200, flash, 0)
    assert seconds(4000, plain, 256) == seconds(4000, plain, 0)
    assert seconds(4000, flash, 10_000) == seconds(4000, flash, 0)


@pytest.mark.parametrize(("saved", "flash"), [(0.0, True), (0.05, True), (0.2, False)])
def test_plain_attention_has_to_save_much(saved, flash):
    """Drafts come several at a time, which plain attention handles less well than single tokens."""
    here = profile(1, plain_f16=costs(*[1 - saved] * 4))
    allowed = [CacheSettings(flash_attention=each) for each in (True, False)]
    assert choose(here, JOBS["long answer"], allowed).flash_attention is flash


def test_the_weights_add_their_own_time():
    """Attention's costs are added to the time of the weights in the type in use."""
    table = weights_table(original=(1.0, 2.0, 0.5, 0.4), bf16=(0.5, 3.0, 0.25, 0.2))
    here = dataclasses.replace(profile(0, **{name: costs(0, 0, 0, 0) for name in ("flash_f16",)}), weights=table)
    shape = JobShape((10,) * 16, 0, (5,) * 16, 16)
    assert here.estimate_seconds(shape, CacheSettings()) == pytest.approx(160 * 1.0 + 5 * 16 * 0.5)
    assert here.estimate_seconds(shape, CacheSettings(), weights="bf16") == pytest.approx(160 * 0.5 + 5 * 16 * 0.25)
