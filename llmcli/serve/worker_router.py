"""Finding or starting the worker of a requested model, and connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from llmcli.config.engine_options import adapted_model_id, load_adapters
from llmcli.errors import LlmError, TemporaryFailure
from llmcli.fast_dataclass import frozen, replace
from llmcli.openai_api.fields import MODEL_HEADER, OPTIONS_HEADER
from llmcli.serve.connection_pool import ConnectionLost, WorkerConnection, WorkerConnectionPool
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.worker.client.channel import WorkerLauncher

_POOL_THREADS = 8
"""Models that are looked up, verified and started at once."""
_MAX_TRIES = 3


@frozen
class ListedModel:
    """A model on this machine; ``created``: seconds since 1970.

    ``digest`` is that of its file and adapters, and ``weights`` the type that answers; "" until it was used.
    """

    name: str
    created: int
    digest: str = ""
    weights: str = ""


class ModelProvider(Protocol):
    """Provides the served models. Its methods may take long and are called in threads."""

    def list_models(self) -> Sequence[ListedModel]:
        """Return the models on this machine."""

    def launcher_for(self, name: str | None, *, labels: bool) -> WorkerLauncher:
        """Return the launcher of a model's worker (None: the default model), with the weights that answer.

        ``labels``: those that label here. Raises ``LlmError``.
        """


@frozen
class WorkerRoute:
    """How a request is sent: the worker that answers it, and the type of the weights in it."""

    launcher: WorkerLauncher
    weights: str
    drafts: bool


class WorkerRouter:
    """The launchers of workers, one for each, and the connections to them.

    ``options``: the engine options for the workers (``protocol.dump_options``).
    """

    def __init__(self, models: ModelProvider, options: dict[str, Any]) -> None:
        self._model_provider = models
        self._options = options
        # of each worker, for answers and for labels, as they were chosen at the first request
        self._weights: dict[tuple[str, bool], str] = {}
        self._pool = ThreadPoolExecutor(_POOL_THREADS, thread_name_prefix="models")
        self._connections = WorkerConnectionPool()
        self._launchers: dict[str, WorkerLauncher] = {}
        self._start_locks: dict[str, asyncio.Lock] = {}
        self._label_lock = asyncio.Lock()
        self._responsive_keys: set[str] = set()

    async def list_models(self) -> Sequence[ListedModel]:
        """Return the models on this machine."""
        listed: Sequence[ListedModel] = await self._run_in_pool(self._model_provider.list_models)
        used = {each.served_name: each for key, each in self._launchers.items() if (key, False) in self._weights}
        return [self._with_weights(model, used[model.name]) if model.name in used else model for model in listed]

    def _with_weights(self, model: ListedModel, launcher: WorkerLauncher) -> ListedModel:
        config = launcher.config
        digest = adapted_model_id(config.model_id, load_adapters(config.adapters))
        return replace(model, digest=digest, weights=self._weights[launcher.paths.key, False])

    async def _run_in_pool(self, function: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *given)

    async def route_for(self, name: str | None, *, labels: bool = False) -> WorkerRoute:
        """Return the way to a model; each worker has one launcher. ``labels``: on the weights that label.

        Raises ``LlmError``.
        """
        find = functools.partial(self._model_provider.launcher_for, name, labels=labels)
        async with self._label_lock if labels else contextlib.nullcontext():  # a copy of the weights is made once
            found: WorkerLauncher = await self._run_in_pool(find)
        key = found.paths.key, labels
        if found.config.weights == ORIGINAL_WEIGHTS:  # also after a copy was removed
            self._weights[key] = ORIGINAL_WEIGHTS
        weights = self._weights.setdefault(key, found.config.weights)
        launcher = self._launchers.setdefault(found.paths.key, found)
        launcher.served_name = found.served_name  # an alias may be new
        return WorkerRoute(launcher, weights, drafts=not labels)

    async def connect_worker(self, launcher: WorkerLauncher) -> WorkerConnection:
        """Return an idle or a new connection to a worker, which is started if need be."""
        kept = self._connections.acquire(launcher.paths.key)
        if kept is not None:
            return kept
        async with self._start_locks.setdefault(
            launcher.paths.key, asyncio.Lock()
        ):  # one thread at a time uses a launcher
            connecting = asyncio.ensure_future(self._run_in_pool(launcher.connect))
            try:
                connected = await asyncio.shield(connecting)
            except asyncio.CancelledError:  # the client left, but the thread still uses the launcher
                with contextlib.suppress(LlmError):
                    (await connecting).close()
                raise
            if launcher.spawned:
                self._responsive_keys.discard(launcher.paths.key)
            return await WorkerConnection.from_socket(connected)

    async def send_request(
        self, route: WorkerRoute, path: str, body: bytes
    ) -> tuple[WorkerConnection, int, list[tuple[bytes, bytes]]]:
        """Send a request to a worker; return the connection with the answer's body, its status and its headers.

        An idle connection that has just ended is replaced. Raises the cause if the worker ends instead of answering,
        and ``TemporaryFailure`` if it does not respond.
        """
        launcher = route.launcher
        for _ in range(_MAX_TRIES):
            connection = await self.connect_worker(launcher)
            watch = self.monitor_connection(launcher, connection)
            try:
                status, headers = await connection.send_request(path, self._request_headers(route), body)
            except ConnectionLost:
                connection.close()
                if not connection.reused or watch.unresponsive:
                    raise await self.find_failure_reason(launcher, watch) from None
            except BaseException:
                connection.close()
                raise
            else:
                self._responsive_keys.add(launcher.paths.key)
                return connection, status, headers
            finally:
                watch.stop()
        raise TemporaryFailure("the worker", detail="it ends before it answers")

    def _request_headers(self, route: WorkerRoute) -> str:
        launcher, options = route.launcher, {**self._options, "weights": route.weights}
        if launcher.draft is not None and route.drafts:
            options["draft"] = str(launcher.draft)
        ours = {OPTIONS_HEADER: options, MODEL_HEADER: launcher.served_name}
        lines = [f"{name}: {json.dumps(value)}\r\n" for name, value in ours.items()]
        return "".join(["Content-Type: application/json\r\n", *lines])

    def monitor_connection(self, launcher: WorkerLauncher, connection: WorkerConnection) -> LivenessMonitor:
        """Watch whether a worker responds; one that has never answered may still be starting."""
        return LivenessMonitor(
            connection,
            launcher.paths.socket,
            SILENCE_S if launcher.paths.key in self._responsive_keys else _STARTUP_SILENCE_S,
        )

    async def find_failure_reason(self, launcher: WorkerLauncher, watch: LivenessMonitor) -> LlmError:
        """Return why a connection to a worker ended."""
        if watch.unresponsive:
            return TemporaryFailure("the worker", detail=f"it hangs; try: llm worker stop {launcher.pid}")
        cause: LlmError = await self._run_in_pool(launcher.find_crash_reason)
        return cause

    def release_connection(self, launcher: WorkerLauncher, connection: WorkerConnection) -> None:
        """Keep a connection, or end one whose answer was not read to its end."""
        self._connections.release(launcher.paths.key, connection)

    def reap_workers(self) -> None:
        """Reap the child processes of workers that have ended."""
        for launcher in self._launchers.values():
            launcher.reap_child()

    def close(self) -> None:
        """End the connections to workers; the workers stay until they are idle."""
        self._connections.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


SILENCE_S = 5.0
"""Seconds of silence after which a worker is sent a health check, and seconds that it has to answer it."""
_STARTUP_SILENCE_S = 60.0
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
