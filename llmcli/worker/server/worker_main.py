"""The worker's process: what it sets up before it serves, and its log."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import resource
import socket
import time
from pathlib import Path

from llmcli.child_processes import raise_descriptor_limit
from llmcli.config.engine_options import EngineOptions, load_adapters
from llmcli.engine.llama import bindings
from llmcli.worker.runtime_dir import INHERITED_LIMITS, WORKER_BACKLOG, WorkerConfig
from llmcli.worker.server.engine_pool import EnginePool


def write_log(text: str) -> None:
    """Write a line to the log; prompts never appear in it."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {os.getpid()} {text}\n"
    with contextlib.suppress(OSError):  # a full disk must not end a worker
        os.write(2, line.encode("utf-8", "replace"))


def main(descriptor: str, config_json: str) -> None:
    """Serve until the worker has been idle for long enough, or a signal arrives.

    ``descriptor``: the number of a listening socket's descriptor; ``config_json``: a ``WorkerConfig`` as JSON.
    """
    faulthandler.enable()  # a crash in native code is then logged
    bindings.on_abort = lambda message: write_log(f"aborts: {message}")
    listening = socket.socket(fileno=int(descriptor))
    os.set_inheritable(listening.fileno(), False)
    listening.listen(WORKER_BACKLOG)  # again, so that clients see this process as their peer
    for limit in INHERITED_LIMITS:
        if limit != resource.RLIMIT_NOFILE:
            soft, hard = resource.getrlimit(limit)
            resource.setrlimit(limit, (max(soft, hard), hard))
    raise_descriptor_limit()
    config = WorkerConfig(**json.loads(config_json))
    adapters = load_adapters(config.adapters)
    with_adapters = "".join(f", adapter {adapter.path} * {adapter.scale:g}" for adapter in adapters)
    write_log(f"starts: {config.name}, {config.path}{with_adapters}")
    first = EngineOptions(weights=config.weights, cache=Path(config.cache) if config.cache else None)
    engines = EnginePool(
        Path(config.path), config.name, config.model_id, config.gpu_layers, adapters=adapters, preload=first
    )
    # the model is being loaded while this is imported
    from llmcli.worker.server.worker_server import WorkerServer

    with contextlib.closing(engines):
        asyncio.run(WorkerServer(config, engines, listening, write_log).serve_worker())
    write_log("ended")
