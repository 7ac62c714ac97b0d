"""The worker as a backend: one exchange with it for all jobs of a command."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmcli.backends.worker_job import WorkerJob
from llmcli.errors import LlmError
from llmcli.interrupt import Interrupt
from llmcli.types import BackendInfo, EngineOptions, Request, Work
from llmcli.worker import wire
from llmcli.worker.client import Gone, Session, unexpected
from llmcli.worker.start import Starter

_POLL = 0.05
"""Seconds between looks at the interrupt while waiting."""
_TRIES = 2


class WorkerBackend:
    """A backend (see ``backends.base``) on the worker that ``starter`` finds or starts."""

    def __init__(
        self,
        starter: Starter,
        options: EngineOptions,
        interrupt: Interrupt,
        *,
        pause: float = 0.0,
        on_loading: Callable[[float], None] | None = None,
    ) -> None:
        """Connect at once; raises as ``Starter.connect``.

        ``pause``: seconds for which the worker may gather pieces of text before it sends them. ``on_loading`` is called
        in another thread with the share of the model that is loaded (0 to 1), a few times a second until all of it is.
        """
        self.starter = starter
        self.interrupt = interrupt
        self._on_loading = on_loading
        self._start = {"options": wire.dump_options(options), "pause": pause, "progress": on_loading is not None}
        self._jobs: dict[int, WorkerJob] = {}
        self._opened = 0
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()  # question and answer; as below
        self._greetings: queue.SimpleQueue[Any] = queue.SimpleQueue()  # an LlmError instead, None: the worker ended
        self._waiting: list[object] = []  # who waits for what the thread that reads will bring
        self._info: BackendInfo | None = None
        self._session: Session | None = self._begin()

    # ---- Backend --------------------------------------------------------------------------------------------------

    def info(self) -> BackendInfo:
        """What the engine can do. Raises what loading the model raised, and ``InternalError`` after a crash."""
        for _ in range(_TRIES):
            if self._info is None:
                self._begun()
                answer = self._wait(self._greetings)  # the worker's first words, which nobody has to ask for
                if isinstance(answer, LlmError):
                    raise answer
                if answer is not None:
                    self._info = answer
            if self._info is not None:
                return self._info
        raise self.starter.cause()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt lengths in tokens; they are exact."""
        return self._ask("count", [wire.dump_request(request) for request in requests]), True

    def open(self) -> WorkerJob:
        """Open a job."""
        self._opened += 1
        job = WorkerJob(self, self._opened)
        self._jobs[self._opened] = job
        return job

    def work(self) -> Work:
        """How the engine worked so far, for other commands too; nothing is known once the worker has ended."""
        if self._session is None or not self._opened:
            return Work()
        work: Work = self._ask("work")
        return work

    def greeted(self, seconds: float) -> bool:
        """Wait for the worker's first word; False where none comes in so many seconds. Raises what the user did."""
        session, until = self._session, time.monotonic() + seconds
        while session is not None and not session.greeted.wait(_POLL):
            self.interrupt.check()
            if time.monotonic() > until:
                return False
        return True

    def close(self) -> None:
        """End the exchange; the worker stays."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    # ---- for jobs -------------------------------------------------------------------------------------------------

    def send(self, lines: list[bytes]) -> None:
        """Send lines, in a new exchange where the last one came to its end. Raises ``Gone`` and ``LlmError``."""
        self._begun().send(*lines)

    def tell(self, lines: list[bytes]) -> None:
        """Send lines in the exchange that there is, for whose end they need no other one. Raises ``Gone``."""
        with self._lock:
            session = self._session
        if session is not None:
            session.send(*lines)

    def others_wait(self, job: WorkerJob) -> bool:
        """Return whether anything but ``job`` waits for what the thread that reads will bring."""
        return any(each is not job for each in list(self._waiting))

    @contextlib.contextmanager
    def waiting(self, who: object) -> Iterator[None]:
        """Wait in this block for what the thread that reads will bring; no job whose consumer is behind holds it back.

        ``who``: a job for its own events, which may be waiting in the loop over those of another one.
        """
        self._waiting.append(who)
        for job in list(self._jobs.values()):
            job.let_through()
        try:
            yield
        finally:
            self._waiting.remove(who)

    def forget(self, number: int) -> None:
        """Take no more events for a job."""
        self._jobs.pop(number, None)

    # ---- the exchange ---------------------------------------------------------------------------------------------

    def _begun(self) -> Session:
        """Return the exchange, a new one where the last one came to its end."""
        with self._lock:
            if self._session is None:
                self._session = self._begin()
            return self._session

    def _begin(self) -> Session:
        session = Session(self.starter.connect(), self._start)
        threading.Thread(target=self._read, args=(session, self.starter.pid), name="worker", daemon=True).start()
        return session

    def _read(self, session: Session, pid: int) -> None:
        """Hand on what the worker says until it ends."""
        heard = False
        try:
            for message in session:
                heard = True
                self._take(message)
        except Gone:
            self._leave(session)
            self._answers.put(None)
            self._greetings.put(None)
            for job in list(self._jobs.values()):
                job.lose(heard=heard, pid=pid)
        except Exception as error:  # noqa: BLE001 (told to whoever waits: nobody else would end the wait)
            self._leave(session)
            self._fail(error if isinstance(error, LlmError) else unexpected(error))

    def _leave(self, session: Session) -> None:
        """Give an exchange up: what comes next needs another one."""
        with self._lock:
            if self._session is session:
                self._session = None
        session.close()

    def _fail(self, error: LlmError) -> None:
        """Tell everybody who waits for the worker why nothing will come."""
        self._answers.put(error)
        self._greetings.put(error)
        for job in list(self._jobs.values()):
            job.fail(error)

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            event = wire.load_event(message["event"])
            number, _, name = event.id.partition(":")
            job = self._jobs.get(int(number))
            if job is not None:
                job.take(dataclasses.replace(event, id=name))
        elif "failed" in message:
            self._fail(wire.load_error(message["failed"]))
        elif "loading" in message:
            if self._on_loading is not None:
                self._on_loading(float(message["loading"]))
        elif "info" in message:
            self._greetings.put(wire.load_info(message["info"]))
        elif "count" in message:
            self._answers.put(("count", list(map(int, message["count"]))))
        elif "work" in message:
            self._answers.put(("work", wire.load_work(message["work"])))
        else:
            raise ValueError(", ".join(message))

    def _ask(self, question: str, given: Any = None) -> Any:
        """Return the worker's answer; a question that it did not hear, because it was just ending, is asked again."""
        for _ in range(_TRIES):
            while not self._answers.empty():
                self._answers.get()
            try:
                self.send([wire.line(**{question: given})])
            except Gone:
                continue
            answer = self._wait(self._answers)
            if isinstance(answer, LlmError):
                raise answer
            if answer is not None:
                asked, value = answer
                if asked != question:
                    raise unexpected(ValueError(f"{asked} instead of {question}"))
                return value
        raise self.starter.cause()

    def _wait(self, answers: queue.SimpleQueue[Any]) -> Any:
        """Return the next answer, None when the worker ended instead."""
        with self.waiting(self):
            while True:
                self.interrupt.check()
                try:
                    return answers.get(timeout=_POLL)
                except queue.Empty:
                    continue
