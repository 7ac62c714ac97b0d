"""Clients that leave while the server looks for a worker."""

from __future__ import annotations

import asyncio
import socket
import threading
import types

import pytest

from llmcli.serve.app import Server
from llmcli.serve.link import Link

HANG = 60.0
"""Seconds after which what should come at once is said never to come."""


class Starter:
    """Connects when the test lets it; counts how many threads are in it."""

    started = False
    place = types.SimpleNamespace(key="tiny")

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
    """As soon as there is one; and the next client waits until the first one's thread is done with the starter."""
    starter = Starter()

    async def scenario():
        server = Server(None, {})
        first = asyncio.create_task(server.link(starter))
        assert await asyncio.to_thread(starter.called.acquire, timeout=HANG)
        first.cancel()
        second = asyncio.create_task(server.link(starter))
        for _ in range(10):
            await asyncio.sleep(0)
        starter.may_go.release(2)
        with pytest.raises(asyncio.CancelledError):
            await first
        link = await second
        assert isinstance(link, Link) and starter.most == 1
        left, kept = starter.others
        left.settimeout(HANG)
        assert left.recv(1) == b""
        kept.setblocking(False)
        with pytest.raises(BlockingIOError):
            kept.recv(1)
        link.close()
        server.close()

    asyncio.run(scenario())
    for each in starter.others:
        each.close()
