"""Clients that disconnect while the server looks for a worker."""

from __future__ import annotations

import asyncio
import socket
import threading
import types

import pytest

from llmcli.serve.connection_pool import WorkerConnection
from llmcli.serve.worker_router import WorkerRouter

HANG = 60.0
"""Seconds after which what should come at once is said never to come."""


class BlockingLauncher:
    """Connects when the test allows it; counts the threads in it."""

    spawned = False
    paths = types.SimpleNamespace(key="tiny")

    def __init__(self):
        self.inside = self.most = 0
        self.called = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)
        self.others = []

    def connect(self):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.called.release()
        assert self.may_go.acquire(timeout=HANG)
        self.inside -= 1
        ours, theirs = socket.socketpair()
        self.others.append(theirs)
        return ours


def test_a_client_that_leaves_while_a_worker_is_started_closes_its_connection():
    """As soon as there is one; the next client waits until the first one's thread has left the launcher."""
    launcher = BlockingLauncher()

    async def scenario():
        router = WorkerRouter(None, {})
        first = asyncio.create_task(router.connect_worker(launcher))
        assert await asyncio.to_thread(launcher.called.acquire, timeout=HANG)
        first.cancel()
        second = asyncio.create_task(router.connect_worker(launcher))
        for _ in range(10):
            await asyncio.sleep(0)
        launcher.may_go.release(2)
        with pytest.raises(asyncio.CancelledError):
            await first
        connection = await second
        assert isinstance(connection, WorkerConnection) and launcher.most == 1
        left, kept = launcher.others
        left.settimeout(HANG)
        assert left.recv(1) == b""
        kept.setblocking(False)
        with pytest.raises(BlockingIOError):
            kept.recv(1)
        connection.close()
        router.close()

    asyncio.run(scenario())
    for each in launcher.others:
        each.close()
