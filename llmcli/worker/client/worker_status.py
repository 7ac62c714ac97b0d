"""Running workers: their status, and ending them at the user's request or because another model needs their memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmcli.errors import AccessDenied, LlmError
from llmcli.worker.client.channel import WorkerGone, connect_socket, is_listening, request_json
from llmcli.worker.runtime_dir import WORKER_MODULE, WorkerPaths, list_worker_paths, peer_credentials

_STATUS_TIMEOUT_S = 1.0
"""Seconds to wait for a worker's status."""


def list_statuses(directory: Path) -> list[dict[str, Any]]:
    """Return the status of each running worker; of one that does not answer in time only key, socket and pid.

    A socket without a listener is removed.
    """
    found = []
    for paths in list_worker_paths(directory):
        status: dict[str, Any] = {"key": paths.key, "socket": str(paths.socket)}
        try:
            found.append(request_json(paths.socket, "GET", "/llm/status", timeout=_STATUS_TIMEOUT_S) | status)
        except (WorkerGone, LlmError, OSError):
            pid = _listening_pid(paths)
            if pid is not None and _is_worker_process(pid):
                found.append(status | {"pid": pid})
    return found


def has_answered(status: Mapping[str, Any]) -> bool:
    """Return whether a worker listed by ``list_statuses`` has answered."""
    return "model" in status


def _is_worker_process(pid: int) -> bool:
    """Return whether a process is a worker, and not another program that listens on its socket."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # no Linux
        command = _run_ps(pid, "command")
    return WORKER_MODULE.encode() in command


def _run_ps(pid: int, field: str) -> bytes:
    ps = ["ps", "-o", f"{field}=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, check=False).stdout  # noqa: S603 (ps and a number)


def _listening_pid(paths: WorkerPaths) -> int | None:
    """Return the process that listens on a socket; None if there is none, and then the socket is removed."""
    try:
        with connect_socket(paths.socket, _STATUS_TIMEOUT_S) as connected:
            return peer_credentials(connected)[0]
    except (WorkerGone, LlmError):
        with contextlib.suppress(OSError, LlmError), paths.hold_lock() as ours:
            if ours and not is_listening(paths.socket):
                paths.remove_files()
        return None


_REPLY_TIMEOUT_S = 5.0
"""Seconds to wait for a worker's answer to a stop request."""
_EXIT_TIMEOUT_S = 8.0
"""Seconds that a worker has to end, so that running answers can finish."""
_POLL_S = 0.02


def stop_worker(paths: WorkerPaths, *, only_idle: bool = False, check: Callable[[], None] = lambda: None) -> bool:
    """Stop a worker and wait; return False if it keeps running. Raises ``AccessDenied``.

    A worker that does not answer is killed, unless ``only_idle``. ``check`` raises to end the wait.
    """
    pid = _listening_pid(paths)
    if pid is None:
        return True
    try:
        answer = request_json(paths.socket, "POST", "/llm/stop", {"only_idle": only_idle}, timeout=_REPLY_TIMEOUT_S)
    except (WorkerGone, LlmError, OSError):
        if only_idle or not _is_worker_process(pid) or not is_listening(paths.socket):
            return not is_listening(paths.socket)
        check()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    else:
        if not answer["ends"]:
            return False
    return _wait_for_exit(pid, check)


def _wait_for_exit(pid: int, check: Callable[[], None]) -> bool:
    """Wait for a process to end; return False on time-out."""
    until = time.monotonic() + _EXIT_TIMEOUT_S
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if os.waitpid(pid, os.WNOHANG)[0]:  # it was our own child
                return True
        except ChildProcessError:  # another process started it, so the signal alone tells
            pass
        except ProcessLookupError:
            return True
        if _is_zombie(pid):
            return True
        check()
        time.sleep(_POLL_S)
    return False


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended but was not reaped (state Z of proc(5) and ps(1))."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
    except OSError:  # no Linux
        state = _run_ps(pid, "stat")
    return state.strip().startswith(b"Z")


def stop_idle_workers(directory: Path, lacks: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Ask idle workers to end, the least recently used first, while ``lacks`` returns True for those left.

    Returns the statuses of the workers that are left.
    """
    running = sorted(filter(has_answered, list_statuses(directory)), key=lambda status: -status["idle_seconds"])
    for status in list(running):
        if not lacks(running):
            break
        with contextlib.suppress(AccessDenied):
            if stop_worker(WorkerPaths(directory, status["key"]), only_idle=True):
                running.remove(status)
    return running
