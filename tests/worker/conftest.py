"""Fixtures of the worker's tests: real processes with their own runtime directory, whose workers end with the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmcli.worker import runtime_dir
from llmcli.worker.client import worker_status

ROOT = Path(__file__).parents[2]
SHORT = ("--max-tokens", "4", "--temperature", "0", "--no-stdin")


@dataclass
class Done:
    """The result of a process."""

    code: int
    out: str
    err: str


@dataclass
class Shell:
    """Runs ``llm`` as a process; its workers live in ``runtime``. ``endless``: a model whose answers do not end."""

    runtime: Path
    model: Path
    endless: Path
    directory: Path

    def environ(self, **more: str) -> dict[str, str]:
        own = {"LLMCLI_WORKER": "on", "LLMCLI_RUNTIME_DIR": str(self.runtime), "LLMCLI_MODEL": str(self.model)}
        return {**os.environ, "PYTHONPATH": str(ROOT), **own, **more}

    def start(self, *argv: str, env=None, **how) -> subprocess.Popen[bytes]:
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        command = [sys.executable, "-m", "llmcli", *argv]
        return subprocess.Popen(command, env=self.environ(**(env or {})), cwd=self.directory, **how)

    def start_long_answer(self) -> subprocess.Popen[bytes]:
        """Start an answer that only the full context ends."""
        argv = ("ask", "hello", "--no-stdin", "--ctx", "8192", "--max-tokens", "8000")
        return self.start(*argv, env={"LLMCLI_MODEL": str(self.endless)})

    def __call__(self, *argv: str, env=None, **how) -> Done:
        child = self.start(*argv, env=env, **how)
        out, err = child.communicate(timeout=60)
        return Done(child.returncode, out.decode(), err.decode())

    def statuses(self) -> list[dict]:
        """Return the statuses of the workers."""
        return worker_status.list_statuses(self.runtime)

    def worker(self) -> dict:
        """Return the status of the only worker."""
        (status,) = self.statuses()
        return status

    def paths(self) -> runtime_dir.WorkerPaths:
        """Return the paths of the only worker."""
        (found,) = runtime_dir.list_worker_paths(self.runtime)
        return found


@pytest.fixture
def runtime():
    """Return a directory whose path is short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="llm", dir="/tmp"))
    yield directory
    for status in worker_status.list_statuses(directory):
        with suppress(ProcessLookupError):
            os.kill(status["pid"], signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def shell(runtime, tiny, tried, tmp_path):
    """Return a runner of ``llm`` whose commands share workers."""
    model = tmp_path / "tiny.gguf"
    model.write_bytes(tiny("llama").read_bytes())
    tried(model)
    tried(tiny("endless"))
    return Shell(runtime, model, tiny("endless"), tmp_path)


def gone(pid: int) -> bool:
    """Return whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
