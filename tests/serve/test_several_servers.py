"""Several real ``llm serve`` behind one backend."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from .conftest import TOKEN, serving


@pytest.mark.slow
def test_a_killed_server_loses_nothing(tiny, tmp_path):
    """The labels are those of one server, each once and in order, although one of two is killed in the middle."""
    lines = [f"text {number}, which is {'good' if number % 2 else 'bad'}" for number in range(120)]
    exact = {"LLMCLI_DETERMINISTIC": "on"}
    with serving(tiny("chatml"), **exact) as one, serving(tiny("chatml"), **exact) as other:
        shared = {"type": "openai", "key_env": "FARM_KEY", "concurrency": 4}
        backends = {
            "farm": {**shared, "base_urls": [one.url, other.url]},
            "one": {**shared, "base_url": f"{one.url}/v1"},
        }
        home = {f"LLMCLI_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")}
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "config.yaml").write_text(json.dumps({"backends": backends}))
        env = {**home, "FARM_KEY": TOKEN, "LLMCLI_WORKER": "off", "LLMCLI_DETERMINISTIC": "off"}
        argv = ["sentiment", "--json", "--stats", "--backend"]
        alone = one.llm(*argv, "one", env=env, input="\n".join(lines).encode())
        with subprocess.Popen(
            [sys.executable, "-m", "llmcli", *argv, "farm"],
            env={**one.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as job:
            job.stdin.write("\n".join(lines[:60]).encode() + b"\n")
            job.stdin.flush()
            read = [job.stdout.readline() for _ in range(40)]
            other.process.kill()
            os.kill(other.worker()["pid"], signal.SIGKILL)
            job.stdin.write("\n".join(lines[60:]).encode())
            job.stdin.close()
            read += job.stdout.readlines()
            said = job.stderr.read()
    assert job.returncode == 0, said
    assert [labels(row) for row in read] == [labels(row) for row in alone.stdout.splitlines()]
    first, second = next(line["stats"] for line in map(json.loads, said.splitlines()) if "stats" in line)["servers"]
    assert second["failed"] >= 1 and second["problem"] and first["answered"] + second["answered"] >= 120


def labels(row):
    """Return what must be the same wherever a record was answered."""
    found = json.loads(row)
    return found["line"], found["label"], found["probabilities"]
