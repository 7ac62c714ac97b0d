"""What goes to stderr beside errors: progress, warnings, reasoning, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import error_messages, sanitize
from llmcli.cli.console.environment import DescriptorWriter
from llmcli.cli.render.context_advice import advise_on_context
from llmcli.types import Phase, Progress

if TYPE_CHECKING:
    from llmcli.cli.render.stats import JobTotals

_MAX_NAMED_ITEMS = 5
"""Items that are named of those that failed in the same way."""


class Reporter:
    """What goes to stderr beside errors: progress, notices, reasoning, statistics."""

    def __init__(self, ctx: CommandContext) -> None:
        self._ctx = ctx
        self._status_line = ctx.status_line
        self._terminal = ctx.environment.is_terminal(ctx.environment.stderr)
        self._held_warnings: list[str] = []
        self._sanitizer = sanitize.Sanitizer()
        self._showing_reasoning = False
        self._showing_result = False  # a result, in the middle of a line perhaps
        self._last_error_text: error_messages.ErrorText | None = None
        self._same_error_names: list[str] = []
        self._same_error_count = 0

    def begin(self) -> None:
        """Say that the work begins."""
        self.show_progress(
            Progress(
                0, None, "", self._ctx.responder_name, Phase.WAITING if self._ctx.responder_name else Phase.WORKING
            )
        )

    def show_progress(self, event: Progress) -> None:
        """Show progress, where nothing else is shown."""
        if not (self._showing_result or self._showing_reasoning):
            self._status_line.show(event)

    def begin_result(self) -> None:
        """Make way for a result, unless it goes into a file. A pipe may well end on the same terminal."""
        self._end_reasoning()
        environment = self._ctx.environment
        if self._ctx.flags.output is None and not environment.is_file_or_null(environment.stdout):
            self._status_line.hide()
            self._showing_result = True

    def end_result(self) -> None:
        """Say that the cursor stands at the start of a line again: what is waited for next may be shown."""
        self._showing_result = False

    def warn(self, text: str) -> None:
        """Warn. Off a terminal, stderr stays empty on success: the warning waits for the outcome."""
        if self._ctx.flags.quiet:
            return
        if self._terminal or (self._ctx.flags.verbose and not self._ctx.flags.json):
            self._write_line(f"llm: warning: {sanitize.single_line(text)}")
        else:
            self._held_warnings.append(text)

    def show_reasoning(self, text: str) -> None:
        """Show a piece of a model's reasoning when the user asked for it."""
        if self._ctx.flags.reasoning:
            self._status_line.hide()
            self._showing_reasoning = True
            text = self._sanitizer.feed(text) if self._terminal else text
            DescriptorWriter(self._ctx.environment.stderr, self._ctx.interrupt, name="standard error").write(
                text.encode()
            )

    def report_error(self, error: Exception, name: str) -> None:
        """Say that an item failed; one fault of many items is told once, and at its end with how many it was the same."""
        words = error_messages.describe(error)
        if name and words == self._last_error_text and not self._ctx.flags.json:
            self._same_error_count += 1
            if len(self._same_error_names) < _MAX_NAMED_ITEMS:
                self._same_error_names.append(name)
            return
        self._report_repeated_error()
        self._last_error_text = words
        self._end_reasoning()
        advice = advise_on_context(self._ctx, error)
        error_messages.write_error(
            error, self._ctx.environment, as_json=self._ctx.flags.json, name=name, next_step=advice
        )

    def _report_repeated_error(self) -> None:
        if self._same_error_names:
            more = (
                f" and {self._same_error_count - _MAX_NAMED_ITEMS} more"
                if self._same_error_count > _MAX_NAMED_ITEMS
                else ""
            )
            self._write_line(f"llm: the same of {'; '.join(map(sanitize.single_line, self._same_error_names))}{more}")
            self._same_error_names.clear()
            self._same_error_count = 0

    def report_work(self, totals: JobTotals) -> None:
        """Say how the backend worked (``-v``) and what the job cost (``--stats``): an object with ``--json``."""
        self._ctx.explain_backend_choices()
        if self._ctx.flags.stats and totals.count:
            from llmcli.cli.render.stats import collect_stats

            cost = collect_stats(totals, self._ctx.backend_stats())
            self._write_line(cost.to_json() if self._ctx.flags.json else cost.format_line())

    def report_outcome(self, code: int, incomplete: Sequence[tuple[str, Exception]]) -> None:
        """Say what was held back, now that it is known whether the command succeeded, and why results are not whole.

        ``incomplete``: the names of those ("" where there is one input) with the reasons. With ``--json`` the warnings
        stand in the results, and stderr holds objects only.
        """
        self._report_repeated_error()
        for text in self._held_warnings if code and not self._ctx.flags.json else ():
            self._write_line(f"llm: warning: {sanitize.single_line(text)}")
        for name, reason in incomplete:
            self.report_error(reason, name)
        self._report_repeated_error()

    def _write_line(self, text: str) -> None:
        self._end_reasoning()
        error_messages.write_stderr(self._ctx.environment, text)

    def close(self) -> None:
        """Leave the terminal clean for other writers."""
        self._status_line.reset()
        self._end_reasoning()

    def _end_reasoning(self) -> None:
        if self._showing_reasoning:
            self._showing_reasoning = False
            error_messages.write_stderr(self._ctx.environment, "")
