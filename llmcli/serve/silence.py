"""A worker that says nothing: busy with a long answer, or stopped? Its loop answers ``/health`` while its engine computes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmcli.serve.link import Link

QUIET = 5.0
"""Seconds of silence after which a worker is asked whether it is there, and those in which it has to say so."""
STARTING = 60.0
"""Seconds for a worker to begin to answer that has said nothing yet."""
_QUESTION = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Watch:
    """Ends ``link`` (``silent`` is true then) when the worker at ``socket`` stands still; until ``stop``."""

    def __init__(self, link: Link, socket: Path, patience: float) -> None:
        """``patience``: seconds in which the worker has to say that it is there."""
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._socket = socket
        self._patience = patience
        self._asking: asyncio.Task[None] | None = None
        self.silent = False
        self._timer = self._loop.call_later(QUIET, self._look)  # a task for each request would cost more

    def _look(self) -> None:
        quiet = self._loop.time() - self._link.heard
        if quiet < QUIET:
            self._timer = self._loop.call_later(QUIET - quiet, self._look)
        else:
            self._asking = self._loop.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(_QUESTION)
                    await reader.readline()
                finally:
                    writer.transport.abort()
            there = True
        except TimeoutError:
            there = self._loop.time() - self._link.heard < self._patience
        except OSError:  # it ended, which the link finds out itself
            there = True
        if there:
            self._timer = self._loop.call_later(QUIET, self._look)
        else:
            self.silent = True
            self._link.close()

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
