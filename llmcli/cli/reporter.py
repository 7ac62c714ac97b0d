"""What goes to stderr beside errors: progress, warnings, reasoning, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmcli.cli import sanitize, wording
from llmcli.cli.context import Context
from llmcli.cli.context_advice import context_advice
from llmcli.cli.world import Writer
from llmcli.types import Phase, Progress

if TYPE_CHECKING:
    from llmcli.cli.stats import JobTotals

_NAMED = 5
"""Items that are named of those that failed in the same way."""


class Reporter:
    """What goes to stderr beside errors: progress, notices, reasoning, statistics."""

    def __init__(self, cli: Context) -> None:
        self._cli = cli
        self._status = cli.status
        self._terminal = cli.world.terminal(cli.world.stderr)
        self._held: list[str] = []
        self._clean = sanitize.Sanitizer()
        self._reasoned = False
        self._showing = False  # a result, in the middle of a line perhaps
        self._told: wording.Words | None = None
        self._same: list[str] = []
        self._same_count = 0

    def begin(self) -> None:
        """Say that the work begins."""
        self.progress(
            Progress(0, None, "", self._cli.answering, Phase.WAITING if self._cli.answering else Phase.WORKING)
        )

    def progress(self, event: Progress) -> None:
        """Show progress, where nothing else is shown."""
        if not (self._showing or self._reasoned):
            self._status.show(event)

    def result_comes(self) -> None:
        """Make way for a result, unless it goes into a file. A pipe may well end on the same terminal."""
        self._end_reasoning()
        world = self._cli.world
        if self._cli.flags.output is None and not world.private(world.stdout):
            self._status.hide()
            self._showing = True

    def result_ended(self) -> None:
        """Say that the cursor stands at the start of a line again: what is waited for next may be shown."""
        self._showing = False

    def notice(self, text: str) -> None:
        """Warn. Off a terminal, stderr stays empty on success: the warning waits for the outcome."""
        if self._cli.flags.quiet:
            return
        if self._terminal or (self._cli.flags.verbose and not self._cli.flags.json):
            self._say(f"llm: warning: {sanitize.line(text)}")
        else:
            self._held.append(text)

    def reasoning(self, text: str) -> None:
        """Show a piece of a model's reasoning when the user asked for it."""
        if self._cli.flags.reasoning:
            self._status.hide()
            self._reasoned = True
            text = self._clean.feed(text) if self._terminal else text
            Writer(self._cli.world.stderr, self._cli.interrupt, name="standard error").write(text.encode())

    def error(self, error: Exception, name: str) -> None:
        """Say that an item failed; one fault of many items is told once, and at its end with how many it was the same."""
        words = wording.words(error)
        if name and words == self._told and not self._cli.flags.json:
            self._same_count += 1
            if len(self._same) < _NAMED:
                self._same.append(name)
            return
        self._say_same()
        self._told = words
        self._end_reasoning()
        advice = context_advice(self._cli, error)
        wording.show(error, self._cli.world, as_json=self._cli.flags.json, name=name, next_step=advice)

    def _say_same(self) -> None:
        if self._same:
            more = f" and {self._same_count - _NAMED} more" if self._same_count > _NAMED else ""
            self._say(f"llm: the same of {'; '.join(map(sanitize.line, self._same))}{more}")
            self._same.clear()
            self._same_count = 0

    def work(self, totals: JobTotals) -> None:
        """Say how the backend worked (``-v``) and what the job cost (``--stats``): an object with ``--json``."""
        self._cli.explain_work()
        if self._cli.flags.stats and totals.count:
            from llmcli.cli.stats import stats

            cost = stats(totals, self._cli.work())
            self._say(cost.json() if self._cli.flags.json else cost.line())

    def outcome(self, code: int, incomplete: Sequence[tuple[str, Exception]]) -> None:
        """Say what was held back, now that it is known whether the command succeeded, and why results are not whole.

        ``incomplete``: the names of those ("" where there is one input) with the reasons. With ``--json`` the warnings
        stand in the results, and stderr holds objects only.
        """
        self._say_same()
        for text in self._held if code and not self._cli.flags.json else ():
            self._say(f"llm: warning: {sanitize.line(text)}")
        for name, reason in incomplete:
            self.error(reason, name)
        self._say_same()

    def _say(self, text: str) -> None:
        self._end_reasoning()
        wording.say(self._cli.world, text)

    def close(self) -> None:
        """Leave the terminal clean for other writers."""
        self._status.reset()
        self._end_reasoning()

    def _end_reasoning(self) -> None:
        if self._reasoned:
            self._reasoned = False
            wording.say(self._cli.world, "")
