"""The worker as a backend: one exchange with it for all jobs of a command."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmcli import fast_dataclass
from llmcli.backends.worker_job import WorkerJob
from llmcli.config.engine_options import EngineOptions
from llmcli.errors import LlmError
from llmcli.interrupt import Interrupt
from llmcli.types import BackendInfo, BackendStats, Request
from llmcli.worker import protocol
from llmcli.worker.client.channel import Channel, WorkerGone, WorkerLauncher, unexpected_message

_POLL_S = 0.05
"""Seconds between checks for an interrupt while waiting."""
_MAX_TRIES = 2


class WorkerBackend:
    """A backend (see ``backends.base``) on the worker that ``launcher`` finds or starts."""

    def __init__(
        self,
        launcher: WorkerLauncher,
        options: EngineOptions,
        interrupt: Interrupt,
        *,
        pause: float = 0.0,
        on_loading: Callable[[float], None] | None = None,
    ) -> None:
        """Connect at once; raises as ``WorkerLauncher.connect``.

        ``pause``: coalescing delay of text in seconds. ``on_loading`` is called in another thread with the loaded
        fraction of the model (0 to 1), a few times a second until it is 1.
        """
        self.launcher = launcher
        self.interrupt = interrupt
        self._on_loading = on_loading
        self._start_message = {
            "options": protocol.dump_options(options),
            "pause": pause,
            "progress": on_loading is not None,
        }
        self._jobs: dict[int, WorkerJob] = {}
        self._num_jobs = 0
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()  # (question, answer); as below
        self._info_answers: queue.SimpleQueue[Any] = queue.SimpleQueue()  # an LlmError instead, None: the worker ended
        self._waiters: list[object] = []  # those that wait for a message of the reader thread
        self._info: BackendInfo | None = None
        self._channel: Channel | None = None
        self._ensure_channel()  # with the lock: the reader thread may find at once that the worker has ended

    # ---- Backend --------------------------------------------------------------------------------------------------

    def info(self) -> BackendInfo:
        """What the engine can do. Raises what loading the model raised, and ``InternalError`` after a crash."""
        for _ in range(_MAX_TRIES):
            if self._info is None:
                self._ensure_channel()
                answer = self._wait_for_answer(self._info_answers)  # the worker sends it without a question
                if isinstance(answer, LlmError):
                    raise answer
                if answer is not None:
                    self._info = answer
            if self._info is not None:
                return self._info
        raise self.launcher.find_crash_reason()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt lengths in tokens; they are exact."""
        return self._query_worker("count", [protocol.dump_request(request) for request in requests]), True

    def open(self) -> WorkerJob:
        """Open a job."""
        with self._lock:  # so that it either learns of the end of an exchange, or sends in the next one
            self._num_jobs += 1
            job = WorkerJob(self, self._num_jobs)
            self._jobs[self._num_jobs] = job
            return job

    def stats(self) -> BackendStats:
        """Statistics of the engine, for other commands too; empty once the worker has ended."""
        if self._channel is None or not self._num_jobs:
            return BackendStats()
        work: BackendStats = self._query_worker("work")
        return work

    def wait_for_response(self, seconds: float) -> bool:
        """Wait until the worker begins to answer; return False on time-out. Raises as ``Interrupt.check``."""
        channel, until = self._channel, time.monotonic() + seconds
        while channel is not None and not channel.response_started.wait(_POLL_S):
            self.interrupt.check()
            if time.monotonic() > until:
                return False
        return True

    def close(self) -> None:
        """End the exchange; the worker keeps running."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    # ---- for jobs -------------------------------------------------------------------------------------------------

    def check_interrupt(self) -> None:
        """Raise the error of an interrupt or of the deadline, if there is one."""
        self.interrupt.check()

    def send(self, lines: list[bytes], job: WorkerJob | None = None) -> None:
        """Send lines, in a new exchange if the last one has ended. Raises ``WorkerGone`` and ``LlmError``.

        A job that ``is_disconnected`` gets ``WorkerGone``.
        """
        self._ensure_channel(job).send(*lines)

    def send_if_connected(self, lines: list[bytes]) -> None:
        """Send lines in the current exchange; do nothing if it has ended. Raises ``WorkerGone``."""
        with self._lock:
            channel = self._channel
        if channel is not None:
            channel.send(*lines)

    def has_other_waiters(self, job: object) -> bool:
        """Return whether anything but ``job`` waits for a message of the reader thread."""
        return any(each is not job for each in list(self._waiters))

    @contextlib.contextmanager
    def register_waiter(self, who: object) -> Iterator[None]:
        """Wait in this block for a message of the reader thread, which then does not wait for slow consumers of jobs.

        ``who``: a job that waits for its own events, perhaps inside the loop over another job's events.
        """
        self._waiters.append(who)
        for job in list(self._jobs.values()):
            job.unblock_reader()
        try:
            yield
        finally:
            self._waiters.remove(who)

    def forget_job(self, number: int) -> None:
        """Drop later events of a job."""
        self._jobs.pop(number, None)

    # ---- the exchange ---------------------------------------------------------------------------------------------

    def _ensure_channel(self, job: WorkerJob | None = None) -> Channel:
        """Return the exchange, a new one if the last one has ended. Raises as ``send``."""
        with self._lock:
            if job is not None and job.is_disconnected:
                raise WorkerGone("the worker ended")
            if self._channel is None:
                self._channel = self._open_channel()
            return self._channel

    def _open_channel(self) -> Channel:
        """Open an exchange; a worker that ends before it takes the first line is replaced once."""
        channel = None
        for _ in range(_MAX_TRIES):
            with contextlib.suppress(WorkerGone):
                channel = Channel(self.launcher.connect(), self._start_message)
                break
        if channel is None:
            raise self.launcher.find_crash_reason()
        threading.Thread(
            target=self._read_messages, args=(channel, self.launcher.pid), name="worker", daemon=True
        ).start()
        return channel

    def _read_messages(self, channel: Channel, pid: int) -> None:
        """Dispatch the worker's messages until it ends."""
        heard = False
        try:
            for message in channel:
                heard = True
                self._dispatch_message(message)
        except WorkerGone:
            jobs = self._drop_channel(channel)
            self._answers.put(None)
            self._info_answers.put(None)
            for job in jobs:
                job.accept_disconnect(heard=heard, pid=pid)
        except Exception as error:  # noqa: BLE001 (passed to those that wait: nothing else would end the wait)
            self._drop_channel(channel)
            self._fail_waiters(error if isinstance(error, LlmError) else unexpected_message(error))

    def _drop_channel(self, channel: Channel) -> list[WorkerJob]:
        """Discard an exchange; later requests open a new one. Return the jobs that have to learn of it."""
        with self._lock:
            if self._channel is channel:
                self._channel = None
            jobs = list(self._jobs.values())
            for job in jobs:
                job.mark_disconnected()
        channel.close()
        return jobs

    def _fail_waiters(self, error: LlmError) -> None:
        """Pass the error to everything that waits for the worker."""
        self._answers.put(error)
        self._info_answers.put(error)
        for job in list(self._jobs.values()):
            job.accept_error(error)

    def _dispatch_message(self, message: dict[str, Any]) -> None:
        if "event" in message:
            event = protocol.load_event(message["event"])
            number, _, name = event.id.partition(":")
            job = self._jobs.get(int(number))
            if job is not None:
                job.accept_event(fast_dataclass.replace(event, id=name))
        elif "failed" in message:
            self._fail_waiters(protocol.load_error(message["failed"]))
        elif "loading" in message:
            if self._on_loading is not None:
                self._on_loading(float(message["loading"]))
        elif "info" in message:
            self._info_answers.put(protocol.load_info(message["info"]))
        elif "count" in message:
            self._answers.put(("count", list(map(int, message["count"]))))
        elif "work" in message:
            self._answers.put(("work", protocol.load_stats(message["work"])))
        else:
            raise ValueError(", ".join(message))

    def _query_worker(self, question: str, given: Any = None) -> Any:
        """Return the worker's answer; repeat the question if the worker was just ending."""
        for _ in range(_MAX_TRIES):
            while not self._answers.empty():
                self._answers.get()
            try:
                self.send([protocol.encode_message(**{question: given})])
            except WorkerGone:
                continue
            answer = self._wait_for_answer(self._answers)
            if isinstance(answer, LlmError):
                raise answer
            if answer is not None:
                asked, value = answer
                if asked != question:
                    raise unexpected_message(ValueError(f"an answer to {asked} instead of {question}"))
                return value
        raise self.launcher.find_crash_reason()

    def _wait_for_answer(self, answers: queue.SimpleQueue[Any]) -> Any:
        """Return the next answer, None when the worker ended instead."""
        with self.register_waiter(self):
            while True:
                self.interrupt.check()
                try:
                    return answers.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
