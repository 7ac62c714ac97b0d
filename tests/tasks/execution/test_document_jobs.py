"""Document jobs: few documents are in memory at a time."""

from __future__ import annotations

from scripted import ScriptedBackend

from llmcli.errors import EmptyInput
from llmcli.tasks.execution.document_jobs import MAX_PENDING_REQUESTS, WaitForCapacity, run_document_jobs
from llmcli.types import Finished, ItemFailed, Message, Progress, Request, Result, Role

REQUESTS_EACH = 40


class _Job:
    """Some requests, and a result at the end."""

    name = "a"
    step = ""

    def __init__(self, item, running):
        self.item = item
        self._left = REQUESTS_EACH
        self._running = running

    def start(self):
        self._running.add(self.item)
        for number in range(REQUESTS_EACH):
            yield Request(f"{self.item}.{number}", (Message(Role.USER, "hello"),))

    def handle_event(self, event):
        self._left -= isinstance(event, Finished)
        if self._left == 0 and isinstance(event, Finished):
            self._running.discard(self.item)
            yield Result(self.item, self.name, None, {})


def run(things):
    """Return the events, and the highest number of jobs that were running when a thing was taken."""
    running, most = set(), 0

    def taken():
        nonlocal most
        for thing in things:
            most = max(most, len(running))
            yield thing

    events = [*run_document_jobs(ScriptedBackend(), taken(), lambda item, _: _Job(item, running), "parts")]
    return events, most + 1


def test_a_document_is_begun_when_earlier_ones_leave_room():
    """All have a result, whatever their number."""
    events, most = run(["text"] * 20)
    assert {each.item for each in events if isinstance(each, Result)} == {*range(20)}
    assert most <= MAX_PENDING_REQUESTS // REQUESTS_EACH + 2
    last = [each for each in events if isinstance(each, Progress)][-1]
    assert (last.done, last.total) == (20 * REQUESTS_EACH, 20 * REQUESTS_EACH)


def test_failures_keep_their_positions():
    """Before, among and after the documents; also if there is nothing else."""
    failed = ItemFailed(7, "b", EmptyInput("b"))
    things = [failed, *["text"] * 5, failed, *["text"] * 5, failed]
    events, _ = run(things)
    assert [each.item for each in events if isinstance(each, ItemFailed)] == [0, 6, 12]
    assert len([each for each in events if isinstance(each, Result)]) == 10
    assert [each.item for each in run([failed, failed])[0]] == [0, 1]


class _GrammarJob(_Job):
    """Many requests with a grammar; ``fails_after`` so many have ended, it fails."""

    def __init__(self, item, backend, fails_after=None):
        super().__init__(item, set())
        self.most_pending = 0
        self._backend = backend
        self._fails_at = None if fails_after is None else GRAMMARS_EACH - fails_after
        self._left = GRAMMARS_EACH

    def start(self):
        for number in range(GRAMMARS_EACH):
            yield Request(f"{self.item}.{number}", (Message(Role.USER, "hello"),), grammar='start: "hello"')

    def handle_event(self, event):
        ended = GRAMMARS_EACH - self._left
        self.most_pending = max(self.most_pending, len(self._backend.requests) - ended)
        yield from super().handle_event(event)
        if self._left == self._fails_at:
            raise EmptyInput(self.name)


GRAMMARS_EACH = 3 * MAX_PENDING_REQUESTS


def test_grammars_wait_until_others_have_ended():
    """Each takes memory in the engine; the requests of a document keep their order, and all of them are sent."""
    backend = ScriptedBackend()
    job = _GrammarJob(0, backend)
    events = [*run_document_jobs(backend, ["text"], lambda *_: job, "parts")]
    assert job.most_pending == MAX_PENDING_REQUESTS
    assert [request.id for request in backend.requests] == [f"0.{number}" for number in range(GRAMMARS_EACH)]
    assert [each.item for each in events if isinstance(each, Result)] == [0]
    last = [each for each in events if isinstance(each, Progress)][-1]
    assert (last.done, last.total) == (GRAMMARS_EACH, GRAMMARS_EACH)


def test_waiting_grammars_of_a_failed_document_are_never_sent():
    """Those of the next document are."""
    backend = ScriptedBackend()
    events = [
        *run_document_jobs(
            backend, ["text"] * 2, lambda item, _: _GrammarJob(item, backend, None if item else 5), "parts"
        )
    ]
    assert [each.item for each in events if isinstance(each, ItemFailed)] == [0]
    assert [each.item for each in events if isinstance(each, Result)] == [1]
    sent = [request.id for request in backend.requests]
    assert len([name for name in sent if name.startswith("0.")]) < MAX_PENDING_REQUESTS + 10
    assert len([name for name in sent if name.startswith("1.")]) == GRAMMARS_EACH
    last = [each for each in events if isinstance(each, Progress)][-1]
    assert (last.done, last.total) == (2 * GRAMMARS_EACH, 2 * GRAMMARS_EACH)


class _WaitingJob(_GrammarJob):
    """Waits for room before each request; notes which documents have begun."""

    def __init__(self, item, backend, begun, fails_after=None):
        super().__init__(item, backend, fails_after)
        self._begun = begun
        self.made = 0

    def start(self):
        self._begun.append(self.item)
        for request in super().start():
            yield WaitForCapacity(GRAMMARS_EACH - self.made)
            self.made += 1
            yield request


def test_a_start_that_waits_for_room_goes_on_as_requests_end():
    """No more requests are made than may be pending, and no document begins before the one that waits is through."""
    backend, begun = ScriptedBackend(), []
    jobs = [_WaitingJob(item, backend, begun) for item in range(2)]
    most = []

    def taken():
        for number in range(2):
            most.append(sum(job.made for job in jobs) - sum(GRAMMARS_EACH - job._left for job in jobs))
            yield number

    events = [*run_document_jobs(backend, taken(), lambda item, _: jobs[item], "parts")]
    assert [each.item for each in events if isinstance(each, Result)] == [0, 1]
    assert [request.id for request in backend.requests][:GRAMMARS_EACH] == [f"0.{n}" for n in range(GRAMMARS_EACH)]
    assert most[1] < MAX_PENDING_REQUESTS and begun == [0, 1]
    totals = [each.total for each in events if isinstance(each, Progress)]
    assert totals[0] == GRAMMARS_EACH, "what is to come counts"
    assert totals == sorted(totals) and totals[-1] == 2 * GRAMMARS_EACH
    assert max(job.most_pending for job in jobs) <= MAX_PENDING_REQUESTS + GRAMMARS_EACH


def test_a_waiting_start_of_a_failed_document_ends():
    """The next document gets the room."""
    backend, begun = ScriptedBackend(), []
    jobs = [_WaitingJob(0, backend, begun, fails_after=5), _WaitingJob(1, backend, begun)]
    events = [*run_document_jobs(backend, range(2), lambda item, _: jobs[item], "parts")]
    assert [each.item for each in events if isinstance(each, ItemFailed)] == [0]
    assert [each.item for each in events if isinstance(each, Result)] == [1]
    assert jobs[0].made < MAX_PENDING_REQUESTS + 10 and jobs[1].made == GRAMMARS_EACH
