"""Saved states that are restored, in a larger context or by a later process, are valid prefixes for other sequences."""

from __future__ import annotations

import pytest
from engine.tools import GENERATIVE, SMOOTH, Probe, close, equal, numbers
from grid import grid

EXACT = {"unified": False, "kv_type": "q8_0"}
STREAMS = {"unified": False, "exact": False}
KINDS = [(n, c) for c, names in (({}, SMOOTH), (STREAMS, SMOOTH), (EXACT, GENERATIVE)) for n in names]
each_kind = grid(
    ("name", "config"),
    KINDS,
    ids=[f"{n}-{('exact' if c == EXACT else 'streams') if c else 'unified'}" for n, c in KINDS],
    rows=5,
)
SHARED = numbers(100, 3)


@pytest.fixture
def check(bench):
    """Return a function that runs two probes that begin with ``SHARED``, and compares them with fresh ones."""

    def run(scheduler, name, config):
        probes = [Probe(f"p{i}", SHARED + numbers(3 + 40 * i, 6 + i), numbers(60, i)) for i in range(2)]
        scheduler.run(*probes)
        for i, probe in enumerate(probes):
            fresh = Probe("fresh", SHARED + numbers(3 + 40 * i, 6 + i), numbers(60, i))
            bench(name, **config).run(fresh)
            (equal if config == EXACT else close)(probe.rows, fresh.rows)
        return probes

    return run


@each_kind
def test_a_prefix_is_valid_after_a_move_to_a_larger_context(bench, check, name, config):
    """A sequence continues in a larger context, far beyond an attention window; its prefix serves others."""
    scheduler = bench(name, **config)
    donor = Probe("donor", SHARED + numbers(60, 5), numbers(200, 9))
    scheduler.add(donor)
    while not donor.rows:
        scheduler.step()
    assert scheduler.kv_cache.grow_context(scheduler.scheduler._running)
    scheduler.run()
    check(scheduler, name, config)


@each_kind
def test_a_prefix_from_an_earlier_process_is_valid(bench, check, name, config):
    """A state that another process saved continues as if it had been evaluated here."""

    def warm():
        scheduler = bench(name, **config)
        scheduler.run(*[Probe(f"w{i}", numbers(40 + 350 * (i == 0), 70 + i), []) for i in range(6)])
        while scheduler.prefix_index.evict_lru():
            pass
        return scheduler

    earlier = warm()
    earlier.run(Probe("earlier", SHARED, []))
    state = earlier.kv_cache.context.save_state(next(iter(earlier.kv_cache.id_pool.cached)))
    scheduler = warm()
    scheduler.prefix_index.insert_state(list(SHARED), state)
    first, _ = check(scheduler, name, config)
    assert first.num_cached_tokens == (100 if scheduler.kv_cache.state_restorable else 0)
