"""The worker as a backend, against a scripted worker: whatever it sends, no command keeps waiting."""

from __future__ import annotations

import socket
import threading

import pytest

from llmcli.backends import worker_job
from llmcli.backends.base import run_requests
from llmcli.backends.worker_backend import WorkerBackend
from llmcli.backends.worker_job import WorkerJob
from llmcli.config.engine_options import EngineOptions
from llmcli.errors import InternalError, WorkerCrashed
from llmcli.interrupt import Interrupt
from llmcli.types import BackendInfo, Finished, FinishReason, Message, Priority, Request, Role, TextDelta
from llmcli.worker import protocol
from llmcli.worker.client.channel import encode_chunk

INFO = protocol.encode_message(
    info=protocol.dump_info(BackendInfo("tiny", "id", 512, reasoning=False, rejects_overflow=True))
)
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def request(name="a", **more):
    return Request(name, (Message(Role.USER, "hello"),), **more)


def event(number, name, piece):
    """Return the line of an event of a job: a text, or the end."""
    ours = f"{number}:{name}"
    done = Finished(ours, FinishReason.STOP) if piece is None else TextDelta(ours, piece)
    return protocol.encode_message(event=protocol.dump_event(done))


class Scripted:
    """A worker that answers each line of its client with the lines that ``answer`` returns for it; None ends it."""

    spawned, pid = True, 7

    def __init__(self, answer):
        self._answer = answer
        self._threads = []
        self.connections = 0

    def connect(self):
        ours, theirs = socket.socketpair()
        self.connections += 1
        self._threads.append(threading.Thread(target=self._serve, args=(theirs,)))
        self._threads[-1].start()
        return ours

    def _serve(self, connected):
        with connected, connected.makefile("rb") as heard:
            connected.sendall(HEAD + encode_chunk(INFO))
            while heard.readline().strip():
                pass
            while size := int(heard.readline() or b"0", 16):
                for line in heard.read(size).splitlines():
                    for said in self._answer(protocol.decode_message(line)):
                        if said is None:
                            return
                        connected.sendall(encode_chunk(said))
                heard.readline()

    def find_crash_reason(self, pid=None):
        return WorkerCrashed("the worker", detail=f"process {pid} ended")

    def join(self):
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def against():
    """Return a function from a script to a backend on a worker that follows it."""
    made = []

    def make(answer):
        launcher = Scripted(answer)
        made.append(WorkerBackend(launcher, EngineOptions(), Interrupt(timeout=60)))
        return made[-1]

    yield make
    for backend in made:
        backend.close()
        backend.launcher.join()


MALFORMED = {
    "no JSON": b"{\n",
    "no object": b"[]\n",
    "nothing known": b'{"what": 1}\n',
    "deep": b"[" * 100_000 + b"\n",
    "an event of no kind": b'{"event": {"song": ["1:a", "x"]}}\n',
    "an event of two kinds": b'{"event": {"text": ["1:a", "x"], "reasoning": ["1:a", "x"]}}\n',
    "an event that is none": b'{"event": 5}\n',
    "an id without a job": b'{"event": {"text": ["a", "x"]}}\n',
    "an id that is none": b'{"event": {"text": [5, "x"]}}\n',
    "an end without a reason": b'{"event": {"finished": {"id": "1:a"}}}\n',
    "an end for no known reason": b'{"event": {"finished": {"id": "1:a", "reason": "bored"}}}\n',
    "an error that is none": b'{"failed": 5}\n',
    "another backend": b'{"info": {"colour": "blue"}}\n',
}


@pytest.mark.parametrize("said", MALFORMED.values(), ids=MALFORMED)
def test_a_message_that_cannot_be_read_ends_the_job(against, said):
    """With 70 and the reason, at once; the exchange is discarded."""
    backend = against(lambda message: [said] if "submit" in message else [])
    with pytest.raises(InternalError) as caught:
        list(run_requests(backend, [request()]))
    assert caught.value.exit_code == 70
    assert caught.value.subject == "the worker" and caught.value.detail.startswith("unexpected message: ")
    assert backend.launcher.connections == 1


@pytest.mark.parametrize("said", [MALFORMED["no JSON"], b'{"count": ["x"]}\n', b'{"count": 5}\n', b'{"work": {}}\n'])
def test_an_unreadable_reply_ends_the_wait(against, said):
    """The caller gets the error, and no other answer."""
    backend = against(lambda message: [said] if "count" in message else [])
    with pytest.raises(InternalError, match="unexpected message"):
        backend.count([request()])


def test_after_a_malformed_message_a_new_exchange_is_opened(against):
    """The next job has its own exchange."""
    lines = [[MALFORMED["no JSON"]], [event(2, "b", "hello"), event(2, "b", None)]]
    backend = against(lambda message: lines.pop(0) if "submit" in message else [])
    with pytest.raises(InternalError):
        list(run_requests(backend, [request()]))
    assert [each.id for each in run_requests(backend, [request("b")])] == ["b", "b"]
    assert backend.launcher.connections == 2


def test_a_request_after_the_end_of_the_worker_is_sent_once(against, monkeypatch):
    """Submitted before the consumer learns that the worker has ended, as by a thread that reads records."""
    sent, known, recover = [], threading.Event(), WorkerJob._recover_from_disconnect
    monkeypatch.setattr(WorkerJob, "_recover_from_disconnect", lambda *given: (recover(*given), known.set()))

    def answer(message):
        name = message.get("submit", {}).get("id", "").partition(":")[2]
        sent.extend([name] if name else [])
        assert name != "b" or known.wait(20)
        return [event(1, name, None), *([None] if name == "a" else [])] if name else []

    others = threading.enumerate()
    backend = against(answer)
    (reader,) = [each for each in threading.enumerate() if each.name == "worker" and each not in others]
    with backend.open() as job:
        job.submit(request("a", priority=Priority.BULK))
        reader.join(20)
        job.submit(request("b", priority=Priority.BULK))
        job.close_input()
        assert [(each.id, each.reason) for each in job] == [("a", FinishReason.STOP), ("b", FinishReason.STOP)]
    backend.close()
    backend.launcher.join()
    assert sent == ["a", "b"]


def test_a_consumer_may_send_a_query_while_its_job_is_full(against, monkeypatch):
    """The reply arrives behind unread events, which are kept for the consumer."""
    monkeypatch.setattr(worker_job, "MAX_QUEUED_EVENTS", 3)
    texts = [str(number) for number in range(50)]

    def answer(message):
        if "submit" in message:
            return [event(1, "a", text) for text in texts] + [event(1, "a", None)]
        return [protocol.encode_message(count=[5])] if "count" in message else []

    backend, came = against(answer), []
    with backend.open() as job:
        job.submit(request())
        job.close_input()
        for each in job:
            came.append(each)
            assert backend.count([request()]) == ([5], True)
    assert [each.text for each in came[:-1]] == texts


def test_a_nested_job_gets_its_events(against, monkeypatch):
    """Events of the outer job are in front of them."""
    monkeypatch.setattr(worker_job, "MAX_QUEUED_EVENTS", 3)

    def answer(message):
        if "submit" not in message:
            return []
        number, _, name = message["submit"]["id"].partition(":")
        return [event(number, name, str(each)) for each in range(20)] + [event(number, name, None)]

    backend = against(answer)
    outer = run_requests(backend, [request("outer")])
    assert next(outer).text == "0"
    assert len(list(run_requests(backend, [request("inner")]))) == 21
    assert len(list(outer)) == 20


class Ended:
    """A worker that ends after the head of its answer: with ``reads``, it takes the first line before."""

    spawned, pid = True, 7

    def __init__(self, *, reads):
        self.reads = reads
        self.open = []

    def connect(self):
        ours, theirs = socket.socketpair()
        theirs.sendall(HEAD)
        if self.reads:
            theirs.shutdown(socket.SHUT_WR)
            self.open.append(theirs)
        else:
            theirs.close()
        return ours

    def find_crash_reason(self, pid=None):
        return WorkerCrashed("the worker", detail=f"process {pid} ended")


@pytest.mark.parametrize("reads", [True, False])
def test_a_worker_that_ends_at_once_is_reported(monkeypatch, reads):
    """The reader thread may find the end before the constructor goes on; no thread fails then, and no command."""
    failures = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    start = threading.Thread.start

    def start_and_wait(thread):
        start(thread)
        if thread.name == "worker":
            thread.join(0.2)  # longer than the reader takes unless it waits for the constructor

    monkeypatch.setattr(threading.Thread, "start", start_and_wait)
    worker = Ended(reads=reads)
    with pytest.raises(WorkerCrashed):
        WorkerBackend(worker, EngineOptions(), Interrupt(timeout=60)).info()
    assert failures == []
    for theirs in worker.open:
        theirs.close()
