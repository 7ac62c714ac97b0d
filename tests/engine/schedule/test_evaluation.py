"""The conditions under which an evaluation is aborted, and the work that is lost."""

from __future__ import annotations

from operator import attrgetter

import pytest
from engine.tools import Probe, numbers

from llmcli.engine.schedule.batch import BatchEntry
from llmcli.engine.schedule.scheduler import Evaluation


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
def test_only_an_evaluation_mostly_for_cancelled_sequences_is_aborted(counts, leaving, expected):
    """At most a tenth of the aborted work may belong to others."""
    entries = entries_of(*counts)
    evaluation = Evaluation(entries, [], can_roll_back=True)
    assert evaluation.is_only_for(lambda sequence: int(sequence.request.id) in leaving) is expected


def test_many_cancellations_add_up():
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
    """A client may have left while the context was created for it; no predicate is called twice."""
    entries, asked = entries_of(10, 10), []
    cancelled = [lambda sequence: asked.append(sequence) or sequence is entries[0].sequence]
    evaluation = Evaluation(entries, [], can_roll_back=True)
    assert not evaluation.is_abandoned(cancelled) and not evaluation.is_abandoned(cancelled)
    assert len(asked) == 2
    cancelled.append(lambda sequence: sequence is entries[1].sequence)
    assert evaluation.is_abandoned(cancelled) and evaluation.is_abandoned(cancelled)


def test_a_sequence_does_not_lose_two_evaluations_in_a_row():
    """A sequence whose last evaluation was aborted keeps the next one, however small its share is."""
    entries = entries_of(1, 500)
    entries[0].sequence.lost_last_step = True
    evaluation = Evaluation(entries, [], can_roll_back=True)
    assert not evaluation.is_only_for(lambda sequence: sequence is entries[1].sequence)
    assert evaluation.is_only_for(lambda _sequence: True)


def test_if_an_abort_clears_the_memory_all_running_sequences_must_be_cancelled():
    """A running sequence outside of the batch would lose its state too."""
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
def test_an_evaluation_expires_when_most_of_it_is_past_its_deadline(counts, deadlines, expires):
    """The deadline of one sequence does not end the work of the others."""
    assert Evaluation(entries_of(*counts, deadlines=deadlines), [], can_roll_back=True).expires_at == expires


@pytest.mark.parametrize("name", ["chatml", "gemma3", "mamba", "lfm2"])
def test_leaving_clients_do_not_starve_another(bench, name):
    """Each step has a new client that leaves in the middle of it; the long prompt still finishes, correctly."""
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
