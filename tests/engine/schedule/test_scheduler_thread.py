"""Interactive work runs before bulk work, each in its own cache."""

from __future__ import annotations

import threading

import pytest
from engine.tools import answer, collect, engine_of, one_by_one, only_scheduler_thread, req, texts

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.engine import Engine
from llmcli.engine.llama.compute_thread import SHORT_STEP_S, InlineExecutor
from llmcli.engine.llama.context import Context
from llmcli.types import Finished, FinishReason, Priority

BULK, INTERACTIVE = Priority.BULK, Priority.INTERACTIVE


class Recorder(InlineExecutor):
    """Records whose steps run. Its time stands still, so bulk work is never due for a share."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: 0.0)
        self.steps: list[Priority] = []
        self.held = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def run(self, function, priority=INTERACTIVE, **options):
        def noted():
            self.steps.append(priority)
            self.held.set()
            self.go.wait()
            return function()

        return super().run(noted, priority, **options)


@pytest.fixture
def recorded(tiny):
    """Return a function that makes an engine and its recorder."""
    made = []

    def make(name: str, **options) -> tuple[Engine, Recorder]:
        recorder = Recorder()
        engine = Engine(tiny(name), "tiny", "tiny-id", EngineOptions(**options), lambda: None, executor=recorder)
        made.append(engine)
        engine.info()
        recorder.steps.clear()
        return engine, recorder

    yield make
    for engine in made:
        engine.close()


def bulk(count: int, **fields):
    return [req(f"b{i}", f"{i} hello world " * 20, max_tokens=40, ignore_eos=True, **fields) for i in range(count)]


@pytest.mark.parametrize("name", ["chatml", "gemma3", "mamba", "lfm2"])
def test_no_bulk_step_starts_during_an_interactive_answer(recorded, name):
    """Running bulk work waits until the interactive answer is done, then continues without loss."""
    engine, recorder = recorded(name)
    with engine.open() as job, engine.open() as person:
        recorder.go.clear()
        for request in bulk(6):
            job.submit(request)
        job.close_input()
        recorder.held.wait()
        person.submit(req("p", max_tokens=20, ignore_eos=True, priority=INTERACTIVE))
        person.close_input()
        while not engine._executor._demand:  # its thread asks for the processor; nothing else can happen meanwhile
            pass
        recorder.go.set()
        own = collect(person)
        rest = collect(job)
    assert own["p"].reason is FinishReason.LENGTH
    assert [outcome.reason for outcome in rest.values()] == [FinishReason.LENGTH] * 6
    assert all(outcome.finished.usage.completion_tokens == 40 for outcome in rest.values())
    first = recorder.steps.index(INTERACTIVE)
    last = len(recorder.steps) - recorder.steps[::-1].index(INTERACTIVE)
    assert set(recorder.steps[first : last - 1]) == {INTERACTIVE}  # the last step is what an idle thread does
    assert len(recorder.steps) > last


def test_first_bulk_steps_end_for_interactive_arrivals_and_still_progress(tiny, monkeypatch):
    """How long a first step takes is unknown: an arrival aborts it after a short step's time, and the next is shorter.

    Here every token takes 5 ms, and a request arrives during every step, so that only steps of at most 20 tokens may
    end.
    """
    now, steps, evaluate = [0.0], [], Context.evaluate

    def slow(context, **how):
        executor.add_demand(1)
        now[0] += 0.005 * context.batch.size
        code = evaluate(context, **how)
        executor.add_demand(-1)
        steps.append((context.batch.size, code))
        return code

    executor = InlineExecutor(clock=lambda: now[0])
    engine = Engine(tiny("chatml"), "tiny", "tiny-id", EngineOptions(), lambda: None, executor=executor)
    try:
        engine.info()
        executor.add_demand(1)
        executor.add_demand(-1)  # an answer has just ended
        monkeypatch.setattr(Context, "evaluate", slow)
        outcome = answer(engine, req("b", "hello world " * 100, max_tokens=4, ignore_eos=True))["b"]
    finally:
        engine.close()
    assert outcome.reason is FinishReason.LENGTH
    assert [code for _, code in steps[:3]] == [2, 2, 0] and steps[0][0] <= 64  # equal parts of the prompt
    assert all((size * 0.005 < SHORT_STEP_S) == (code == 0) for size, code in steps)


@pytest.mark.parametrize("name", ["chatml", "gemma3", "mamba"])
def test_deterministic_answers_do_not_depend_on_other_work(tiny, name):
    """With ``deterministic`` an answer beside other work is bit-identical to the answer alone."""
    requests = [*bulk(4), req("p", "what is it", max_tokens=20, priority=INTERACTIVE)]
    with engine_of(tiny(name), deterministic=True) as engine:
        alone = texts(one_by_one(engine, *requests))
    with engine_of(tiny(name), deterministic=True) as engine:
        assert texts(answer(engine, *requests)) == alone


def test_threads_are_started_when_they_are_needed(tiny):
    """A command with one kind of work needs one cache."""
    with engine_of(tiny("chatml")) as engine:
        answer(engine, *bulk(2))
        assert list(engine._scheduler_threads) == [(BULK, None, False)]
        answer(engine, req("p", priority=INTERACTIVE))
        assert set(engine._scheduler_threads) == {(BULK, None, False), (INTERACTIVE, None, False)}


def test_closing_ends_both_threads_in_the_middle(tiny):
    """Open jobs get an error, whatever their priority."""
    with engine_of(tiny("chatml")) as engine:
        jobs = [engine.open() for _ in range(2)]
        for job, priority in zip(jobs, (BULK, INTERACTIVE), strict=True):
            job.submit(req("r", max_tokens=2000, ignore_eos=True, priority=priority))
            job.close_input()
        engine.close()
        ends = [event for job in jobs for event in job if isinstance(event, Finished)]
        assert [event.reason for event in ends] == [FinishReason.ERROR] * 2


@pytest.mark.parametrize(("cancelled", "aborts"), [("long", True), ("small", False)])
def test_a_cancelled_client_ends_only_its_own_evaluation(tiny, monkeypatch, cancelled, aborts):
    """A client that leaves during an evaluation with a longer prompt of another client does not end it."""
    codes = []
    evaluate = Context.evaluate

    def cancelling(context, **how):
        both = len(only_scheduler_thread(engine).scheduler.current_evaluation._entries) == 2 and not codes
        if both:
            jobs[cancelled].cancel(cancelled)
        code = evaluate(context, **how)
        if both:
            codes.append(code)
        return code

    monkeypatch.setattr(Context, "evaluate", cancelling)
    with engine_of(tiny("chatml")) as engine:
        jobs = {"long": engine.open(), "small": engine.open()}
        engine.info()
        jobs["small"].submit(req("small", max_tokens=400, ignore_eos=True))
        jobs["long"].submit(req("long", "hello world " * 150, max_tokens=4))
        outcomes = {}
        for job in jobs.values():
            job.close_input()
            outcomes |= collect(job)
    assert (codes[0] == 2) is aborts
    assert outcomes.pop(cancelled).reason is FinishReason.CANCELLED
    assert [outcome.reason for outcome in outcomes.values()] != [FinishReason.CANCELLED]
