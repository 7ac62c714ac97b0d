"""The process of a worker: starting it, and why one ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmcli import child_processes
from llmcli.errors import LlmError, OutputError, WorkerCrashed
from llmcli.fast_dataclass import asdict
from llmcli.files import private_files
from llmcli.worker.runtime_dir import (
    INHERITED_LIMITS,
    WORKER_BACKLOG,
    WORKER_MODULE,
    WorkerConfig,
    translate_os_errors,
)

_MIN_DESCRIPTORS = 256
"""A worker needs at least so many descriptors."""
_MAX_LOG_BYTES = 1 << 20


def bind_socket(path: Path) -> socket.socket:
    """Return a new listening socket; a stale one is replaced. Raises ``OutputError``."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with translate_os_errors(path):
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            path.chmod(0o600)  # before this, only the directory's mode keeps other users out
            listening.listen(WORKER_BACKLOG)
    except OutputError:
        listening.close()
        raise
    return listening


def spawn_process(
    config: WorkerConfig, listening: socket.socket, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a worker: in a new session, in /, with the socket as its only inherited descriptor."""
    arguments = (str(listening.fileno()), json.dumps(asdict(config)))
    with _open_log(Path(config.log)) as log:
        return subprocess.Popen(  # noqa: S603 (our own module)
            child_processes.module_command(WORKER_MODULE, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd="/",
            env=child_processes.child_env(environ),
            pass_fds=(listening.fileno(),),
            start_new_session=True,
            umask=0o077,
        )


def find_inherited_limit() -> str:
    """Return a limit that a worker would inherit from this process, or ""."""
    words = (
        "limit on address space",
        "limit on CPU time",
        "limit on data size",
        "limit on file size",
        "limit on open files",
    )
    for limit, what in zip(INHERITED_LIMITS, words, strict=True):
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY and (limit != resource.RLIMIT_NOFILE or hard < _MIN_DESCRIPTORS):
            return what
    return ""


@contextlib.contextmanager
def _open_log(path: Path) -> Iterator[int]:
    """Open a log for a new process: private, appended to, and rotated when it is long."""
    with translate_os_errors(path):
        private_files.make_directory(path.parent)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _MAX_LOG_BYTES:
                path.replace(path.with_suffix(".old.log"))
        descriptor = private_files.open_file(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


_WORKER_SUBJECT = "the worker"
STOP_REQUESTED = "it was asked to stop"
_MAX_TAIL_BYTES = 1 << 16
_START_LINE = r"(?m)^\S+ (\d+) starts: "
_ABORT_LINE = r"(?m)^\S+ \d+ aborts: (.*)$"
_FATAL_ERROR_LINE = r"(?m)^Fatal Python error: (.*)$"  # written by faulthandler
_WORKER_LINE = r"\d{4}-\d\d-\d\dT\S+ (\d+) "
_END_LINE = r"(?m)^\S+ \d+ (ends: .*|ended)$"


def find_crash_reason(log: Path, code: int | None, pid: int | None = None) -> LlmError:
    """Return the error for a worker that ended; ``code`` is its ``Popen.returncode`` if it was our child.

    It is the last failed assertion of llama.cpp, the fatal signal, or the last line of a traceback since the worker
    started; a killed worker leaves none of these. ``pid``: its process; if the log does not mention it, the last worker
    that started.
    """
    text = _read_worker_log(pid, log)
    for pattern in (_ABORT_LINE, _FATAL_ERROR_LINE):
        found = re.findall(pattern, text)
        if found:
            return WorkerCrashed(_WORKER_SUBJECT, detail=found[-1].rpartition("/")[2])
    if re.search(_END_LINE, text):
        return WorkerCrashed(_WORKER_SUBJECT, detail=STOP_REQUESTED)
    lines = [
        line
        for line in text.splitlines()
        if line.strip() and not line.startswith(" ") and not re.match(_WORKER_LINE, line)
    ]
    if lines:
        return WorkerCrashed(_WORKER_SUBJECT, detail=lines[-1])
    if code is not None and code < 0 and code != -signal.SIGKILL:
        return WorkerCrashed(_WORKER_SUBJECT, detail=f"ended by signal {-code} ({signal.strsignal(-code)})")
    if code is None:
        return WorkerCrashed(
            _WORKER_SUBJECT, detail="it logged no reason: it was killed, perhaps for lack of memory, or it crashed"
        )
    return WorkerCrashed(_WORKER_SUBJECT, detail="it was killed, by a user or by the system for lack of memory")


def _read_worker_log(pid: int | None, log: Path) -> str:
    """Return one worker's part of the log, from its start on; "" if there is no log.

    Our lines carry a process id; lines of libraries count as this worker's until the next one starts.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _MAX_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    starts = list(re.finditer(_START_LINE, text))
    if not starts:
        return text
    start = next((each for each in reversed(starts) if int(each[1]) == pid), starts[-1])
    words, owner = [], start[1]
    for line in text[start.start() :].splitlines(keepends=True):
        started, ours = re.match(_START_LINE, line), re.match(_WORKER_LINE, line)
        owner = started[1] if started else owner
        if (ours[1] if ours else owner) == start[1]:
            words.append(line)
    return "".join(words)
