"""Counts of a worker's requests and tokens, its idle time, and calls in threads, which must not block the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from llmcli.types import Event, Finished, FinishReason


class WorkerMetrics:
    """Counted in the event loop: requests that ended, their tokens, the seconds in which any was running."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self.num_finished = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._num_running = 0
        self._changed_at = time.monotonic()
        self._busy_s = 0.0

    def begin_requests(self, requests: int = 1) -> None:
        """Record that requests have started."""
        now = time.monotonic()
        if self._num_running == 0:
            self._changed_at = now
        self._num_running += requests

    def end_requests(self, requests: int = 1) -> None:
        """Record that requests, or other work that ``begin_requests`` was called for, have ended."""
        self._num_running -= requests
        if requests and self._num_running == 0:
            now = time.monotonic()
            self._busy_s += now - self._changed_at
            self._changed_at = now

    def record_finished(self, events: Sequence[Event]) -> None:
        """Count the requests that end with these events."""
        ends = [event for event in events if isinstance(event, Finished)]
        for event in ends:
            self.num_finished += 1
            if (
                event.reason is not FinishReason.CANCELLED or event.usage.completion_tokens
            ):  # the rest was hardly evaluated
                self.prompt_tokens += event.usage.prompt_tokens
            self.completion_tokens += event.usage.completion_tokens
        if ends:
            self.end_requests(len(ends))

    def record_prompt(self, tokens: int) -> None:
        """Count a request that generated nothing."""
        self.num_finished += 1
        self.prompt_tokens += tokens

    @property
    def num_active(self) -> int:
        """Requests that are running or waiting."""
        return self._num_running

    @property
    def idle_seconds(self) -> float:
        """Seconds without work; 0 while there is some."""
        return 0.0 if self._num_running else time.monotonic() - self._changed_at

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens generated per second of busy time; None before the first."""
        busy = self._busy_s + (time.monotonic() - self._changed_at if self._num_running else 0.0)
        return self.completion_tokens / busy if self.completion_tokens and busy > 0 else None


_T = TypeVar("_T")


async def run_counted(
    metrics: WorkerMetrics, pool: ThreadPoolExecutor, function: Callable[..., _T], *given: object
) -> _T:
    """Run ``function`` in a thread and return its result; raises what it raises.

    It counts as active until its thread has ended, also when the caller is cancelled before that.
    """
    return await wait_counted(metrics, pool.submit(function, *given))


async def wait_counted(metrics: WorkerMetrics, running: Future[_T]) -> _T:
    """Return the result of what runs in a thread, which counts as active as ``run_counted`` says."""
    loop = asyncio.get_running_loop()

    def ended(_: Future[_T]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(metrics.end_requests)

    metrics.begin_requests()
    running.add_done_callback(ended)
    return await asyncio.wrap_future(running)
