"""Fixtures that run ``llm``: in this process on a scripted backend, or as a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import scripted
from terminal import ROOT, Terminal

from llmcli.cli import main
from llmcli.cli.console.environment import Environment
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.llama import hardware
from llmcli.runtime import backend_factory


@dataclass
class Run:
    """The result of a run; ``backend`` is the scripted one, None if none was built."""

    code: int
    out: str
    err: str
    backend: scripted.ScriptedBackend | None = None


@dataclass
class Runner:
    """Runs ``main`` in this process on a scripted backend; ``options`` are those of the last backend."""

    model: Path
    directory: Path
    monkeypatch: pytest.MonkeyPatch
    backends: list[scripted.ScriptedBackend] = field(default_factory=list)
    options: EngineOptions | None = None

    def __call__(
        self, *argv: str, stdin: bytes = b"", answer=scripted.last_message, env=None, out=None, err=None, **scripting
    ):
        """Return the result of ``llm ARGV``; ``out`` and ``err`` are descriptors to use instead of files."""
        self.backends.clear()

        def build(_path, *, name, model_id, options, interrupt, on_loading=None):
            backend = scripted.ScriptedBackend(answer, model=name, interrupt=interrupt, **scripting)
            self.backends.append(backend)
            self.options = options
            return backend

        self.monkeypatch.setattr(backend_factory, "open_local_backend", build)
        environ = {**os.environ, "LLMCLI_MODEL": str(self.model), "TERM": "xterm-256color", **(env or {})}
        paths = [self.directory / name for name in ("stdin", "stdout", "stderr")]
        paths[0].write_bytes(stdin)
        with paths[0].open("rb") as source, paths[1].open("wb") as shown, paths[2].open("wb") as said:
            environment = Environment(
                source.fileno(),
                shown.fileno() if out is None else out,
                said.fileno() if err is None else err,
                {name: value for name, value in environ.items() if value is not None},
            )
            code = main.main(list(argv), environment)
        texts = [path.read_bytes().decode() for path in paths[1:]]
        return Run(code, *texts, self.backends[0] if self.backends else None)


@pytest.fixture
def llm(tiny, tmp_path, monkeypatch):
    """Run ``main`` on a scripted backend, with a known rate of the memory: a measurement takes half a second."""
    monkeypatch.setattr(hardware, "measure_bandwidth", lambda _threads: 1e10)
    directory = tmp_path / "io"
    directory.mkdir()
    return Runner(tiny("llama"), directory, monkeypatch)


@pytest.fixture
def terminal():
    """Create pseudo-terminals."""
    return Terminal


@pytest.fixture
def process(tiny, tried, tmp_path):
    """Run a real ``llm`` process on a tiny model of random weights; keyword arguments are those of Popen."""
    tried(tiny("llama"))

    def start(*argv: str, env=None, **how) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "LLMCLI_MODEL": str(tiny("llama")), **(env or {})}
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return subprocess.Popen([sys.executable, "-m", "llmcli", *argv], env=environ, cwd=tmp_path, **how)

    return start


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and returns its path."""

    def file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return file
