"""A backend that is built when it is first used: a job that needs no model loads none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmcli.backends.base import Backend, Job
from llmcli.types import BackendInfo, BackendStats, Request


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
