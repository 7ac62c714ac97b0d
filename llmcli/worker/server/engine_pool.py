"""The engines of a worker: one for each set of options that commands use, on weights that they share.

Options choose the type of the weights. A further type is loaded beside those in memory when an engine needs it; if it
does not fit the free memory, weights that no command uses are freed first, with the engines on them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

from llmcli.config.engine_options import EngineOptions, LoraAdapter, adapted_model_id
from llmcli.engine.embedding import Embedder
from llmcli.engine.engine import Engine
from llmcli.engine.llama import hardware
from llmcli.engine.llama.compute_thread import InlineExecutor, SharedExecutor
from llmcli.engine.llama.memory_budget import min_load_bytes
from llmcli.engine.llama.model import SharedModel
from llmcli.engine.llama.weights_file import WeightsSource
from llmcli.errors import OutOfMemory, TemporaryFailure
from llmcli.fast_dataclass import replace
from llmcli.state_layers import load_layers
from llmcli.worker.server.embedding_queue import EmbeddingQueue, EmbeddingVectors


class LoadedWeights:
    """The weights of ``source`` with ``adapters``, which the first engine that needs them loads.

    ``num_users`` and ``last_used_at`` (``time.monotonic``) belong to the pool that owns them. ``may_load`` is polled
    while loading; ``before_load`` is called with the file first.
    """

    def __init__(
        self,
        source: WeightsSource,
        gpu_layers: int | None,
        adapters: Sequence[LoraAdapter],
        executor: InlineExecutor,
        *,
        model_id: str,
        may_load: Callable[[], bool],
        before_load: Callable[[Path], None],
    ) -> None:
        self.source = source
        self.model_id = model_id
        self.model = SharedModel(source, gpu_layers, adapters, before_load)
        self.num_users = 0
        self.last_used_at = time.monotonic()
        self._may_load = may_load
        self._executor = executor
        self.embeddings = EmbeddingQueue(self._create_embedder)

    def load(self) -> None:
        """Load the weights now. Raises as ``SharedModel.load``."""
        self.model.load(self._may_load)

    def _create_embedder(self) -> Embedder:
        model = self.model.load(self._may_load)
        return Embedder(model, self.model_id, hardware.detect_cores().max_threads, self._executor)

    def close(self) -> None:
        """End the embeddings and free the weights, which no engine uses any more."""
        self.embeddings.close()
        self.model.close()


def _free_until_fits(path: Path, subject: str, free_unused: Callable[[], bool]) -> None:
    """Call ``free_unused`` until the weights in ``path`` fit the free memory, or it returns False.

    Raises ``OutOfMemory`` about ``subject`` if they do not fit even then, and as ``load_checked_header``.
    """
    needed = min_load_bytes(path)
    while (free := hardware.available_memory()) is not None and needed > free:
        if not free_unused():
            raise OutOfMemory(subject, needed=needed, available=free, weights=path.stat().st_size)
        hardware.release_free_memory()


_MAX_ENGINES = 4
"""Engines, each with a context of its own, before the least recently used one is closed."""
_DEFAULTS = EngineOptions()


class EnginePool:
    """Engines for the model at ``path`` with ``adapters``.

    A thread begins to load the weights of ``preload`` at once.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        model_id: str,
        gpu_layers: int | None,
        *,
        adapters: tuple[LoraAdapter, ...] = (),
        preload: EngineOptions = _DEFAULTS,
    ) -> None:
        self._path, self._name, self._model_id = path, name, model_id
        self._gpu_layers, self._adapters = gpu_layers, adapters
        self._executor = SharedExecutor()
        self._weights: dict[WeightsSource, LoadedWeights] = {}
        self._draft_models: dict[Path, SharedModel] = {}
        self._engines: dict[EngineOptions, Engine] = {}
        self._last_used_at: dict[EngineOptions, float] = {}
        self._num_users: dict[EngineOptions, int] = {}
        self._lock = threading.Lock()
        self._stop_error: TemporaryFailure | None = None
        self._closing_threads: list[threading.Thread] = []  # each closes an engine
        with self._lock:
            first = self._find_weights(preload)
        threading.Thread(target=self._preload_model, args=(first,), name="loading", daemon=True).start()

    def _preload_model(self, weights: LoadedWeights) -> None:
        with suppress(Exception):  # the first engine meets the same error and reports it
            weights.load()

    def _may_load(self) -> bool:
        return self._stop_error is None

    def acquire(self, options: EngineOptions) -> Engine:
        """Return the engine with these options, which counts as used until ``release``."""
        options = self._complete(options)
        with self._lock:
            engine = self._engines.get(options)
            if engine is not None and engine.load_failed:  # memory may be free now
                del self._engines[options]
                engine = None
            weights = self._find_weights(options)
            weights.num_users += 1
            if engine is None:
                self._evict_idle_engines()
                engine = self._engines[options] = Engine(
                    self._path,
                    self._name,
                    self._model_id,
                    options,
                    lambda: self._stop_error,
                    shared_model=weights.model,
                    draft_model=self._share_draft_model(options.draft),
                    executor=self._executor,
                    keeps_documents=True,
                )
            self._num_users[options] = self._num_users.get(options, 0) + 1
            return engine

    def _share_draft_model(self, path: Path | None) -> SharedModel | None:
        """Return the draft model in a file, one for all engines that draft with it, until the worker ends."""
        if path is None:
            return None
        return self._draft_models.setdefault(path, SharedModel(WeightsSource(path), self._gpu_layers))

    def release(self, options: EngineOptions) -> None:
        """Release the engine with these options after a command."""
        options = self._complete(options)
        with self._lock:
            self._num_users[options] -= 1
            self._last_used_at[options] = time.monotonic()
            weights = self._weights.get(self._source_of(options))
            if weights is not None:  # None after ``close``
                self._release_weights(weights)

    def _complete(self, options: EngineOptions) -> EngineOptions:
        """Return the options of a client with those that belong to the model."""
        return replace(options, gpu_layers=self._gpu_layers, adapters=self._adapters)

    @contextmanager
    def hold_engine(self, options: EngineOptions) -> Iterator[Engine]:
        """Use the engine with these options in the block."""
        engine = self.acquire(options)
        try:
            yield engine
        finally:
            self.release(options)

    def submit_embedding(
        self,
        inputs: Sequence[str | Sequence[int]],
        gone: Callable[[], bool],
        pooling: str | None,
        options: EngineOptions,
    ) -> Future[EmbeddingVectors]:
        """Queue texts, or tokens, to embed; ``gone`` tells whether the client has left. See ``EmbeddingQueue``.

        ``options`` choose the weights.
        """
        with self._lock:
            weights = self._find_weights(options)
            weights.num_users += 1
        measured = None if options.cache is None else load_layers(options.cache, weights.model_id)
        vectors = weights.embeddings.submit(inputs, gone, pooling, measured)
        vectors.add_done_callback(lambda _: self._end_embedding(weights))
        return vectors

    def _end_embedding(self, weights: LoadedWeights) -> None:
        with self._lock:
            self._release_weights(weights)

    # ---- weights ----------------------------------------------------------------------------------------------------

    def _find_weights(self, options: EngineOptions) -> LoadedWeights:
        """Return the weights that options choose, which need not be loaded yet. Called with the lock."""
        source = self._source_of(options)
        weights = self._weights.get(source)
        if weights is None:
            weights = self._weights[source] = LoadedWeights(
                source,
                self._gpu_layers,
                self._adapters,
                self._executor,
                model_id=adapted_model_id(self._model_id, self._adapters),
                may_load=self._may_load,
                before_load=lambda path: self._make_room(source, path),
            )
        return weights

    def _source_of(self, options: EngineOptions) -> WeightsSource:
        return WeightsSource.from_options(self._path, self._name, self._model_id, options)

    def _release_weights(self, weights: LoadedWeights) -> None:
        weights.num_users -= 1
        weights.last_used_at = time.monotonic()

    def _make_room(self, source: WeightsSource, path: Path) -> None:
        """Free unused weights until those in ``path`` fit. Raises as ``_free_until_fits``.

        The command that started this process has checked the memory for its first weights.
        """
        with self._lock:
            others = any(each.model.is_loaded for each in self._weights.values() if each.source != source)
        if others:
            subject = f"{self._name} ({source.weights} weights, beside those in use)"
            _free_until_fits(path, subject, lambda: self._free_unused_weights(source))

    def _free_unused_weights(self, kept: WeightsSource) -> bool:
        """Free the least recently used weights that no command uses, and the engines on them; False without any."""
        with self._lock:
            unused = [
                each
                for each in self._weights.values()
                if each.source != kept and not each.num_users and each.model.is_loaded
            ]
            if not unused:
                return False
            weights = self._weights.pop(min(unused, key=lambda each: each.last_used_at).source)
            on_them = [options for options in self._engines if self._source_of(options) == weights.source]
            engines = [self._engines.pop(options) for options in on_them]
            closing = list(self._closing_threads)
        for engine in engines:
            engine.close()
        for thread in closing:  # of evicted engines, perhaps on these weights
            thread.join()
        weights.close()
        return True

    # ---- engines ----------------------------------------------------------------------------------------------------

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
        with self._lock:  # not while they end: a thread that loads may wait for the lock
            engines, self._engines = list(self._engines.values()), {}
            weights, self._weights = list(self._weights.values()), {}
        for engine in engines:
            engine.close()
        for thread in self._closing_threads:
            thread.join()
        for each in weights:
            each.close()
        for model in self._draft_models.values():
            model.close()
