"""The engines of a worker: one for each set of options that commands ask for, all on one copy of the weights."""

from __future__ import annotations

import array
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from llmcli.engine import machine
from llmcli.engine.embedding import Embedder
from llmcli.engine.engine import Engine
from llmcli.engine.model import Weights
from llmcli.engine.turns import SharedTurns
from llmcli.errors import InternalError, TryAgain
from llmcli.types import EngineOptions

_MOST = 4
"""Engines, each of which has a context of its own, before the one that is used least goes."""
_REST = 60.0
"""Seconds without a text to embed after which the memory for that is freed."""


class Engines:
    """Engines for the model at ``path``, which a thread begins to load at once."""

    def __init__(self, path: Path, name: str, model_id: str, gpu_layers: int | None) -> None:
        self._path, self._name, self._model_id = path, name, model_id
        self._gpu_layers = gpu_layers
        self._weights = Weights(path, gpu_layers)
        self._turns = SharedTurns()
        self._engines: dict[EngineOptions, Engine] = {}
        self._used: dict[EngineOptions, float] = {}
        self._users: dict[EngineOptions, int] = {}
        self._lock = threading.Lock()
        self._embedder: Embedder | None = None
        self._embedding = threading.Lock()
        self._embedded = time.monotonic()
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
                    turns=self._turns,
                )
            self._users[options] = self._users.get(options, 0) + 1
            return engine

    def release(self, options: EngineOptions) -> None:
        """Say that a command does not need the engine with these options any more."""
        options = dataclasses.replace(options, gpu_layers=self._gpu_layers)
        with self._lock:
            self._users[options] -= 1
            self._used[options] = time.monotonic()

    def embed(
        self, inputs: Sequence[str | Sequence[int]], gone: Callable[[], bool]
    ) -> tuple[list[array.array[float]], int]:
        """Return the vectors of texts, or of tokens, and how many tokens they were; ``gone``: nobody wants them any more.

        Raises as ``Embedder``, and what the model's loading raises.
        """
        with self._embedding:
            if self._embedder is None:
                model = self._weights.load(self._keep_going)
                self._embedder = Embedder(model, machine.cores().usable, self._turns)
            if gone():
                raise InternalError("embedding", detail="cancelled")
            tokens = [self._embedder.tokens(given) for given in inputs]
            vectors = [self._embedder.vector(each, gone) for each in tokens]
            self._embedded = time.monotonic()
        return vectors, sum(map(len, tokens))

    def rest(self) -> None:
        """Free what embeds, if nobody wanted it for a while."""
        idle = time.monotonic() - self._embedded > _REST
        if self._embedder is not None and idle and self._embedding.acquire(blocking=False):
            try:
                self._embedder.close()
            finally:
                self._embedding.release()

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
            with self._embedding:
                if self._embedder is not None:
                    self._embedder.close()
            self._weights.close()
