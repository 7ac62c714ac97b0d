"""The configuration of a worker, passed from the command that starts it to the process."""

from __future__ import annotations

import resource

from llmcli.frozen_dataclass import frozen

WORKER_MODULE = "llmcli.worker"
"""The module that the process runs, by which its command line is recognized."""
WORKER_BACKLOG = 1024
INHERITED_LIMITS = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
)
"""Limits (getrlimit(2)) under which a worker cannot serve other commands than the one that started it."""


@frozen
class WorkerConfig:
    """The configuration of a worker: its model (``name`` for people, ``model_id`` its hash), and how long it stays.

    ``gpu_layers`` as in ``EngineOptions``; ``idle_timeout`` in seconds; ``log``: the file of its descriptor 2.
    ``weights`` and ``cache``: those of the command that starts it, as in ``EngineOptions``, which it loads first.
    ``adapters``: those of the model, as text (``lora_adapters.dump_adapters``).
    """

    path: str
    name: str
    model_id: str
    gpu_layers: int | None
    idle_timeout: float
    log: str
    weights: str = "original"
    cache: str | None = None
    adapters: str = ""
