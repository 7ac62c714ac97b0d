"""The prefix index finds prefixes in a KV cache, and only the cache has state."""

from __future__ import annotations

import pytest
from engine.tools import Probe, each_model, numbers

from llmcli.engine.llama import bindings

SHARED = numbers(80, 1)


def ran(bench, name: str, tokens: list[int]) -> Probe:
    probe = Probe(name, tokens, [])
    bench.run(probe)
    return probe


def test_an_index_keeps_no_state_of_its_own(bench):
    """Another index of the same cache finds the same prefix."""
    scheduler = bench("llama")
    ran(scheduler, "a", SHARED)
    other = type(scheduler.prefix_index)(scheduler.kv_cache)
    later = Probe("b", [*SHARED, 5, 6, 7], [])
    assert other.count_reusable_tokens(later, []) == len(SHARED)
    assert vars(other) == {"_cache": scheduler.kv_cache}


def test_an_index_of_a_closed_cache_finds_nothing(bench):
    """The prefixes are lost with the context that held them."""
    scheduler = bench("llama")
    ran(scheduler, "a", SHARED)
    scheduler.kv_cache.close()
    assert scheduler.prefix_index.count_reusable_tokens(Probe("b", [*SHARED, 5], []), []) == 0
    assert scheduler.prefix_index.unsaved_sessions() == []


def test_prefixes_in_memory_count_as_reusable(bench):
    """A state that was saved when the memory was released is restored for the next sequence that begins with it."""
    scheduler = bench("llama")
    ran(scheduler, "a", SHARED)
    scheduler.kv_cache.release_memory()
    later = Probe("b", [*SHARED, 5, 6, 7], [])
    assert scheduler.prefix_index.count_reusable_tokens(later, []) == len(SHARED)
    scheduler.run(later)
    assert later.num_cached_tokens == len(SHARED)


@pytest.mark.parametrize("same", [SHARED[:50], [*SHARED, 9]])
def test_the_token_whose_logits_are_needed_is_never_reused(bench, same):
    """At least the last token of a prompt is evaluated."""
    scheduler = bench("llama")
    ran(scheduler, "a", SHARED)
    assert scheduler.prefix_index.count_reusable_tokens(Probe("b", same, []), []) == len(same) - 1


@pytest.mark.parametrize("config", [{}, {"unified": False, "kv_type": "q8_0"}], ids=["unified", "streams"])
@each_model
def test_the_last_id_keeps_the_prefix_that_its_sequence_begins_with(bench, name, config):
    """Without another id the sequence takes the place of the cached prefix, as far as the memory can be truncated."""
    scheduler = bench(name, **config)
    ran(scheduler, "a", SHARED)
    pool, index = scheduler.kv_cache.id_pool, scheduler.prefix_index
    whole, part = Probe("b", [*SHARED, 5, 6], []), Probe("c", [*SHARED[:50], 5, 6], [])
    (slot,) = pool.cached
    pool.free_ids.clear()
    assert index.allocate(whole, [])
    assert (whole.slot, whole.num_computed_tokens) == (slot, len(SHARED))
    index.release(whole, None, useful=True)
    assert index.allocate(part, [])
    kept = 50 if scheduler.kv_cache.supports_partial_prefix and scheduler.kv_cache.supports_truncation else 0
    assert part.slot == slot and part.num_computed_tokens == kept
    assert bindings.lib().llama_memory_seq_pos_max(scheduler.kv_cache.context.memory, slot) == kept - 1
