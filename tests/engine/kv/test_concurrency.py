"""More sequences run at once only if that makes the job faster."""

from __future__ import annotations

import pytest
from engine.tools import Probe, close, numbers

from llmcli.engine.kv.manager import INITIAL_CONCURRENCY, ConcurrencyTuner
from llmcli.models.footprint import MAX_CONCURRENCY


def feed(width, seconds, waiting=1000, steps=500):
    for _ in range(steps):
        width.record_step(width.concurrency, seconds(width.concurrency), waiting)
    return width.concurrency


def test_concurrency_grows_to_its_limit_when_rows_are_free():
    """If a step takes as long with more rows, the concurrency grows to its limit."""
    assert feed(ConcurrencyTuner(), lambda _rows: 0.01) == MAX_CONCURRENCY


def test_concurrency_stays_low_on_a_busy_machine():
    """If twice the rows take twice the time, the first concurrency comes back and stays."""
    width = ConcurrencyTuner()
    assert feed(width, lambda rows: rows * 0.004) == INITIAL_CONCURRENCY
    assert feed(width, lambda _rows: 0.01) == INITIAL_CONCURRENCY


def test_it_stops_where_the_gain_stops():
    """The last doubling that did not pay is undone."""
    assert feed(ConcurrencyTuner(), lambda rows: max(rows, 32) * 0.001) == 2 * INITIAL_CONCURRENCY


@pytest.mark.parametrize(
    ("rows", "waiting"), [(INITIAL_CONCURRENCY - 1, 1000), (INITIAL_CONCURRENCY, INITIAL_CONCURRENCY - 1)]
)
def test_nothing_is_tried_for_few_sequences(rows, waiting):
    """Steps that are not full, and jobs that are nearly done, change nothing."""
    width = ConcurrencyTuner()
    for _ in range(200):
        width.record_step(rows, 0.01, waiting)
    assert width.concurrency == INITIAL_CONCURRENCY


def test_a_rejected_concurrency_is_not_tried_again():
    """If the memory does not suffice for more sequences, the previous concurrency comes back for good."""
    width = ConcurrencyTuner()
    while width.concurrency == INITIAL_CONCURRENCY:
        width.record_step(INITIAL_CONCURRENCY, 0.01, 100)
    width.reject_increase()
    assert feed(width, lambda _rows: 0.01) == INITIAL_CONCURRENCY


@pytest.mark.parametrize("config", [{}, {"unified": False, "exact": False}, {"unified": False, "kv_type": "q8_0"}])
def test_a_growing_concurrency_changes_no_answer(bench, monkeypatch, config):
    """Running sequences move to the larger context and continue where they were."""
    monkeypatch.setattr("llmcli.engine.kv.manager._MIN_SPEEDUP", 0.0)
    scheduler = bench("chatml", **config)
    probes = [Probe(f"p{i}", numbers(12 + i % 5, i), numbers(40, i)) for i in range(90)]
    scheduler.run(*probes)
    assert scheduler.scheduler.max_batch_sequences > INITIAL_CONCURRENCY
    for index in (0, 15, 40, 89):
        fresh = Probe("fresh", numbers(12 + index % 5, index), numbers(40, index))
        bench("chatml", **config).run(fresh)
        close(probes[index].rows, fresh.rows)
