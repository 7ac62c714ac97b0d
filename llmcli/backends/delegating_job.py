"""A job on another job."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from llmcli.backends.base import Job
from llmcli.types import Event, Request


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
