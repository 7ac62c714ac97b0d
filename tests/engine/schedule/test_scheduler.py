"""Scheduling with full caches, little memory, slow consumers and cancellations."""

from __future__ import annotations

import itertools

import pytest
from engine.tools import Bench, ListSink, Probe, close, each_model, numbers, req

from llmcli.engine.llama.context import Context
from llmcli.engine.schedule import scheduler as module
from llmcli.engine.schedule.batch import BULK_STALL_S, INTERACTIVE_STALL_S
from llmcli.engine.sequences.scoring_sequence import CandidateFork, ScoringSequence
from llmcli.errors import OutOfMemory
from llmcli.types import Finished, FinishReason, Priority

STREAMS = {"unified": False, "kv_type": "q8_0"}


def rows_alone(make, name, prompt, forced):
    probe = Probe("alone", prompt, forced)
    make(name, **STREAMS).run(probe)
    return [row.tobytes() for row in probe.rows]


def reasons(probe):
    return [event.reason for event in probe.sink.events if isinstance(event, Finished)]


@pytest.fixture
def memory_for(monkeypatch, models):
    """Return a function that limits the memory to this many cells of a model's cache."""

    def limit(name, cells, kv_type="f16"):
        per_token = models(name).header.kv_bytes_per_token(kv_type, kv_type)
        monkeypatch.setattr("llmcli.engine.llama.hardware.available_memory", lambda: int(cells * per_token))

    return limit


@pytest.mark.parametrize("name", ["chatml", "gemma3", "qwen3moe"])
def test_sequences_that_together_exceed_the_memory_all_finish(bench, memory_for, name):
    """If the cache cannot hold all, some wait; each is answered correctly, and the scheduler does not loop."""
    memory_for(name, 520)
    scheduler = bench(name)
    probes = [Probe(f"p{i}", numbers(60 + i, 10 + i), numbers(30, i)) for i in range(12)]
    scheduler.run(*probes, steps=3000)
    assert scheduler.kv_cache.context.config.cells <= 512
    for i, probe in enumerate(probes):
        assert reasons(probe) == [FinishReason.STOP]
        assert len(probe.rows) >= 31
        fresh = Probe("fresh", numbers(60 + i, 10 + i), numbers(30, i))
        bench(name).run(fresh)
        assert abs(probe.rows[-1] - fresh.rows[-1]).max() < 1.5


def test_streams_that_together_exceed_the_memory_all_finish(bench, memory_for):
    """Fewer streams are created, and all requests are answered exactly."""
    memory_for("chatml", 256 * 5, "q8_0")
    scheduler = bench("chatml", **STREAMS)
    probes = [Probe(f"p{i}", numbers(60 + i, 10 + i), numbers(9, i)) for i in range(12)]
    scheduler.run(*probes, steps=3000)
    assert [reasons(probe) for probe in probes] == [[FinishReason.STOP]] * 12
    for i in (0, 11):
        rows = [row.tobytes() for row in probes[i].rows]
        assert rows == rows_alone(bench, "chatml", numbers(60 + i, 10 + i), numbers(9, i))


@pytest.mark.parametrize("config", [{}, STREAMS], ids=["unified", "streams"])
def test_only_what_does_not_fit_is_out_of_memory(bench, memory_for, config):
    """A prompt larger than the memory ends with the error; those before and after it are answered."""
    memory_for("chatml", 1030, config.get("kv_type", "f16"))
    scheduler = bench("chatml", **config)
    probes = [Probe("a", numbers(50, 1), [5]), Probe("b", numbers(3000, 2), [5]), Probe("c", numbers(40, 3), [5])]
    scheduler.run(*probes, steps=3000)
    assert [reasons(probe) for probe in probes] == [[FinishReason.STOP], [FinishReason.ERROR], [FinishReason.STOP]]
    error = next(event.error for event in probes[1].sink.events if isinstance(event, Finished))
    assert isinstance(error, OutOfMemory)


def test_a_longer_prompt_after_a_short_one_makes_the_streams_longer(bench):
    """Streams for short requests grow for a long one, with and without others running."""
    scheduler = bench("chatml", **STREAMS)
    short = Probe("short", numbers(10, 1), numbers(60, 2))
    scheduler.add(short)
    for _ in range(4):
        scheduler.step()
    long = Probe("long", numbers(1200, 3), numbers(3, 4))
    scheduler.run(long)
    assert [row.tobytes() for row in short.rows] == rows_alone(bench, "chatml", numbers(10, 1), numbers(60, 2))
    assert [row.tobytes() for row in long.rows] == rows_alone(bench, "chatml", numbers(1200, 3), numbers(3, 4))


@pytest.mark.parametrize("config", [{}, STREAMS], ids=["unified", "streams"])
@each_model
def test_a_cancelled_sequence_disturbs_no_other(bench, name, config):
    """Cancelling one of a batch in its prompt or its answer does not change the others."""
    scheduler = bench(name, **config)
    victims = [Probe(f"v{i}", numbers(700, 50 + i), numbers(50, 1)) for i in range(2)]
    other = Probe("other", numbers(40, 1), numbers(12, 2))
    scheduler.add(victims[0], other, victims[1])
    for _ in range(2):
        scheduler.step()
    scheduler.scheduler.cancel(lambda sequence: sequence is victims[1])
    while not victims[0].rows:
        scheduler.step()
    scheduler.scheduler.cancel(lambda sequence: sequence is victims[0])
    scheduler.run()
    assert [reasons(victim) for victim in victims] == [[FinishReason.CANCELLED]] * 2
    alone = Probe("alone", numbers(40, 1), numbers(12, 2))
    bench(name, **config).run(alone)
    if config:
        assert [row.tobytes() for row in other.rows] == [row.tobytes() for row in alone.rows]
    assert max(abs(a - b).max() for a, b in zip(other.rows, alone.rows, strict=True)) < 1.5


@pytest.mark.parametrize("config", [{}, STREAMS], ids=["unified", "streams"])
@each_model
def test_an_aborted_evaluation_is_undone(models, name, config):
    """After an aborted evaluation, every sequence of its batch continues as if it had never started."""
    calls = itertools.count(1)
    aborting = {"at": 0}
    scheduler = Bench(models(name), abort=lambda: next(calls) == aborting["at"], **config)
    quiet = Bench(models(name), **config)
    try:
        prompts = [numbers(50 + 30 * i, i) for i in range(4)]
        probes = [Probe(f"p{i}", prompt, numbers(6, 1)) for i, prompt in enumerate(prompts)]
        scheduler.add(*probes)
        for turn in range(400):
            if not scheduler.scheduler.has_work:
                break
            aborting["at"] = next(calls) + 3 + turn % 7 if turn % 10 in {1, 2} else 0
            scheduler.step()
        alone = [Probe(f"p{i}", prompt, numbers(6, 1)) for i, prompt in enumerate(prompts)]
        quiet.run(*alone)
    finally:
        scheduler.close()
        quiet.close()
    for probe, expected in zip(probes, alone, strict=True):
        assert reasons(probe) == [FinishReason.STOP]
        assert max(abs(a - b).max() for a, b in zip(probe.rows, expected.rows, strict=True)) < 1.5
        if config:
            assert [row.tobytes() for row in probe.rows] == [row.tobytes() for row in expected.rows]


@pytest.mark.parametrize("name", ["chatml", "lfm2"])
def test_a_slow_consumer_delays_only_its_own_sequences(bench, name):
    """Sequences whose consumer is behind are preempted for others, and continue exactly where they were."""
    scheduler = bench(name, **STREAMS)
    slow = ListSink()
    stalled = [Probe(f"s{i}", numbers(20, i), numbers(20, i)) for i in range(20)]
    for probe in stalled:
        probe.sink = slow
    scheduler.add(*stalled)
    for _ in range(3):
        scheduler.step()
    slow.full = True
    evaluated = [len(probe.rows) for probe in stalled]
    others = [Probe(f"o{i}", [*numbers(20, i), 7], numbers(5, 1)) for i in range(18)]
    scheduler.add(*others)
    scheduler.run_until(others)
    assert [reasons(probe) for probe in others] == [[FinishReason.STOP]] * 18
    assert [len(probe.rows) for probe in stalled] == evaluated
    assert not scheduler.step(), "only stalled sequences are left, nothing may move"
    slow.full = False
    scheduler.run()
    for i in (0, 15, 19):
        rows = [row.tobytes() for row in stalled[i].rows]
        assert rows == rows_alone(bench, name, numbers(20, i), numbers(20, i))


def test_no_sequence_waits_for_the_prefix_of_a_stalled_one(bench):
    """A request that shares the prompt of a stalled sequence evaluates it itself."""
    scheduler = bench("chatml")
    stalled = Probe("s", numbers(900, 1), numbers(3, 1))
    scheduler.add(stalled)
    scheduler.step()
    stalled.sink.full = True
    other = Probe("o", numbers(900, 1), numbers(3, 1))
    scheduler.add(other)
    scheduler.run_until([other])
    assert not stalled.rows


def test_interactive_requests_go_first(bench):
    """Waiting interactive requests are admitted before bulk ones, each kind in its order."""
    scheduler = bench("chatml")
    ended: list[str] = []

    class Noting(ListSink):
        def emit(self, event):
            if isinstance(event, Finished):
                ended.append(event.id)

    probes = [Probe(f"b{i}", numbers(20, i), numbers(4, 1)) for i in range(40)]
    urgent = Probe("urgent", numbers(20, 99), numbers(4, 1), priority=Priority.INTERACTIVE)
    for probe in (*probes, urgent):
        probe.sink = Noting()
    scheduler.run(*probes, urgent)
    assert ended.index("urgent") < 16
    assert ended.index("b39") > ended.index("b5")


@pytest.mark.parametrize("config", [{}, STREAMS], ids=["unified", "streams"])
def test_an_interactive_request_does_not_wait_for_a_slot(bench, config):
    """The youngest bulk request is preempted and continues later; both answers are correct."""
    scheduler = bench("chatml", **config)
    probes = [Probe(f"b{i}", numbers(20, i), numbers(20, i)) for i in range(20)]
    for probe in probes:
        scheduler.add(probe)
    for _ in range(5):
        scheduler.step()
    urgent = Probe("urgent", numbers(30, 99), numbers(3, 1), priority=Priority.INTERACTIVE)
    scheduler.add(urgent)
    scheduler.step()
    assert len(urgent.rows) == 1
    scheduler.run_until([urgent, *probes])
    for probe in probes:
        assert reasons(probe) == [FinishReason.STOP]
        fresh = Probe("fresh", probe.tokens[:20], probe.tokens[20:])
        bench("chatml", **config).run(fresh)
        assert abs(probe.rows[-1] - fresh.rows[-1]).max() < 1.5


def test_clients_alternate(bench):
    """A client with a few requests finishes long before an earlier client with many."""
    scheduler = bench("chatml")
    many, few = ListSink(), ListSink()
    crowd = [Probe(f"m{i}", numbers(20, i), numbers(4, 1)) for i in range(120)]
    late = [Probe(f"f{i}", numbers(20, 200 + i), numbers(4, 1)) for i in range(6)]
    for probe in crowd:
        probe.sink = many
        scheduler.add(probe)
    scheduler.step()
    for probe in late:
        probe.sink = few
        scheduler.add(probe)
    scheduler.run_until(late)
    assert len(many.events) < 60
    scheduler.run_until(crowd)
    assert len(many.events) == 120


@pytest.mark.parametrize("priority", Priority)
def test_long_prompts_do_not_delay_decoding(bench, monkeypatch, priority):
    """While a prompt is evaluated, others get a token after every chunk within the time limit."""
    seconds = INTERACTIVE_STALL_S if priority is Priority.INTERACTIVE else BULK_STALL_S
    scheduler = bench("chatml")
    now = {"value": 0.0}
    monkeypatch.setattr(module.time, "monotonic", lambda: now["value"])
    evaluate = Context.evaluate

    def slowly(context, **how):
        now["value"] += context.batch.size * seconds / 64
        return evaluate(context, **how)

    monkeypatch.setattr(Context, "evaluate", slowly)
    running = Probe("r", numbers(10, 1), numbers(60, 2), priority=priority)
    scheduler.add(running)
    scheduler.step()
    long = Probe("long", numbers(2000, 3), [])
    scheduler.add(long)
    scheduler.run_until([long])
    assert 2000 // 64 - 4 < len(running.rows) < 2000 // 64 + 4


@pytest.mark.parametrize(
    ("config", "priority", "deferred"),
    [(STREAMS, Priority.BULK, True), (STREAMS, Priority.INTERACTIVE, False), ({}, Priority.BULK, False)],
)
def test_bulk_work_in_separate_buffers_decodes_after_prompts(bench, monkeypatch, config, priority, deferred):
    """Together they would be evaluated in parts; the decoding sequence waits for a limited time."""
    scheduler = bench("chatml", **config)
    now = {"value": 0.0}
    monkeypatch.setattr(module.time, "monotonic", lambda: now["value"])
    running = Probe("r", numbers(10, 1), numbers(60, 2), priority=priority)
    scheduler.add(running)
    scheduler.step()
    prompts = [Probe(f"p{i}", numbers(600, 3 + i), []) for i in range(4)]
    scheduler.add(*prompts)
    before = len(running.rows)
    for _ in range(3):
        scheduler.step()
    assert not any(prompt.ended for prompt in prompts[2:])
    assert len(running.rows) == (before if deferred else before + 3)
    now["value"] += BULK_STALL_S
    scheduler.step()
    assert len(running.rows) == (before + 1 if deferred else before + 4)
    scheduler.run()
    assert len(running.rows) == 61


@pytest.mark.parametrize(("config", "answers", "few"), [({}, 0, True), ({}, 1, False), (STREAMS, 0, False)])
def test_short_prompts_in_one_buffer_are_limited(bench, config, answers, few):
    """Prompts without an answer are evaluated a few at a time, to keep the buffer short; others are not limited."""
    scheduler = bench("chatml", **config)
    shared = numbers(200, 1)
    scheduler.run(Probe("first", shared, []))
    probes = [Probe(f"p{i}", shared + numbers(20, i), numbers(answers, i)) for i in range(2, 40)]
    scheduler.scheduler.max_batch_sequences = 0
    scheduler.run(*probes)
    assert (scheduler.scheduler.max_batch_sequences == 8) if few else (scheduler.scheduler.max_batch_sequences > 12)
    fresh = Probe("fresh", shared + numbers(20, 20), numbers(answers, 20))
    bench("chatml").run(fresh)
    close(probes[18].rows, fresh.rows)


def test_a_passed_deadline_ends_with_a_timeout(bench):
    """A sequence past its deadline ends before its next evaluation, whatever its state."""
    scheduler = bench("chatml")
    late = Probe("late", numbers(5, 1), [], deadline=0.0)
    scheduler.run(late, Probe("other", numbers(5, 1), []))
    assert reasons(late) == [FinishReason.TIMEOUT]
    assert not late.rows


@pytest.mark.parametrize("name", ["chatml", "mamba", "lfm2"])
@pytest.mark.parametrize("config", [{}, STREAMS], ids=["unified", "streams"])
def test_scoring_with_little_memory_is_correct(bench, memory_for, name, config):
    """Forks of scoring sequences that are preempted and start again count each of their tokens once."""
    if name == "chatml":
        memory_for(name, 800 if not config else 256 * 6, config.get("kv_type", "f16"))

    def scores(requests):
        sinks = [ListSink() for _ in requests]
        scheduler = bench(name, **config)
        scheduler.run(
            *[
                ScoringSequence(
                    req(f"s{i}", candidates=("a", "b", "c")), prompt, [prompt + tail for tail in tails], sink
                )
                for i, ((prompt, tails), sink) in enumerate(zip(requests, sinks, strict=True))
            ],
            steps=5000,
        )
        return [[score.logprob for score in sink.events[0].scores] for sink in sinks]

    work = [(numbers(100 + i, i), [numbers(4, 1), numbers(30, 2), [*numbers(4, 1)[:3], 9, 9]]) for i in range(8)]
    together = scores(work)
    for i in (0, 3, 7):
        assert together[i] == pytest.approx(scores([work[i]])[0], abs=0 if config else 3)


def test_a_sequence_keeps_its_number_of_arrival(bench):
    """A preempted sequence is queued ahead of later ones, and interactive sequences ahead of bulk ones."""
    scheduler = bench("llama")
    first, second, third = (Probe(name, numbers(20, i), numbers(9, i)) for i, name in enumerate("abc"))
    urgent = Probe("d", numbers(20, 4), [], priority=Priority.INTERACTIVE)
    scheduler.add(first)
    scheduler.step()
    scheduler.add(second, third, urgent)
    scheduler.scheduler._preempt(first)
    assert scheduler.scheduler._waiting == [urgent, first, second, third]
    assert [sequence.arrival for sequence in (first, second, third, urgent)] == [1, 2, 3, 4]


def test_a_fork_keeps_the_position_of_its_request():
    """The rest of a candidate is scored before requests that arrived later."""
    parent = ScoringSequence(req("s", candidates=("a", "b")), [1], [[1, 2, 3], [1, 4, 5]], ListSink())
    parent.arrival = 7
    assert CandidateFork(parent, 0, [1, 2], [2, 3]).arrival == 7
