"""Work for a client ends when it disconnects."""

from __future__ import annotations

import asyncio

import pytest

from llmcli.worker.server.endpoints import ClientGone, run_while_connected


class Client:
    """Represents a request whose client disconnects when ``left`` is set."""

    def __init__(self):
        self.left = asyncio.Event()

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}


async def answer(log, seconds=0.0):
    log.append("began")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        log.append("cancelled")
        raise
    return "answer"


def test_the_answer_is_returned():
    """The client has waited for it."""

    async def run():
        return await run_while_connected(Client(), answer([]))

    assert asyncio.run(run()) == "answer"


def test_an_answer_is_cancelled_when_its_client_leaves():
    """No one would read it."""
    log = []

    async def run():
        client = Client()
        asyncio.get_running_loop().call_later(0.05, client.left.set)
        with pytest.raises(ClientGone):
            await run_while_connected(client, answer(log, 60))
        await asyncio.sleep(0)

    asyncio.run(run())
    assert log == ["began", "cancelled"]


def test_nothing_starts_for_a_disconnected_client():
    """It disconnected while its body was read."""
    log = []

    async def run():
        client = Client()
        client.left.set()
        with pytest.raises(ClientGone):
            await run_while_connected(client, answer(log))

    asyncio.run(run())
    assert log == []
