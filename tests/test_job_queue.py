"""The base of all jobs: ids, the end of the input, the interrupt, and the end of the loop."""

from __future__ import annotations

import queue

import pytest

from llmcli.errors import InternalError, Interrupted
from llmcli.job_queue import BaseJob
from llmcli.types import Finished, FinishReason, Request, TextDelta


class Host:
    """Raises ``error`` when it is called."""

    error = None

    def check_interrupt(self):
        if self.error is not None:
            raise self.error


class EchoJob(BaseJob):
    """Answers each request at once."""

    def __init__(self, host):
        super().__init__(host, queue.SimpleQueue())
        self.abandoned = 0

    def cancel(self, request_id):
        self._items.put(Finished(request_id, FinishReason.CANCELLED))

    def _start(self, request):
        for item in (TextDelta(request.id, "hi"), None, Finished(request.id, FinishReason.STOP)):
            self._items.put(item)

    def _abandon(self):
        self.abandoned += 1

    def _accept_item(self, item):
        return item


def request(name="a"):
    return Request(name, ())


def test_the_loop_ends_with_the_last_request():
    """After the end of the input; a None in the queue is no event."""
    with EchoJob(Host()) as job:
        job.submit(request("a"))
        job.submit(request("b"))
        job.close_input()
        assert [event.id for event in job] == ["a", "a", "b", "b"]


def test_an_id_is_open_until_its_end_was_read():
    """The same id can be submitted again only after its end."""
    with EchoJob(Host()) as job:
        job.submit(request())
        with pytest.raises(InternalError, match="job") as caught:
            job.submit(request())
        assert caught.value.detail == "request a submitted twice, or after the input's end"
        for event in job:
            if isinstance(event, Finished):
                break
        job.submit(request())


def test_nothing_is_submitted_after_the_end_of_the_input():
    """That is a bug of the caller."""
    with EchoJob(Host()) as job:
        job.close_input()
        with pytest.raises(InternalError):
            job.submit(request())


def test_an_interrupt_ends_the_loop():
    """It is checked after each wait, so the event that was just taken is dropped."""
    host = Host()
    with EchoJob(host) as job:
        job.submit(request())
        host.error = Interrupted()
        with pytest.raises(Interrupted):
            next(iter(job))


def test_leaving_the_block_abandons_what_is_left():
    """Whoever fills the queue can see that nothing reads it any more."""
    with EchoJob(Host()) as job:
        assert not job.consumer_gone
    assert (job.consumer_gone, job.abandoned) == (True, 1)


def test_a_request_that_cannot_be_started_is_not_waited_for():
    """The loop ends without it."""

    class Refusing(EchoJob):
        def _start(self, request):
            if request.id == "bad":
                raise Interrupted
            super()._start(request)

    with Refusing(Host()) as job:
        job.submit(request("a"))
        with pytest.raises(Interrupted):
            job.submit(request("bad"))
        job.close_input()
        assert [event.id for event in job] == ["a", "a"]
