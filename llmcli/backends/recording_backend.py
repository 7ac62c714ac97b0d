"""A backend that remembers the last request that another backend got."""

from __future__ import annotations

import os
from collections.abc import Sequence

from llmcli.backends.base import Backend, DelegatingJob, Job
from llmcli.frozen_dataclass import replace
from llmcli.types import BackendInfo, BackendStats, Request


class RecordingBackend:
    """Wraps ``backend``, whose last request is ``last_request``; None before the first one.

    ``chooses_seeds``: a request without a seed gets one, so that it can be repeated.
    """

    def __init__(self, backend: Backend, *, chooses_seeds: bool) -> None:
        self._backend = backend
        self._chooses_seeds = chooses_seeds
        self.last_request: Request | None = None

    def info(self) -> BackendInfo:
        """What the backend can do."""
        return self._backend.info()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt length of each request in tokens, and whether they are exact."""
        return self._backend.count(requests)

    def open(self) -> RecordingJob:
        """Open a job."""
        return RecordingJob(self._backend.open(), self)

    def stats(self) -> BackendStats:
        """Statistics of the backend."""
        return self._backend.stats()

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()

    def record(self, request: Request) -> Request:
        """Remember a request; return it as it is to be sent."""
        if self._chooses_seeds and request.sampling.seed is None and not request.candidates:
            seed = int.from_bytes(os.urandom(4), "little")
            request = replace(request, sampling=replace(request.sampling, seed=seed))
        if not request.candidates and not request.hidden_states:
            self.last_request = request
        return request


class RecordingJob(DelegatingJob):
    """A job of a ``RecordingBackend``."""

    def __init__(self, job: Job, backend: RecordingBackend) -> None:
        super().__init__(job)
        self._backend = backend

    def submit(self, request: Request) -> None:
        """Add a request."""
        super().submit(self._backend.record(request))
