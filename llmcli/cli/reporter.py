"""Output on stderr besides errors: progress, warnings, reasoning, statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from llmcli.cli.console.console import Console
from llmcli.cli.console.descriptor_writer import DescriptorWriter
from llmcli.types import Phase, Progress

if TYPE_CHECKING:
    from llmcli.cli.console.messages.message_text import ErrorText
    from llmcli.cli.console.sanitize import Sanitizer

_MAX_NAMED_ITEMS = 5
"""Most items that are named after one error of many items."""


class Reporter:
    """Writes progress, notices, reasoning and statistics to stderr."""

    def __init__(
        self,
        console: Console,
        *,
        shows_reasoning: bool = False,
        writes_file: bool = False,
        advise: Callable[[Exception], str] | None = None,
    ) -> None:
        """``writes_file``: results go into a file, so that they leave the terminal alone.

        ``advise`` returns a better next step for an error, or "".
        """
        self._console = console
        self._shows_reasoning = shows_reasoning
        self._writes_file = writes_file
        self._advise = advise
        self._status_line = console.status_line
        self._terminal = console.stderr_is_terminal
        self._held_warnings: list[str] = []
        self._showing_reasoning = False
        self._showing_result = False  # a result, perhaps in the middle of a line
        self._last_error_text: ErrorText | None = None
        self._same_error_names: list[str] = []
        self._same_error_count = 0

    def begin(self, responder: str = "") -> None:
        """Report that the work begins; ``responder``: the model or server that the command waits for, if known."""
        self.show_progress(Progress(0, None, "", responder, Phase.WAITING if responder else Phase.WORKING))

    def show_progress(self, event: Progress) -> None:
        """Show progress, unless something else is shown."""
        if not (self._showing_result or self._showing_reasoning):
            self._status_line.show(event)

    def begin_result(self) -> None:
        """Clear the line for a result, unless it goes into a file. A pipe may end on the same terminal."""
        self._end_reasoning()
        environment = self._console.environment
        if self._writes_file or environment.is_file_or_null(environment.stdout):
            return
        if environment.is_terminal(environment.stdout):
            self._status_line.hide()
            self._showing_result = True
        else:
            self._status_line.make_way()

    def end_result(self) -> None:
        """Record that the cursor is at the start of a line again: progress may be shown."""
        self._showing_result = False

    def warn(self, text: str) -> None:
        """Warn. Off a terminal, stderr stays empty on success, so the warning waits for the outcome."""
        if self._console.quiet:
            return
        if self._terminal or (self._console.verbose and not self._console.as_json):
            self._write_warning(text)
        else:
            self._held_warnings.append(text)

    def _write_warning(self, text: str) -> None:
        from llmcli.cli.console.sanitize import single_line

        self._write_line(f"llm: warning: {single_line(text)}")

    @cached_property
    def _sanitizer(self) -> Sanitizer:
        from llmcli.cli.console.sanitize import Sanitizer

        return Sanitizer()

    def show_reasoning(self, text: str) -> None:
        """Show a piece of a model's reasoning when the user asked for it."""
        if self._shows_reasoning:
            self._status_line.hide()
            self._showing_reasoning = True
            text = self._sanitizer.feed(text) if self._terminal else text
            DescriptorWriter(self._console.environment.stderr, self._console.interrupt, name="standard error").write(
                text.encode()
            )

    def report_error(self, error: Exception, name: str) -> None:
        """Report a failed item; an error that many items share is reported once, with the other items at the end."""
        from llmcli.cli.console import error_messages

        words = error_messages.describe(error)
        if name and words == self._last_error_text and not self._console.as_json:
            self._same_error_count += 1
            if len(self._same_error_names) < _MAX_NAMED_ITEMS:
                self._same_error_names.append(name)
            return
        self._report_repeated_error()
        self._last_error_text = words
        self._end_reasoning()
        advice = self._advise(error) if self._advise is not None else ""
        self._console.write_error(error, name=name, next_step=advice)

    def _report_repeated_error(self) -> None:
        if self._same_error_names:
            from llmcli.cli.console.sanitize import single_line

            more = (
                f" and {self._same_error_count - _MAX_NAMED_ITEMS} more"
                if self._same_error_count > _MAX_NAMED_ITEMS
                else ""
            )
            self._write_line(f"llm: the same of {'; '.join(map(single_line, self._same_error_names))}{more}")
            self._same_error_names.clear()
            self._same_error_count = 0

    def write_stats(self, line: str) -> None:
        """Report the cost of a job."""
        self._write_line(line)

    def report_outcome(self, code: int, incomplete: Sequence[tuple[str, Exception]]) -> None:
        """Report delayed warnings, now that the outcome is known, and why results are incomplete.

        ``incomplete``: the names of those ("" for a single input) with the reasons. With ``--json`` the warnings are in
        the results, and stderr holds only objects.
        """
        self._report_repeated_error()
        for text in self._held_warnings if code and not self._console.as_json else ():
            self._write_warning(text)
        for name, reason in incomplete:
            self.report_error(reason, name)
        self._report_repeated_error()

    def _write_line(self, text: str) -> None:
        self._end_reasoning()
        self._console.write_message(text)

    def close(self) -> None:
        """Clear the terminal for other writers."""
        self._status_line.reset()
        self._end_reasoning()

    def _end_reasoning(self) -> None:
        if self._showing_reasoning:
            self._showing_reasoning = False
            self._console.write_stderr("")
