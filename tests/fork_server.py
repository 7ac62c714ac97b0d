"""Programs that begin with all modules imported: a process that imports once and forks itself for each ``llm`` of a script.

An ``llm`` imports for most of the time that it runs, and the examples of the documentation start a thousand. For each
script the process forks a session with a terminal of its own, as ``pexpect.spawn`` makes them. The session forks bash,
and itself again for each ``llm`` that bash runs. That is a small program. It sends its words, descriptors, environment and
directory to the session, and waits for the exit code. So an ``llm`` is in the session and in the process group of its
bash, reads and writes what bash gave it, and begins with the environment that bash gave it.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import importlib
import json
import marshal
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

SOCKET = "FORK_SERVER_SESSION"
"""The variable that names the socket of a session."""
CLIENT = f"""\
#!{sys.executable} -IS
import marshal, posix, sys
import _signal, _socket

session = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
session.connect(posix.environ[b"{SOCKET}"])
request = marshal.dumps((sys.argv[1:], posix.environ, posix.getcwdb()))
fds = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
session.sendmsg([len(request).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)])
session.sendall(request)
pid = int.from_bytes(session.recv(8), "big")
for signum in (_signal.SIGTERM, _signal.SIGHUP):
    _signal.signal(signum, lambda signum, frame: posix.kill(pid, signum))
_signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # the terminal sends it to the whole group
code = session.recv(1)
posix._exit(code[0] if code else 70)
"""
"""The program that bash runs in the place of ``llm``; it imports next to nothing."""
_NOT_BEFORE = (
    "llmcli.engine.",
    "llmcli.models.hub",
    "llmcli.serve",
    "llmcli.worker.server",
    "llmcli.cli.commands.serve",
)
"""Modules that start threads, or that import what reads the environment only once."""
_OTHERS = (
    "jinja2.ext",
    "jinja2.meta",
    "markdown_it",
    "pprint",
    "prompt_toolkit.input.vt100",
    "prompt_toolkit.key_binding.bindings.search",
    "rich.console",
    "rich.table",
    "scripted",
    "sqlite3",
    "typer",
    "uuid",
    "yaml",
)
_LONGEST_REQUEST = 1 << 20


class ForkServer:
    """A process that runs scripts, and forks itself for each ``llm`` in them."""

    def __init__(self, module: str) -> None:
        """Start it; the function ``run`` of ``module`` takes the place of ``llm`` in scripts."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {"LANG": "C.UTF-8", "PATH": os.environ["PATH"]}  # programs get their own
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), module]
            self._process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def run_script(self, words: list[str], directory: Path, environ: dict[str, str], size: tuple[int, int]) -> int:
        """Run a program on a new terminal of ``size`` rows and columns; return the descriptor of its other end.

        ``environ`` names a directory as XDG_RUNTIME_DIR, where the socket of the session is.
        """
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        request = json.dumps([words, str(directory), environ]).encode()
        assert len(request) < _LONGEST_REQUEST
        self._socket.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [slave]))])
        os.close(slave)
        return master

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()


# ---- in the process that forks ---------------------------------------------------------------------------------------


def _serve(control: socket.socket, run: Callable[[list[str]], int]) -> None:
    """Fork a session for each script, until the other end is closed."""
    while True:
        data, fds = receive(control, _LONGEST_REQUEST, 1)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            _begin_session(fds[0])
            _run_script(*json.loads(data), run)
        os.close(fds[0])
        _reap(0)  # earlier sessions


def receive(connection: socket.socket, size: int, max_fds: int) -> tuple[bytes, list[int]]:
    """Return a message and the descriptors that came with it."""
    data, ancillary, _, _ = connection.recvmsg(size, socket.CMSG_LEN(4 * max_fds))
    fds = array.array("i")
    for _, _, rights in ancillary:
        fds.frombytes(rights)
    return data, list(fds)


def _begin_session(terminal: int) -> None:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(terminal, fd)
    os.close(terminal)


def become(words: list[str], directory: str | bytes, environ: Mapping[bytes, bytes]) -> None:
    """Take on the words, directory, environment and descriptors of a program."""
    os.environb.clear()
    os.environb.update(environ)
    os.chdir(directory)
    for name, fd, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        stream = open(fd, mode, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 (to the end)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv[1:] = words


def _run_script(words: list[str], directory: str, environ: dict[str, str], run: Callable[[list[str]], int]) -> NoReturn:
    """Run a program and fork this process for each ``llm`` that it runs, until it ends."""
    path = Path(environ["XDG_RUNTIME_DIR"]) / f"{os.getpid()}.session"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen(64)
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    program = os.fork()
    if program == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.chdir(directory)
        os.execvpe(words[0], words, {**environ, SOCKET: str(path)})
    while True:
        ready, _, _ = select.select([listening, ended], [], [])
        if listening in ready:
            connection, _ = listening.accept()
            if os.fork() == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for fd in (listening.detach(), ended, wake):
                    os.close(fd)
                _replace_client(connection, run)
            connection.close()
        if ended in ready:
            os.read(ended, 4096)
            if _reap(program):
                path.unlink()
                os._exit(0)


def _reap(program: int) -> bool:
    """Return whether a child has ended, and forget all others that have."""
    found = False
    with contextlib.suppress(ChildProcessError):  # no child is left
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            found |= pid == program
    return found


def _replace_client(connection: socket.socket, run: Callable[[list[str]], int]) -> NoReturn:
    """Do what the program at the other end of a connection is to do, and send it the exit code."""
    head, fds = receive(connection, 8, 3)
    size, request = int.from_bytes(head, "big"), b""
    while len(request) < size:
        request += connection.recv(size - len(request))
    connection.sendall(os.getpid().to_bytes(8, "big"))
    for fd, given in enumerate(fds):
        os.dup2(given, fd)
        os.close(given)
    words, environ, directory = marshal.loads(request)
    become(words, directory, environ)
    code = 70
    try:
        code = run(words)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with contextlib.suppress(BrokenPipeError):  # what waited for the code was killed
            connection.sendall(bytes([code]))
        os._exit(code)


def import_all(exceptions: tuple[str, ...]) -> None:
    """Import what an ``llm`` imports, except for modules whose names begin so."""
    import llmcli

    for name in _OTHERS:
        importlib.import_module(name)
    for found in pkgutil.walk_packages(llmcli.__path__, "llmcli."):
        if not found.name.startswith(exceptions) and not found.name.endswith("__main__"):
            importlib.import_module(found.name)


if __name__ == "__main__":
    ROOT = Path(__file__).parents[1]
    sys.path[:1] = [str(ROOT), str(ROOT / "tests")]
    llm = importlib.import_module(sys.argv[2])
    import_all(_NOT_BEFORE)
    gc.collect()
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])), llm.run)
