"""Finding the worker for a model, and starting it where there is none.

Whoever holds the lock binds the socket, begins to listen and hands it to the new process: from then on everybody can
connect, and waits in the queue of the socket until the worker accepts. So nobody polls, and of fifty commands that come
at once forty-nine find a socket.
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

from llmcli import private_files, processes
from llmcli.errors import AccessDenied, LlmError, OutputError, TryAgain
from llmcli.values import frozen
from llmcli.worker import client, crash
from llmcli.worker.client import Gone
from llmcli.worker.place import Place, places, writing

BACKLOG = 1024
_MODULE = "llmcli.worker"
_PATIENCE = 5.0
"""Seconds to wait for whoever is starting a worker, and for one that was asked to end."""
_LOOK = 0.02
_ANSWER = 1.0
"""Seconds for a worker to say how it is."""
_GRACE = 8.0
"""Seconds for a worker that was asked to end: answers that are running may come to their end."""
INHERITED = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
)
"""Limits (getrlimit(2)) under which a worker cannot serve other commands than the one that started it."""
_FEW = 256
"""Descriptors that are too few for a worker."""
_LOG_BYTES = 1 << 20


@frozen
class Plan:
    """What a worker is started with: its model (``name`` for people, ``model_id`` its hash), and how long it stays.

    ``gpu_layers`` as in ``EngineOptions``; ``idle_timeout`` in seconds; ``log``: the file of its descriptor 2.
    """

    path: str
    name: str
    model_id: str
    gpu_layers: int | None
    idle_timeout: float
    log: str


class Starter:
    """Connects to the worker in ``place``, which ``plan`` describes; ``environ`` is this process's environment.

    ``before`` is called before a new one is started: to make room for it, or to refuse it.
    """

    def __init__(
        self, place: Place, plan: Plan, environ: Mapping[str, str], before: Callable[[], None] = lambda: None
    ) -> None:
        self.place = place
        self._before = before
        self.plan = plan
        self._environ = environ
        self._child: subprocess.Popen[bytes] | None = None
        self.started = False
        """The last connection was to a worker that this process started."""
        self.pid = 0
        """The process that the last connection was to; of one that has just been started it may be who did that."""

    def find(self) -> socket.socket | None:
        """Return a connection to the worker, None where none runs. Raises ``AccessDenied``."""
        self.started = False
        try:
            connected = client.connect(self.place.socket)
        except Gone:
            return None
        self.pid = client.peer(connected)[0]
        return connected

    def start(self) -> socket.socket:
        """Return a connection to the worker, started if need be.

        Raises ``TryAgain``, ``OutputError`` and ``AccessDenied`` where there can be none: the caller does without.
        """
        with self.place.lock(_PATIENCE) as ours:
            if not ours:
                raise TryAgain(
                    str(self.place.socket), detail="another command is starting a worker and does not get on"
                )
            found = self.find()
            if found is not None:
                return found
            limit = _limit()
            if limit:
                raise TryAgain("the worker", detail=f"other commands would suffer from the {limit} of this one")
            self._before()
            listening = self._listen()
            try:
                self.pid = self._spawn(listening)
                self.started = True
                return client.connect(self.place.socket)
            except (OSError, Gone) as error:
                self.place.socket.unlink(missing_ok=True)
                reason = (isinstance(error, OSError) and error.strerror) or str(error)
                raise TryAgain("the worker", detail=f"it cannot be started: {reason}") from error
            finally:
                listening.close()

    def _listen(self) -> socket.socket:
        """Return a new listening socket in the place of a stale one."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with writing(self.place.socket):
                self.place.socket.unlink(missing_ok=True)
                listening.bind(str(self.place.socket))
                self.place.socket.chmod(0o600)  # until now the directory's mode alone kept others out
                listening.listen(BACKLOG)
        except OutputError:
            listening.close()
            raise
        return listening

    def _spawn(self, listening: socket.socket) -> int:
        """Start the process and return its id: a session of its own, / as its directory, and of our descriptors only the socket."""
        arguments = (str(listening.fileno()), json.dumps(asdict(self.plan)))
        with _log(Path(self.plan.log)) as log:
            self._child = subprocess.Popen(  # noqa: S603 (our own module)
                processes.command(_MODULE, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env=processes.environment(self._environ),
                pass_fds=(listening.fileno(),),
                start_new_session=True,
                umask=0o077,
            )
        return self._child.pid

    def connect(self) -> socket.socket:
        """Return a connection to the worker, found or started. Raises as ``start``."""
        return self.find() or self.start()

    def cause(self, pid: int | None = None) -> LlmError:
        """Return why the worker that was process ``pid`` ended (default: the last one), as far as log and end tell."""
        pid = self.pid if pid is None else pid
        ours = self._child is not None and self._child.pid == pid
        return crash.cause(Path(self.plan.log), self.ended() if ours else None, pid)

    def reap(self) -> None:
        """Bury the worker that this process started, if it has ended."""
        if self._child is not None:
            self._child.poll()

    def ended(self) -> int | None:
        """Return how the worker that this process started ended (as ``Popen.returncode``); None: it runs, or not ours."""
        if self._child is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_LOOK)  # it has just closed the connection
        return self._child.poll()


def _limit() -> str:
    """Return a limit of this process that a worker would be under for good, "" where there is none."""
    words = (
        "limit of address space",
        "limit of CPU time",
        "limit of data",
        "limit of file sizes",
        "limit of open files",
    )
    for limit, what in zip(INHERITED, words, strict=True):
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY and (limit != resource.RLIMIT_NOFILE or hard < _FEW):
            return what
    return ""


@contextlib.contextmanager
def _log(path: Path) -> Iterator[int]:
    """Open a log for a new process: for this user only, appended to, and put aside when it is long."""
    with writing(path):
        private_files.make_directory(path.parent)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _LOG_BYTES:
                path.replace(path.with_suffix(".old.log"))
        descriptor = private_files.open_file(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def statuses(directory: Path) -> list[dict[str, Any]]:
    """Return what the workers that run say of themselves; of one that does not answer in time only key, socket and pid.

    A socket on which nobody listens any more is removed.
    """
    found = []
    for place in places(directory):
        status: dict[str, Any] = {"key": place.key, "socket": str(place.socket)}
        try:
            found.append(client.ask(place.socket, "GET", "/llm/status", timeout=_ANSWER) | status)
        except (Gone, LlmError, OSError):
            pid = _listener(place)
            if pid is not None and _is_worker(pid):
                found.append(status | {"pid": pid})
    return found


def answers(status: Mapping[str, Any]) -> bool:
    """Return whether a worker of which ``statuses`` told has answered."""
    return "model" in status


def _is_worker(pid: int) -> bool:
    """Return whether a process is a worker, and no other that listens in its place."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # no Linux
        ps = ["ps", "-o", "command=", "-p", str(pid)]
        command = subprocess.run(ps, capture_output=True, check=False).stdout  # noqa: S603
    return _MODULE.encode() in command


def _listener(place: Place) -> int | None:
    """Return the process that listens on a socket; None where nobody does, and then the socket is removed."""
    try:
        with client.connect(place.socket, _ANSWER) as connected:
            return client.peer(connected)[0]
    except (Gone, LlmError):
        with contextlib.suppress(OSError, LlmError), place.lock() as ours:
            if ours and not client.listens(place.socket):
                place.remove()
        return None


def stop(place: Place, *, only_idle: bool = False, check: Callable[[], None] = lambda: None) -> bool:
    """Have a worker end and wait for that; False when it goes on. Raises ``AccessDenied``.

    One that does not answer is killed, unless ``only_idle``. ``check`` raises what ends the wait.
    """
    pid = _listener(place)
    if pid is None:
        return True
    try:
        answer = client.ask(place.socket, "POST", "/llm/stop", {"only_idle": only_idle}, timeout=_PATIENCE)
    except (Gone, LlmError, OSError):
        if only_idle or not _is_worker(pid) or not client.listens(place.socket):
            return not client.listens(place.socket)
        check()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    else:
        if not answer["ends"]:
            return False
    return _ended(pid, check)


def _ended(pid: int, check: Callable[[], None]) -> bool:
    """Wait for the end of a process; False when it outlives what a worker may take."""
    until = time.monotonic() + _GRACE
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if os.waitpid(pid, os.WNOHANG)[0]:  # it was our own child
                return True
        except ChildProcessError:
            pass
        except ProcessLookupError:
            return True
        if _is_dead(pid):
            return True
        check()
        time.sleep(_LOOK)
    return False


def _is_dead(pid: int) -> bool:
    """Return whether a process has ended without its parent's taking note (state Z of proc(5) and ps(1))."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
    except OSError:  # no Linux
        ps = ["ps", "-o", "stat=", "-p", str(pid)]
        state = subprocess.run(ps, capture_output=True, check=False).stdout  # noqa: S603
    return state.strip().startswith(b"Z")


def make_room(directory: Path, lacks: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Ask idle workers to end, the one first that was used least lately, while ``lacks`` says so of those left.

    Returns what is left: the workers' own words about themselves.
    """
    running = sorted(filter(answers, statuses(directory)), key=lambda status: -status["idle_seconds"])
    for status in list(running):
        if not lacks(running):
            break
        with contextlib.suppress(AccessDenied):
            if stop(Place(directory, status["key"]), only_idle=True):
                running.remove(status)
    return running
