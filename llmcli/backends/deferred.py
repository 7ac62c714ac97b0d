"""A backend that is built when something is asked of it: a job that needs no model then loads none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmcli.backends.base import Backend, Job
from llmcli.types import BackendInfo, Request, Work


class Deferred:
    """The backend that ``build`` returns, from its first use on; whoever built it closes it."""

    def __init__(self, build: Callable[[], Backend]) -> None:
        self._build = build
        self._backend: Backend | None = None

    def _built(self) -> Backend:
        if self._backend is None:
            self._backend = self._build()
        return self._backend

    def info(self) -> BackendInfo:
        """What the backend can do."""
        return self._built().info()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt length of each request in tokens, and whether they are exact."""
        return self._built().count(requests)

    def open(self) -> Job:
        """Open a job."""
        return self._built().open()

    def work(self) -> Work:
        """How the backend worked so far; of one that was not built nothing is known."""
        return Work() if self._backend is None else self._backend.work()

    def close(self) -> None:
        """Do nothing: whoever built it closes it."""
