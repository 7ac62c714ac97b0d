"""Commands survive a crash of the worker, or report it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import wait_until

from llmcli import child_processes
from llmcli.backends.base import run_requests
from llmcli.backends.worker_backend import WorkerBackend
from llmcli.config.engine_options import EngineOptions
from llmcli.errors import InternalError, TemporaryFailure
from llmcli.interrupt import Interrupt
from llmcli.types import Finished, FinishReason, Message, Priority, Request, Role, Sampling
from llmcli.worker import runtime_dir
from llmcli.worker.client import channel, worker_process, worker_status
from llmcli.worker.client.channel import WorkerLauncher
from llmcli.worker.runtime_dir import WorkerConfig

from .conftest import SHORT, gone

ASK = ("ask", "hello", *SHORT)
HERE = Path(__file__).parent


def bulk(number: int, text: str, priority=Priority.BULK) -> Request:
    messages = (Message(Role.USER, text),)
    gathered = priority is Priority.BULK
    sampling = Sampling(temperature=0)
    return Request(f"r{number}", messages, max_tokens=4, sampling=sampling, priority=priority, gathered=gathered)


@pytest.fixture
def starting(shell, monkeypatch):
    """Return a function from a module to a launcher that runs it as the worker."""
    monkeypatch.syspath_prepend(str(HERE))
    usual = child_processes.module_command

    def worker_launcher(module):
        monkeypatch.setattr(child_processes, "module_command", lambda _module, *words: usual(module, *words))
        return _make_launcher(shell)

    return worker_launcher


def _make_launcher(shell):
    plan = WorkerConfig(str(shell.model), "tiny", "id", None, 60.0, str(shell.directory / "tiny.log"))
    found = runtime_dir.WorkerPaths(
        runtime_dir.find_runtime_dir(shell.environ()), runtime_dir.worker_key(shell.model, None, shell.environ())
    )
    return WorkerLauncher(found, plan, dict(os.environ))


@pytest.fixture
def worker_launcher(starting):
    """Return a launcher whose workers crash at a certain word (see ``crashing_worker``)."""
    return starting("crashing_worker")


@pytest.fixture
def backend(worker_launcher):
    """Return a backend on the worker."""
    backend = WorkerBackend(worker_launcher, EngineOptions(), Interrupt())
    yield backend
    backend.close()


def ends(backend, requests):
    """Return the last event of each request."""
    return {event.id: event for event in run_requests(backend, requests) if isinstance(event, Finished)}


@pytest.mark.parametrize("fatal", [0, 7, 19])
def test_a_bulk_job_continues_and_reports_the_crashing_record(backend, fatal):
    """A new worker answers the others."""
    requests = [bulk(number, "killer" if number == fatal else f"text {number}") for number in range(20)]
    found = ends(backend, requests)
    assert len(found) == 20
    wrong = {name: event for name, event in found.items() if event.reason is FinishReason.ERROR}
    assert list(wrong) == [f"r{fatal}"]
    error = wrong[f"r{fatal}"].error
    assert isinstance(error, InternalError) and "GGML_ASSERT(word != killer)" in error.detail
    assert error.exit_code == 70


def test_two_crashing_records_are_both_reported(backend):
    """Each crashes its own worker."""
    requests = [bulk(number, "killer" if number in {2, 5} else "text") for number in range(8)]
    found = ends(backend, requests)
    assert {name for name, event in found.items() if event.reason is FinishReason.ERROR} == {"r2", "r5"}


def test_a_job_that_only_crashes_ends(backend):
    """Not every record gets its own worker."""
    found = ends(backend, [bulk(number, "killer") for number in range(40)])
    assert len(found) == 40 and {event.reason for event in found.values()} == {FinishReason.ERROR}


def test_an_interactive_request_that_crashes_each_worker_fails(backend):
    """Its command ends with 70 and the cause; the next request is answered."""
    found = ends(backend, [bulk(0, "killer", Priority.INTERACTIVE)])
    assert "GGML_ASSERT" in found["r0"].error.detail
    assert ends(backend, [bulk(1, "text", Priority.INTERACTIVE)])["r1"].reason is not FinishReason.ERROR


def test_a_job_after_a_crash_between_jobs_finds_a_worker(backend):
    """A worker that was killed while idle crashed no request."""
    assert ends(backend, [bulk(0, "text")])["r0"].error is None
    (status,) = worker_status.list_statuses(backend.launcher.paths.socket.parent)
    os.kill(status["pid"], signal.SIGKILL)
    wait_until(lambda: gone(status["pid"]))
    assert ends(backend, [bulk(1, "text")])["r1"].error is None
    assert backend.info().model == "tiny"


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_as_a_request_comes(backend):
    """It answers, or leaves the request to the next worker: no crash is reported."""
    directory = backend.launcher.paths.socket.parent
    for number in range(5):
        (status,) = wait_until(lambda: backend._ensure_channel() and worker_status.list_statuses(directory))
        with backend.open() as job:
            os.kill(status["pid"], signal.SIGSTOP)
            job.submit(bulk(number, "hello", Priority.INTERACTIVE))
            job.close_input()
            os.kill(status["pid"], signal.SIGTERM)
            os.kill(status["pid"], signal.SIGCONT)
            (end,) = [event for event in job if isinstance(event, Finished)]
        assert end.error is None and end.usage.completion_tokens == 4
        wait_until(lambda pid=status["pid"]: gone(pid))


def test_requests_to_an_ending_worker_go_to_the_next(backend):
    """Also while the model is being loaded, which `llm ask` waits for."""
    for _ in range(5):
        backend._ensure_channel()
        os.kill(backend.launcher.pid, signal.SIGTERM)
        backend._info = None
        assert backend.info().model == "tiny"
        assert backend.count([bulk(0, "hello")])[0][0] > 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "told"])
def test_a_worker_that_loads_a_large_model_ends_when_it_is_told_to(starting, how):
    """At once, even before anything is loaded: waiting commands go to the next worker, or learn that this one ends."""
    worker_launcher = starting("loading_worker")
    directory = worker_launcher.paths.socket.parent
    backend = WorkerBackend(worker_launcher, EngineOptions(), Interrupt(timeout=60))
    ended, pids = [], set()
    collecting = threading.Thread(target=lambda: ended.extend(run_requests(backend, [bulk(0, "hello")])))
    collecting.start()
    with channel.connect_socket(worker_launcher.paths.socket) as connected:
        body = b'{"messages": [{"role": "user", "content": "hello"}]}'
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connected.sendall(head.encode() + body)
        wait_until(lambda: [s for s in worker_status.list_statuses(directory) if s.get("active", 0) >= 2])
        while collecting.is_alive():
            for status in [s for s in worker_status.list_statuses(directory) if s.get("active")]:
                if how == "told":
                    assert channel.request_json(status["socket"], "POST", "/llm/stop", {})["ends"]
                else:
                    os.kill(status["pid"], signal.SIGTERM)
                wait_until(lambda pid=status["pid"]: gone(pid))
                pids.add(status["pid"])
            time.sleep(0.02)
        assert connected.recv(100).startswith(b"HTTP/1.1 503")
    (end,) = ended
    assert end.error.detail == worker_process.STOP_REQUESTED and len(pids) > 1
    backend.close()


def test_a_full_process_table_is_no_crash(worker_launcher, monkeypatch):
    """The caller learns that there is no worker, and no socket is left."""

    def refuse(*_args, **_how):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(TemporaryFailure, match="Resource temporarily unavailable"):
        worker_launcher.connect()
    assert not worker_launcher.paths.socket.exists()


def test_a_launcher_that_hangs_is_not_waited_for(worker_launcher, monkeypatch):
    """A process was stopped while it held the lock."""
    monkeypatch.setattr(channel, "_WAIT_TIMEOUT_S", 0.05)
    with runtime_dir.WorkerPaths(worker_launcher.paths.socket.parent, worker_launcher.paths.key).hold_lock() as ours:
        assert ours
        with pytest.raises(TemporaryFailure):
            worker_launcher.connect()


def test_a_kill_in_the_middle_of_an_answer(shell):
    """Exit 70, one line with the known facts, and the next command works."""
    child = shell.start_long_answer()
    assert child.stdout.read(1)  # before the first words the answer would begin again
    os.kill(shell.worker()["pid"], signal.SIGKILL)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 70
    first = err.decode().splitlines()[0]
    assert first.startswith("llm: ") and "killed" in first and "Traceback" not in err.decode()
    assert shell(*ASK).code == 0


def test_a_model_that_cannot_be_loaded_is_reported_as_without_a_worker(shell, tmp_path):
    """With the same message and code."""
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(shell.model.read_bytes()[:3000])
    worker, alone = shell(*ASK, "-m", str(bad)), shell(*ASK, "-m", str(bad), "--set", "worker=off")
    assert (worker.code, worker.err) == (alone.code, alone.err)
    assert worker.code == 65


def test_causes_are_read_from_the_log(tmp_path):
    """Of the last worker only: a failed assertion, a signal, a traceback, an order, or nothing at all."""
    log = tmp_path / "log"
    head = "2026-01-01T00:00:00+0000 17 starts: tiny, /m.gguf\n"

    def detail(text, code=None):
        log.write_text(head + "2026-01-01T00:00:00+0000 16 aborts: old\n" + head + text)
        return worker_process.find_crash_reason(log, code).detail

    assert detail("2026-01-01T00:00:00+0000 17 aborts: /src/ggml.c:5: GGML_ASSERT(x) failed\n").startswith("ggml.c:5: ")
    assert (
        detail("Fatal Python error: Segmentation fault\n\nThread 0x0 (most recent call first):\n")
        == "Segmentation fault"
    )
    assert detail(
        "Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'uvicorn'\n"
    ).endswith("'uvicorn'")
    assert "asked to stop" in detail("2026-01-01T00:00:00+0000 17 ends: SIGTERM\n")
    assert "killed" in detail("") and "killed" in detail("", -9)
    assert "signal 4" in detail("", -4)
    assert "killed" in worker_process.find_crash_reason(tmp_path / "none", None).detail


def test_the_cause_belongs_to_the_worker_that_ended(tmp_path):
    """Another one may have started since, or have ended later than it should."""
    log = tmp_path / "x.log"
    words = "2026-01-01T00:00:00+0000"
    log.write_text(
        f"{words} 11 starts: a, b\n{words} 11 ends: SIGTERM\n{words} 12 starts: a, b\n"
        f"{words} 11 ended\nFatal Python error: Aborted\n"
    )
    assert worker_process.find_crash_reason(log, None, 11).detail == worker_process.STOP_REQUESTED
    assert (
        worker_process.find_crash_reason(log, None, 12).detail
        == worker_process.find_crash_reason(log, None).detail
        == "Aborted"
    )
    log.write_text(f"{words} 11 starts: a, b\n{words} 12 starts: a, b\n{words} 11 ended\n")
    assert "killed" in worker_process.find_crash_reason(log, None, 12).detail
    assert "killed" in worker_process.find_crash_reason(log, None, 99).detail  # an unknown worker is the last one


@pytest.mark.real
def test_fifty_kills_at_random_moments(shell):
    """Of clients and of the worker: after each one a command answers."""
    draw = random.Random(5)
    for _ in range(50):
        child = shell.start("ask", "hello", "--no-stdin", "--ctx", "8192", "--max-tokens", "2000")
        time.sleep(draw.uniform(0, 0.6))
        if draw.random() < 0.5:
            child.kill()
        else:
            for status in shell.statuses():
                with suppress(ProcessLookupError):
                    os.kill(status["pid"], signal.SIGKILL)
            child.kill()
        child.communicate()
        done = shell(*ASK)
        assert (done.code, done.err) == (0, ""), done
    assert len(shell.statuses()) == 1
