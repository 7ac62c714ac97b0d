"""Calls that would block the event loop, in threads of a pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from llmcli.worker.server.metrics import WorkerMetrics

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
