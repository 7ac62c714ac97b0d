"""The surroundings of the process: three descriptors and the environment, as one object that tests can replace."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

from llmcli.fast_dataclass import field, frozen


@frozen
class Environment:
    """Descriptors and environment of one run. ``closed`` names those of 0, 1, 2 that the caller had closed.

    ``painters``: objects that paint on the terminal; each returns a context in which it stops painting.
    ``key_readers``: objects that keep typed keys from the terminal; each returns a context in which the terminal echoes
    and edits lines.
    ``argv``: the words of the command line.
    """

    stdin: int = 0
    stdout: int = 1
    stderr: int = 2
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    closed_fds: frozenset[int] = frozenset()
    painters: list[Callable[[], AbstractContextManager[None]]] = field(default_factory=list)
    key_readers: list[Callable[[], AbstractContextManager[None]]] = field(default_factory=list)
    argv: tuple[str, ...] = ()

    @contextmanager
    def suspend_painters(self) -> Iterator[None]:
        """Stop painting while the block writes whole lines on the terminal."""
        with ExitStack() as stack:
            for painter in self.painters:
                stack.enter_context(painter())
            yield

    @contextmanager
    def use_keyboard(self) -> Iterator[None]:
        """Leave the terminal to the block, which asks or runs another program: stop painting and reading keys."""
        with ExitStack() as stack:
            for other in (*self.painters, *self.key_readers):
                stack.enter_context(other())
            yield

    def is_terminal(self, fd: int) -> bool:
        """Whether ``fd`` is a terminal."""
        try:
            return os.isatty(fd)
        except OSError:
            return False

    @property
    def erases_lines(self) -> bool:
        """Whether standard error is a terminal that can erase a line."""
        return self.is_terminal(self.stderr) and self.environ.get("TERM") != "dumb"

    def is_foreground(self, fd: int) -> bool:
        """Whether this process is in the foreground of the terminal ``fd``, and no background job of a shell."""
        try:
            return os.tcgetpgrp(fd) == os.getpgrp()
        except OSError:  # not the controlling terminal: no shell uses it
            return True

    def is_file_or_null(self, fd: int) -> bool:
        """Whether ``fd`` is a file or the null device, so that its output reaches no terminal."""
        mode = os.fstat(fd).st_mode
        return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not self.is_terminal(fd))

    def is_file_or_pipe(self, fd: int) -> bool:
        """Whether ``fd`` is a file or a pipe, so that a text is passed in."""
        mode = os.fstat(fd).st_mode
        return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)

    def is_pipe(self, fd: int) -> bool:
        """Whether ``fd`` is a pipe, which another program fills."""
        return stat.S_ISFIFO(os.fstat(fd).st_mode)

    def is_line_mode(self, fd: int) -> bool:
        """Whether the terminal ``fd`` echoes and edits lines, so that no pager or other full-screen program uses it."""
        import termios

        try:
            return bool(termios.tcgetattr(fd)[3] & termios.ICANON)
        except termios.error:
            return True

    def columns(self, fd: int) -> int:
        """Width of the terminal ``fd`` in columns: COLUMNS, else the terminal's own size, else 80."""
        wanted = self.environ.get("COLUMNS", "")
        if wanted.isdecimal() and int(wanted) > 0:
            return int(wanted)
        try:
            return os.get_terminal_size(fd).columns or 80
        except OSError:
            return 80

    def rows(self, fd: int) -> int:
        """Height of the terminal ``fd`` in rows, 24 if unknown."""
        try:
            return os.get_terminal_size(fd).lines or 24
        except OSError:
            return 24

    def write_message(self, text: str) -> None:
        """Write sentences to standard error, wrapped at words on a terminal; ignore errors."""
        if self.is_terminal(self.stderr):
            from llmcli.cli.console import sanitize, wrapping

            columns = self.columns(self.stderr) - 1
            text = "\n".join(wrapping.wrap_long_lines(sanitize.strip_controls(text), columns))
        self.write_stderr(text)

    def write_stderr(self, text: str) -> None:
        """Write lines to standard error, past Python's buffers, on a terminal without control sequences; ignore errors."""
        if 2 in self.closed_fds:  # noqa: PLR2004 (standard error)
            return
        if self.is_terminal(self.stderr):
            from llmcli.cli.console import sanitize

            text = sanitize.strip_controls(text)
        data = (text + "\n").encode("utf-8", "replace")
        with self.suspend_painters(), suppress(OSError):
            while data:
                data = data[os.write(self.stderr, data) :]
