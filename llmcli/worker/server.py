"""The server of a worker: uvicorn on a socket that is there already, for this user only, until nothing is to be done."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmcli.errors import OutputError
from llmcli.worker import logs
from llmcli.worker.app import Worker
from llmcli.worker.client import peer
from llmcli.worker.engines import Engines
from llmcli.worker.place import Place
from llmcli.worker.start import Plan

_GRACE = 5
"""Seconds that running answers have to come to their end when the process must."""
_LOOK = 0.5
_REST = 2.0
"""Seconds without work after which what suits the model may be measured."""
_PATIENCE = 1.0


class _OwnUserOnly(H11Protocol):
    """HTTP for connections from processes of this user."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close a connection from anybody else before a byte of it is read."""
        connection = transport.get_extra_info("socket")
        super().connection_made(transport)
        if peer(connection)[1] != os.getuid():
            transport.abort()


class Server(uvicorn.Server):
    """Serves ``engines`` on the socket ``listening``; ``say`` writes to the log."""

    def __init__(self, plan: Plan, engines: Engines, listening: socket.socket, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._engines = engines
        self._listening = listening
        self._say = say
        path = Path(listening.getsockname())
        self._place = Place(path.parent, path.stem)
        self._inode = path.stat().st_ino
        self._worker = Worker(plan, engines, self._stop)
        logs.tell(say)
        config = uvicorn.Config(
            self._worker.app,
            http=_OwnUserOnly,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
        super().__init__(config)

    async def serve_worker(self) -> None:
        """Serve until the process has to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end_at, number)
        watching = asyncio.create_task(self._watch())
        try:
            await self.serve([self._listening])
        finally:
            watching.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: ``serve_worker`` has set what happens at them."""
        yield

    def _end_at(self, number: int) -> None:
        self._say(f"ends: {signal.Signals(number).name}")
        if not self._leave():
            self._go()

    def _stop(self) -> bool:
        """End as the user said."""
        if not self._leave():
            return False
        self._say("ends: it was told to")
        return True

    def _leave(self) -> bool:
        """Take the socket out of the directory, so that nobody finds it any more, and end; False: somebody just does."""
        try:
            with self._place.lock(_PATIENCE) as ours:
                if not ours:
                    return False
                with contextlib.suppress(OSError):  # gone already, or another worker's by now
                    if self._place.socket.stat().st_ino == self._inode:
                        self._place.remove()
        except OutputError as error:  # as after a logout, which takes the runtime directory away
            self._say(f"leaves its socket: {error.subject}: {error.detail}")
        self._go()
        return True

    def _go(self) -> None:
        self.should_exit = True
        self._engines.end()
        self._worker.sessions.close()

    async def _watch(self) -> None:
        """End when there was nothing to do for long enough; measure before that what has to be."""
        measured = False
        while True:
            await asyncio.sleep(min(_LOOK, self._plan.idle_timeout / 4))
            idle = self._worker.activity.idle_seconds
            if idle >= _REST and not measured:
                measured = self._worker.activity.requests > 0
                self._engines.measure_if_due()
            if idle >= self._plan.idle_timeout and self._leave():
                self._say(f"ends: nothing to do for {idle:.0f} s")
                return
