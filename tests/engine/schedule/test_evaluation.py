"""When an evaluation is aborted, and whose work that costs."""

from __future__ import annotations

from operator import attrgetter

import pytest
from engine.tools import Probe, numbers

from llmcli.engine.schedule.batch import BatchEntry
from llmcli.engine.schedule.evaluation import Evaluation


def entries_of(*counts, deadlines=()):
    """Return a batch of sequences with these numbers of tokens and these deadlines."""
    deadlines = [*deadlines, *[None] * len(counts)]
    return [
        BatchEntry(Probe(str(i), numbers(5, i), [], deadline=deadline), count, [])
        for i, (count, deadline) in enumerate(zip(counts, deadlines, strict=False))
    ]


@pytest.mark.parametrize(
    ("counts", "leaving", "expected"),
    [
        ([10], {0}, True),
        ([10], set(), False),
        ([9, 1], {0}, True),
        ([8, 2], {0}, False),
        ([1, 500], {0}, False),
        ([250, 250, 50], {0, 1}, True),
    ],
)
def test_only_what_is_nearly_all_for_those_who_leave_is_aborted(counts, leaving, expected):
    """A tenth of an evaluation may be lost for others, no more."""
    entries = entries_of(*counts)
    evaluation = Evaluation(entries, [], can_roll_back=True)
    assert evaluation.is_only_for(lambda sequence: int(sequence.request.id) in leaving) is expected


def test_many_who_leave_one_after_the_other_end_it_together():
    """Each sequence has a small share; once all but one are cancelled, hardly any of the evaluation is needed."""
    entries = entries_of(*[10] * 11)
    evaluation = Evaluation(entries, [], can_roll_back=True)
    left = [
        evaluation.is_only_for(lambda sequence, gone=gone: sequence is gone)
        for gone in map(attrgetter("sequence"), entries)
    ]
    assert left == [False] * 9 + [True] * 2
    assert not Evaluation(entries, [], can_roll_back=True).is_only_for(
        lambda sequence: sequence is entries[-1].sequence
    )


def test_a_cancellation_from_before_it_began_counts():
    """A client may have left while the context was made for it; what is asked once is not asked again."""
    entries, asked = entries_of(10, 10), []
    cancelled = [lambda sequence: asked.append(sequence) or sequence is entries[0].sequence]
    evaluation = Evaluation(entries, [], can_roll_back=True)
    assert not evaluation.is_abandoned(cancelled) and not evaluation.is_abandoned(cancelled)
    assert len(asked) == 2
    cancelled.append(lambda sequence: sequence is entries[1].sequence)
    assert evaluation.is_abandoned(cancelled) and evaluation.is_abandoned(cancelled)


def test_a_sequence_does_not_lose_two_evaluations_to_others():
    """A sequence whose last evaluation was aborted keeps the next one, however little of it is its own."""
    entries = entries_of(1, 500)
    entries[0].sequence.lost_last_step = True
    evaluation = Evaluation(entries, [], can_roll_back=True)
    assert not evaluation.is_only_for(lambda sequence: sequence is entries[1].sequence)
    assert evaluation.is_only_for(lambda _sequence: True)


def test_where_an_abort_clears_the_memory_all_that_runs_must_leave():
    """A running sequence that is not in the batch would lose its state too."""
    entries = entries_of(10)
    waiting = Probe("waiting", numbers(5, 9), [])
    both = [entries[0].sequence, waiting]
    assert Evaluation(entries, both, can_roll_back=True).is_only_for(lambda s: s is entries[0].sequence)
    assert not Evaluation(entries, both, can_roll_back=False).is_only_for(lambda s: s is entries[0].sequence)
    assert Evaluation(entries, both, can_roll_back=False).is_only_for(lambda _sequence: True)


@pytest.mark.parametrize(
    ("counts", "deadlines", "expires"),
    [
        ([10], [5.0], 5.0),
        ([10], [None], None),
        ([10, 10], [5.0, 7.0], 7.0),
        ([95, 5], [5.0, 7.0], 5.0),
        ([95, 5], [5.0, None], 5.0),
        ([5, 95], [5.0, None], None),
    ],
)
def test_an_evaluation_expires_when_nearly_all_of_it_is_past_its_deadline(counts, deadlines, expires):
    """The deadline of one sequence does not end the work of the others."""
    assert Evaluation(entries_of(*counts, deadlines=deadlines), [], can_roll_back=True).expires_at == expires


@pytest.mark.parametrize("name", ["chatml", "gemma3", "mamba", "lfm2"])
def test_clients_that_come_and_go_do_not_keep_another_from_ending(bench, name):
    """Each step meets a new client that leaves in the middle of it; the long prompt ends nevertheless, and right."""
    leaving = []

    def abort() -> bool:
        evaluation = scheduler.scheduler.current_evaluation
        return evaluation is not None and evaluation.is_only_for(lambda sequence: sequence in leaving)

    scheduler = bench(name, abort=abort)
    victim = Probe("victim", numbers(700, 1), numbers(4, 2))
    scheduler.add(victim)
    for number in range(60):
        if victim.ended:
            break
        leaving.append(Probe(f"leaving {number}", numbers(500, 100 + number), numbers(3, 3)))
        scheduler.add(leaving[-1])
        scheduler.step()
        scheduler.scheduler.cancel(lambda sequence: sequence in leaving)
    assert victim.ended and len(victim.rows) == 5
