"""The needs of a model, whether it fits, and its likely speed: computed from real headers."""

from __future__ import annotations

import dataclasses
import io

import pytest
from gguf_bytes import ARCHITECTURE, entry, gguf, numbers, tensor, text

from llmcli.models.footprint import BATCH_SIZES, SPARE_SEQUENCES, ContextShape, context_bytes, process_bytes
from llmcli.models.gguf.header_parser import parse_header, read_header
from llmcli.models.memory_estimate import (
    CONTEXT_STEP_TOKENS,
    DEFAULT_CONTEXT_TOKENS,
    FitPolicy,
    MachineResources,
    MemoryEstimate,
    estimate_memory,
    planned_context,
)

PLENTY = MachineResources(10**12)


def fit(tiny, name, machine=PLENTY, *, context=1000, size=None, kv_type="f16"):
    header = read_header(tiny(name))
    return estimate_memory(header, size or header.size, context, machine, kv_type=kv_type)


def need(needed, *, weights=None, per_token=0, context=0, machine=PLENTY, read=None):
    """Return an estimate that needs this many bytes."""
    weights = needed if weights is None else weights
    return MemoryEstimate(weights, per_token, needed - weights - per_token * context, context, read, machine)


# ---- what is needed ------------------------------------------------------------------------------------------------


def test_the_parts_of_an_estimate(tiny):
    """The process, weights, a cache for the context, and the buffers of a step."""
    header, found = read_header(tiny("llama")), fit(tiny, "llama")
    assert (found.weight_bytes, found.kv_bytes_per_token, found.kv_cache_bytes) == (header.size, 256, 256_000)
    assert found.process_bytes == process_bytes(header) > 40_000_000
    assert found.kv_cache_bytes + found.buffer_bytes == context_bytes(
        header, ContextShape(1000, SPARE_SEQUENCES, BATCH_SIZES[-1])
    )
    assert found.needed_bytes == found.weight_bytes + found.kv_cache_bytes + found.buffer_bytes + found.process_bytes


def test_a_smaller_type_of_cache_takes_less(tiny):
    """q8_0 has 34 bytes for 32 numbers."""
    assert fit(tiny, "llama", kv_type="q8_0").kv_cache_bytes == fit(tiny, "llama").kv_cache_bytes * 34 // 64


def test_another_quantization_has_the_same_cache(tiny):
    """The header of one applies to all; only the weights differ."""
    half, whole = fit(tiny, "llama", size=10**6), fit(tiny, "llama", size=2 * 10**6)
    assert (half.kv_cache_bytes, half.buffer_bytes) == (whole.kv_cache_bytes, whole.buffer_bytes)
    assert whole.needed_bytes - half.needed_bytes == 10**6 and whole.read_bytes_per_token == pytest.approx(
        2 * half.read_bytes_per_token, abs=1
    )


@pytest.mark.parametrize(
    ("name", "per_token"),
    [
        ("gemma3", 4 * 64 * 2),  # windows are counted in full
        ("mamba", None),  # no cache at all
        ("lfm2", 2 * 64 * 2),  # attention in two layers of four
        ("falcon-h1", 2 * 64 * 2),  # in each of two
        ("bert", None),
    ],
)
def test_the_cache_of_other_kinds_of_models(tiny, name, per_token):
    """Of hybrid models the attention layers count; models without a cache need none."""
    found = fit(tiny, name)
    assert found.kv_bytes_per_token == per_token and found.kv_cache_bytes == (per_token or 0) * 1000


def shaped(*entries):
    shape = [numbers(b"block_count", 48), numbers(b"attention.head_count", 8), numbers(b"attention.head_count_kv", 2)]
    lengths = [numbers(b"attention.key_length", 16), numbers(b"attention.value_length", 16)]
    content = gguf(ARCHITECTURE, *shape, *lengths, *entries)
    return parse_header(io.BytesIO(content), len(content), "m.gguf")


@pytest.mark.parametrize(
    ("extra", "layers"),
    [
        (numbers(b"full_attention_interval", 4), 12),
        (numbers(b"full_attention_interval", 5), 10),
        (numbers(b"attention.kv_lora_rank", 16), 48),
        (numbers(b"context_length", 100), 48),
    ],
)
def test_the_cache_is_an_upper_bound(extra, layers):
    """Every fourth layer with attention, a compressed cache, and the usual kind."""
    assert estimate_memory(shaped(extra), 1, 1, PLENTY).kv_bytes_per_token == layers * 2 * (16 + 16) * 2


def test_without_a_header_only_the_weights_are_known():
    """Nothing else is guessed."""
    found = estimate_memory(None, 5000, 4096, dataclasses.replace(PLENTY, memory_bandwidth=1e9))
    assert (found.needed_bytes, found.kv_bytes_per_token, found.read_bytes_per_token, found.tokens_per_second) == (
        5000,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("wanted", "of_model", "planned"),
    [(None, 8192, DEFAULT_CONTEXT_TOKENS), (None, 100, 100), (50, 100, 50), (200, 100, 100)],
)
def test_the_planned_context(wanted, of_model, planned):
    """The requested one or the default, never more than the model has."""
    assert planned_context(shaped(numbers(b"context_length", of_model)), wanted) == planned


def test_the_default_context_without_a_header():
    """The model's own context is unknown then."""
    assert (planned_context(None, None), planned_context(None, 10**6)) == (DEFAULT_CONTEXT_TOKENS, 10**6)


# ---- whether it fits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "fits", "on_gpu"),
    [
        (MachineResources(1000), True, False),
        (MachineResources(999), False, False),
        (MachineResources(None), None, False),
        (MachineResources(0, (1000,)), True, True),
        (MachineResources(0, (600, 400)), True, True),
        (MachineResources(600, (400,)), True, False),
        (MachineResources(599, (400,)), False, False),
        (MachineResources(None, (1000,)), True, True),
        (MachineResources(None, (999,)), None, False),
    ],
)
def test_memory_and_gpus_together(machine, fits, on_gpu):
    """A model that does not fit the GPUs is split; if memory is unknown, only a GPU can confirm."""
    found = need(1000, machine=machine)
    assert (found.fits, found.fits_on_gpu) == (fits, on_gpu)


def test_the_longest_context_that_fits():
    """What the weights and buffers leave, in whole steps."""
    machine = MachineResources(1000 + 10 * (3 * CONTEXT_STEP_TOKENS) + 9)
    assert need(1000, weights=900, per_token=10, machine=machine).max_context_tokens == 3 * CONTEXT_STEP_TOKENS
    assert need(1000, weights=900, per_token=10, machine=MachineResources(500)).max_context_tokens == 0
    assert (
        need(1000, machine=machine).max_context_tokens == 0
        and need(1000, per_token=1, machine=MachineResources(None)).max_context_tokens == 0
    )


# ---- how fast ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "speed"),
    [
        (MachineResources(10**6, (), 5000), 10),
        (MachineResources(10**6), None),
        (MachineResources(10**6, (250,), 5000), pytest.approx(10 / 0.75)),  # a quarter is on the GPU
        (MachineResources(10**6, (1000,), 5000), None),
    ],
)
def test_speed_is_bandwidth_over_what_a_token_reads(machine, speed):
    """Of the part in main memory; unknown on a GPU alone."""
    assert need(1000, read=500, machine=machine).tokens_per_second == speed
    assert need(1000, machine=machine).tokens_per_second is None


def test_every_layer_takes_its_time(tiny):
    """However small its weights are."""
    found = fit(tiny, "llama", MachineResources(10**12, (), 1e9))
    assert 1 / found.tokens_per_second == pytest.approx(found.read_bytes_per_token / 1e9 + 2 * 2e-4)


def test_a_mixture_reads_the_experts_that_it_uses(tiny):
    """Two of six, and all of the rest."""
    header = read_header(tiny("qwen3moe"))
    experts = sum(t.nbytes for t in header.tensors if "_exps." in t.name)
    embeddings = sum(t.nbytes for t in header.tensors if t.name == "token_embd.weight")
    assert experts and any(t.name == "output.weight" for t in header.tensors)
    rest = header.weights_bytes - experts - embeddings
    share = (rest + experts / 3) / header.weights_bytes
    assert fit(tiny, "qwen3moe", size=10**9).read_bytes_per_token == pytest.approx(share * 10**9, abs=1)


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (("token_embd.weight", "blk.0.attn_q.weight"), 256),  # the embeddings also give the logits
        (("token_embd.weight", "output.weight"), 128),
        (("per_layer_token_embd.weight", "output.weight"), 128),
        ((), None),
    ],
)
def test_one_row_of_a_table_is_negligible(names, read):
    """A token reads one row of its embeddings, unless they are the output layer too."""
    tensors = tuple(tensor(name.encode(), offset=128 * number) for number, name in enumerate(names))
    content = gguf(ARCHITECTURE, entry(b"general.name", 8, text(b"x")), tensors=tensors, data=256)
    header = parse_header(io.BytesIO(content), len(content), "m.gguf")
    assert estimate_memory(header, 256, 1, PLENTY).read_bytes_per_token == read


def test_a_policy_measures_the_machine_when_it_estimates(tiny):
    """The context and the type of cache are those of the policy."""
    asked = []
    policy = FitPolicy(lambda: asked.append(1) or PLENTY, context_tokens=100, kv_type="q8_0")
    assert not asked
    found = policy.estimate(read_header(tiny("llama")), 10**6)
    assert (found.weight_bytes, found.context_tokens, found.kv_bytes_per_token, found.machine) == (
        10**6,
        100,
        136,
        PLENTY,
    )
