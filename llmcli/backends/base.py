"""The interface between tasks and backends, which answer requests; and a job and a backend that forward to others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from llmcli.types import BackendInfo, BackendStats, Event, Request


class Job(Protocol):
    """A stream of requests and of events about them; a context manager that cancels open requests on exit."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, request: Request) -> None:
        """Add a request; at any time and from any thread until ``close_input``."""
        ...

    def cancel(self, request_id: str) -> None:
        """End a request; it still yields its ``Finished`` (reason ``cancelled``). Unknown or ended ids are ignored."""
        ...

    def close_input(self) -> None:
        """No more requests will come; iteration ends when every submitted one has ended."""
        ...

    def __iter__(self) -> Iterator[Event]:
        """Yield events. Raises what ends the whole job: ``Interrupted``, ``TimedOut``, ``InternalError``, ..."""
        ...


class Backend(Protocol):
    """Something that answers requests."""

    def info(self) -> BackendInfo:
        """What the backend can do."""
        ...

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt length of each request in tokens, chat template applied, and whether they are exact.

        A length above the context may be a lower bound: what cannot fit is not tokenized.
        """
        ...

    def open(self) -> Job:
        """Open a job."""
        ...

    def stats(self) -> BackendStats:
        """Statistics so far: threads, concurrency, memory, energy, and the reasons for them."""
        ...

    def close(self) -> None:
        """Free the backend's resources."""
        ...


def run_requests(backend: Backend, requests: Iterable[Request]) -> Iterator[Event]:
    """Submit all ``requests`` and yield their events; closing the iterator cancels the rest."""
    with backend.open() as job:
        for request in requests:
            job.submit(request)
        job.close_input()
        yield from job


class DelegatingJob:
    """A ``Job`` that passes everything to another one; subclasses change requests or events on their way."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __enter__(self) -> Self:
        self._job.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._job.__exit__(kind, error, trace)

    def submit(self, request: Request) -> None:
        """Add a request."""
        self._job.submit(request)

    def cancel(self, request_id: str) -> None:
        """End a request."""
        self._job.cancel(request_id)

    def close_input(self) -> None:
        """No more requests will come."""
        self._job.close_input()

    def __iter__(self) -> Iterator[Event]:
        yield from self._job


class LazyBackend:
    """Calls ``build`` at the first use and forwards to the result, which its owner closes."""

    def __init__(self, build: Callable[[], Backend]) -> None:
        self._build = build
        self._backend: Backend | None = None

    def _get_backend(self) -> Backend:
        if self._backend is None:
            self._backend = self._build()
        return self._backend

    def info(self) -> BackendInfo:
        """What the backend can do."""
        return self._get_backend().info()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt length of each request in tokens, and whether they are exact."""
        return self._get_backend().count(requests)

    def open(self) -> Job:
        """Open a job."""
        return self._get_backend().open()

    def stats(self) -> BackendStats:
        """Statistics so far; empty for a backend that was not built."""
        return BackendStats() if self._backend is None else self._backend.stats()

    def close(self) -> None:
        """Do nothing: the owner of the backend closes it."""
