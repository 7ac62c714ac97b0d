"""Whether a silent worker is busy or hung: its event loop answers ``/health`` while its engine computes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmcli.serve.connection_pool import WorkerConnection

SILENCE_S = 5.0
"""Seconds of silence after which a worker is sent a health check, and seconds that it has to answer it."""
STARTUP_SILENCE_S = 60.0
"""Seconds for a worker that has never answered to begin to."""
_HEALTH_REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class LivenessMonitor:
    """Ends ``connection`` (and sets ``unresponsive``) when the worker at ``socket`` hangs; until ``stop``."""

    def __init__(self, connection: WorkerConnection, socket: Path, timeout_s: float) -> None:
        """``timeout_s``: seconds that the worker has to answer a health check."""
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._socket_path = socket
        self._timeout_s = timeout_s
        self._probe_task: asyncio.Task[None] | None = None
        self.unresponsive = False
        self._timer = self._loop.call_later(SILENCE_S, self._check_silence)  # a task for each request would cost more

    def _check_silence(self) -> None:
        quiet = self._loop.time() - self._connection.last_active_at
        if quiet < SILENCE_S:
            self._timer = self._loop.call_later(SILENCE_S - quiet, self._check_silence)
        else:
            self._probe_task = self._loop.create_task(self._probe_health())

    async def _probe_health(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await asyncio.open_unix_connection(self._socket_path)
                try:
                    writer.write(_HEALTH_REQUEST)
                    await reader.readline()
                finally:
                    writer.transport.abort()
            there = True
        except TimeoutError:
            there = self._loop.time() - self._connection.last_active_at < self._timeout_s
        except OSError:  # it ended, which the connection finds out itself
            there = True
        if there:
            self._timer = self._loop.call_later(SILENCE_S, self._check_silence)
        else:
            self.unresponsive = True
            self._connection.close()

    def stop(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        if self._probe_task is not None:
            self._probe_task.cancel()
