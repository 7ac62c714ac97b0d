"""Cancelling the work for a client that has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request


class ClientGone(Exception):  # never reaches the user, who has left
    """The client has left."""


async def run_while_connected(request: Request, answer: Coroutine[Any, Any, Any]) -> Any:
    """Run and return the answer; cancel it when the client leaves, and do not start it if the client has left.

    Raises ``ClientGone`` in both cases.
    """
    going = asyncio.ensure_future(_wait_for_disconnect(request))
    await asyncio.sleep(0)  # now a client that has already left is noticed
    if going.done():
        answer.close()
        raise ClientGone
    answering = asyncio.ensure_future(answer)
    try:
        await asyncio.wait((answering, going), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientGone
        return answering.result()
    finally:
        for task in (answering, going):
            task.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
