"""Sequence ids: none is lost, allocated twice or confused, and those of running sequences are consecutive."""

from __future__ import annotations

import dataclasses
import itertools
import types

import pytest
from engine.tools import Bench, Probe, close, each_model, each_smooth_model, equal, for_all, numbers
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.kv.layouts import UnifiedKV
from llmcli.engine.kv.prefix_index import _MIN_TOKENS_LEFT_TO_MOVE
from llmcli.engine.kv.sequence_ids import CachedPrefix, SequenceIdPool
from llmcli.engine.llama.context import Context
from llmcli.engine.tuning.planner import Planner

STREAMS = {"unified": False, "kv_type": "q8_0"}
FIXED = EngineOptions(kv_unified=True, kv_type="f16", flash_attention=True)


class Cells:
    """A memory that knows the owner of each id, and refuses what would crash a real one."""

    def __init__(self):
        self.content = {}

    def move_sequence(self, source, target):
        assert source in self.content and target not in self.content
        self.content[target] = self.content.pop(source)

    def remove_sequence(self, slot):
        self.content.pop(slot, None)

    def truncate(self, slot, length):
        assert slot in self.content and length == 0
        return True

    def clear(self):
        self.content.clear()


def owner(*, ended=False):
    return types.SimpleNamespace(ended=ended)


class Machine(RuleBasedStateMachine):
    """Sequences start, end, are cached and evicted in any order, on a few ids."""

    @initialize(count=st.integers(1, 9))
    def begin(self, count):
        self.count = count
        self.names = itertools.count()
        self.memory = Cells()
        self.places = SequenceIdPool(self.memory, count)
        self.running = {}
        self.kept = {}

    def _came(self, slot):
        self.memory.content[slot] = next(self.names)
        return self.memory.content[slot]

    def _sync(self):
        """Drop what the pool was allowed to evict."""
        self.kept = {slot: name for slot, name in self.kept.items() if slot in self.places.cached}

    @rule(data=st.data())
    def take(self, data):
        """A sequence gets the lowest free id, if necessary that of the least recently used prefix."""
        keep = data.draw(st.sampled_from([None, *self.places.cached]))
        free, kept = sorted(self.places.free_ids), dict(self.places.cached)
        oldest = next((slot for slot, each in kept.items() if slot != keep and not each.is_awaited), None)
        slot = self.places.allocate(keep)
        assert slot == (free[0] if free else oldest)
        if free:
            assert self.places.cached == kept
        self._sync()
        if slot is not None:
            self.running[slot] = self._came(slot)

    @rule(needed=st.booleans())
    def take_last(self, needed):
        """A restored state gets the highest id."""
        free = sorted(self.places.free_ids)
        slot = self.places.allocate_highest()
        self._sync()
        assert slot == free[-1] if free else slot not in self.kept
        if slot is not None:
            self.kept[slot] = self._came(slot)
            self.places.retain(slot, CachedPrefix([self.kept[slot]], owner() if needed else None))
            self._sync()
            assert slot in self.kept

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kept=st.booleans(), needed=st.booleans())
    def end(self, data, kept, needed):
        """A sequence ends; its tokens are cached or not."""
        slot = data.draw(st.sampled_from(sorted(self.running)))
        name = self.running.pop(slot)
        if kept:
            self.kept[slot] = name
            self.places.retain(slot, CachedPrefix([name], owner() if needed else None))
            self._sync()
            assert slot in self.kept
        else:
            self.places.remove_sequence(slot)

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), what=st.sampled_from(["forget", "used", "end of its owner"]))
    def touch(self, data, what):
        """A prefix is evicted, used, or no longer awaited."""
        slot = data.draw(st.sampled_from(sorted(self.kept)))
        if what == "forget":
            self.places.evict(slot)
            assert slot not in self.places.cached
        elif what == "used":
            self.places.mark_used(slot)
            assert list(self.places.cached)[-1] == slot
        elif self.places.cached[slot].owner is not None:
            self.places.cached[slot].owner.ended = True
        self._sync()

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), length=st.integers(0, 1))
    def allocate_cached(self, data, length):
        """A sequence gets the id of a cached prefix."""
        slot = data.draw(st.sampled_from(sorted(self.kept)))
        assert self.places.allocate_cached(slot, length)
        self.running[slot] = self.kept.pop(slot)

    @rule(needed=st.booleans())
    def forget_one(self, needed):
        """Evict the least recently used prefix; one that is awaited only if requested."""
        order = [slot for slot, each in self.places.cached.items() if needed or not each.is_awaited]
        assert self.places.evict_lru(needed=needed) is bool(order)
        assert not order or order[0] not in self.places.cached
        self._sync()

    @rule(data=st.data(), least=st.integers(0, 3))
    def close_ranks(self, data, least):
        """Running sequences get the ids from 0 on, unless an awaited prefix or one that is nearly done blocks them."""
        rest = {slot: data.draw(st.integers(0, 5)) for slot in self.running}
        moved = self.places.compact(rest, least)
        assert moved.keys() <= self.running.keys()
        assert all(rest[old] >= least and new < old for old, new in moved.items())
        self.running = {moved.get(slot, slot): name for slot, name in self.running.items()}
        assert len(self.running) == len(rest)
        names = dict(self.memory.content)
        self.kept = {slot: names[slot] for slot in self.places.cached}
        rest = {moved.get(slot, slot): left for slot, left in rest.items()}
        holes = set(range(len(rest))) - set(rest)
        in_the_way = any(slot in self.places.cached and self.places.cached[slot].is_awaited for slot in holes)
        assert not holes or in_the_way or rest[max(rest)] < least

    @rule()
    def clear(self):
        """All ids are free again."""
        self.places.clear()
        self.running.clear()
        self.kept.clear()
        assert self.places.allocate() == 0
        self.places.free(0)

    @invariant()
    def each_id_is_free_kept_or_running(self):
        assert sorted([*self.places.free_ids, *self.places.cached, *self.running]) == list(range(self.count))

    @invariant()
    def everybody_has_what_is_theirs(self):
        assert self.memory.content == {**self.kept, **self.running}
        assert all(each.tokens == [self.kept[slot]] for slot, each in self.places.cached.items())
        assert self.places.cached_tokens == len(self.kept)

    @invariant()
    def few_are_kept(self):
        assert sum(each.owner is None for each in self.places.cached.values()) <= 4


Machine.TestCase.settings = settings(deadline=None, max_examples=80, stateful_step_count=40)
TestPlaces = Machine.TestCase


# ---- ranks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def places():
    """Return a function that makes a pool with running sequences at some ids, and cached ones (True: awaited)."""

    def make(count, running, kept=None):
        memory = Cells()
        made = SequenceIdPool(memory, count)
        memory.content = {slot: f"s{slot}" for slot in [*running, *(kept or {})]}
        made.free_ids = [slot for slot in range(count) if slot not in memory.content]
        made.cached = {slot: CachedPrefix([slot], owner() if needed else None) for slot, needed in (kept or {}).items()}
        return made

    return make


@pytest.mark.parametrize(
    ("count", "running", "kept", "moved"),
    [
        (6, [], {}, {}),
        (6, [0, 1, 2], {}, {}),
        (6, [0, 2], {}, {2: 1}),
        (6, [3, 4, 5], {}, {5: 0, 4: 1, 3: 2}),
        (6, [1, 2, 5], {}, {5: 0}),
        (4, [1, 2], {0: False}, {2: 0}),  # a cached prefix moves up
        (3, [1, 2], {0: False}, {2: 0}),  # there is no room above: it is evicted
        (4, [1, 2], {0: True}, {2: 0}),  # it is awaited, and has room above
        (3, [1, 2], {0: True}, {}),  # it is awaited, and has no room
    ],
)
def test_sequences_move_to_gaps(places, count, running, kept, moved):
    """The last sequence moves to the first gap; none moves without need."""
    made = places(count, running, kept)
    assert made.compact(dict.fromkeys(running, 100), 8) == moved
    for old, new in moved.items():
        assert made.memory.content[new] == f"s{old}"
    assert all(made.memory.content[slot] == f"s{each.tokens[0]}" for slot, each in made.cached.items())
    assert all(each in [k.tokens[0] for k in made.cached.values()] for each, needed in kept.items() if needed)


def test_cached_prefixes_move_up_before_any_is_evicted(places):
    """If a higher id is free, a prefix moves there with all of its tokens."""
    made = places(6, [1, 2], {0: False})
    made.compact({1: 100, 2: 100}, 8)
    assert made.cached == {5: CachedPrefix([0])} and made.memory.content[5] == "s0"


def test_a_sequence_that_is_nearly_done_does_not_move(places):
    """Moving costs more than its few remaining tokens."""
    assert places(4, [0, 3]).compact({0: 100, 3: 7}, 8) == {}
    assert places(4, [0, 3]).compact({0: 1, 3: 8}, 8) == {3: 1}


def test_a_finished_owner_awaits_nothing():
    """A prefix is awaited as long as the request runs whose forks wait for it."""
    assert CachedPrefix([1], owner()).is_awaited
    assert not CachedPrefix([1], owner(ended=True)).is_awaited and not CachedPrefix([1]).is_awaited


# ---- in separate buffers ---------------------------------------------------------------------------------------------


def staggered(count, salt):
    """Return probes with prompts and answers of so many lengths that they end in no particular order."""
    return [Probe(f"p{i}", numbers(8 + 5 * (i % 7), salt + i), numbers(3 + 11 * i % 37, i)) for i in range(count)]


@pytest.mark.parametrize("name", ["chatml", "gemma3", "mamba", "lfm2"])
def test_rows_of_a_batch_have_consecutive_ids(bench, monkeypatch, name):
    """With sequences that join and leave, each batch has the ids from 0 on in ascending order.

    There is a gap only while the last sequence is nearly done.
    """
    scheduler = bench(name, **STREAMS)
    evaluate = Context.evaluate
    gaps = []

    def watched(context, **how):
        rows = list(context.batch._sequences[: context.batch.size])
        rest = {s.slot: s.tokens_left for s in scheduler.scheduler._running}
        ids = sorted(rest)
        assert rows == sorted(rows) and set(rows) <= set(ids)
        assert ids == list(range(len(ids))) or rest[ids[-1]] < _MIN_TOKENS_LEFT_TO_MOVE
        if len(ids) > 2:
            gaps.append(ids[-1] - ids[0] + 1 - len(ids))
        return evaluate(context, **how)

    monkeypatch.setattr(Context, "evaluate", watched)
    waiting = staggered(40, 1)
    for probe in waiting:
        scheduler.add(probe)
        for _ in range(3):
            scheduler.step()
    scheduler.run()
    assert len(gaps) > 80 and gaps.count(0) > 0.6 * len(gaps)


@each_model
def test_moving_changes_no_bit(bench, name):
    """Whoever joins, leaves or is moved meanwhile, each answer is bit-identical to the answer alone."""
    scheduler = bench(name, **STREAMS)
    probes = staggered(24, 3)
    moves = []
    move = scheduler.prefix_index.compact_ids

    def watched(running):
        before = [s.slot for s in running]
        move(running)
        moves.append([s.slot for s in running] != before)

    scheduler.prefix_index.compact_ids = watched
    scheduler.add(*probes[:10])
    for probe in probes[10:]:
        scheduler.add(probe)
        scheduler.step()
        scheduler.step()
    scheduler.run()
    assert sum(moves) > 5, "no sequence was moved"
    for probe in probes[:: 5 if name == "chatml" else 11]:
        alone = Probe("alone", probe.tokens[: probe.prompt_length], probe.tokens[probe.prompt_length :])
        bench(name, **STREAMS).run(alone)
        equal(probe.rows, alone.rows)


@for_all(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20), st.integers(0, 4)), min_size=2, max_size=9), examples=20
)
def test_any_job_is_exact(models, jobs):
    """Prompts and answers of any lengths, joining at any time, are bit-identical to each alone."""

    def run(*probes, pauses):
        scheduler = Bench(models("chatml"), **STREAMS)
        try:
            for probe, pause in zip(probes, pauses, strict=True):
                scheduler.add(probe)
                for _ in range(pause if scheduler.scheduler.has_work else 0):
                    scheduler.step()
            scheduler.run()
        finally:
            scheduler.close()

    def probes():
        return [Probe(f"p{i}", numbers(a, i), numbers(b, 7 * i)) for i, (a, b, _) in enumerate(jobs)]

    together, alone = probes(), probes()
    run(*together, pauses=[pause for _, _, pause in jobs])
    for probe in alone[:3]:
        run(probe, pauses=[0])
    for a, b in zip(together, alone[:3], strict=False):
        equal(a.rows, b.rows)


# ---- gaps between cells ----------------------------------------------------------------------------------------------


@pytest.fixture
def restored(monkeypatch):
    """Record the id of every state that is restored after the memory was last cleared."""
    seen = []
    restore = Context.restore_state
    clear = UnifiedKV.clear

    def cleared(memory):
        seen.clear()
        clear(memory)
        seen.append("cleared")

    monkeypatch.setattr(UnifiedKV, "clear", cleared)

    def watched(context, slot, state):
        seen.append(slot)
        return restore(context, slot, state)

    monkeypatch.setattr(Context, "restore_state", watched)
    return seen


@pytest.fixture
def compacting(bench, models):
    """Return a function that makes a scheduler with a planner, which compacts its cache between jobs."""

    def make(name, **config):
        scheduler = bench(name, **config)
        scheduler.kv_cache._planner = Planner(models(name), FIXED, 1)
        return scheduler

    return make


@each_smooth_model
def test_cached_prefixes_are_compacted_after_a_large_job(compacting, bench, restored, name):
    """When few of thousands of used cells remain, those move to the front, and can still be reused."""
    scheduler = compacting(name)
    large = [Probe(f"l{i}", numbers(200 + i, i), numbers(20, i)) for i in range(16)]
    scheduler.run(*large)
    crest = scheduler.kv_cache._peak_cached_tokens
    assert not restored and crest > 16 * 200
    kept = {slot: list(each.tokens) for slot, each in scheduler.kv_cache.id_pool.cached.items()}
    again = Probe("again", large[15].tokens[: large[15].num_computed_tokens] + numbers(9, 5), numbers(6, 5))
    scheduler.run(again)
    assert restored[0] == "cleared" and sorted(restored[1:]) == sorted(kept)
    assert scheduler.kv_cache._peak_cached_tokens < crest / 2
    assert again.num_cached_tokens >= 200
    fresh = Probe("fresh", again.tokens[: again.prompt_length], numbers(6, 5))
    bench(name).run(fresh)
    close(again.rows, fresh.rows)


def test_a_small_job_moves_nothing(compacting, restored):
    """Some hundred unused cells cost less than moving."""
    scheduler = compacting("chatml")
    for turn in range(4):
        scheduler.run(*[Probe(f"p{i}", numbers(20 + i, turn + i), numbers(3, i)) for i in range(8)])
    assert not restored


def test_separate_buffers_are_not_compacted(bench, models, restored):
    """Each sequence has its own cells from the first on, so there is nothing to gain."""
    scheduler = bench("chatml", unified=False, exact=False)
    scheduler.kv_cache._planner = Planner(models("chatml"), dataclasses.replace(FIXED, kv_unified=False), 1)
    scheduler.run(*[Probe(f"l{i}", numbers(200 + i, i), numbers(20, i)) for i in range(16)])
    scheduler.run(Probe("again", numbers(90, 3), numbers(3, 3)))
    assert scheduler.kv_cache._peak_cached_tokens > 16 * 200 and not restored
