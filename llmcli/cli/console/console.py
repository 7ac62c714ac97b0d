"""The terminal of one command: its streams, messages, progress and tables, as text or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmcli.cli.console.environment import Environment
from llmcli.errors import MissingError, UsageError
from llmcli.interrupt import Interrupt

if TYPE_CHECKING:
    from llmcli.cli.console.descriptor_writer import DescriptorWriter
    from llmcli.cli.console.status_line import StatusLine
    from llmcli.files.atomic_file import OutputFile
    from llmcli.types import Phase, Progress


class Console:
    """Writes to stdout and stderr according to ``--json``, ``-q`` and ``-v``."""

    def __init__(
        self,
        environment: Environment,
        interrupt: Interrupt,
        *,
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        self.environment = environment
        self.interrupt = interrupt
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self._already_explained: set[str] = set()
        self._reads_stdin = False

    @cached_property
    def status_line(self) -> StatusLine | HiddenStatusLine:
        """The status line, which shows waits on the terminal."""
        if self.quiet or not self.environment.erases_lines:
            return HiddenStatusLine()
        from llmcli.cli.console.status_line import StatusLine

        return StatusLine(self.environment, self.interrupt, quiet=self.quiet)

    # ---- who reads ------------------------------------------------------------------------------------------------

    @property
    def stdin_is_terminal(self) -> bool:
        """Whether standard input is a terminal."""
        return self.environment.is_terminal(self.environment.stdin)

    @property
    def has_piped_input(self) -> bool:
        """Whether standard input is open, and no terminal."""
        return 0 not in self.environment.closed_fds and not self.stdin_is_terminal

    def claim_stdin(self) -> int:
        """Return the descriptor of standard input, to read it to its end.

        Raises ``UsageError`` for a second reader, and ``MissingError`` if the caller has closed it.
        """
        from llmcli.cli.console.descriptor_writer import CLOSED_DETAIL

        if 0 in self.environment.closed_fds:
            raise MissingError("-", kind="input", detail=CLOSED_DETAIL)
        if self._reads_stdin:
            raise UsageError("standard input can be read only once", detail="Name a file for one of the two.")
        self._reads_stdin = True
        return self.environment.stdin

    @property
    def stdout_is_terminal(self) -> bool:
        """Whether standard output is a terminal."""
        return self.environment.is_terminal(self.environment.stdout)

    @property
    def stderr_is_terminal(self) -> bool:
        """Whether standard error is a terminal."""
        return self.environment.is_terminal(self.environment.stderr)

    @property
    def columns(self) -> int:
        """Width of standard output in columns."""
        return self.environment.columns(self.environment.stdout)

    @property
    def writes_for_people(self) -> bool:
        """Whether standard output is for people rather than programs: a terminal, without ``--json``."""
        return self.stdout_is_terminal and not self.as_json

    @property
    def shows_notes(self) -> bool:
        """Whether notes are shown: on a terminal unless ``-q``, elsewhere with ``-v``."""
        return self.verbose or (self.stderr_is_terminal and not self.quiet)

    # ---- messages -------------------------------------------------------------------------------------------------

    def write_stderr(self, text: str) -> None:
        """Write lines to stderr, on a terminal without control sequences; ignore errors."""
        self.environment.write_stderr(text)

    def write_message(self, text: str) -> None:
        """Write sentences to stderr, wrapped at words on a terminal; with ``--json`` an object in one line."""
        write = self.environment.write_stderr if self.as_json else self.environment.write_message
        write(text)

    def write_error(self, error: Exception, *, name: str = "", next_step: str = "") -> None:
        """Write an error to stderr; ``name`` and ``next_step`` as in ``error_messages.write_error``."""
        from llmcli.cli.console import error_messages

        error_messages.write_error(error, self.environment, as_json=self.as_json, name=name, next_step=next_step)

    def warn(self, text: str) -> None:
        """Warn on stderr of what concerns more than this command, unless ``-q``: a line, with ``--json`` an object."""
        if not self.quiet:
            self._write_prefixed("warning", text, "llm: warning: ")

    def explain(self, text: str) -> None:
        """Explain a choice on stderr, with ``-v``: a line, with ``--json`` an object."""
        if self.verbose:
            self.write_explanation(text)

    def explain_once(self, texts: Iterable[str]) -> None:
        """Explain those of ``texts`` that were not explained before; a chat calls this often."""
        for text in texts:
            if text not in self._already_explained:
                self._already_explained.add(text)
                self.explain(text)

    def write_explanation(self, text: str) -> None:
        """Write an explanation to stderr: a line, with ``--json`` an object."""
        self._write_prefixed("explanation", text, "llm: ")

    def write_notice(self, text: str) -> None:
        """Write a line to stderr that is no warning about a result; with ``--json`` an object."""
        from llmcli.cli.console import sanitize

        self._write_prefixed("warning", sanitize.single_line(text), "llm: ")

    def write_note(self, text: str) -> None:
        """Write a note to stderr, if notes are shown."""
        from llmcli.cli.console import sanitize

        if self.shows_notes:
            self.write_message(f"llm: {sanitize.single_line(text)}")

    def write_outcome(self, text: str) -> None:
        """Write a line about the outcome that the command was run for to stderr, also off a terminal, unless ``-q``."""
        if not self.quiet:
            self._write_prefixed("note", text, "llm: ")

    def _write_prefixed(self, kind: str, text: str, prefix: str) -> None:
        import json

        from llmcli.cli.console import sanitize

        self.write_message(json.dumps({kind: text}) if self.as_json else f"{prefix}{sanitize.single_line(text)}")

    # ---- standard output ------------------------------------------------------------------------------------------

    @contextmanager
    def open_writer(self, fd: int, name: str = "standard output") -> Iterator[DescriptorWriter]:
        """Yield a writer for ``fd``; off a terminal, its lines do not mix with those of other llm processes."""
        from llmcli.cli.console.descriptor_writer import DescriptorWriter, OutputLock

        closed = fd == self.environment.stdout and 1 in self.environment.closed_fds
        lock = None if closed or self.environment.is_terminal(fd) else OutputLock(fd, self.environment.environ)
        try:
            yield DescriptorWriter(fd, self.interrupt, closed=closed, name=name, lock=lock)
        finally:
            if lock is not None:
                lock.close()

    @contextmanager
    def open_file(
        self, path: str, placing: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> Iterator[DescriptorWriter | OutputFile]:
        """Yield a file as ``atomic_write`` does; the lines of several processes do not mix in a device or pipe."""
        from llmcli.files.atomic_file import atomic_write

        with atomic_write(path, interrupt=self.interrupt, placing=placing) as file:
            if file.direct:
                with self.open_writer(file.fd, path) as writer:
                    yield writer
            else:
                yield file

    def open_output(self, path: str | None) -> AbstractContextManager[DescriptorWriter | OutputFile]:
        """Yield the file of -o, or standard output for None."""
        return self.open_stdout() if path is None else self.open_file(path)

    def open_stdout(self) -> AbstractContextManager[DescriptorWriter]:
        """Yield the writer for standard output."""
        return self.open_writer(self.environment.stdout)

    def write_stdout(self, text: str) -> None:
        """Write text that is no model's result to stdout; on a terminal without control sequences.

        Raises ``OutputError`` and ``OutputPipeClosed``.
        """
        from llmcli.cli.console import sanitize

        text = sanitize.strip_controls(text) if self.stdout_is_terminal else text
        with self.environment.suspend_painters(), self.open_stdout() as writer:
            writer.write(text.encode("utf-8", "replace"))

    def write_wrapped(self, text: str) -> None:
        """Write sentences to stdout, wrapped at words on a terminal."""
        from llmcli.cli.console import sanitize, wrapping

        lines = text.splitlines()
        if self.stdout_is_terminal:
            columns = self.columns
            folded = (wrapping.wrap_words(sanitize.single_line(line), columns, break_words=False) for line in lines)
            lines = [line for each in folded for line in each]
        self.write_stdout("".join(f"{line}\n" for line in lines))

    def write_table(
        self, rows: Sequence[Mapping[str, Any]], *, preview: str | None = None, remark: str | None = None
    ) -> None:
        """Write a list to stdout: columns on a terminal, tabs in a pipe, JSON lines with ``--json``.

        ``preview`` and ``remark`` are as in ``render_table``.
        """
        from llmcli.cli.console.table import render_table

        terminal, columns = self.stdout_is_terminal, self.columns
        text = render_table(
            rows, as_json=self.as_json, terminal=terminal, columns=columns, preview=preview, remark=remark
        )
        self.write_stdout(text)

    def write_record(self, pairs: Mapping[str, Any]) -> None:
        """Write names and values of one thing to stdout: a line each, or one JSON object."""
        from llmcli.cli.console.table import render_record

        terminal, columns = self.stdout_is_terminal, self.columns
        self.write_stdout(render_record(pairs, as_json=self.as_json, terminal=terminal, columns=columns))


class HiddenStatusLine:
    """The status line of a command that shows none: with -q, and where stderr is no terminal that can erase a line."""

    enabled = False

    def show(self, progress: Progress) -> None:
        """Show nothing."""

    def update(self, progress: Progress) -> None:
        """Show nothing."""

    def hide(self) -> None:
        """Erase nothing; nor do the methods below."""

    make_way = disable = reset = close = hide

    def waiting(self, phase: Phase, label: str) -> AbstractContextManager[None]:
        """Show nothing while the block waits."""
        del phase, label
        return nullcontext()
