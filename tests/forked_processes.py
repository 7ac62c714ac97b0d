"""Real processes without the time that Python needs to start: a process that has imported everything forks them.

``Popen`` takes the place of ``subprocess.Popen`` in the tests. A command that runs a module of llmcli is then forked by
the fork server, and everything else starts as usual, as does what the server cannot do (``preexec_fn``) and what a
process reads only when it starts (``PYTHON...``, the locale, settings of native libraries). ``real_processes`` in
``conftest.py`` is for tests of the start itself.

The server forks twice, and the process that asks is meanwhile the reaper of orphans (``PR_SET_CHILD_SUBREAPER``). So
what is started is its child, as if it had forked it. A forked ``llm`` that may start a worker has such a server of its
own.

What /proc says of the arguments and the environment of a fork is about the server, and a constant that a module read
when it was imported cannot be changed before: such tests keep real processes, too.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import ctypes
import fcntl
import gc
import marshal
import os
import resource
import runpy
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import fork_server
import pexpect
import ptyprocess

from llmcli.engine.llama import bindings
from llmcli.engine_library import LIBRARY_VARIABLE, RUNTIME_ENV_DEFAULTS, find_library

RealPopen = subprocess.Popen
_PYTHON = sys.executable
"""The interpreter; a test may let another program take its place."""
MODULES = (
    "chat_server",
    "crashing_worker",
    "llmcli",
    "llmcli.worker",
    "llmcli.engine.quantize_child",
    "llmcli.engine.smoke_test",
    "llmcli.engine.tuning.background_tuning",
    "loading_worker",
)
"""The modules that are run by forks; they are words of the server's command, by which llmcli recognises its workers."""
_AT_START = ("GGML_", "GOMP_", "LANG", "LC_", "LD_", "LLAMA_", "MALLOC_", "OMP_", "OPENBLAS_", "PYTHON")
"""Prefixes of the variables that only a new process reads."""
_LIBRARY = find_library(os.environ)
_USUAL = {**RUNTIME_ENV_DEFAULTS, LIBRARY_VARIABLE: _LIBRARY and str(_LIBRARY.directory)}
"""Values of such variables that the server has, too."""
_NOT_BEFORE = ("llmcli.models.hub",)
"""Modules whose libraries read the environment when they are imported."""
_ROOT = Path(__file__).parents[1]
_LONGEST_REQUEST = 100_000
_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
_LIMITS = tuple(getattr(resource, name) for name in sorted(dir(resource)) if name.startswith("RLIMIT_"))


def _read_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(_AT_START) and name != "PYTHONPATH" and _USUAL.get(name) != value
    }


class ForkedProcesses:
    """The processes that a fork server starts for this process; ``process`` is the server, if it is not a fork."""

    def __init__(self, control: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        self._control, self._process = control, process
        self._lock = threading.Lock()
        self._at_start = _read_at_start(os.environ)
        self._path = {str(_ROOT), str(_ROOT / "tests" / "worker"), *sys.path}
        self._libc = ctypes.CDLL(None)
        self._owner = os.getpid()

    def can_run(self, args: Any, environ: Mapping[str, str]) -> bool:
        """Return whether a fork is as good as a new process."""
        if not isinstance(args, list) or os.getpid() != self._owner:
            return False
        option, program = [*(word for word in args[1:4] if word != "-P"), "", ""][:2]
        known = (option == "-c" and isinstance(program, ForkedCode)) or (option == "-m" and program in MODULES)
        return (
            args[:1] == [_PYTHON]
            and known
            and self._path.issuperset(environ.get("PYTHONPATH", "").split(os.pathsep))
            and _read_at_start(environ).items() <= self._at_start.items()
        )

    def start(self, args: list[Any], environ: Mapping[str, str], cwd: Any, fds: dict[int, int], **how: Any) -> int:
        """Start a process and return its id. ``fds``: its descriptors, and those here that they are copies of."""
        request = {
            "args": [os.fsencode(word) for word in args],
            "environ": {os.fsencode(name): os.fsencode(value) for name, value in environ.items()},
            "cwd": os.fsencode(cwd or Path.cwd()),
            "fds": list(fds),
            "ignored": [int(s) for s in _SIGNALS if signal.getsignal(s) is signal.SIG_IGN],
            "limits": [resource.getrlimit(limit) for limit in _LIMITS],
            **how,
        }
        data = marshal.dumps(request)
        rights = array.array("i", fds.values())
        with self._lock:
            self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                self._control.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                pid = int.from_bytes(self._control.recv(8), "big")
                self._control.recv(8)
                return pid
            finally:
                self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def close(self) -> None:
        """End the server."""
        self._control.close()
        if self._process is not None:
            self._process.wait()


class ForkedCode(str):
    """Code of ``python -c`` that a fork may run: it neither looks at what is imported nor changes what is read then."""

    __slots__ = ()


class _ThisProcess:
    server: ForkedProcesses | None = None


def _find_server() -> ForkedProcesses:
    """Return this process's server, started at the first use."""
    if _ThisProcess.server is None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("LLMCLI_", "HF_"))}
        environ |= {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", **RUNTIME_ENV_DEFAULTS}
        if _LIBRARY is not None:  # the one that runs these tests, not that of the user's own directories
            environ[LIBRARY_VARIABLE] = str(_LIBRARY.directory)
        code = "import sys; sys.path[0] = sys.argv[1]; import forked_processes; forked_processes.main()"
        with theirs:
            command = [sys.executable, "-c", code, str(_ROOT / "tests"), str(theirs.fileno()), *MODULES]
            process = RealPopen(command, env=environ, stdin=subprocess.DEVNULL, cwd="/", pass_fds=[theirs.fileno()])
        _ThisProcess.server = ForkedProcesses(ours, process)
    return _ThisProcess.server


def close() -> None:
    """End the server, if one runs."""
    if _ThisProcess.server is not None:
        _ThisProcess.server.close()
        _ThisProcess.server = None


class Popen(RealPopen):
    """A ``subprocess.Popen`` whose process is forked where that makes no difference."""

    def _execute_child(self, *given):
        """Start the process; the arguments are those of CPython 3.11 and later."""
        args, executable, preexec_fn, close_fds, pass_fds, cwd, env, _, _, *rest = given
        shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *more = rest
        restore_signals, gid, gids, uid, umask, start_new_session, process_group = more
        environ = os.environ if env is None else env
        plain = (executable, preexec_fn, gid, gids, uid) == (None,) * 5 and not shell and close_fds
        plain = (
            plain and process_group == -1 and restore_signals and len(str(args)) + len(str(environ)) < _LONGEST_REQUEST
        )
        python = isinstance(args, list) and args[:1] == [_PYTHON]
        if not plain or not python or not _find_server().can_run(args, environ):
            super()._execute_child(*given)
            return
        fds = {fd: fd for fd in pass_fds}
        fds |= {fd: theirs if theirs != -1 else fd for fd, theirs in enumerate((p2cread, c2pwrite, errwrite))}
        how = {"umask": umask if umask >= 0 else _umask(), "session": start_new_session, "terminal": False}
        self.pid = _find_server().start(args, environ, cwd, fds, **how)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


class TerminalProcess(pexpect.spawn):
    """A ``pexpect.spawn`` whose process is forked where that makes no difference."""

    delaybeforesend = None

    def _spawnpty(self, args, **how):
        environ, size = how["env"], how["dimensions"]
        words = [os.fsdecode(word) for word in args]
        if words[1] == "-c":
            words[2] = ForkedCode(words[2])
        if sys.platform != "linux" or not _find_server().can_run(words, environ):
            return super()._spawnpty(args, **how)
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        fds = dict.fromkeys((0, 1, 2), slave)
        pid = _find_server().start(words, environ, how["cwd"], fds, umask=_umask(), session=True, terminal=True)
        os.close(slave)
        process = ptyprocess.PtyProcess(pid, master)
        process.argv, process.env, process.launch_dir = args, environ, how["cwd"]
        return process


def _umask() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)


# ---- in the process that forks ---------------------------------------------------------------------------------------


def main() -> NoReturn:
    """Import everything, fork at each request, and be what was asked for in each fork."""
    bindings._import_low_level_module(_LIBRARY)  # it starts no thread, unlike its initialization
    fork_server.import_all(_NOT_BEFORE)
    control = socket.socket(fileno=int(sys.argv[2]))
    gc.collect()
    gc.freeze()
    _run(*_serve(control))


def _serve(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork at each request, until the other end is closed; each fork returns its request and descriptors.

    Signals wait until a fork is what was asked for. Those of the server itself, which may be in a foreground group,
    wait for ever.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    while True:
        data, fds = fork_server.receive(control, 2 * _LONGEST_REQUEST, 64)
        if not data:
            os._exit(0)
        if between := os.fork():
            for fd in fds:
                os.close(fd)
            os.waitpid(between, 0)  # what it forked is now a child of the process that asks
            control.send(b"ready")
        elif pid := os.fork():
            control.send(pid.to_bytes(8, "big"))
            os._exit(0)
        else:
            control.close()
            return marshal.loads(data), fds


def _run(request: dict[str, Any], fds: list[int]) -> NoReturn:
    """Be a new process: with its descriptors, limits, signals, environment and words."""
    _take_descriptors(request["fds"], fds)
    if request["session"]:
        os.setsid()
    if request["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.umask(request["umask"])
    for signum in _SIGNALS:
        usual = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
        signal.signal(signum, signal.SIG_IGN if signum in request["ignored"] else usual)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    for limit, values in zip(_LIMITS, request["limits"], strict=True):
        if resource.getrlimit(limit) != values:
            resource.setrlimit(limit, values)
    words = [os.fsdecode(word) for word in request["args"][1:]]
    if words[0] == "-P":
        del words[0]
    else:
        sys.path.insert(0, os.fsdecode(request["cwd"]))
    fork_server.become(words[2:], request["cwd"], request["environ"])
    for name, value in RUNTIME_ENV_DEFAULTS.items():
        os.environ.setdefault(name, value)
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    time.tzset()
    if os.environ.get("LLMCLI_WORKER") != "off" and words[1] == "llmcli":
        _fork_own_server(set(request["fds"]))
    code = 1
    try:
        code = _run_program(*words[:2])
    finally:
        os._exit(code)


def _take_descriptors(targets: list[int], fds: list[int]) -> None:
    """Move descriptors to the numbers that they are to have."""
    free = max(targets) + 1
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, max(free, 100)) for fd in fds]
    for fd in fds:
        os.close(fd)
    for fd, target in zip(moved, targets, strict=True):
        os.dup2(fd, target)
        os.close(fd)


def _fork_own_server(used: set[int]) -> None:
    """Fork a server for what this process starts: it keeps nothing of it open, and ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        for fd in used | {ours.detach()}:
            os.close(fd)
        _run(*_serve(theirs))
    theirs.close()
    _ThisProcess.server = ForkedProcesses(ours)
    subprocess.Popen = Popen


def _run_program(option: str, program: str) -> int:
    """Run code or a module as Python would, and return the exit code."""
    code = 0
    try:
        if option == "-c":
            sys.argv[0] = "-c"
            exec(program, {"__name__": "__main__"})
        else:
            warnings.simplefilter("ignore", RuntimeWarning)  # the module has been imported already
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 (Python does so, too)
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return code
