"""Files that llm creates for itself are private, whatever the umask; the user's own outputs follow it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from fake_hub import REPO

EDITOR = "#!/bin/sh\necho '# mine' >> \"$1\"\n"


@pytest.fixture
def runtime(monkeypatch):
    """Return a missing runtime directory whose path has room for sockets."""
    short = Path(tempfile.mkdtemp(prefix="llm-"))
    monkeypatch.setenv("LLMCLI_RUNTIME_DIR", str(short / "made" / "run"))
    yield short / "made"
    shutil.rmtree(short)


@pytest.fixture
def home(tmp_path, process):
    """Return the directory of configuration, data and caches; the fixtures' files in it are private."""
    for made in [tmp_path / "home", *(tmp_path / "home").rglob("*")]:
        made.chmod(0o700 if made.is_dir() else 0o600)
    return tmp_path / "home"


@pytest.fixture
def run(process):
    """Run a real ``llm`` whose umask is 0 and return its output."""

    def finish(*argv, code=0, **how):
        child = process(*argv, preexec_fn=lambda: os.umask(0), **how)
        out, err = child.communicate(timeout=120)
        assert child.returncode == code, err
        return out.decode()

    return finish


def exposed(*tops):
    """Return the paths below ``tops`` that others may read, write or enter."""
    paths = [path for top in tops for path in (top, *top.rglob("*"))]
    return [str(path) for path in paths if not path.is_symlink() and path.stat().st_mode & 0o077]


@pytest.mark.slow
def test_workers_are_private(run, runtime, home):
    """Directories, the socket, the lock, the log, and stored prompt states."""
    on = {"LLMCLI_WORKER": "on"}
    try:
        run("ask", "hello " * 200, "--max-tokens", "2", env=on)
        (status,) = [json.loads(line) for line in run("worker", "list", "--json", env=on).splitlines()]
        assert Path(status["socket"]).is_relative_to(runtime)
        assert exposed(runtime, home) == []
    finally:
        run("worker", "stop", env=on)
    assert list(home.rglob("*.log")) and list(home.rglob("*.state"))
    assert exposed(home) == []


@pytest.mark.slow
def test_stored_files_are_private(run, home, server, tmp_path):
    """Chats, translations, prompts, the configuration, measurements and learnt facts."""
    source, editor = tmp_path / "a.txt", tmp_path / "editor"
    source.write_text("The house stands on a hill.\n")
    editor.write_text(EDITOR)
    editor.chmod(0o755)
    run("ask", "hello " * 200, "--max-tokens", "2")
    with source.open("rb") as stdin:
        run("chat", "--session", "work", "--max-tokens", "2", stdin=stdin)
    run("translate", "--to", "fr", str(source), "-o", str(tmp_path / "out.txt"), "--base-url", server.url, code=3)
    run("models", "tune")
    run("prompts", "new", "generate/haiku", "--from", "generate/poem")
    run("config", "edit", env={"EDITOR": str(editor)})
    kept = {path.name for path in home.rglob("*")}
    assert kept >= {
        "sessions.db",
        "translations.sqlite",
        "haiku.yaml",
        "config.yaml",
        "models.json",
        "used",
        "loaded",
    }
    assert exposed(home) == []
    assert stat.S_IMODE((tmp_path / "out.txt").stat().st_mode) == 0o666


def test_the_log_of_a_bug_is_private(llm, home):
    """It may quote a prompt."""

    def bug(_):
        raise KeyError("oops")

    before = os.umask(0)
    try:
        assert llm("ask", "Q", "-v", answer=bug).code == 70
    finally:
        os.umask(before)
    assert list(home.rglob("traceback-*.log")) and exposed(home) == []


@pytest.mark.slow
def test_models_are_private(run, home, hub, tiny, tmp_path):
    """A download, its locks and names in a cache that llm creates, and a copy of a file from elsewhere."""
    places = [Path(place) for place in ("/dev/shm", tempfile.gettempdir()) if os.access(place, os.W_OK)]
    elsewhere = [place for place in places if place.stat().st_dev != tmp_path.stat().st_dev]
    with tempfile.TemporaryDirectory(dir=(*elsewhere, tmp_path)[0]) as directory:
        mine = Path(directory, "mine.gguf")
        mine.write_bytes(tiny("llama").read_bytes())
        mine.chmod(0o600)  # a link to it has its mode
        run("models", "pull", f"{REPO}:Q4_0")
        run("models", "import", str(mine), "--name", "mine")
        run("models", "default", "mine", env={"LLMCLI_MODEL": ""})
    assert {"blobs", "snapshots", "refs", ".locks", "mine.gguf"} <= {path.name for path in home.rglob("*")}
    assert exposed(home) == []


def test_a_cache_that_is_shared_stays_so(run, home, hub):
    """Users who may read the Hub's cache may read llm's downloads in it; only its owner may write there."""
    cache = home / "huggingface" / "hub"
    cache.mkdir(parents=True)
    cache.chmod(0o755)
    run("models", "pull", f"{REPO}:Q4_0")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in cache.rglob("*") if not path.is_symlink()}
    assert modes == {0o755, 0o644}


@pytest.mark.parametrize("name", ["sessions.db", "translations.sqlite"])
def test_a_readable_database_is_restricted(llm, tmp_path, name):
    """When it is opened, for reading too; a memory that the user named keeps its mode."""
    source = tmp_path / "a.txt"
    source.write_text("hello there\n")

    def write():
        assert llm("chat", "--session", "work", stdin=b"hello\n").code == 0
        assert llm("translate", "--to", "fr", str(source)).code in {0, 3}

    write()
    database = Path(os.environ["LLMCLI_DATA_DIR"]) / name
    database.chmod(0o644)
    assert (llm("sessions", "list").code, llm("tm", "list").code) == (0, 0)
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    shared = tmp_path / "team.sqlite"
    shared.touch(0o664)
    shared.chmod(0o664)
    assert llm("translate", "--to", "fr", str(source), "--tm", str(shared)).code in {0, 3}
    assert stat.S_IMODE(shared.stat().st_mode) == 0o664


ATTACK = """
import os, sys
os.setuid(65534)
got = []
for top in sys.argv[1:]:
    for directory, names, files in os.walk(top):
        for path in [os.path.join(directory, name) for name in files]:
            for flags in (os.O_RDONLY, os.O_WRONLY):
                try:
                    os.close(os.open(path, flags | os.O_NONBLOCK))
                    got.append(path)
                except OSError:
                    pass
    for name in ("sessions.db", "logs.db", "sessions.db-wal", "planted"):
        for directory in (top, os.path.join(top, "llmcli")):
            try:
                os.close(os.open(os.path.join(directory, name), os.O_RDWR | os.O_CREAT))
                got.append(name)
            except OSError:
                pass
print(*got)
"""
"""Another user reads, changes or plants what it can below these directories; it prints what it got."""


def test_another_user_gets_no_chats_and_no_answers(run):
    """Neither by walking the directories nor by their usual names, although those above them are open to all."""
    top = Path(tempfile.mkdtemp(prefix="llm-"))
    top.chmod(0o755)
    kinds = ("CONFIG", "DATA", "CACHE")
    env = {f"LLMCLI_{kind}_DIR": str(top / kind.lower()) for kind in kinds} | {"LLMCLI_LOGS": "on"}
    try:
        run("ask", "the canary", "--session", "mine", "--no-stdin", "--temperature", "0", "--max-tokens", "8", env=env)
        assert (top / "data" / "sessions.db").exists() and (top / "data" / "logs.db").exists()
        tops = [str(top / kind.lower()) for kind in kinds]
        done = subprocess.run(
            [sys.executable, "-c", ATTACK, *tops], capture_output=True, text=True, check=True, cwd="/"
        )
        assert done.stdout.split() == []
    finally:
        shutil.rmtree(top)
