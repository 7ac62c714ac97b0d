"""A real ``llm serve`` on a tiny model, one for the tests of a module, with its own directories."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmcli.worker.client import worker_status

ROOT = Path(__file__).parents[2]
TOKEN = "canary-token-of-the-tests"


@dataclass
class Served:
    """A running server; ``url`` as it was announced."""

    process: subprocess.Popen
    url: str
    runtime: Path
    environ: dict

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(self, method, path, body=None, *, token=TOKEN, timeout=60, **headers):
        """Return status and body of a response, parsed if it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            given = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, None if body is None else json.dumps(body), {**given, **headers})
            answer = connection.getresponse()
            text = answer.read()
        is_json = answer.headers.get("content-type") == "application/json"
        return answer.status, json.loads(text) if is_json else text

    def post(self, path, **body):
        return self.ask("POST", f"/v1/{path}", body)

    def models(self):
        """Return the names of the models that are served."""
        return [model["id"] for model in self.ask("GET", "/v1/models")[1]["data"]]

    def llm(self, *argv, env=None, **how):
        """Run another command of the same user."""
        command = [sys.executable, "-m", "llmcli", *argv]
        how = {
            "capture_output": True,
            "timeout": 120,
            **({} if "input" in how else {"stdin": subprocess.DEVNULL}),
            **how,
        }
        return subprocess.run(command, env={**self.environ, **(env or {})}, check=False, **how)

    def worker(self):
        """Return the status of the only worker."""
        (status,) = worker_status.list_statuses(self.runtime)
        return status

    def sockets(self) -> int:
        """Return how many sockets the server has open."""
        found = 0
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed just now
                found += str(link.readlink()).startswith("socket:")
        return found

    def memory(self) -> int:
        """Return the resident bytes of the server."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def serving(model, *argv, code=None, **env):
    """Run ``llm serve``, by given Python code if any; its workers end with it."""
    home = Path(tempfile.mkdtemp(prefix="llm", dir="/tmp"))  # a path short enough for sockets
    runtime = home / "run"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LLMCLI_", "HF_"))}
    environ |= {f"LLMCLI_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")}
    environ |= {"LLMCLI_RUNTIME_DIR": str(runtime), "LLMCLI_TUNE": "off", "HF_HOME": str(home / "hf")}
    environ |= {"PYTHONPATH": str(ROOT), "LLMCLI_MODEL": str(model), "LLMCLI_SERVE_TOKEN": TOKEN, **env}
    command = [sys.executable, *(("-c", code) if code else ("-m", "llmcli")), "serve", "--port", "0", "--json", *argv]
    process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        line = process.stderr.readline()
        yield Served(process, json.loads(line)["listening"]["url"], runtime, environ)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        for status in worker_status.list_statuses(runtime) if runtime.exists() else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(status["pid"], signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def served(tiny):
    with serving(tiny("chatml")) as server:
        yield server
