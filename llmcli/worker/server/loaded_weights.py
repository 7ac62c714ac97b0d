"""One form of a model's weights in a worker: the file, or a copy of it in another type; and its embeddings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from llmcli.configuration.lora_adapters import LoraAdapter
from llmcli.engine.embedding import Embedder
from llmcli.engine.llama import hardware
from llmcli.engine.llama.compute_thread import InlineExecutor
from llmcli.engine.llama.memory_budget import min_load_bytes
from llmcli.engine.llama.model import SharedModel
from llmcli.engine.llama.weights_file import WeightsSource
from llmcli.errors import OutOfMemory
from llmcli.worker.server.embedding_queue import EmbeddingQueue


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
        may_load: Callable[[], bool],
        before_load: Callable[[Path], None],
    ) -> None:
        self.source = source
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
        return Embedder(self.model.load(self._may_load), hardware.detect_cores().max_threads, self._executor)

    def close(self) -> None:
        """End the embeddings and free the weights, which no engine uses any more."""
        self.embeddings.close()
        self.model.close()


def free_until_fits(path: Path, subject: str, free_unused: Callable[[], bool]) -> None:
    """Call ``free_unused`` until the weights in ``path`` fit the free memory, or it returns False.

    Raises ``OutOfMemory`` about ``subject`` if they do not fit even then, and as ``load_checked_header``.
    """
    needed = min_load_bytes(path)
    while (free := hardware.available_memory()) is not None and needed > free:
        if not free_unused():
            raise OutOfMemory(subject, needed=needed, available=free, weights=path.stat().st_size)
        hardware.release_free_memory()
