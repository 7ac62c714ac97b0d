"""Killed and concurrent processes: the file is always right, and no files are left behind."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import REPO, Fault

from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.hub.partial_file import list_partials

ROOT = Path(__file__).parents[3]
EIGHT = 8

# A process that has everything imported and forks one that pulls, so that fifty kills take seconds. A line of its input
# is a list: for each process to fork, the seconds after which it is killed, or null. It answers with their exit codes.
NURSERY = """
import json, os, signal, sys, time
from llmcli.interrupt import Interrupt
from llmcli.network.transfers import DownloadRetryPolicy
from llmcli.models.library.model_library import ModelLibrary
from llmcli.models import catalogue
from llmcli.models.gguf import header_parser
from llmcli.models.hub import puller
from llmcli.app_paths import find_paths
from llmcli.settings import resolve_settings
import llmcli.models.hub.hub_client
import llmcli.network.connections

def pull():
    paths = find_paths(os.environ)
    settings = resolve_settings({}, os.environ, paths.config_file)
    library = ModelLibrary(settings, paths, os.environ, retry_policy=DownloadRetryPolicy(first_pause_s=0.01))
    list(library.pull(sys.argv[1], Interrupt()))

catalogue.load_catalogue()
for line in sys.stdin:
    due = {}
    for seconds in json.loads(line):
        child = os.fork()
        if not child:
            try:
                pull()
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        due[child] = None if seconds is None else time.monotonic() + seconds
    codes = {}
    while due:
        for child, when in list(due.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
                del due[child]
            elif when is not None and time.monotonic() >= when:
                os.kill(child, signal.SIGKILL)
                due[child] = None
        time.sleep(0.001)
    print(json.dumps(list(codes.values())), flush=True)
"""


class Nursery:
    """One model on the Hub, and processes that pull it into their own cache."""

    def __init__(self, hub, content: bytes, name: str, cache: Path) -> None:
        self.hub, self.content = hub, content
        self.digest = hashlib.sha256(content).hexdigest()
        self.blob = HubCache(cache).blob_path(REPO, self.digest)
        command = [sys.executable, "-c", NURSERY, name]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *kills: float | None) -> list[int]:
        """Start a process for each of ``kills``; return their exit codes, -9 for a killed one."""
        self.process.stdin.write(json.dumps(kills) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.process.stderr.read()
        return json.loads(answer)

    def partials(self) -> list[Path]:
        return list_partials(self.blob)

    def sent(self) -> list[int]:
        """Return the byte from which each request to the storage asked for the file, in order."""
        ranges = [asked.headers.get("range", "bytes=0-") for asked in self.hub.asked if asked.server == "storage"]
        return [int(asked.removeprefix("bytes=").rstrip("-")) for asked in ranges]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def nursery(hub, tiny, tmp_path):
    """Return a nursery whose model is a good one with two megabytes after its tensors."""
    content = tiny("llama").read_bytes() + random.Random(1).randbytes(2_000_000)
    hub.repos[REPO] = {"tiny.Q8_0.gguf": content}
    made = Nursery(hub, content, f"{REPO}:Q8_0", tmp_path / "home" / "huggingface" / "hub")
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("count", [15, pytest.param(200, marks=pytest.mark.stress)])
def test_kill_storm(nursery, count):
    """After many kills at random moments a clean run has the right file, and nothing else is left."""
    draw = random.Random(4)
    nursery.hub.always = Fault(slow=0.004)
    kills = 0
    while kills < count or not any(nursery.sent()):  # the latter: never one killed after a byte, on a busy machine
        (code,) = nursery.run(draw.uniform(0, 0.12 if kills < count else 1))
        kills += code == -9
        assert code in {0, -9}
        assert len(nursery.partials()) <= 1
        if nursery.blob.exists():  # it only gets its name with all its bytes; and the next one starts again
            assert hashlib.sha256(nursery.blob.read_bytes()).hexdigest() == nursery.digest
            nursery.blob.unlink()
    assert nursery.run(None) == [0]
    blobs = list(nursery.blob.parent.iterdir())
    assert hashlib.sha256(nursery.blob.read_bytes()).hexdigest() == nursery.digest
    assert len(blobs) <= 2
    assert sum(path.stat().st_size for path in blobs) <= 2 * len(nursery.content)


@pytest.mark.slow
def test_eight_at_once_make_one_download(nursery):
    """Eight processes that pull the same model make one download, and all of them have it."""
    nursery.hub.always = Fault(slow=0.004)
    assert nursery.run(*[None] * EIGHT) == [0] * EIGHT
    assert nursery.sent() == [0]
    assert [path.name for path in nursery.blob.parent.iterdir()] == [nursery.digest]


@pytest.mark.slow
def test_killed_downloads_are_continued_by_others(nursery):
    """When the downloading processes are killed, others continue where they were."""
    nursery.hub.always = Fault(slow=0.01)
    codes = nursery.run(*[0.15 + number / 20 for number in range(EIGHT - 1)], None)
    assert set(codes) == {0, -9}
    assert hashlib.sha256(nursery.blob.read_bytes()).hexdigest() == nursery.digest
    assert nursery.partials() == []
    assert sorted(nursery.sent()) == nursery.sent()  # no byte was downloaded twice
