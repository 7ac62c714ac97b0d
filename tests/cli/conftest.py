"""Fixtures of the command line's tests: a run of ``main`` with its own descriptors, and real processes."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pexpect
import pyte
import pytest
import scripted
from fake_hub import REPO, FakeHub

from llmcli.backends import local
from llmcli.cli import main, progress
from llmcli.cli.world import World
from llmcli.types import EngineOptions

ROOT = Path(__file__).parents[2]
# as prompt_toolkit paints it, ending with the cursor shown; what was typed is painted too, and is no new prompt
PROMPT = r"\[0m>(?:\x1b\[[0-9;?]*[A-Za-z]|[ \x08])*\x1b\[\?25h"


@dataclass
class Run:
    """What a run left behind; ``backend`` is the scripted one, None when none was built."""

    code: int
    out: str
    err: str
    backend: scripted.ScriptedBackend | None = None


class Terminal:
    """A pseudo-terminal whose screen is kept by pyte; ``slave`` is what a program gets."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = bytearray()
        self._columns, self._rows = columns, rows
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.raw += data

    def close(self) -> str:
        """Close the program's end and return all lines that were ever on the screen, blank ones at the end aside."""
        os.close(self.slave)
        self._reader.join(5)
        os.close(self.master)
        screen = pyte.HistoryScreen(self._columns, self._rows, history=10_000, ratio=1.0)
        pyte.ByteStream(screen).feed(bytes(self.raw))
        past = ["".join(line[x].data for x in range(self._columns)) for line in screen.history.top]
        return "\n".join(line.rstrip() for line in [*past, *screen.display]).rstrip()


@dataclass
class Runner:
    """Runs ``main`` in this process on a scripted backend; ``options`` are those that the last one was built with."""

    model: Path
    directory: Path
    monkeypatch: pytest.MonkeyPatch
    backends: list[scripted.ScriptedBackend] = field(default_factory=list)
    options: EngineOptions | None = None

    def __call__(self, *argv: str, stdin: bytes = b"", answer=scripted.last, env=None, out=None, err=None, **scripting):
        """Return what ``llm ARGV`` does; ``out`` and ``err`` are descriptors to use instead of files."""
        self.backends.clear()

        def build(_path, *, name, model_id, options, interrupt, on_loading):
            backend = scripted.ScriptedBackend(answer, model=name, interrupt=interrupt, **scripting)
            self.backends.append(backend)
            self.options = options
            return backend

        self.monkeypatch.setattr(local, "LocalBackend", build)
        environ = {**os.environ, "LLMCLI_MODEL": str(self.model), "TERM": "xterm-256color", **(env or {})}
        paths = [self.directory / name for name in ("stdin", "stdout", "stderr")]
        paths[0].write_bytes(stdin)
        with paths[0].open("rb") as source, paths[1].open("wb") as shown, paths[2].open("wb") as said:
            world = World(
                source.fileno(),
                shown.fileno() if out is None else out,
                said.fileno() if err is None else err,
                {name: value for name, value in environ.items() if value is not None},
            )
            code = main.main(list(argv), world)
        texts = [path.read_bytes().decode() for path in paths[1:]]
        return Run(code, *texts, self.backends[0] if self.backends else None)


@pytest.fixture
def llm(tiny, tmp_path, monkeypatch):
    """Run ``main`` on a scripted backend."""
    directory = tmp_path / "io"
    directory.mkdir()
    return Runner(tiny("llama"), directory, monkeypatch)


@pytest.fixture
def at_once(monkeypatch):
    """Show each wait from its first moment on, and each change of it."""
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    monkeypatch.setattr(progress, "_INTERVAL_S", 0.0)


@pytest.fixture
def terminal():
    """Make pseudo-terminals."""
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
def hub(tiny, monkeypatch):
    """Return a Hub on loopback that has two quantizations of a tiny model; nobody pauses before trying it again."""
    from huggingface_hub import close_session

    server = FakeHub()
    larger = tiny("chatml").read_bytes() + bytes(200_000)
    server.repos[REPO] = {"tiny.Q4_0.gguf": tiny("llama").read_bytes(), "tiny.Q8_0.gguf": larger}
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("llmcli.models.hub.pause", lambda _seconds, interrupt: interrupt.check())
    close_session()
    yield server
    server.close()
    close_session()


@pytest.fixture
def here(llm, hub):
    """Return the name of a model that was pulled."""
    assert llm("models", "pull", f"{REPO}:Q4_0").code == 0
    return f"{REPO}:Q4_0"


@pytest.fixture
def models(llm):
    """Run ``llm models`` with no model configured."""
    return lambda *argv, env=None, **how: llm("models", *argv, env={"LLMCLI_MODEL": None, **(env or {})}, **how)


@pytest.fixture
def mine(tiny, tmp_path):
    """Return a model file of the user's own."""
    file = tmp_path / "mine.gguf"
    file.write_bytes(tiny("llama").read_bytes())
    return file


@pytest.fixture
def person(tiny, tmp_path):
    """Start ``llm ARGV`` on a pseudo-terminal of its own, with a tiny model of random weights; ``code`` runs before."""
    children = []

    def start(*argv, env=None, code=None):
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LLMCLI_MODEL": str(tiny("llama")),
            "TERM": "xterm-256color",
            **(env or {}),
        }
        child = pexpect.spawn(
            sys.executable,
            [*(("-c", f"{code}; from llmcli.cli.main import run; run()") if code else ("-m", "llmcli")), *argv],
            env=environ,
            cwd=str(tmp_path),
            encoding="utf-8",
            codec_errors="replace",
            timeout=20,
            dimensions=(24, 80),
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def ended(child):
    """Wait for the end and return the exit code, negative for a signal."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus if child.signalstatus is None else -child.signalstatus
