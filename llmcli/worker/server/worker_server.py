"""The server of a worker: uvicorn on an inherited socket, for this user only, until it is idle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from uvicorn.protocols.http.h11_impl import H11Protocol

from llmcli.errors import OutputError
from llmcli.http_server.uvicorn_server import HttpServer
from llmcli.worker.peer_credentials import peer_credentials
from llmcli.worker.runtime_dir import WorkerPaths
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.worker_app import WorkerApp
from llmcli.worker.worker_config import WorkerConfig

_GRACEFUL_SHUTDOWN_S = 5
"""Seconds that running answers have to finish when the process ends."""
_IDLE_POLL_S = 0.5
_MEASURE_AFTER_IDLE_S = 2.0
"""Idle seconds after which the model may be measured."""
_LOCK_TIMEOUT_S = 1.0


class _SameUserProtocol(H11Protocol):
    """HTTP for connections from processes of this user."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close a connection of another user before a byte of it is read."""
        connection = transport.get_extra_info("socket")
        super().connection_made(transport)
        if peer_credentials(connection)[1] != os.getuid():
            transport.abort()


class WorkerServer(HttpServer):
    """Serves ``engines`` on the socket ``listening``; ``write_log`` writes to the log."""

    def __init__(
        self,
        worker_config: WorkerConfig,
        engines: EnginePool,
        listening: socket.socket,
        write_log: Callable[[str], None],
    ) -> None:
        self._worker_config = worker_config
        self._engine_pool = engines
        self._listen_socket = listening
        self._write_log = write_log
        path = Path(listening.getsockname())
        self._paths = WorkerPaths(path.parent, path.stem)
        self._socket_inode = path.stat().st_ino
        self._worker_app = WorkerApp(worker_config, engines, self._stop_on_request)
        super().__init__(
            self._worker_app.app, _SameUserProtocol, write_log, timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN_S
        )

    async def serve_worker(self) -> None:
        """Serve until the process has to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        watching = asyncio.create_task(self._stop_when_idle())
        try:
            await self.serve([self._listen_socket])
        finally:
            watching.cancel()

    def _on_signal(self, number: int) -> None:
        self._write_log(f"ends: {signal.Signals(number).name}")
        if not self._unpublish_and_stop():
            self._begin_shutdown()

    def _stop_on_request(self) -> bool:
        """End at the user's request."""
        if not self._unpublish_and_stop():
            return False
        self._write_log("ends: asked to stop")
        return True

    def _unpublish_and_stop(self) -> bool:
        """Remove the socket, so that no client finds it any more, and end; False: another process holds the lock."""
        try:
            with self._paths.hold_lock(_LOCK_TIMEOUT_S) as ours:
                if not ours:
                    return False
                with contextlib.suppress(OSError):  # removed already, or another worker's
                    if self._paths.socket.stat().st_ino == self._socket_inode:
                        self._paths.remove_files()
        except OutputError as error:  # as after a logout, which removes the runtime directory
            self._write_log(f"leaves its socket: {error.subject}: {error.detail}")
        self._begin_shutdown()
        return True

    def _begin_shutdown(self) -> None:
        self.should_exit = True
        self._engine_pool.stop_loading()
        self._worker_app.stream_endpoint.close()

    async def _stop_when_idle(self) -> None:
        """End when the worker was idle for long enough; measure the model before that if it is due."""
        while True:
            await asyncio.sleep(min(_IDLE_POLL_S, self._worker_config.idle_timeout / 4))
            idle = self._worker_app.metrics.idle_seconds
            if idle >= _MEASURE_AFTER_IDLE_S:
                self._engine_pool.measure_if_due()
            if idle >= self._worker_config.idle_timeout and self._unpublish_and_stop():
                self._write_log(f"ends: idle for {idle:.0f} s")
                return
