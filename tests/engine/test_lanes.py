"""Interactive work goes before bulk work, in caches of their own."""

from __future__ import annotations

import threading

import pytest

from engine.tools import answer, collect, engine_of, one_by_one, req, texts
from llmcli.engine.compute_thread import InlineExecutor
from llmcli.engine.engine import Engine
from llmcli.types import EngineOptions, Finished, FinishReason, Priority

BULK, INTERACTIVE = Priority.BULK, Priority.INTERACTIVE


class Recorder(InlineExecutor):
    """Notes whose steps are run. Its time stands still, so that no share of bulk work ever falls due."""

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
def test_no_bulk_step_is_begun_while_an_interactive_answer_is_on_its_way(recorded, name):
    """Bulk work that is under way waits until the interactive answer is done, then goes on, and loses nothing."""
    engine, recorder = recorded(name)
    with engine.open() as job, engine.open() as person:
        recorder.go.clear()
        for request in bulk(6):
            job.submit(request)
        job.close_input()
        recorder.held.wait()
        person.submit(req("p", max_tokens=20, ignore_eos=True, priority=INTERACTIVE))
        person.close_input()
        while not engine._executor._demand:  # its lane asks for a turn; nothing else can happen meanwhile
            pass
        recorder.go.set()
        own = collect(person)
        rest = collect(job)
    assert own["p"].reason is FinishReason.LENGTH
    assert [outcome.reason for outcome in rest.values()] == [FinishReason.LENGTH] * 6
    assert all(outcome.finished.usage.completion_tokens == 40 for outcome in rest.values())
    first = recorder.steps.index(INTERACTIVE)
    last = len(recorder.steps) - recorder.steps[::-1].index(INTERACTIVE)
    assert set(recorder.steps[first : last - 1]) == {INTERACTIVE}  # the last of all is what an idle lane does
    assert len(recorder.steps) > last


@pytest.mark.parametrize("name", ["chatml", "gemma3", "mamba"])
def test_deterministic_answers_do_not_depend_on_the_other_lane(tiny, name):
    """With ``deterministic`` an answer beside the other kind of work is the answer alone, in every bit."""
    requests = [*bulk(4), req("p", "what is it", max_tokens=20, priority=INTERACTIVE)]
    with engine_of(tiny(name), deterministic=True) as engine:
        alone = texts(one_by_one(engine, *requests))
    with engine_of(tiny(name), deterministic=True) as engine:
        assert texts(answer(engine, *requests)) == alone


def test_lanes_are_made_when_they_are_needed(tiny):
    """A command with one kind of work pays for one cache."""
    with engine_of(tiny("chatml")) as engine:
        answer(engine, *bulk(2))
        assert list(engine._lanes) == [BULK]
        answer(engine, req("p", priority=INTERACTIVE))
        assert set(engine._lanes) == {BULK, INTERACTIVE}


def test_closing_ends_both_lanes_in_the_middle(tiny):
    """Jobs that are open get an error, whatever their priority."""
    with engine_of(tiny("chatml")) as engine:
        jobs = [engine.open() for _ in range(2)]
        for job, priority in zip(jobs, (BULK, INTERACTIVE), strict=True):
            job.submit(req("r", max_tokens=2000, ignore_eos=True, priority=priority))
            job.close_input()
        engine.close()
        ends = [event for job in jobs for event in job if isinstance(event, Finished)]
        assert [event.reason for event in ends] == [FinishReason.ERROR] * 2


def test_the_cancelled_client_alone_is_aborted(recorded):
    """Cancelling a small request does not abort the evaluation that another client's long prompt shares with it."""
    engine, recorder = recorded("chatml")
    with engine.open() as long, engine.open() as small:
        recorder.go.clear()
        long.submit(req("long", "hello world " * 300, max_tokens=2))
        small.submit(req("small", max_tokens=2))
        recorder.held.wait()
        lane = engine._lanes[BULK]
        small.cancel("small")
        assert not lane._abort
        recorder.go.set()
        for job in (long, small):
            job.close_input()
        assert collect(long)["long"].reason is FinishReason.LENGTH
        assert collect(small)["small"].reason in {FinishReason.CANCELLED, FinishReason.LENGTH}
