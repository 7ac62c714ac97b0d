"""The contents of a context move to the next one; what does not fit there is evaluated again or dropped."""

from __future__ import annotations

from engine.tools import Probe, numbers

from llmcli.engine.kv.saved_contents import SavedContents, compact_cells
from llmcli.engine.kv.sequence_ids import CachedPrefix, SequenceIdPool
from llmcli.engine.llama.context import ContextConfig


class Owner:
    """A scoring request whose forks are still to come."""

    ended = False


class FakeMemory:
    """Removes, copies and clears sequences on a list."""

    supports_partial_prefix = True

    def __init__(self) -> None:
        self.calls: list[object] = []

    def remove_sequence(self, slot: int) -> None:
        self.calls.append(slot)

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        self.calls.append((source, target, length))

    def clear(self) -> None:
        self.calls.append("clear")


class FakeContext:
    """Saves the id of a sequence as its state; restores all states except those in ``refused``."""

    config = ContextConfig(256, 8)

    def __init__(self, *refused: bytes, sizes: dict[int, int] | None = None) -> None:
        self.refused, self.sizes = refused, sizes or {}
        self.restored: dict[int, bytes] = {}

    def save_state_or_file(self, slot: int) -> bytearray:
        return bytearray(b"%d" % slot)

    def state_size(self, slot: int) -> int:
        return self.sizes[slot]

    def restore_state(self, slot: int, state: bytes) -> bool:
        if bytes(state) in self.refused:
            return False
        self.restored[slot] = bytes(state)
        return True


def running(slot: int) -> Probe:
    probe = Probe(f"r{slot}", numbers(10, slot), [])
    probe.slot, probe.num_computed_tokens = slot, 7
    return probe


def scored(slot: int, *, shared: int, own: int, answer: int = 0) -> Probe:
    """Return a prompt of which all but the last token is evaluated; it is scored, or gets an answer of some tokens."""
    probe = Probe(f"s{slot}", [*numbers(shared, 0), *numbers(own, 1000 + slot)], numbers(answer, 0))
    probe.slot, probe.num_computed_tokens, probe.first_logit = slot, shared + own - 1, shared + own - 1
    return probe


def pool_of(*cached: CachedPrefix, size: int = 8) -> SequenceIdPool:
    pool = SequenceIdPool(FakeMemory(), size)
    for prefix in cached:
        pool.retain(pool.allocate_highest(), prefix)
    return pool


def save(pool, *sequences, restorable: bool = True) -> SavedContents:
    return SavedContents.save(FakeContext(), pool, list(sequences), restorable=restorable)


def test_only_awaited_prefixes_are_saved():
    """A prefix that no waiting sequence needs is not worth the time of a resize."""
    contents = save(pool_of(CachedPrefix([1]), CachedPrefix([2], Owner())), running(0))
    assert [prefix.tokens for prefix, _ in contents.prefixes] == [[2]]
    assert [state for _, state in contents.running] == [b"0"]


def test_conversations_that_may_go_on_are_saved():
    """Their answers took long to write; large ones, and those that a request has continued, are not."""
    pool = pool_of(CachedPrefix([1], is_open=True), CachedPrefix([2], is_open=True), CachedPrefix([3]))
    context = FakeContext(sizes={7: 1000, 6: 1 << 30})
    contents = SavedContents.save(context, pool, [], restorable=True)
    assert [prefix.tokens for prefix, _ in contents.prefixes] == [[1]]
    contents.restore(context, pool := pool_of(size=4))
    assert [prefix.tokens for prefix in pool.cached.values()] == [[1]]
    pool.mark_used(3)
    assert not pool.cached[3].is_open


def test_states_that_cannot_be_restored_are_not_saved():
    """The sequences start again, without an id."""
    sequence = running(3)
    contents = save(pool_of(CachedPrefix([2], Owner())), sequence, restorable=False)
    assert contents.prefixes == [] and contents.running == [(sequence, None)]
    contents.restore(FakeContext(), pool := pool_of())
    assert (sequence.slot, sequence.num_computed_tokens, len(pool.free_ids)) == (None, 0, 8)


def test_sequences_get_the_lowest_ids_and_prefixes_the_highest():
    """The ids of running sequences are consecutive in the new context."""
    sequences = [running(4), running(2)]
    contents = save(pool_of(CachedPrefix([2], Owner())), *sequences)
    context, pool = FakeContext(), pool_of(size=4)
    contents.restore(context, pool)
    assert [sequence.slot for sequence in sequences] == [0, 1]
    assert context.restored == {0: b"4", 1: b"2", 3: b"7"}
    assert list(pool.cached) == [3] and sorted(pool.free_ids) == [2]


def test_a_common_prefix_is_stored_once():
    """Of scored prompts that share most of what is evaluated, one moves; the others wait for its prefix."""
    sequences = [scored(0, shared=20, own=5), scored(1, shared=20, own=5), scored(2, shared=20, own=30)]
    contents = save(pool_of(), *sequences)
    assert [state for _, state in contents.running] == [b"0", None, b"2"]
    contents.restore(FakeContext(), pool_of(size=4))
    assert [(sequence.slot, sequence.num_computed_tokens) for sequence in sequences] == [(0, 24), (None, 0), (1, 49)]


def test_answers_are_saved_whole():
    """A token that is evaluated again might be followed by another one."""
    sequences = [scored(0, shared=20, own=5), scored(1, shared=20, own=5, answer=8)]
    assert [state for _, state in save(pool_of(), *sequences).running] == [b"0", b"1"]


def test_what_does_not_fit_is_evaluated_again_or_dropped():
    """A refused sequence starts again; it and a refused prefix free their ids."""
    sequence = running(4)
    contents = save(pool_of(CachedPrefix([2], Owner())), sequence)
    pool = pool_of(size=4)
    contents.restore(FakeContext(b"4", b"7"), pool)
    assert (sequence.slot, sequence.num_computed_tokens) == (None, 0)
    assert not pool.cached and sorted(pool.free_ids) == [0, 1, 2, 3]


def test_prefixes_without_an_id_are_dropped():
    """Running sequences come first."""
    sequences = [running(0), running(1)]
    contents = save(pool_of(CachedPrefix([2], Owner())), *sequences)
    pool = pool_of(size=2)
    contents.restore(FakeContext(), pool)
    assert [sequence.slot for sequence in sequences] == [0, 1] and not pool.cached


def test_compaction_clears_the_memory_and_restores_every_prefix():
    """A prefix whose state is refused is evicted."""
    pool, context = pool_of(CachedPrefix([1]), CachedPrefix([2])), FakeContext(b"7")
    compact_cells(context, pool)
    assert pool.memory.calls == ["clear", 7]
    assert list(pool.cached) == [6] and context.restored == {6: b"6"}
