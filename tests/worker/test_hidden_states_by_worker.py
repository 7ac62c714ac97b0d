"""Hidden states through a worker are those of an engine in this process."""

from __future__ import annotations

import contextlib
import os

import numpy as np

from llmcli.backends.base import run_requests
from llmcli.backends.worker_backend import WorkerBackend
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.engine import Engine
from llmcli.interrupt import Interrupt
from llmcli.types import CandidateScores, Finished, HiddenStates, Message, Request, Role
from llmcli.worker import runtime_dir
from llmcli.worker.client.channel import WorkerLauncher
from llmcli.worker.runtime_dir import WorkerConfig

REQUESTS = [
    Request("alone", (Message(Role.USER, "hello world"),), hidden_states=True, gathered=True),
    Request("scored", (Message(Role.USER, "yes"),), candidates=("no", "you"), hidden_states=True),
]


def states_and_kinds(backend) -> tuple[dict[str, HiddenStates], dict[str, list[type]]]:
    states, kinds = {}, {request.id: [] for request in REQUESTS}
    for event in run_requests(backend, REQUESTS):
        kinds[event.id].append(type(event))
        if isinstance(event, HiddenStates):
            states[event.id] = event
    return states, kinds


def test_hidden_states_come_through_the_worker(shell):
    """Alone and with scores, in the same order of events."""
    paths = runtime_dir.WorkerPaths(
        runtime_dir.find_runtime_dir(shell.environ()), runtime_dir.worker_key(shell.model, None, shell.environ())
    )
    config = WorkerConfig(str(shell.model), "tiny", "id", None, 60.0, str(shell.directory / "tiny.log"))
    options = EngineOptions()
    with (
        contextlib.closing(
            WorkerBackend(WorkerLauncher(paths, config, dict(os.environ)), options, Interrupt())
        ) as worker,
        contextlib.closing(Engine(shell.model, "tiny", "id", options, lambda: None)) as engine,
    ):
        found, kinds = states_and_kinds(worker)
        own, _ = states_and_kinds(engine)
    assert kinds == {"alone": [HiddenStates, Finished], "scored": [HiddenStates, CandidateScores, Finished]}
    for name, event in own.items():
        for ours, theirs in ((event.mean, found[name].mean), (event.last, found[name].last)):
            a, b = np.frombuffer(ours, "<f4"), np.frombuffer(theirs, "<f4")
            assert len(a) == 64 and np.abs(a - b).max() < 0.1 * np.abs(a).max()
