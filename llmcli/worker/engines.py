"""The engines of a worker: one for each set of options that commands ask for, all on one copy of the weights."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from llmcli.engine import machine
from llmcli.engine.compute_thread import SharedExecutor
from llmcli.engine.embedding import Embedder
from llmcli.engine.engine import Engine
from llmcli.engine.model import Weights
from llmcli.errors import TryAgain
from llmcli.types import EngineOptions
from llmcli.worker.embedding_queue import EmbeddingQueue, Vectors

_MOST = 4
"""Engines, each of which has a context of its own, before the one that is used least goes."""


class Engines:
    """Engines for the model at ``path``, which a thread begins to load at once."""

    def __init__(self, path: Path, name: str, model_id: str, gpu_layers: int | None) -> None:
        self._path, self._name, self._model_id = path, name, model_id
        self._gpu_layers = gpu_layers
        self._weights = Weights(path, gpu_layers)
        self._executor = SharedExecutor()
        self._engines: dict[EngineOptions, Engine] = {}
        self._used: dict[EngineOptions, float] = {}
        self._users: dict[EngineOptions, int] = {}
        self._lock = threading.Lock()
        self._embeddings = EmbeddingQueue(self._embedder)
        self._ending: TryAgain | None = None
        self._closing: list[threading.Thread] = []  # each closes an engine
        threading.Thread(target=self._load, name="loading", daemon=True).start()

    def _load(self) -> None:
        with suppress(Exception):  # the first engine meets the same error and tells it
            self._weights.load(self._keep_going)

    def _keep_going(self) -> bool:
        return self._ending is None

    def start(self, options: EngineOptions) -> Engine:
        """Return the engine with these options, which counts as used until ``release``."""
        options = dataclasses.replace(options, gpu_layers=self._gpu_layers)
        with self._lock:
            engine = self._engines.get(options)
            if engine is not None and engine.failed:  # for want of memory perhaps, which there may be now
                del self._engines[options]
                engine = None
            if engine is None:
                self._make_room()
                engine = self._engines[options] = Engine(
                    self._path,
                    self._name,
                    self._model_id,
                    options,
                    lambda: self._ending,
                    weights=self._weights,
                    executor=self._executor,
                )
            self._users[options] = self._users.get(options, 0) + 1
            return engine

    def release(self, options: EngineOptions) -> None:
        """Say that a command does not need the engine with these options any more."""
        options = dataclasses.replace(options, gpu_layers=self._gpu_layers)
        with self._lock:
            self._users[options] -= 1
            self._used[options] = time.monotonic()

    def embed(self, inputs: Sequence[str | Sequence[int]], gone: Callable[[], bool]) -> Future[Vectors]:
        """Queue texts, or tokens, to embed; ``gone`` tells whether the client has left. See ``EmbeddingQueue``."""
        return self._embeddings.submit(inputs, gone)

    def _embedder(self) -> Embedder:
        return Embedder(self._weights.load(self._keep_going), machine.cores().usable, self._executor)

    def measure_if_due(self) -> None:
        """Have measured, in a process of its own, what suits the model here, where that is not known yet."""
        with self._lock:
            for engine in self._engines.values():
                engine.measure_if_due()

    def _make_room(self) -> None:
        idle = sorted((o for o in self._engines if not self._users[o]), key=lambda o: self._used[o])
        for options in idle[: max(0, len(self._engines) - _MOST + 1)]:
            self._retire(self._engines.pop(options))

    def _retire(self, engine: Engine) -> None:
        """Close an engine in a thread, since its own may be in the middle of a step, and the event loop waits for none."""
        self._closing = [thread for thread in self._closing if thread.is_alive()]
        self._closing.append(threading.Thread(target=engine.close, name="closing"))
        self._closing[-1].start()

    def end(self) -> None:
        """End the loading of the model: the process is about to end. What is running goes on until ``close``."""
        self._ending = TryAgain("the worker", detail="it is ending")

    def close(self) -> None:
        """End all engines and free the weights."""
        self.end()
        with self._lock:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()
            for thread in self._closing:
                thread.join()
            self._embeddings.close()
            self._weights.close()
