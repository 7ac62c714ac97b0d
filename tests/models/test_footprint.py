"""The memory that a model takes: the limit of a process, and contexts within it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmcli.models.footprint import (
    BATCH_SIZES,
    MIN_PROCESS_LIMIT_BYTES,
    PROCESS_BYTES,
    WORKLOADS,
    ContextDemand,
    ContextShape,
    DefaultKVSettings,
    TaskWorkload,
    compute_buffer_bytes,
    context_budget_bytes,
    context_bytes,
    duplicated_bytes,
    fit_context,
    kv_cache_bytes,
    max_context_tokens,
    max_outputs,
    max_sequence_context,
    process_bytes,
    process_limit_bytes,
    small_context_bytes,
    state_batch_tokens,
    state_step_tokens,
)
from llmcli.models.gguf.header_parser import read_header

MB, GB = 10**6, 10**9
JOB = ContextDemand((300,) * 16, shared_prefix_tokens=100)
STREAMS = DefaultKVSettings(unified=False)


@pytest.fixture
def llama(tiny):
    return read_header(tiny("llama"))


# ---- the bound of a process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "bound"),
    [
        (MB, MIN_PROCESS_LIMIT_BYTES),
        (64 * MB, MIN_PROCESS_LIMIT_BYTES),
        (98 * MB, 4 * 98 * MB),
        (GB - 1, 4 * (GB - 1)),
        (GB, 4 * GB),
        (2 * GB, 4 * GB),
        (20 * GB, 40 * GB),
    ],
)
def test_a_process_takes_four_times_the_weights_of_a_small_model(weights, bound):
    """Never less than the minimum; for a large model twice its weights."""
    assert process_limit_bytes(weights) == bound


def test_contexts_get_what_process_and_weights_leave(llama):
    """Repacked weights count twice, and 2.5% of the limit are left to what the formulas leave out."""
    left = context_budget_bytes(llama, 100 * MB, 0)
    assert left == 390 * MB - 100 * MB - process_bytes(llama)
    assert context_budget_bytes(llama, 100 * MB, 30 * MB) == left - 30 * MB


def test_a_vocabulary_takes_memory(llama, tiny):
    """Each of its tokens takes the same."""
    other = read_header(tiny("chatml"))
    taken, tokens = process_bytes(llama) - process_bytes(other), llama.vocabulary_size - other.vocabulary_size
    assert process_bytes(llama) > PROCESS_BYTES and taken // tokens * tokens == taken > 0


def test_only_tensors_of_repacked_types_count(tiny):
    """Not embeddings, of which single rows are read; recurrent models are not repacked at all."""
    header = read_header(tiny("llama"))
    every = sum(tensor.nbytes for tensor in header.tensors if tensor.type == "Q8_0")
    embeddings = sum(tensor.nbytes for tensor in header.tensors if tensor.name == "token_embd.weight")
    assert duplicated_bytes(header, frozenset({"Q8_0"}), released=False) == every - embeddings > 0
    assert duplicated_bytes(header, frozenset({"Q4_0"}), released=False) == 0
    assert duplicated_bytes(read_header(tiny("mamba")), frozenset({"Q8_0"}), released=False) == 0


def test_of_released_pages_embeddings_count_that_are_the_output_too(tiny):
    """Rows of them are read in the file, and the output in its own layout."""
    header = read_header(tiny("llama"))
    every = duplicated_bytes(header, frozenset({"Q8_0"}), released=False)
    assert 0 < duplicated_bytes(header, frozenset({"Q8_0"}), released=True) < 0.6 * every
    tied = replace(header, tensors=tuple(tensor for tensor in header.tensors if tensor.name != "output.weight"))
    (embeddings,) = (tensor for tensor in tied.tensors if tensor.name == "token_embd.weight")
    rest = replace(tied, tensors=tuple(tensor for tensor in tied.tensors if tensor is not embeddings))
    with_them, without = (duplicated_bytes(h, frozenset({embeddings.type}), released=True) for h in (tied, rest))
    assert with_them - without == embeddings.nbytes


# ---- contexts ------------------------------------------------------------------------------------------------------


def test_without_a_limit_all_run_with_the_largest_batch(llama):
    """In one buffer their common prefix is stored once; separate buffers all fit the longest, and two are kept."""
    shape, count = fit_context(JOB, DefaultKVSettings(), llama, None)
    assert (shape, count) == (ContextShape(3328, 32, BATCH_SIZES[0]), 16)  # 16 * 300 - 15 * 100, rounded up
    shape, count = fit_context(JOB, STREAMS, llama, None)
    assert (shape, count) == (ContextShape(512, 18, BATCH_SIZES[0], unified=False), 16)


@pytest.mark.parametrize(
    "cache", [DefaultKVSettings(), STREAMS, DefaultKVSettings(flash_attention=False), DefaultKVSettings(kv_type="q8_0")]
)
def test_a_context_stays_within_its_limit(llama, cache):
    """From much to little: batches shrink before sequences are dropped, and only as far as necessary."""
    whole = context_bytes(llama, fit_context(JOB, cache, llama, None)[0])
    seen = []
    for room in range(whole, whole // 20, -whole // 200):
        shape, count = fit_context(JOB, cache, llama, room)
        assert context_bytes(llama, shape) <= room or count == 1
        assert count == 16 or shape.batch == BATCH_SIZES[-1]
        if 1 <= count < 15:
            more = replace(shape, cells=JOB.first_sequences(count + 1).cell_count(unified=cache.unified))
            more = replace(
                more,
                sequences=JOB.first_sequences(count + 1).sequence_id_count(1, per_sequence_buffers=not cache.unified),
            )
            assert context_bytes(llama, more) > room
        seen.append((count, shape.batch))
    assert seen == sorted(seen, reverse=True) and seen[0] == (16, BATCH_SIZES[0]) and seen[-1][0] < 16


def test_one_sequence_always_runs(llama):
    """The caller finds out whether that can be allocated."""
    shape, count = fit_context(JOB, DefaultKVSettings(), llama, -1)
    assert (count, shape.cells, shape.batch) == (1, 512, BATCH_SIZES[-1])


def test_a_batch_is_never_larger_than_requested(llama):
    """However much room there is."""
    for room in (None, 0):
        assert fit_context(JOB, DefaultKVSettings(), llama, room, batch=64)[0].batch == 64


def test_forks_have_their_own_ids(llama):
    """One for each that will run at once, and one for their common prefix."""
    demand = ContextDemand((10, 10), forks=(3, 0))
    assert demand.sequence_id_count(2, per_sequence_buffers=True) == 3 + 1 + 2
    assert demand.sequence_id_count(2, per_sequence_buffers=False) == 32


def test_recurrent_states_count_for_every_sequence(tiny):
    """They do not grow with the text."""
    header = read_header(tiny("mamba"))
    two, four = (context_bytes(header, ContextShape(512, count)) for count in (2, 4))
    assert four > two and context_bytes(header, ContextShape(8192, 2)) == two
    assert kv_cache_bytes(header, 1000, "f16") == 0


# ---- how long a context may be -------------------------------------------------------------------------------------


def test_the_longest_context_is_the_longest_that_fits(llama):
    """With the smallest batch, in whole steps."""
    for room in (0, MB, 2 * MB, 5 * MB):
        tokens = max_context_tokens(llama, "f16", room)
        sizes = [context_bytes(llama, ContextShape(each, 2, BATCH_SIZES[-1])) for each in (tokens, tokens + 256)]
        assert sizes[0] <= room < sizes[1] or (tokens == 0 and room < sizes[1])


def test_a_small_models_context_is_limited_by_its_process(llama):
    """However much memory is free: 256 bytes a token, and a mask for the batch."""
    header = replace(llama, metadata={**llama.metadata, "llama.context_length": 10**7})
    room = context_budget_bytes(header, 100 * MB, 0) - small_context_bytes(header)
    assert max_sequence_context(header, 100 * MB, 0, "f16", None) == max_context_tokens(header, "f16", room) < 10**6
    assert max_sequence_context(header, 100 * MB, 0, "f16", 100 * MB) == max_context_tokens(header, "f16", 90 * MB)


def test_a_large_models_context_is_limited_by_memory(llama):
    """Its limit is for many sequences; if the memory is unknown, it has its own context."""
    header = replace(llama, metadata={**llama.metadata, "llama.context_length": 10**7})
    assert max_sequence_context(header, 2 * GB, 0, "f16", None) == 10**7
    assert max_sequence_context(header, 2 * GB, 0, "f16", GB) == max_context_tokens(header, "f16", 9 * GB // 10)


def test_a_context_is_never_shorter_than_the_default(llama):
    """Unless the model's is; without memory for it there is an error."""
    assert max_sequence_context(llama, 2 * GB, 0, "f16", 0) == 4096
    short = replace(llama, metadata={**llama.metadata, "llama.context_length": 1000})
    assert max_sequence_context(short, 2 * GB, 0, "f16", 0) == 1000


# ---- what tasks do -------------------------------------------------------------------------------------------------


def test_a_long_text_is_cut_into_parts():
    """Each with room for its answer."""
    text = TaskWorkload((1000,), (100,))
    assert text.split_to_context(2000) == text
    assert text.split_to_context(600) == TaskWorkload((500, 500), (100, 100))
    assert text.split_to_context(100) == TaskWorkload((50,) * 20, (50,) * 20)


def test_a_text_that_does_not_fit_is_cut_into_the_parts_of_its_task():
    """They are shorter than the context would allow, except in a very short one."""
    text = TaskWorkload((1000,), (100,), part_tokens=(250, 30))
    assert text.split_to_context(1100) == text
    assert text.split_to_context(1099) == replace(text, prompt_tokens=(250,) * 4, answer_tokens=(30,) * 4)
    assert text.split_to_context(100) == replace(text, prompt_tokens=(70,) * 15, answer_tokens=(30,) * 15)


def test_the_needs_of_every_task_are_known(llama):
    """No job is larger than a context allows; many answers are tried at twice the concurrency, many records are not."""
    assert set(WORKLOADS) == {"chat", "translate", "summarize", "classify", "code", "key-sentences", "calibrated"}
    for workload in WORKLOADS.values():
        job = workload.split_to_context(llama.context_length)
        assert max(job.peak_demand.sequence_tokens) <= llama.context_length
        assert len(job.initial_demand.sequence_tokens) <= 16
    widths = {name: WORKLOADS[name].peak_demand.concurrency for name in ("chat", "translate", "key-sentences")}
    assert widths == {"chat": 16, "translate": 32, "key-sentences": 16}


def test_a_smaller_batch_is_used_only_if_it_helps(llama):
    """If fewer sequences must run anyway, they get the largest batch that fits."""
    shape, count = fit_context(JOB, STREAMS, llama, None)
    fewer = replace(shape, sequences=shape.sequences - 3)
    fitted, n = fit_context(JOB, STREAMS, llama, context_bytes(llama, fewer))
    assert context_bytes(llama, fitted) <= context_bytes(llama, fewer) and n <= count
    larger = [replace(fitted, batch=size) for size in BATCH_SIZES if size > fitted.batch]
    assert all(context_bytes(llama, each) > context_bytes(llama, fewer) for each in larger)


@pytest.mark.parametrize(
    ("vocabulary", "available", "tokens"),
    [
        (288, 64 << 30, 256),
        (262_144, 64 << 30, 256),
        (262_144, None, 256),
        (262_144, 2 << 30, 128),
        (262_144, 100 << 20, 64),
    ],
)
def test_a_large_vocabulary_or_little_memory_makes_batches_of_states_smaller(vocabulary, available, tokens):
    """llama.cpp has room for the logits of all tokens of a batch, which takes an eighth of the free memory at most."""
    assert state_batch_tokens(vocabulary, available) == tokens


def test_states_take_the_logits_of_a_batch(llama):
    """Each token of a batch has logits and a state, and each token in the cache keeps its state."""
    logits = 4 * (llama.vocabulary_size or 0)
    width = llama.arch_integer("embedding_length") or 0
    for batch in (64, 256):
        plain = ContextShape(1024, 16, batch)
        more = context_bytes(llama, replace(plain, hidden_states=True)) - context_bytes(llama, plain)
        assert more == (batch - 16) * logits + 4 * (1024 + batch) * width


def test_states_of_earlier_layers_need_no_room_for_logits(llama):
    """Each token keeps a state for each of the layers."""
    width = llama.arch_integer("embedding_length") or 0
    plain = ContextShape(1024, 16, 256)
    more = context_bytes(llama, replace(plain, hidden_states=True, state_layers=2)) - context_bytes(llama, plain)
    assert more == 4 * (1024 + 256) * 2 * width


def test_jobs_by_hidden_states_read_an_earlier_layer_where_that_is_possible(llama):
    workload, other = WORKLOADS["key-sentences"], WORKLOADS["classify"]
    mamba = replace(llama, metadata={**llama.metadata, "general.architecture": "mamba"})
    assert [each.count_state_layers(llama) for each in (workload, other)] == [1, 0]
    assert workload.count_state_layers(mamba) == 0


def test_states_that_do_not_fit_make_batches_smaller(llama):
    """Their memory depends on the batch that is chosen, not on the largest one."""
    large, small = (
        fit_context(JOB, DefaultKVSettings(), llama, None, batch, hidden_states=True)[0] for batch in (256, 128)
    )
    room = context_bytes(llama, large) - 1
    assert context_bytes(llama, small) < room
    assert fit_context(JOB, DefaultKVSettings(), llama, room, 256, hidden_states=True) == (small, 16)


@pytest.mark.parametrize(
    ("tokens", "shared", "unified", "batch", "step"),
    [
        ((22,) * 16, 0, True, 256, 182),  # the last one joins when 160 wait
        ((22,) * 4, 0, True, 256, 88),
        ((22,) * 16, 0, False, 256, 256),
        ((270,) * 16, 250, True, 512, 270),  # the first one evaluates the common prefix
        ((120,) * 16, 100, True, 512, 180),
        ((2000,), 0, True, 256, 256),
    ],
)
def test_a_step_with_states_takes_some_short_prompts_or_one_long_one(tokens, shared, unified, batch, step):
    """So the promised memory is that of the tokens that are really evaluated at once."""
    assert state_step_tokens(ContextDemand(tokens, shared), batch, unified=unified) == step


@pytest.mark.parametrize(
    ("batch", "sequences", "outputs"), [(512, 2, 64), (256, 2, 32), (128, 16, 16), (128, 18, 18), (1024, 1, 64)]
)
def test_small_batches_have_room_for_few_logits(llama, batch, sequences, outputs):
    """Every sequence has one; a context for one short answer leaves the memory of the others to other work."""
    assert max_outputs(batch, sequences) == outputs
    assert compute_buffer_bytes(llama, ContextShape(512, sequences, batch)) >= 4 * outputs * (
        llama.vocabulary_size or 0
    )
