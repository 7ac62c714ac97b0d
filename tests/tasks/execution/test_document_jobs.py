"""Document jobs: few documents are in memory at a time."""

from __future__ import annotations

from scripted import ScriptedBackend

from llmcli.errors import EmptyInput
from llmcli.tasks.execution.document_jobs import MAX_PENDING_REQUESTS, run_document_jobs
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
