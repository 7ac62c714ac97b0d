"""Scores and hidden states through a worker are the bits of an engine in this process."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import IO

from engine.label_requests import labelling, run

from llmcli.backends.worker_backend import WorkerBackend
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.engine import Engine
from llmcli.interrupt import Interrupt
from llmcli.worker import runtime_dir
from llmcli.worker.client.channel import WorkerLauncher
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


def test_a_calibration_by_a_middle_layer(shell, tmp_path):
    """Its report says which layer it reads, and what each combination of features gives; a later run uses it."""
    rows = [f"yes {word},yes\nno {word},no\n" for word in ("the", "and", "is", "in", "it", "you", "to", "of") * 2]
    (tmp_path / "labelled.csv").write_text("text,label\n" + "".join(rows))
    made = shell("classify", "--labels", "yes,no", "--calibrate", "labelled.csv", "--calibration", "c", "--json")
    assert made.code == 0, made.err
    report = json.loads(made.out)
    assert "last@1" in report["features"]
    assert {"scores", "last@1, mean@1"} <= {*report["log_losses"]}
    shown = shell("calibrations", "show", "c")
    assert "(layer 1)" in shown.out and "features tried" in shown.out
    used = shell(
        "classify", "--labels", "yes,no", "--calibration", "c", stdin=_piped("yes hello\nno hello\n", tmp_path)
    )
    assert [line.split("\t")[0] for line in used.out.splitlines()] == ["yes", "no"], used.err


def _piped(text: str, directory: Path) -> IO[bytes]:
    """Return a file to read as standard input."""
    file = directory / "stdin"
    file.write_text(text)
    return file.open("rb")
