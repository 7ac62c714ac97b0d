"""Scores and hidden states through a worker are the bits of an engine in this process."""

from __future__ import annotations

import contextlib
import os

from engine.label_requests import labelling, run

from llmcli.backends.worker_backend import WorkerBackend
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.engine import Engine
from llmcli.interrupt import Interrupt
from llmcli.worker import runtime_dir
from llmcli.worker.client.launcher import WorkerLauncher
from llmcli.worker.runtime_dir import WorkerConfig


def test_a_worker_labels_as_a_process_does(shell):
    """The second time from the prefixes that it has in memory."""
    environ = shell.environ()
    key = runtime_dir.worker_key(shell.model, None, environ)
    paths = runtime_dir.WorkerPaths(runtime_dir.find_runtime_dir(environ), key)
    config = WorkerConfig(str(shell.model), "tiny", "id", None, 60.0, str(shell.directory / "tiny.log"))
    options, requests = EngineOptions(), labelling()
    with contextlib.closing(Engine(shell.model, "tiny", "id", options, lambda: None)) as engine:
        expected = run(engine, requests)
    launcher = WorkerLauncher(paths, config, dict(os.environ))
    with contextlib.closing(WorkerBackend(launcher, options, Interrupt())) as worker:
        assert run(worker, requests) == expected
        assert run(worker, requests[::-1]) == expected
