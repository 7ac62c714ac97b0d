"""Embeds for many clients in one thread: a text of each client in turn, so that a long list holds up nobody."""

from __future__ import annotations

import array
import collections
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeAlias

from llmcli.engine import machine
from llmcli.engine.embedding import Embedder
from llmcli.errors import InternalError

_REST_S = 30.0
"""Seconds without a text to embed after which the memory for that is freed."""

Vectors: TypeAlias = "tuple[list[array.array[float]], int]"
"""The vectors of some texts, and how many tokens these were."""


class _Job:
    def __init__(self, inputs: Sequence[str | Sequence[int]], gone: Callable[[], bool]) -> None:
        self.inputs = inputs
        self.gone = gone
        self.future: Future[Vectors] = Future()
        self.tokens: list[list[int]] = []
        self.vectors: list[array.array[float]] = []


class EmbeddingQueue:
    """``make`` returns what embeds, once there is something to embed; what it raises, the job that needed it gets."""

    def __init__(self, make: Callable[[], Embedder]) -> None:
        self._make = make
        self._embedder: Embedder | None = None
        self._jobs: collections.deque[_Job] = collections.deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def submit(self, inputs: Sequence[str | Sequence[int]], gone: Callable[[], bool]) -> Future[Vectors]:
        """Queue texts, or tokens. ``gone`` tells whether the client has left; then the job ends.

        The result raises as ``Embedder``, and what ``make`` raises.
        """
        job = _Job(inputs, gone)
        with self._wake:
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="embed", daemon=True)
                self._thread.start()
            self._wake.notify_all()
        return job.future

    def close(self) -> None:
        """End the thread; jobs that have not ended are cancelled."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                ended = self._advance(job)
            except Exception as error:  # noqa: BLE001 (handed to the client that waits for the vectors)
                job.future.set_exception(error)
                continue
            if not ended:
                with self._wake:
                    self._jobs.append(job)
        for job in self._jobs:
            if not job.future.cancel():
                job.future.set_exception(InternalError("embedding", detail="cancelled"))
        self._free()

    def _next(self) -> _Job | None:
        """Return the job whose turn it is; None when the queue closes."""
        with self._wake:
            while not (self._jobs or self._closing):
                if not self._wake.wait(_REST_S):
                    self._free()
            return None if self._closing else self._jobs.popleft()

    def _free(self) -> None:
        if self._embedder is not None:
            self._embedder.close()
            machine.release_free_memory()

    def _advance(self, job: _Job) -> bool:
        """Embed the next text of a job; True when it was the last, or nobody waits for it.

        A future that runs cannot be cancelled: it is done only when no thread works for it any more.
        """
        if not (job.future.running() or job.future.set_running_or_notify_cancel()):
            return True
        if self._embedder is None and not job.gone():
            self._embedder = self._make()
        if self._embedder is None or job.gone():
            raise InternalError("embedding", detail="cancelled")
        if not job.tokens:
            job.tokens = [self._embedder.tokens(given) for given in job.inputs]
        job.vectors.append(self._embedder.vector(job.tokens[len(job.vectors)], lambda: self._closing or job.gone()))
        if len(job.vectors) < len(job.tokens):
            return False
        job.future.set_result((job.vectors, sum(map(len, job.tokens))))
        return True
