"""Lines become messages, however the bytes are split."""

from __future__ import annotations

import asyncio

from llmcli.worker.server.stream import MessageReader


def read(*bodies, batch=10):
    """Return the messages in the bodies of requests, in batches, and the reported errors."""
    errors = []

    async def run():
        parts = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
        parts.append({"type": "http.disconnect"})

        async def receive():
            return parts.pop(0)

        reader = MessageReader(receive)
        await reader.read(errors.append)
        batches = []
        while not reader._messages.empty():
            batches.append(await reader.next_batch(batch))
        return batches

    return asyncio.run(run()), errors


def test_lines_may_be_split_anywhere():
    """An incomplete line of a disconnected client is dropped."""
    assert read(b'{"a":', b'1}\n{"b":2}\n{"c"') == ([[{"a": 1}, {"b": 2}]], [])


def test_a_batch_stays_within_the_limit():
    """Requests of other clients come in between."""
    assert read(b'{"a":1}\n' * 5, batch=2)[0] == [[{"a": 1}] * 2, [{"a": 1}] * 2, [{"a": 1}]]


def test_an_invalid_message_is_reported():
    """The messages before it count."""
    messages, (error,) = read(b'{"a":1}\n[]\n')
    assert messages == [[{"a": 1}]] and error.detail == "invalid message: expected an object"
