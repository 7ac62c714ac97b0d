"""The first load of a model happens in a child process: a crash there is an error here."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.llama import bindings, load_check
from llmcli.errors import BadModelFile, InternalError, Interrupted, OutOfMemory, Unsupported
from llmcli.interrupt import Interrupt
from llmcli.runtime.backend_factory import open_local_backend

ID = "a" * 64


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Return a function that makes a shell script the child, and the file to which each child appends its number."""
    started = tmp_path / "started"

    def use(script: str) -> Path:
        path = tmp_path / "child"
        path.write_text(f"#!/bin/sh\necho $$ >> {started}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return started

    return use


def check(path, **how):
    return load_check.check_in_subprocess(path, 1000, gpu_layers=0, stop=how.get("stop", lambda: None))


def once(path, cache):
    load_check.check_once(path, ID, cache, gpu_layers=None, stop=lambda: None)


def test_a_good_file_is_checked_once(tiny, tmp_path, child):
    """The first time it is loaded and generates; after that no process is started for it."""
    once(tiny("llama"), tmp_path)
    started = child("exit 3")
    once(tiny("llama"), tmp_path)
    assert not started.exists()


def test_concurrent_commands_check_once(tiny, tmp_path):
    """Of several commands that use a new model, one checks it and the others wait."""
    tried = []
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as pool:
        patch.setattr(
            load_check, "check_in_subprocess", lambda *arguments, **_how: tried.append(arguments) or not time.sleep(0.1)
        )
        list(pool.map(lambda _number: once(tiny("llama"), tmp_path), range(4)))
    assert len(tried) == 1


def test_a_signal_ends_the_wait(tiny, tmp_path):
    """A command that waits for another command's check reacts to a signal."""
    lock = load_check.marker_path(tmp_path, ID).with_suffix(".lock")
    lock.parent.mkdir()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Interrupted):
            load_check.check_once(tiny("llama"), ID, tmp_path, gpu_layers=None, stop=Interrupted)


def test_another_version_checks_again(tiny, tmp_path, child, monkeypatch):
    """A model that one version of llama.cpp loads may crash another."""
    started = child("exit 0")
    once(tiny("llama"), tmp_path)
    monkeypatch.setattr(bindings, "version", lambda: "9.9.9")
    once(tiny("llama"), tmp_path)
    assert len(started.read_text().splitlines()) == 2


def test_a_bad_header_needs_no_child(tmp_path, child):
    """A file that the reader of headers refuses is not tried."""
    started = child("exit 0")
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(BadModelFile):
        once(path, tmp_path)
    assert not started.exists()


def test_a_known_error_is_left_to_the_engine(tiny, tmp_path, child):
    """After a known error in the child, the engine reports it; the file is checked again the next time."""
    started = child("exit 65")
    assert check(tiny("llama")) is False
    once(tiny("llama"), tmp_path)
    once(tiny("llama"), tmp_path)
    assert len(started.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (
            "echo '/a/ggml.c:7: GGML_ASSERT(x == 1) failed' >&2; kill -ABRT $$",
            BadModelFile,
            "ggml.c:7: GGML_ASSERT",
        ),
        ("kill -SEGV $$", BadModelFile, "Segmentation fault"),
        ("kill -ILL $$", Unsupported, "another processor"),
        ("kill -KILL $$", OutOfMemory, "the system killed"),
        ("exit 3", InternalError, "code 3"),
    ],
)
def test_a_crash_is_an_error(tiny, child, script, error, words):
    """The child's end determines the error, which contains llama.cpp's last message."""
    child(script)
    with pytest.raises(error, match=words):
        check(tiny("llama"))


@pytest.mark.slow
def test_a_file_that_takes_too_long_is_bad(tiny, child, monkeypatch):
    """The child is killed after a time in proportion to the file's size."""
    monkeypatch.setattr(load_check, "_MIN_TIMEOUT_S", 0.5)
    started = child("exec sleep 60")
    with pytest.raises(BadModelFile, match="takes longer"):
        check(tiny("llama"))
    assert not Path(f"/proc/{started.read_text().strip()}").exists()


def test_a_child_that_has_ended_was_in_time(tiny, tmp_path, child, monkeypatch):
    """Also if this process was stopped while it waited, with Ctrl-Z, for longer than the time limit."""
    started, calls, clock = child(f"while [ ! -e {tmp_path}/end ]; do sleep 0.01; done"), [], iter([0.0, 0.0])
    monkeypatch.setattr(load_check, "time", types.SimpleNamespace(monotonic=lambda: next(clock, 1e6)))

    def end_child_after_first_wait():
        calls.append(None)
        if len(calls) == 2:
            (tmp_path / "end").touch()
            os.waitid(os.P_PID, int(started.read_text()), os.WEXITED | os.WNOWAIT)

    assert check(tiny("llama"), stop=end_child_after_first_wait)


def test_a_signal_ends_the_child(tiny, child):
    """Ctrl-C ends the command and its child."""
    started, interrupt = child("exec sleep 60"), Interrupt()

    def stop():
        if started.exists():
            interrupt.set(signal.SIGINT)
        return interrupt.error

    with pytest.raises(Interrupted):
        check(tiny("llama"), stop=stop)
    assert not Path(f"/proc/{started.read_text().strip()}").exists()


def test_a_backend_checks_its_model(tiny, tmp_path, child):
    """A model that would crash is refused before the engine loads it; without a cache nothing is checked."""
    started = child("kill -ABRT $$")
    how = {"name": "x", "model_id": ID, "interrupt": Interrupt()}
    with pytest.raises(BadModelFile):
        open_local_backend(tiny("llama"), options=EngineOptions(cache=tmp_path), **how)
    os.truncate(started, 0)
    open_local_backend(tiny("llama"), options=EngineOptions(), **how).close()
    assert started.read_text() == ""
