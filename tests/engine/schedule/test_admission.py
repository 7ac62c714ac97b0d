"""The waiting sequences that run next, tested without a model."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from engine.tools import ListSink, Probe, numbers, req

from llmcli.engine.schedule.admission import MIN_SHARED_PREFIX_TOKENS, AdmissionPolicy
from llmcli.engine.sequences.scoring_sequence import CandidateFork, ScoringSequence
from llmcli.types import Priority

SHARED = numbers(100, 1)


@dataclass
class FakeCache:
    """The properties of a KV cache that admission depends on."""

    concurrency: int = 4
    supports_partial_prefix: bool = True
    per_sequence_buffers: bool = False
    prefill_budget: int | None = None


class FakeIndex:
    """Reports the same number of cached tokens for every sequence."""

    def __init__(self, cached: int) -> None:
        self.cached = cached

    def count_reusable_tokens(self, _sequence, _running) -> int:
        return self.cached


def policy(*, cached: int = 0, **cache) -> AdmissionPolicy:
    return AdmissionPolicy(FakeCache(**cache), FakeIndex(cached))


def sequence(name: str, tokens=(3, 4, 5), sink=None, forced=(7,), **fields) -> Probe:
    probe = Probe(name, list(tokens), list(forced), **fields)
    probe.sink = sink or probe.sink
    return probe


def names(sequences) -> str:
    return "".join(each.request.id for each in sequences)


def test_candidates_are_limited_and_in_order():
    """One client's sequences stay in the order in which they wait."""
    sink = ListSink()
    assert names(policy().next_candidates([sequence(name, sink=sink) for name in "abcdef"], [])) == "abcd"


def test_clients_alternate_and_stalled_ones_are_skipped():
    """Running sequences count; no more are admitted for a consumer that does not read."""
    many, few, stalled = ListSink(), ListSink(), ListSink()
    stalled.full = True
    waiting = [
        *(sequence(name, sink=many) for name in "abc"),
        *(sequence(name, sink=few) for name in "xy"),
        sequence("s", sink=stalled),
    ]
    assert names(policy().next_candidates(waiting, [])) == "axby"
    assert names(policy().next_candidates(waiting, [sequence("r", sink=many)])) == "xayb"


def test_interactive_sequences_come_first():
    """Whatever else their client has running."""
    sink = ListSink()
    urgent = sequence("u", sink=sink, priority=Priority.INTERACTIVE)
    running = [sequence(name, sink=sink) for name in "pq"]
    assert names(policy().next_candidates([sequence("a"), urgent], running)) == "ua"


@pytest.mark.parametrize(("cached", "waits"), [(0, True), (100 - MIN_SHARED_PREFIX_TOKENS, True), (90, False)])
def test_a_sequence_waits_for_a_prefix_under_evaluation(cached, waits):
    """Only if that saves enough beyond what is cached."""
    running = [sequence("r", [*SHARED, 5])]
    assert policy(cached=cached).should_wait(sequence("w", [*SHARED, 6]), running) is waits


def test_a_sequence_does_not_wait_for_evaluated_or_stalled_prefixes():
    """Neither would help."""
    evaluated, stalled = sequence("e", SHARED), sequence("s", SHARED)
    evaluated.num_computed_tokens = len(SHARED)
    stalled.sink.full = True
    assert not policy().should_wait(sequence("w", [*SHARED, 6]), [evaluated, stalled])


def test_a_state_that_cannot_be_truncated_is_awaited_only_at_its_checkpoint():
    """A checkpoint within the common prefix is worth waiting for, a later one is not."""
    running, waiting = sequence("r", [*SHARED, 5]), sequence("w", [*SHARED, 6])
    whole = policy(supports_partial_prefix=False)
    assert not whole.should_wait(waiting, [running])
    running.checkpoint_at = len(SHARED)
    assert whole.should_wait(waiting, [running])
    running.checkpoint_at = len(SHARED) + 1
    assert not whole.should_wait(waiting, [running])


@pytest.mark.parametrize(
    ("budget", "forced", "waits"), [(3, (), True), (4, (), False), (None, (), False), (3, (7,), False)]
)
def test_prefill_only_prompts_wait_while_enough_run(budget, forced, waits):
    """More would only enlarge the buffer that all attend to."""
    running = [sequence("r", forced=())]
    assert policy(prefill_budget=budget).should_wait(sequence("w", [9, 8], forced=forced), running) is waits


def test_a_checkpoint_is_where_others_branch_off():
    """Otherwise where the next turn of the conversation begins; none if any prefix can be copied."""
    own, other = sequence("o", [*SHARED, 5]), sequence("w", [*SHARED, 6])
    whole = policy(supports_partial_prefix=False)
    assert policy().checkpoint_position(own, [other]) is None
    assert whole.checkpoint_position(own, [other]) == len(SHARED)
    assert whole.checkpoint_position(own, []) is None
    own.turn_prefix_length = 40
    assert whole.checkpoint_position(own, []) == 40


def test_tokens_are_cached_if_the_next_sequences_reuse_them():
    """In a shared buffer always; otherwise only what no other id has, and never a part of a candidate."""
    ended, other = sequence("e", [*SHARED, 5]), sequence("w", [*SHARED, 6])
    assert policy().is_worth_caching(ended, [sequence("x")], [])
    assert policy(per_sequence_buffers=True).is_worth_caching(ended, [], [])
    assert policy(per_sequence_buffers=True).is_worth_caching(ended, [other], [])
    assert not policy(per_sequence_buffers=True).is_worth_caching(ended, [sequence("x")], [])
    assert policy(per_sequence_buffers=True, cached=90).is_worth_caching(ended, [other], [])
    assert not policy(per_sequence_buffers=True, cached=90).is_worth_caching(ended, [other], [sequence("r")])
    assert not policy(per_sequence_buffers=True, cached=93).is_worth_caching(ended, [other], [])
    parent = ScoringSequence(req("s", candidates=("a", "b")), [1], [[1, 2, 3], [1, 4, 5]], ListSink())
    assert not policy().is_worth_caching(CandidateFork(parent, 0, [1, 2], [2, 3]), [], [])
