"""From the bytes of a command's exchange to its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import Receive

from llmcli.errors import InternalError
from llmcli.worker import protocol

DECODE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What parsing a malformed line, or a message with unknown fields, can raise."""


class MessageReader:
    """The messages of a client, queued as they arrive."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def read(self, on_error: Callable[[InternalError], None]) -> None:
        """Queue messages until the client has sent all or left; ``on_error`` receives the errors of invalid ones."""
        rest = b""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
            *lines, rest = (rest + message.get("body", b"")).split(b"\n")
            try:
                for line in lines:
                    self._messages.put_nowait(protocol.decode_message(line))
            except DECODE_ERRORS as error:
                on_error(InternalError("worker", detail=f"invalid message: {error}"))
            if not message.get("more_body"):
                return

    async def next_message(self) -> dict[str, Any]:
        """Wait for a message and return it."""
        return await self._messages.get()

    async def next_batch(self, most: int) -> list[dict[str, Any]]:
        """Wait for a message; return it and those that have already arrived after it, at most ``most``."""
        messages = [await self._messages.get()]
        while len(messages) < most and not self._messages.empty():
            messages.append(self._messages.get_nowait())
        return messages
