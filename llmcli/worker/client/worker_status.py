"""Which workers run, and their status."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcli.errors import LlmError
from llmcli.worker.client.worker_socket import WorkerGone, connect_socket, is_listening, request_json
from llmcli.worker.peer_credentials import peer_credentials
from llmcli.worker.runtime_dir import WorkerPaths, list_worker_paths
from llmcli.worker.worker_config import WORKER_MODULE

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
            pid = listening_pid(paths)
            if pid is not None and is_worker_process(pid):
                found.append(status | {"pid": pid})
    return found


def has_answered(status: Mapping[str, Any]) -> bool:
    """Return whether a worker listed by ``list_statuses`` has answered."""
    return "model" in status


def is_worker_process(pid: int) -> bool:
    """Return whether a process is a worker, and not another program that listens on its socket."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # no Linux
        ps = ["ps", "-o", "command=", "-p", str(pid)]
        command = subprocess.run(ps, capture_output=True, check=False).stdout  # noqa: S603
    return WORKER_MODULE.encode() in command


def listening_pid(paths: WorkerPaths) -> int | None:
    """Return the process that listens on a socket; None if there is none, and then the socket is removed."""
    try:
        with connect_socket(paths.socket, _STATUS_TIMEOUT_S) as connected:
            return peer_credentials(connected)[0]
    except (WorkerGone, LlmError):
        with contextlib.suppress(OSError, LlmError), paths.hold_lock() as ours:
            if ours and not is_listening(paths.socket):
                paths.remove_files()
        return None
