"""The choice of settings by estimated costs of attention."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest
from engine.tools import for_all
from hypothesis import strategies as st

from llmcli.engine.llama.context import CacheSettings
from llmcli.engine.tuning.cost_profile import (
    ASSUMED_PROFILE,
    ATTENTION_KERNELS,
    AttentionCosts,
    AttentionGeometry,
    CostProfile,
    JobShape,
)
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import read_header

ALL = tuple(CacheSettings(unified, *kernel) for unified in (True, False) for kernel in ATTENTION_KERNELS)
GEOMETRY = AttentionGeometry(heads=8, kv_heads=2, size=64, layers=4)
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
    return CostProfile({key: kernels.get(name, costs(*[dear] * 4)) for name, key in names.items()}, copy=0.0)


def of(metadata):
    """Return the geometry of a header that says nothing else."""
    return AttentionGeometry.from_header(Header(3, {"general.architecture": "x", **metadata}, (), 0, 0))


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
    assert here.choose(JOBS[job], ALL, GEOMETRY) == wins


@pytest.mark.parametrize("job", JOBS)
def test_the_cheapest_allowed_settings_are_chosen(job):
    """Disallowed settings are never chosen; the only allowed one always is, whatever it costs."""
    here = profile(1, flash_q8_0=costs(*[0.01] * 4))
    for settings in ALL:
        assert here.choose(JOBS[job], (settings,), GEOMETRY) == settings
    dear = tuple(settings for settings in ALL if settings.kv_type != "q8_0")
    assert here.choose(JOBS[job], dear, GEOMETRY) in dear


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(("saved", "kv_type"), [(0.0, "f16"), (0.05, "f16"), (0.2, "q8_0")])
def test_a_less_precise_cache_has_to_be_worth_it(job, saved, kv_type):
    """A q8_0 cache that is about as fast as f16 is not chosen; one that is clearly faster is."""
    allowed = (CacheSettings(kv_type="q8_0"), CacheSettings())
    here = profile(1, flash_q8_0=costs(*[1 - saved] * 4))
    assert here.choose(JOBS[job], allowed, GEOMETRY).kv_type == kv_type


@pytest.mark.parametrize(("saved", "unified"), [(0.0, True), (0.02, True), (0.2, False)])
def test_separate_buffers_have_to_be_worth_it(saved, unified):
    """If one buffer is about as fast as many, it is chosen; if many are clearly faster, they are."""
    allowed = (CacheSettings(unified=False), CacheSettings())
    batch = AttentionCosts((0, 0), (0, 0), (1, 0, 1), (1 - saved, 1 - saved))
    assert profile(flash_f16=batch).choose(JOBS["different"], allowed, GEOMETRY).unified is unified


def test_a_single_job_gets_one_buffer():
    """For one sequence the layouts cost the same, so the simpler one is chosen."""
    for job in ("long prompt", "long answer"):
        assert ASSUMED_PROFILE.choose(JOBS[job], ALL, GEOMETRY).unified
    assert profile(1).choose(JOBS["long answer"], ALL, GEOMETRY) == CacheSettings()


def test_in_one_buffer_every_sequence_pays_for_all_cells():
    """A token attends to the whole buffer, which is small if all begin alike, and large otherwise."""
    here = profile(flash_f16=AttentionCosts((0, 0), (0, 0), (0, 1, 0), (0, 1)))

    def steps(job, width):
        shape = dataclasses.replace(JOBS[job], width=width)
        return here.estimate_seconds(shape, CacheSettings(), GEOMETRY) / here.estimate_seconds(
            shape, CacheSettings(unified=False), GEOMETRY
        )

    assert steps("different", 16) == pytest.approx(16)
    assert steps("different", 4) == pytest.approx(4)
    assert 1 < steps("alike", 16) < 5


def test_copying_counts_against_separate_buffers():
    """Copies to each buffer count: shared prefixes, and those that forks continue."""
    apart = CacheSettings(unified=False)
    for shape in (JOBS["alike"], dataclasses.replace(JOBS["different"], copies=16)):
        free, dear = profile(1), dataclasses.replace(profile(1), copy=1.0)
        assert dear.estimate_seconds(shape, apart, GEOMETRY) > free.estimate_seconds(shape, apart, GEOMETRY)
        assert dear.estimate_seconds(shape, CacheSettings(), GEOMETRY) == free.estimate_seconds(
            shape, CacheSettings(), GEOMETRY
        )
    assert dear.estimate_seconds(JOBS["different"], apart, GEOMETRY) == free.estimate_seconds(
        JOBS["different"], apart, GEOMETRY
    )


# ---- estimates -------------------------------------------------------------------------------------------------------

cost = st.floats(0, 1e-6)
some_costs = st.builds(
    AttentionCosts, st.tuples(cost, cost), st.tuples(cost, cost), st.tuples(cost, cost, cost), st.tuples(cost, cost)
)
profiles = st.builds(
    lambda each, copied: CostProfile(dict(zip(ATTENTION_KERNELS, each, strict=True)), copied, measured=True),
    st.lists(some_costs, min_size=len(ATTENTION_KERNELS), max_size=len(ATTENTION_KERNELS)),
    cost,
)


@st.composite
def shapes(draw):
    shared = draw(st.integers(0, 100))
    sequences = draw(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 512)), min_size=1, max_size=30))
    prompts, outputs = zip(*sequences, strict=True)
    return JobShape(tuple(shared + own for own in prompts), shared, outputs, draw(st.integers(1, 16)))


@for_all(profiles, shapes(), st.integers(0, 29), st.integers(1, 500))
def test_more_to_do_never_costs_less(here, shape, index, more):
    """A longer prompt or answer of any sequence never lowers the estimate, in any settings."""

    def longer(values):
        place = index % len(values)
        return (*values[:place], values[place] + more, *values[place + 1 :])

    for settings in ALL:
        before = here.estimate_seconds(shape, settings, GEOMETRY)
        assert before >= 0
        for changed in ({"prompts": longer(shape.prompts)}, {"outputs": longer(shape.outputs)}):
            assert here.estimate_seconds(dataclasses.replace(shape, **changed), settings, GEOMETRY) >= before * (
                1 - 1e-9
            )


@for_all(profiles, shapes(), st.integers(1, 9))
def test_estimates_are_proportional_to_the_work_of_attention(here, shape, times):
    """Twice the layers, or twice the elements, take twice as long, so they change no choice."""
    larger = dataclasses.replace(GEOMETRY, layers=GEOMETRY.layers * times)
    wider = dataclasses.replace(GEOMETRY, size=GEOMETRY.size * times)
    for settings in ALL:
        once = here.estimate_seconds(shape, settings, GEOMETRY)
        assert here.estimate_seconds(shape, settings, larger) == pytest.approx(times * once)
        assert here.estimate_seconds(shape, settings, wider) == pytest.approx(times * once)


# ---- JSON ------------------------------------------------------------------------------------------------------------


@for_all(profiles)
def test_a_profile_survives_json(here):
    """A written profile is read with the same bits, as measured."""
    assert CostProfile.from_json(json.loads(json.dumps(here.to_json()))) == here


def test_the_assumed_profile_becomes_a_measured_one_only_through_a_file():
    """The built-in profile was not measured here, and says so."""
    assert not ASSUMED_PROFILE.measured
    assert CostProfile.from_json(ASSUMED_PROFILE.to_json()).measured


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


WHOLE = json.loads(json.dumps(ASSUMED_PROFILE.to_json()))
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
    except (ValueError, TypeError, KeyError):
        return
    assert {(True, "f16"), (False, "f16")} <= set(read.kernels) <= set(ATTENTION_KERNELS) and isinstance(
        read.copy, float
    )


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({}, KeyError),
        ([], TypeError),
        (None, TypeError),
        ("kernels", TypeError),
        ({"kernels": [], "copy": 0}, ValueError),
        ({"kernels": WHOLE["kernels"][:1], "copy": 0}, ValueError),
        ({"kernels": WHOLE["kernels"]}, KeyError),
        ({"kernels": 5, "copy": 0}, TypeError),
        (changed(("kernels", 0, 2), {}), KeyError),
        (changed(("kernels", 0, 2, "prompt"), [1.0]), ValueError),
        (changed(("kernels", 0, 2, "unified"), ["a", "b", "c"]), ValueError),
        (changed(("copy",), None), TypeError),
    ],
)
def test_each_fault_of_a_profile_has_its_error(data, error):
    """Missing parts, missing kernels and wrong types have different errors."""
    with pytest.raises(error):
        CostProfile.from_json(data)


# ---- geometry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "geometry"),
    [
        ("llama", AttentionGeometry(2, 1, 32, 2)),
        ("gemma3", AttentionGeometry(2, 1, 32, 4)),
        ("qwen3moe", AttentionGeometry(2, 1, 32, 2)),
        ("lfm2", AttentionGeometry(2, 1, 32, 2)),
        ("falcon-h1", AttentionGeometry(2, 1, 32, 2)),
        ("mamba", None),
    ],
)
def test_the_geometry_of_each_kind_of_model(tiny, name, geometry):
    """Heads, their size and the layers with attention are read from the header; without attention there is none."""
    assert AttentionGeometry.from_header(read_header(tiny(name))) == geometry


BASE = {"x.attention.head_count": 8, "x.block_count": 4, "x.embedding_length": 512}


@pytest.mark.parametrize(
    ("metadata", "geometry"),
    [
        ({}, AttentionGeometry(8, 8, 64, 4)),
        ({"x.attention.head_count_kv": 2}, AttentionGeometry(8, 2, 64, 4)),
        ({"x.attention.key_length": 128, "x.attention.value_length": 128}, AttentionGeometry(8, 8, 128, 4)),
        ({"x.attention.key_length": 64}, AttentionGeometry(8, 8, 64, 4)),
        ({"x.attention.head_count_kv": (0, 2, 0, 4)}, AttentionGeometry(8, 4, 64, 2)),
        ({"x.attention.head_count": (8, 0, 4, 8)}, AttentionGeometry(8, 8, 64, 3)),
    ],
)
def test_missing_header_values_have_their_defaults(metadata, geometry):
    """As many key heads as heads, an equal share of the width for each; if layers differ the largest counts."""
    assert of(BASE | metadata) == geometry


@pytest.mark.parametrize(
    "metadata",
    [
        {"x.attention.key_length": 128, "x.attention.value_length": 64},
        {"x.attention.key_length": 128},
        {"x.attention.kv_lora_rank": 512},
        {"x.attention.head_count_kv": 0},
        {"x.attention.head_count_kv": (0, 0, 0, 0)},
        {"x.attention.head_count_kv": 3},
        {"x.attention.head_count_kv": 16},
        {"x.attention.head_count": 0},
        {"x.attention.head_count": "eight"},
        {"x.embedding_length": 0},
    ],
)
def test_unsupported_attention_has_no_geometry(metadata):
    """Keys and values of different sizes, compressed caches, impossible numbers of heads, no attention at all."""
    assert of(BASE | metadata) is None


@for_all(
    st.dictionaries(
        st.sampled_from(
            [
                *BASE,
                *(f"x.attention.{name}" for name in ("head_count_kv", "key_length", "value_length", "kv_lora_rank")),
            ]
        ),
        st.integers(0, 256) | st.lists(st.integers(0, 64), max_size=5).map(tuple) | st.text(max_size=2) | st.booleans(),
    )
)
def test_any_header_has_a_valid_geometry_or_none(metadata):
    """For any header, heads are shared evenly and every number is positive, or there is no geometry."""
    geometry = of(metadata)
    if geometry is not None:
        assert geometry.heads % geometry.kv_heads == 0
        assert min(dataclasses.astuple(geometry)) > 0 and geometry.cost_units > 0


def test_settings_have_a_readable_description():
    """People read what was chosen."""
    assert str(CacheSettings()) == "flash attention, f16 cache, one buffer"
    told = str(CacheSettings(unified=False, flash_attention=False, kv_type="bf16"))
    assert told == "plain attention, bf16 cache, a buffer for each sequence"


def test_flash_attention_only_pays_for_the_window():
    """Flash attention skips cells before the window; plain attention does not, so it may lose its advantage."""
    shape, geometry = JobShape((4000,), 0, (16,), 1), AttentionGeometry(4, 1, 256, 18)
    flash, plain = CacheSettings(), CacheSettings(flash_attention=False)
    near = [
        ASSUMED_PROFILE.estimate_seconds(JobShape((size,), 0, (16,), 1), flash, geometry, 256) / size
        for size in (2000, 4000)
    ]
    assert near[1] < 1.1 * near[0]
    assert ASSUMED_PROFILE.estimate_seconds(shape, plain, geometry, 256) == ASSUMED_PROFILE.estimate_seconds(
        shape, plain, geometry
    )
    assert ASSUMED_PROFILE.estimate_seconds(shape, flash, geometry, 10_000) == ASSUMED_PROFILE.estimate_seconds(
        shape, flash, geometry
    )


def test_plain_attention_has_to_save_much():
    """Drafts come several at a time, which plain attention handles less well than single tokens."""
    geometry = AttentionGeometry(9, 3, 64, 30)
    single = {False: (1e-7, 1e-12), True: (1e-7, 3e-11)}
    for slope, flash in ((3e-11, True), (3e-9, False)):
        single[True] = (1e-7, slope)
        kernels = {
            (flash_attention, "f16"): dataclasses.replace(
                ASSUMED_PROFILE.kernels[True, "f16"], single=single[flash_attention]
            )
            for flash_attention in (True, False)
        }
        profile = CostProfile(kernels, 0.0, measured=True)
        allowed = [CacheSettings(flash_attention=flash_attention) for flash_attention in (True, False)]
        assert profile.choose(JobShape((100,), 0, (1000,), 1), allowed, geometry).flash_attention is flash
