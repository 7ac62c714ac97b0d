"""How much memory a model takes: the bound of a process, and contexts that keep it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmcli.models.footprint import (
    BATCHES,
    FLOOR_BYTES,
    PROCESS_BYTES,
    WORKLOADS,
    ContextShape,
    Demand,
    PlainKV,
    Workload,
    bound_bytes,
    cache_bytes,
    context_bytes,
    context_for,
    context_limit,
    longest_tokens,
    process_bytes,
    repacked_bytes,
    room_bytes,
    small_context_bytes,
)
from llmcli.models.gguf import read_header

MB, GB = 10**6, 10**9
JOB = Demand((300,) * 16, shared=100)
STREAMS = PlainKV(unified=False)


@pytest.fixture
def llama(tiny):
    return read_header(tiny("llama"))


# ---- the bound of a process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "bound"),
    [
        (MB, FLOOR_BYTES),
        (64 * MB, FLOOR_BYTES),
        (98 * MB, 4 * 98 * MB),
        (GB - 1, 4 * (GB - 1)),
        (GB, 4 * GB),
        (2 * GB, 4 * GB),
        (20 * GB, 40 * GB),
    ],
)
def test_a_process_takes_four_times_the_weights_of_a_small_model(weights, bound):
    """Never less than the floor; of a large model twice its weights."""
    assert bound_bytes(weights) == bound


def test_contexts_have_what_the_process_and_the_weights_leave(llama):
    """What is repacked counts a second time."""
    left = room_bytes(llama, 100 * MB, 0)
    assert left == 400 * MB - 100 * MB - process_bytes(llama)
    assert room_bytes(llama, 100 * MB, 30 * MB) == left - 30 * MB


def test_a_vocabulary_takes_memory(llama, tiny):
    """Each of its tokens as much."""
    other = read_header(tiny("chatml"))
    taken, tokens = process_bytes(llama) - process_bytes(other), llama.vocabulary - other.vocabulary
    assert process_bytes(llama) > PROCESS_BYTES and taken // tokens * tokens == taken > 0


def test_only_tensors_of_the_types_that_are_repacked_count(tiny):
    """Embeddings, of which single rows are read, do not, and of recurrent models nothing is repacked."""
    header = read_header(tiny("llama"))
    every = sum(tensor.nbytes for tensor in header.tensors if tensor.type == "Q8_0")
    embeddings = sum(tensor.nbytes for tensor in header.tensors if tensor.name == "token_embd.weight")
    assert repacked_bytes(header, frozenset({"Q8_0"})) == every - embeddings > 0
    assert repacked_bytes(header, frozenset({"Q4_0"})) == 0
    assert repacked_bytes(read_header(tiny("mamba")), frozenset({"Q8_0"})) == 0


# ---- contexts ------------------------------------------------------------------------------------------------------


def test_without_a_bound_all_run_with_the_largest_batch(llama):
    """In one buffer what they share lies once; in buffers of their own each has room for the longest, and two are kept."""
    shape, count = context_for(JOB, PlainKV(), llama, None)
    assert (shape, count) == (ContextShape(3328, 32, BATCHES[0]), 16)  # 16 * 300 - 15 * 100, rounded up
    shape, count = context_for(JOB, STREAMS, llama, None)
    assert (shape, count) == (ContextShape(512, 18, BATCHES[0], unified=False), 16)


@pytest.mark.parametrize("cache", [PlainKV(), STREAMS, PlainKV(flash_attention=False), PlainKV(kv_type="q8_0")])
def test_a_context_keeps_within_its_room(llama, cache):
    """From much to little: smaller batches go before fewer sequences, and no more go than have to."""
    whole = context_bytes(llama, context_for(JOB, cache, llama, None)[0])
    seen = []
    for room in range(whole, whole // 20, -whole // 200):
        shape, count = context_for(JOB, cache, llama, room)
        assert context_bytes(llama, shape) <= room or count == 1
        assert count == 16 or shape.batch == BATCHES[-1]
        if 1 <= count < 15:
            more = replace(shape, cells=JOB.first(count + 1).cells(unified=cache.unified))
            more = replace(more, sequences=JOB.first(count + 1).sequences(1, elastic=not cache.unified))
            assert context_bytes(llama, more) > room
        seen.append((count, shape.batch))
    assert seen == sorted(seen, reverse=True) and seen[0] == (16, BATCHES[0]) and seen[-1][0] < 16


def test_one_sequence_runs_whatever_it_takes(llama):
    """Whether that can be allocated is found out by who does."""
    shape, count = context_for(JOB, PlainKV(), llama, -1)
    assert (count, shape.cells, shape.batch) == (1, 512, BATCHES[-1])


def test_a_batch_is_never_larger_than_is_asked_for(llama):
    """However much room there is."""
    for room in (None, 0):
        assert context_for(JOB, PlainKV(), llama, room, batch=64)[0].batch == 64


def test_branches_take_ids_of_their_own(llama):
    """One for each that will run at once, and one for what they begin with."""
    demand = Demand((10, 10), branches=(3, 0))
    assert demand.sequences(2, elastic=True) == 3 + 1 + 2
    assert demand.sequences(2, elastic=False) == 32


def test_recurrent_states_count_for_every_sequence(tiny):
    """They do not grow with the text."""
    header = read_header(tiny("mamba"))
    two, four = (context_bytes(header, ContextShape(512, count)) for count in (2, 4))
    assert four > two and context_bytes(header, ContextShape(8192, 2)) == two
    assert cache_bytes(header, 1000, "f16") == 0


# ---- how long a context may be -------------------------------------------------------------------------------------


def test_the_longest_context_is_the_longest_that_fits(llama):
    """With the smallest batch, in whole steps."""
    for room in (0, MB, 2 * MB, 5 * MB):
        tokens = longest_tokens(llama, "f16", room)
        sizes = [context_bytes(llama, ContextShape(each, 2, BATCHES[-1])) for each in (tokens, tokens + 256)]
        assert sizes[0] <= room < sizes[1] or (tokens == 0 and room < sizes[1])


def test_a_small_model_has_the_context_that_its_bound_leaves(llama):
    """However much memory is free: 256 bytes a token, and a mask for the batch."""
    header = replace(llama, metadata={**llama.metadata, "llama.context_length": 10**7})
    room = room_bytes(header, 100 * MB, 0) - small_context_bytes(header)
    assert context_limit(header, 100 * MB, 0, "f16", None) == longest_tokens(header, "f16", room) < 10**6
    assert context_limit(header, 100 * MB, 0, "f16", 100 * MB) == longest_tokens(header, "f16", 90 * MB)


def test_a_large_model_has_the_context_that_the_memory_holds(llama):
    """Its bound is for many sequences; where the memory is not known, it has its own context."""
    header = replace(llama, metadata={**llama.metadata, "llama.context_length": 10**7})
    assert context_limit(header, 2 * GB, 0, "f16", None) == 10**7
    assert context_limit(header, 2 * GB, 0, "f16", GB) == longest_tokens(header, "f16", 9 * GB // 10)


def test_a_context_is_never_shorter_than_usual(llama):
    """Unless the model's is; without memory for it there is an error that says so."""
    assert context_limit(llama, 2 * GB, 0, "f16", 0) == 4096
    short = replace(llama, metadata={**llama.metadata, "llama.context_length": 1000})
    assert context_limit(short, 2 * GB, 0, "f16", 0) == 1000


# ---- what tasks do -------------------------------------------------------------------------------------------------


def test_a_long_text_is_cut_into_parts():
    """Each with room for its answer."""
    text = Workload((1000,), (100,))
    assert text.within(2000) == text
    assert text.within(600) == Workload((500, 500), (100, 100))
    assert text.within(100) == Workload((50,) * 20, (50,) * 20)


def test_the_needs_of_every_task_are_known(llama):
    """No job is larger than a context allows, and no more run at once than do at first."""
    assert set(WORKLOADS) == {"chat", "translate", "summarize", "classify", "code"}  # tasks of the catalogue
    for workload in WORKLOADS.values():
        demand = workload.within(llama.context_length).demand
        assert max(demand.needs) <= llama.context_length and len(demand.needs) <= 16
