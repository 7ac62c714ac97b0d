"""Tasks and their requests: positions, failures, room, grammars, the end of what is left."""

from __future__ import annotations

import pytest
from scripted import Reply, ScriptedBackend, last_message
from tasks.helpers import of, run_work

from llmcli.errors import EmptyInput, InternalError, TemporaryFailure, WorkerCrashed
from llmcli.tasks.runner.task_run import MAX_PENDING_REQUESTS, TaskRun, TaskRunner, ask_all, run_inputs
from llmcli.tasks.runner.text_answers import DeltaReporter
from llmcli.types import Delta, Finished, FinishReason, ItemFailed, Message, Progress, Request, Result, Role

REQUESTS_EACH = 40
GRAMMARS_EACH = 3 * MAX_PENDING_REQUESTS


def make(name, text="hello", **more):
    return Request(str(name), (Message(Role.USER, text),), **more)


async def ask_much(run, _):
    await run.gather(run.ask(make(f"{run.item}.{number}")) for number in range(REQUESTS_EACH))
    return run.result("all")


def run(things, task=ask_much, backend=None):
    """Return the events, and how many inputs had been taken when each task began."""
    taken, begun = 0, []

    def take():
        nonlocal taken
        for thing in things:
            taken += 1
            yield thing

    async def counted(task_run, thing):
        begun.append(taken)
        return await task(task_run, thing)

    return [*run_inputs(backend or ScriptedBackend(), take(), counted, "parts")], begun


def test_an_input_is_begun_when_earlier_ones_leave_room():
    """All have a result, whatever their number, and progress counts all requests."""
    running = most = 0

    async def task(task_run, thing):
        nonlocal running, most
        running += 1
        most = max(most, running)
        result = await ask_much(task_run, thing)
        running -= 1
        return result

    events, begun = run(["text"] * 20, task)
    assert {each.item for each in of(Result, events)} == {*range(20)} and begun == [*range(1, 21)]
    assert most <= MAX_PENDING_REQUESTS // REQUESTS_EACH + 2
    last = of(Progress, events)[-1]
    assert (last.done, last.total, last.unit) == (20 * REQUESTS_EACH, 20 * REQUESTS_EACH, "parts")


def test_failures_keep_their_positions():
    """Before, among and after the inputs; also if there is nothing else."""
    failed = ItemFailed(7, "b", EmptyInput("b"))
    events, _ = run([failed, *["text"] * 5, failed, *["text"] * 5, failed])
    assert [each.item for each in of(ItemFailed, events)] == [0, 6, 12]
    assert len(of(Result, events)) == 10
    assert [each.item for each in run([failed, failed])[0]] == [0, 1]


def test_an_error_of_a_task_is_that_of_its_input():
    """Its other requests are cancelled, and the other inputs go on; a bug ends all."""
    backend = ScriptedBackend(lambda request: Reply("word " * 200) if request.id == "0.slow" else "ok")

    async def task(task_run, _):
        if task_run.item == 0:

            async def fail():
                await task_run.ask(make("0.quick"))
                raise EmptyInput("first")

            await task_run.gather([task_run.ask(make("0.slow")), fail()])
        return task_run.result((await task_run.ask(make(f"{task_run.item}.only"))).text)

    events, _ = run(["a", "b"], task, backend)
    assert [(each.item, type(each.error)) for each in of(ItemFailed, events)] == [(0, EmptyInput)]
    assert [(each.item, each.text) for each in of(Result, events)] == [(1, "ok")]
    assert backend.cancelled == ["0.slow"]

    async def broken(_run, _thing):
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        run(["a"], broken)


def test_an_error_before_the_task_begins_is_that_of_its_input():
    """A function that returns the coroutine may refuse its input."""

    def task(task_run, thing):
        if thing == "bad":
            raise EmptyInput(thing)
        return ask_much(task_run, thing)

    events = [*run_inputs(ScriptedBackend(), ["bad", "good"], task)]
    assert [each.item for each in of(ItemFailed, events)] == [0] and [each.item for each in of(Result, events)] == [1]


def test_a_task_without_requests_needs_no_job(monkeypatch):
    """Its backend is not opened."""
    backend = ScriptedBackend()
    monkeypatch.setattr(backend, "open", lambda: pytest.fail("opened"))

    async def task(task_run, thing):
        return task_run.result(thing)

    assert [each.text for each in of(Result, run(["a", "b"], task, backend)[0])] == ["a", "b"]


def test_grammars_wait_until_others_have_ended():
    """Each takes memory in the engine; the requests keep their order, and all of them are sent."""
    backend = ScriptedBackend()
    answered, most = 0, 0

    async def task(task_run, _):
        async def ask(number):
            nonlocal answered, most
            await task_run.ask(make(f"{task_run.item}.{number}", grammar='start: "hello"'))
            most = max(most, len(backend.requests) - answered)
            answered += 1

        await task_run.gather(map(ask, range(GRAMMARS_EACH)))
        return task_run.result(None)

    events, _ = run(["text"], task, backend)
    assert most == MAX_PENDING_REQUESTS
    assert [request.id for request in backend.requests] == [f"0.{number}" for number in range(GRAMMARS_EACH)]
    last = of(Progress, events)[-1]
    assert (last.done, last.total) == (GRAMMARS_EACH, GRAMMARS_EACH)


def test_waiting_grammars_of_a_failed_task_are_never_sent():
    """Those of the next one are."""
    backend = ScriptedBackend()

    async def task(task_run, _):
        done = 0

        async def ask(number):
            nonlocal done
            await task_run.ask(make(f"{task_run.item}.{number}", grammar='start: "hello"'))
            done += 1
            if task_run.item == 0 and done == 5:
                raise EmptyInput("a")

        await task_run.gather(map(ask, range(GRAMMARS_EACH)))
        return task_run.result(None)

    events, _ = run(["text"] * 2, task, backend)
    assert [each.item for each in of(ItemFailed, events)] == [0] and [each.item for each in of(Result, events)] == [1]
    sent = [request.id for request in backend.requests]
    assert len([name for name in sent if name.startswith("0.")]) < MAX_PENDING_REQUESTS + 10
    assert len([name for name in sent if name.startswith("1.")]) == GRAMMARS_EACH
    last = of(Progress, events)[-1]
    assert last.done == last.total


def test_a_loop_takes_items_as_requests_end():
    """No more are made than may be pending; no input begins before the loop that waits is through; all count."""
    backend = ScriptedBackend()
    made = answered = most = 0

    async def task(task_run, _):
        def requests():
            nonlocal made, most
            for number in range(GRAMMARS_EACH):
                made += 1
                most = max(most, made - answered)
                yield make(f"{task_run.item}.{number}")

        async def ask(request):
            nonlocal answered
            answer = await task_run.ask(request)
            answered += 1
            return answer.text

        texts = [text async for text in task_run.each(requests(), ask, total=GRAMMARS_EACH)]
        return task_run.result(None, {"texts": len(texts)})

    events, begun = run(["a", "b"], task, backend)
    assert [each.fields["texts"] for each in of(Result, events)] == [GRAMMARS_EACH] * 2
    assert [request.id for request in backend.requests][:GRAMMARS_EACH] == [f"0.{n}" for n in range(GRAMMARS_EACH)]
    assert most <= MAX_PENDING_REQUESTS and begun == [1, 2]
    totals = [each.total for each in of(Progress, events)]
    assert totals[0] == GRAMMARS_EACH, "what is to come counts"
    assert totals == sorted(totals) and totals[-1] == 2 * GRAMMARS_EACH


def test_a_waiting_loop_of_a_failed_task_ends():
    """The next input gets the room."""
    backend, made = ScriptedBackend(), [0, 0]

    async def task(task_run, _):
        def requests():
            for number in range(GRAMMARS_EACH):
                made[task_run.item] += 1
                yield make(f"{task_run.item}.{number}")

        done = 0
        async for _answer in task_run.each(requests(), task_run.ask):
            done += 1
            if task_run.item == 0 and done == 5:
                raise EmptyInput("a")
        return task_run.result(None)

    events, _ = run(["a", "b"], task, backend)
    assert [each.item for each in of(ItemFailed, events)] == [0] and [each.item for each in of(Result, events)] == [1]
    assert made[0] < MAX_PENDING_REQUESTS + 10 and made[1] == GRAMMARS_EACH


def test_a_task_may_end_an_answer():
    """It is then complete as far as it came, and its request is cancelled."""
    backend = ScriptedBackend(lambda _: Reply("one two three four"))
    answer = run_work(
        backend, lambda task_run: task_run.ask(make("a"), stop_condition=lambda: lambda piece: "two" in piece)
    )
    assert answer.was_ended and answer.text.split() == ["one", "two"] and answer.finished.reason is FinishReason.STOP
    assert backend.cancelled == ["a"]


LOST = Reply("one two three four", reasoning="well", restarts_after=3)
"""The worker ends after three words, and another one gives the whole answer."""


def ask_lost(make_sink=lambda _run: None, **how):
    """Return the answer whose worker ended, and what was reported."""
    backend, answers = ScriptedBackend(lambda _: LOST), []

    async def task(task_run, _):
        answers.append(await task_run.ask(make("a", reasoning=True), on_delta=make_sink(task_run), **how))
        return task_run.result(None)

    events = [*run_inputs(backend, ["a"], task)]
    return backend, events, answers


@pytest.mark.parametrize(
    "make_sink", [lambda _: None, lambda run: DeltaReporter(run, shows_text=False)], ids=["unread", "reasoning"]
)
def test_an_answer_whose_worker_ended_begins_again(make_sink):
    """Where no part of its text was shown, what had come before counts no more."""
    _, _, (answer,) = ask_lost(make_sink)
    assert answer.text == "one two three four" and answer.finished.error is None


def test_a_shown_answer_whose_worker_ended_fails():
    """With the cause, after what was shown; the request is not answered twice."""
    backend, events, answers = ask_lost(lambda run: DeltaReporter(run, shows_text=True))
    (failed,) = of(ItemFailed, events)
    assert isinstance(failed.error, WorkerCrashed) and not answers
    assert "".join(each.text for each in of(Delta, events) if not each.reasoning) == "one two three"
    assert backend.cancelled == ["a"]


def test_a_stop_condition_begins_again_with_its_answer():
    """It counts no piece twice."""

    def fourth_piece():
        pieces = []
        return lambda piece: pieces.append(piece) or len(pieces) == 4

    _, _, (answer,) = ask_lost(stop_condition=fourth_piece)
    assert answer.text == "one two three four"


@pytest.mark.parametrize("streams", [False, True])
def test_only_answers_that_are_read_as_they_come_are_streamed(streams):
    """The runner knows who reads them."""
    backend, _, _ = ask_lost((lambda run: DeltaReporter(run, shows_text=False)) if streams else (lambda _: None))
    assert [request.gathered for request in backend.requests] == [not streams]


def test_usage_sums_up_all_requests_of_an_input():
    """Of failed ones too."""
    backend = ScriptedBackend(lambda request: TemporaryFailure("server") if request.id == "bad" else "one two")

    async def task(task_run):
        with pytest.raises(TemporaryFailure):
            await task_run.ask(make("bad", "some words"))
        await task_run.ask(make("good", "some words"))
        return task_run.result(None).usage

    usage = run_work(backend, task)
    assert usage.prompt_tokens == 2 * backend.prompt_tokens(make("good", "some words")) and usage.completion_tokens > 0


def test_all_answers_of_some_requests():
    """In their order; the first failure is raised."""
    backend = ScriptedBackend(lambda request: last_message(request).upper())
    assert [each.text for each in ask_all(backend, (make(text, text) for text in "abc"))] == ["A", "B", "C"]
    with pytest.raises(TemporaryFailure):
        ask_all(ScriptedBackend(lambda _: TemporaryFailure("server")), [make("a")])


def test_a_task_that_waits_for_nothing_is_a_bug():
    """It would wait for ever."""

    async def task(task_run, _):
        await task_run.ask(make("a"))
        from llmcli.tasks.runner.coroutines import Pending

        return await Pending()

    with pytest.raises(InternalError, match="wait for nothing"):
        run(["a"], task)


def test_leaving_the_events_ends_the_tasks():
    """Their ``finally`` blocks run, and the open requests are cancelled."""
    backend, ended = ScriptedBackend(lambda _: Reply("word " * 100)), []

    async def task(task_run, _):
        try:
            await task_run.ask(make("a"), on_delta=DeltaReporter(task_run, shows_text=True))
        finally:
            ended.append(task_run.item)
        return task_run.result(None)

    events = run_inputs(backend, ["a"], task)
    next(events)
    events.close()
    assert ended == [0] and backend.cancelled == ["a"]


def test_a_request_that_cannot_be_submitted_fails_its_task_alone():
    """As when a limit of cost is reached: what is done is delivered."""

    class Limited(ScriptedBackend):
        def open(self):
            job = super().open()
            submit = job.submit

            def refuse(request):
                if request.id.startswith("1."):
                    raise TemporaryFailure("limit")
                submit(request)

            job.submit = refuse
            return job

    events, _ = run(["a", "b", "c"], backend=Limited())
    assert [each.item for each in of(Result, events)] == [0, 2]
    assert [(each.item, type(each.error)) for each in of(ItemFailed, events)] == [(1, TemporaryFailure)]


def test_a_request_of_a_task_that_has_ended_is_not_awaited():
    """It is dropped instead of submitted, and it is not pending any more."""
    backend, ends = ScriptedBackend(), []
    runner = TaskRunner(backend, backend.open, lambda _run, end: ends.append(end))
    run = TaskRun(runner, 0, "a")

    async def task():
        await run.gather(run.ask(make(name)) for name in ("first", "second"))
        return run.result(None)

    runner.start(run, task())
    unsent, _ = runner.take_unsent()
    assert [request.id for request in unsent] == ["first", "second"] and runner.is_awaited("second")
    runner.handle_event(Finished("first", FinishReason.ERROR, error=TemporaryFailure("server")))
    assert isinstance(ends[0], TemporaryFailure) and not runner.is_awaited("second")
    runner.drop("second")
    assert [*runner.pending_ids] == []
