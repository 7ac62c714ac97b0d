"""Embeds for many clients in one thread: one text of each client in turn, so that a long list does not block others."""

from __future__ import annotations

import array
import collections
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeAlias

from llmcli.engine.embedding import Embedder
from llmcli.engine.llama import hardware
from llmcli.errors import InternalError
from llmcli.types import StateLayers

_FREE_AFTER_IDLE_S = 30.0
"""Idle seconds after which the memory for embeddings is freed."""

EmbeddingVectors: TypeAlias = "tuple[list[array.array[float]], int]"
"""The vectors of some texts, and how many tokens these were."""


class _EmbeddingJob:
    def __init__(
        self,
        inputs: Sequence[str | Sequence[int]],
        gone: Callable[[], bool],
        pooling: str | None,
        measured: StateLayers | None,
    ) -> None:
        self.inputs = inputs
        self.pooling = pooling
        self.measured = measured
        self.gone = gone
        self.future: Future[EmbeddingVectors] = Future()
        self.tokens: list[list[int]] = []
        self.vectors: list[array.array[float]] = []


class EmbeddingQueue:
    """``make`` returns the embedder when it is first needed; its errors go to the job that needed it."""

    def __init__(self, make: Callable[[], Embedder]) -> None:
        self._create_embedder = make
        self._embedder: Embedder | None = None
        self._jobs: collections.deque[_EmbeddingJob] = collections.deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def submit(
        self,
        inputs: Sequence[str | Sequence[int]],
        gone: Callable[[], bool],
        pooling: str | None = None,
        measured: StateLayers | None = None,
    ) -> Future[EmbeddingVectors]:
        """Queue texts, or tokens. ``gone`` tells whether the client has left; then the job ends.

        ``pooling`` and ``measured``: see ``Embedder.embed``. The result raises as ``Embedder``, and what ``make``
        raises.
        """
        job = _EmbeddingJob(inputs, gone, pooling, measured)
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
        while (job := self._next_job()) is not None:
            try:
                ended = self._embed_next(job)
            except Exception as error:  # noqa: BLE001 (handed to the client that waits for the vectors)
                job.future.set_exception(error)
                continue
            if not ended:
                with self._wake:
                    self._jobs.append(job)
        for job in self._jobs:
            if not job.future.cancel():
                job.future.set_exception(InternalError("embedding", detail="cancelled"))
        self._free_embedder()

    def _next_job(self) -> _EmbeddingJob | None:
        """Return the next job; None when the queue closes."""
        with self._wake:
            while not (self._jobs or self._closing):
                if not self._wake.wait(_FREE_AFTER_IDLE_S):
                    self._free_embedder()
            return None if self._closing else self._jobs.popleft()

    def _free_embedder(self) -> None:
        if self._embedder is not None:
            self._embedder.close()
            hardware.release_free_memory()

    def _embed_next(self, job: _EmbeddingJob) -> bool:
        """Embed the next text of a job; True when it was the last, or its client has left.

        A future that runs cannot be cancelled: it is done only when no thread works on it any more.
        """
        if not (job.future.running() or job.future.set_running_or_notify_cancel()):
            return True
        if self._embedder is None and not job.gone():
            self._embedder = self._create_embedder()
        if self._embedder is None or job.gone():
            raise InternalError("embedding", detail="cancelled")
        if not job.tokens:
            job.tokens = [self._embedder.tokenize(given) for given in job.inputs]
        tokens = job.tokens[len(job.vectors)]
        job.vectors.append(self._embedder.embed(tokens, lambda: self._closing or job.gone(), job.pooling, job.measured))
        if len(job.vectors) < len(job.tokens):
            return False
        job.future.set_result((job.vectors, sum(map(len, job.tokens))))
        return True
