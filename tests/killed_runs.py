"""Runs of ``main`` in forked processes that kill themselves in the middle of writing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from scripted import ScriptedAnswer, ScriptedBackend

from llmcli.cli import main
from llmcli.cli.console.environment import Environment
from llmcli.runtime import backend_factory
from llmcli.types import Request

FILE_CALLS = {
    os: ("write", "fsync", "open", "ftruncate", "close", "replace", "rename", "unlink", "link"),
    Path: ("replace", "unlink"),
}
"""The calls that change files, by what they are attributes of."""


class KilledRuns:
    """Runs ``main`` with a model and a scripted backend; messages are appended to the file ``messages``."""

    def __init__(self, answer: Callable[[Request], ScriptedAnswer], model: Path, messages: Path) -> None:
        self._answer = answer
        self._model = model
        self._messages = messages

    def __call__(self, *argv: str, kill_at: int = 0, prepare: Callable[[], None] = lambda: None) -> int:
        """Return the exit code, negative for the signal.

        The process kills itself before its ``kill_at``-th call that changes a file (0: never). ``prepare`` is called in
        it first.
        """
        pid = os.fork()
        if not pid:
            self._run(argv, kill_at, prepare)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def said(self) -> str:
        """Return the messages of all runs."""
        return self._messages.read_text()

    def _run(self, argv: tuple[str, ...], kill_at: int, prepare: Callable[[], None]) -> NoReturn:
        try:
            prepare()
            _kill_before_call(kill_at)
            backend_factory.open_local_backend = lambda *_, interrupt, **__: ScriptedBackend(
                self._answer, interrupt=interrupt
            )
            fd = os.open(self._messages, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            environ = {**os.environ, "LLMCLI_MODEL": str(self._model)}
            os._exit(main.main(list(argv), Environment(os.open(os.devnull, os.O_RDONLY), fd, fd, environ)))
        finally:
            os._exit(99)


def _kill_before_call(kill_at: int) -> None:
    """Let this process kill itself before its ``kill_at``-th call of ``FILE_CALLS`` from now on."""
    calls = 0

    def counted(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for owner, names in FILE_CALLS.items():
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))
