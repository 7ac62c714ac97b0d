"""The engines of a worker: one for each set of options that commands use, all on one copy of the weights."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

from llmcli.engine.embedding import Embedder
from llmcli.engine.engine import Engine
from llmcli.engine.llama import hardware
from llmcli.engine.llama.compute_thread import SharedExecutor
from llmcli.engine.llama.model import SharedModel
from llmcli.errors import TemporaryFailure
from llmcli.types import EngineOptions
from llmcli.worker.server.embedding_queue import EmbeddingQueue, EmbeddingVectors

_MAX_ENGINES = 4
"""Engines, each with a context of its own, before the least recently used one is closed."""


class EnginePool:
    """Engines for the model at ``path``, which a thread begins to load at once."""

    def __init__(self, path: Path, name: str, model_id: str, gpu_layers: int | None) -> None:
        self._path, self._name, self._model_id = path, name, model_id
        self._gpu_layers = gpu_layers
        self._shared_model = SharedModel(path, gpu_layers)
        self._executor = SharedExecutor()
        self._engines: dict[EngineOptions, Engine] = {}
        self._last_used_at: dict[EngineOptions, float] = {}
        self._num_users: dict[EngineOptions, int] = {}
        self._lock = threading.Lock()
        self._embeddings = EmbeddingQueue(self._create_embedder)
        self._stop_error: TemporaryFailure | None = None
        self._closing_threads: list[threading.Thread] = []  # each closes an engine
        threading.Thread(target=self._preload_model, name="loading", daemon=True).start()

    def _preload_model(self) -> None:
        with suppress(Exception):  # the first engine meets the same error and reports it
            self._shared_model.load(self._may_load)

    def _may_load(self) -> bool:
        return self._stop_error is None

    def acquire(self, options: EngineOptions) -> Engine:
        """Return the engine with these options, which counts as used until ``release``."""
        options = dataclasses.replace(options, gpu_layers=self._gpu_layers)
        with self._lock:
            engine = self._engines.get(options)
            if engine is not None and engine.load_failed:  # memory may be free now
                del self._engines[options]
                engine = None
            if engine is None:
                self._evict_idle_engines()
                engine = self._engines[options] = Engine(
                    self._path,
                    self._name,
                    self._model_id,
                    options,
                    lambda: self._stop_error,
                    shared_model=self._shared_model,
                    executor=self._executor,
                )
            self._num_users[options] = self._num_users.get(options, 0) + 1
            return engine

    def release(self, options: EngineOptions) -> None:
        """Release the engine with these options after a command."""
        options = dataclasses.replace(options, gpu_layers=self._gpu_layers)
        with self._lock:
            self._num_users[options] -= 1
            self._last_used_at[options] = time.monotonic()

    @contextmanager
    def hold_engine(self, options: EngineOptions) -> Iterator[Engine]:
        """Use the engine with these options in the block."""
        engine = self.acquire(options)
        try:
            yield engine
        finally:
            self.release(options)

    def submit_embedding(
        self, inputs: Sequence[str | Sequence[int]], gone: Callable[[], bool], pooling: str | None
    ) -> Future[EmbeddingVectors]:
        """Queue texts, or tokens, to embed; ``gone`` tells whether the client has left. See ``EmbeddingQueue``."""
        return self._embeddings.submit(inputs, gone, pooling)

    def _create_embedder(self) -> Embedder:
        return Embedder(self._shared_model.load(self._may_load), hardware.detect_cores().max_threads, self._executor)

    def measure_if_due(self) -> None:
        """Start a process that measures the best settings for the model, unless they are known."""
        with self._lock:
            for engine in self._engines.values():
                engine.measure_if_due()

    def _evict_idle_engines(self) -> None:
        idle = sorted((o for o in self._engines if not self._num_users[o]), key=lambda o: self._last_used_at[o])
        for options in idle[: max(0, len(self._engines) - _MAX_ENGINES + 1)]:
            self._close_in_background(self._engines.pop(options))

    def _close_in_background(self, engine: Engine) -> None:
        """Close an engine in a thread: it may be in the middle of a step, and the event loop must not wait."""
        self._closing_threads = [thread for thread in self._closing_threads if thread.is_alive()]
        self._closing_threads.append(threading.Thread(target=engine.close, name="closing"))
        self._closing_threads[-1].start()

    def stop_loading(self) -> None:
        """End the loading of the model: the process is about to end. Running requests continue until ``close``."""
        self._stop_error = TemporaryFailure("the worker", detail="it is ending")

    def close(self) -> None:
        """End all engines and free the weights."""
        self.stop_loading()
        with self._lock:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()
            for thread in self._closing_threads:
                thread.join()
            self._embeddings.close()
            self._shared_model.close()
