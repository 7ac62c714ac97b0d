"""Finding the worker for a model, and starting it where there is none.

The process that holds the lock binds the socket, begins to listen and hands it to the new process: from then on any
client can connect, and waits in the socket's queue until the worker accepts. So no client polls, and of fifty commands
that start at once forty-nine find a socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmcli import child_processes, private_files
from llmcli.errors import AccessDenied, LlmError, OutputError, TemporaryFailure
from llmcli.frozen_dataclass import frozen
from llmcli.worker import crash_reason
from llmcli.worker.client import channel
from llmcli.worker.client.channel import WorkerGone
from llmcli.worker.runtime_dir import WorkerPaths, list_worker_paths, translate_os_errors

WORKER_BACKLOG = 1024
_WORKER_MODULE = "llmcli.worker"
_WAIT_TIMEOUT_S = 5.0
"""Seconds to wait for another command that is starting a worker, and for a worker that was asked to end."""
_POLL_S = 0.02
_STATUS_TIMEOUT_S = 1.0
"""Seconds for a worker to say how it is."""
_EXIT_TIMEOUT_S = 8.0
"""Seconds for a worker that was asked to end: answers that are running may come to their end."""
INHERITED_LIMITS = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
)
"""Limits (getrlimit(2)) under which a worker cannot serve other commands than the one that started it."""
_MIN_DESCRIPTORS = 256
"""Descriptors that are too few for a worker."""
_MAX_LOG_BYTES = 1 << 20


@frozen
class WorkerConfig:
    """What a worker is started with: its model (``name`` for people, ``model_id`` its hash), and how long it stays.

    ``gpu_layers`` as in ``EngineOptions``; ``idle_timeout`` in seconds; ``log``: the file of its descriptor 2.
    """

    path: str
    name: str
    model_id: str
    gpu_layers: int | None
    idle_timeout: float
    log: str


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
        self._child: subprocess.Popen[bytes] | None = None
        self.spawned = False
        """The last connection was to a worker that this process started."""
        self.pid = 0
        """The process of the last connection; right after a start it may be the process that started the worker."""

    def connect_running(self) -> socket.socket | None:
        """Return a connection to the worker, None where none runs. Raises ``AccessDenied``."""
        self.spawned = False
        try:
            connected = channel.connect_socket(self.paths.socket)
        except WorkerGone:
            return None
        self.pid = channel.peer_credentials(connected)[0]
        return connected

    def connect_or_start(self) -> socket.socket:
        """Return a connection to the worker, started if need be.

        Raises ``TemporaryFailure``, ``OutputError`` and ``AccessDenied`` where none can run; the caller does without.
        """
        with self.paths.hold_lock(_WAIT_TIMEOUT_S) as ours:
            if not ours:
                raise TemporaryFailure(
                    str(self.paths.socket), detail="another command is starting a worker and does not get on"
                )
            found = self.connect_running()
            if found is not None:
                return found
            limit = _find_inherited_limit()
            if limit:
                raise TemporaryFailure("the worker", detail=f"other commands would suffer from the {limit} of this one")
            self._before_start()
            listening = self._bind_socket()
            try:
                self.pid = self._spawn_process(listening)
                self.spawned = True
                return channel.connect_socket(self.paths.socket)
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
                self.paths.socket.chmod(0o600)  # until now only the directory's mode kept other users out
                listening.listen(WORKER_BACKLOG)
        except OutputError:
            listening.close()
            raise
        return listening

    def _spawn_process(self, listening: socket.socket) -> int:
        """Start the process and return its id: in a new session, in /, with the socket as its only inherited descriptor."""
        arguments = (str(listening.fileno()), json.dumps(asdict(self.config)))
        with _open_log(Path(self.config.log)) as log:
            self._child = subprocess.Popen(  # noqa: S603 (our own module)
                child_processes.module_command(_WORKER_MODULE, *arguments),
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
        """Return why the worker that was process ``pid`` ended (default: the last one), as far as log and end tell."""
        pid = self.pid if pid is None else pid
        ours = self._child is not None and self._child.pid == pid
        return crash_reason.find_crash_reason(Path(self.config.log), self.child_exit_code() if ours else None, pid)

    def reap_child(self) -> None:
        """Reap the worker that this process started, if it has ended."""
        if self._child is not None:
            self._child.poll()

    def child_exit_code(self) -> int | None:
        """Return how the worker that this process started ended (as ``Popen.returncode``); None: it runs, or not ours."""
        if self._child is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_POLL_S)  # it has just closed the connection
        return self._child.poll()


def _find_inherited_limit() -> str:
    """Return a limit that a worker would inherit from this process, "" where there is none."""
    words = (
        "limit of address space",
        "limit of CPU time",
        "limit of data",
        "limit of file sizes",
        "limit of open files",
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


def list_statuses(directory: Path) -> list[dict[str, Any]]:
    """Return the status of each running worker; of one that does not answer in time only key, socket and pid.

    A socket without a listener is removed.
    """
    found = []
    for paths in list_worker_paths(directory):
        status: dict[str, Any] = {"key": paths.key, "socket": str(paths.socket)}
        try:
            found.append(channel.request_json(paths.socket, "GET", "/llm/status", timeout=_STATUS_TIMEOUT_S) | status)
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
        ps = ["ps", "-o", "command=", "-p", str(pid)]
        command = subprocess.run(ps, capture_output=True, check=False).stdout  # noqa: S603
    return _WORKER_MODULE.encode() in command


def _listening_pid(paths: WorkerPaths) -> int | None:
    """Return the process that listens on a socket; None where there is none, and then the socket is removed."""
    try:
        with channel.connect_socket(paths.socket, _STATUS_TIMEOUT_S) as connected:
            return channel.peer_credentials(connected)[0]
    except (WorkerGone, LlmError):
        with contextlib.suppress(OSError, LlmError), paths.hold_lock() as ours:
            if ours and not channel.is_listening(paths.socket):
                paths.remove_files()
        return None


def stop_worker(paths: WorkerPaths, *, only_idle: bool = False, check: Callable[[], None] = lambda: None) -> bool:
    """Have a worker end and wait for that; False when it goes on. Raises ``AccessDenied``.

    One that does not answer is killed, unless ``only_idle``. ``check`` raises what ends the wait.
    """
    pid = _listening_pid(paths)
    if pid is None:
        return True
    try:
        answer = channel.request_json(
            paths.socket, "POST", "/llm/stop", {"only_idle": only_idle}, timeout=_WAIT_TIMEOUT_S
        )
    except (WorkerGone, LlmError, OSError):
        if only_idle or not _is_worker_process(pid) or not channel.is_listening(paths.socket):
            return not channel.is_listening(paths.socket)
        check()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    else:
        if not answer["ends"]:
            return False
    return _wait_for_exit(pid, check)


def _wait_for_exit(pid: int, check: Callable[[], None]) -> bool:
    """Wait for the end of a process; False when it outlives what a worker may take."""
    until = time.monotonic() + _EXIT_TIMEOUT_S
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if os.waitpid(pid, os.WNOHANG)[0]:  # it was our own child
                return True
        except ChildProcessError:
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
        ps = ["ps", "-o", "stat=", "-p", str(pid)]
        state = subprocess.run(ps, capture_output=True, check=False).stdout  # noqa: S603
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
