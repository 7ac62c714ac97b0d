"""Finding the worker for a model, and starting it if none runs.

The process that holds the lock binds the socket, begins to listen and hands it to the new process: from then on any
client can connect, and waits in the socket's queue until the worker accepts. So no client polls, and if fifty commands
start at once, forty-nine find a socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli import child_processes
from llmcli.errors import LlmError, OutputError, TemporaryFailure, WorkerCrashed
from llmcli.fast_dataclass import asdict
from llmcli.files import private_files
from llmcli.worker.client.channel import WorkerGone, connect_socket
from llmcli.worker.runtime_dir import (
    INHERITED_LIMITS,
    WORKER_BACKLOG,
    WORKER_MODULE,
    WorkerConfig,
    WorkerPaths,
    peer_credentials,
    translate_os_errors,
)

if TYPE_CHECKING:
    import subprocess  # most commands find a worker, and it takes 2 ms to import

_WAIT_TIMEOUT_S = 5.0
"""Seconds to wait for another command that is starting a worker."""
_POLL_S = 0.02
_MIN_DESCRIPTORS = 256
"""A worker needs at least so many descriptors."""
_MAX_LOG_BYTES = 1 << 20


class WorkerLauncher:
    """Connects to the worker at ``paths``, which ``config`` describes; ``environ`` is this process's environment.

    ``before_start`` is called before a new worker is started: to free memory for it, or to refuse it.
    """

    def __init__(
        self,
        paths: WorkerPaths,
        config: WorkerConfig,
        environ: Mapping[str, str],
        before_start: Callable[[], None] = lambda: None,
    ) -> None:
        self.paths = paths
        self._before_start = before_start
        self.config = config
        self._environ = environ
        self.draft: Path | None = None
        """The file of the model that drafts for the worker's model."""
        self.served_name = config.name
        """The name of the model for clients of ``llm serve``."""
        self._child: subprocess.Popen[bytes] | None = None
        self.spawned = False
        """Whether the last connection was to a worker that this process started."""
        self.pid = 0
        """The process id of the last connection's peer; right after a start it may be that of the starting process."""

    def connect_running(self) -> socket.socket | None:
        """Return a connection to the worker, None if none runs. Raises ``AccessDenied``."""
        self.spawned = False
        try:
            connected = connect_socket(self.paths.socket)
        except WorkerGone:
            return None
        self.pid = peer_credentials(connected)[0]
        return connected

    def connect_or_start(self) -> socket.socket:
        """Return a connection to the worker, started if need be.

        Raises ``TemporaryFailure``, ``OutputError`` and ``AccessDenied`` if none can run; the caller then does without.
        """
        with self.paths.hold_lock(_WAIT_TIMEOUT_S) as ours:
            if not ours:
                raise TemporaryFailure(
                    str(self.paths.socket), detail="another command is starting a worker and makes no progress"
                )
            found = self.connect_running()
            if found is not None:
                return found
            limit = _find_inherited_limit()
            if limit:
                raise TemporaryFailure(
                    "the worker", detail=f"it would inherit the {limit} of this command, and so would other commands"
                )
            self._before_start()
            listening = self._bind_socket()
            try:
                self.pid = self._spawn_process(listening)
                self.spawned = True
                return connect_socket(self.paths.socket)
            except (OSError, WorkerGone) as error:
                self.paths.socket.unlink(missing_ok=True)
                reason = (isinstance(error, OSError) and error.strerror) or str(error)
                raise TemporaryFailure("the worker", detail=f"it cannot be started: {reason}") from error
            finally:
                listening.close()

    def _bind_socket(self) -> socket.socket:
        """Return a new listening socket; a stale one is replaced."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with translate_os_errors(self.paths.socket):
                self.paths.socket.unlink(missing_ok=True)
                listening.bind(str(self.paths.socket))
                self.paths.socket.chmod(0o600)  # before this, only the directory's mode keeps other users out
                listening.listen(WORKER_BACKLOG)
        except OutputError:
            listening.close()
            raise
        return listening

    def _spawn_process(self, listening: socket.socket) -> int:
        """Start the process and return its id: in a new session, in /, with the socket as its only inherited descriptor."""
        import subprocess

        arguments = (str(listening.fileno()), json.dumps(asdict(self.config)))
        with _open_log(Path(self.config.log)) as log:
            self._child = subprocess.Popen(  # noqa: S603 (our own module)
                child_processes.module_command(WORKER_MODULE, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env=child_processes.child_env(self._environ),
                pass_fds=(listening.fileno(),),
                start_new_session=True,
                umask=0o077,
            )
        return self._child.pid

    def connect(self) -> socket.socket:
        """Return a connection to the worker, found or started. Raises as ``connect_or_start``."""
        return self.connect_running() or self.connect_or_start()

    def find_crash_reason(self, pid: int | None = None) -> LlmError:
        """Return why the worker with process id ``pid`` ended (default: the last one), from its log and exit code."""
        pid = self.pid if pid is None else pid
        ours = self._child is not None and self._child.pid == pid
        return find_crash_reason(Path(self.config.log), self.child_exit_code() if ours else None, pid)

    def reap_child(self) -> None:
        """Reap the worker that this process started, if it has ended."""
        if self._child is not None:
            self._child.poll()

    def child_exit_code(self) -> int | None:
        """Return the exit code (``Popen.returncode``) of the worker that this process started; None if none has ended."""
        if self._child is None:
            return None
        import subprocess

        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_POLL_S)  # it has just closed the connection
        return self._child.poll()


def _find_inherited_limit() -> str:
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
