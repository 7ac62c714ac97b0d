"""What goes to stderr beside errors: progress, warnings, reasoning, statistics."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.cli import sanitize, wording
from llmcli.cli.context import Context
from llmcli.cli.progress import ProgressBar
from llmcli.cli.world import Writer
from llmcli.errors import AnswerCut, LeftUndone
from llmcli.types import FinishReason, Progress, Result, Usage


class Reporter:
    """What goes to stderr beside errors: progress, notices, reasoning, statistics."""

    def __init__(self, cli: Context) -> None:
        self._cli = cli
        self._bar = ProgressBar(cli.world, wanted=not cli.flags.quiet)
        self._terminal = cli.world.terminal(cli.world.stderr)
        self._held: list[str] = []
        self._clean = sanitize.Sanitizer()
        self._reasoned = False
        self._results_shown = False

    def progress(self, event: Progress) -> None:
        """Show progress, where there is a terminal that shows no results yet."""
        if not self._results_shown:
            self._bar.update(event)

    def result_comes(self) -> None:
        """Make way for a result; on a terminal no bar comes back between results."""
        self.close()
        self._results_shown = self._cli.flags.output is None and self._cli.world.terminal(self._cli.world.stdout)

    def notice(self, text: str) -> None:
        """Warn. Off a terminal, stderr stays empty on success: the warning waits for the outcome."""
        if self._cli.flags.quiet:
            return
        if self._terminal or self._cli.flags.verbose:
            self._say(f"llm: warning: {sanitize.line(text)}")
        else:
            self._held.append(text)

    def reasoning(self, text: str) -> None:
        """Show a piece of a model's reasoning when the user asked for it."""
        if self._cli.flags.reasoning:
            self._bar.close()
            self._reasoned = True
            text = self._clean.feed(text) if self._terminal else text
            Writer(self._cli.world.stderr, self._cli.interrupt, name="standard error").write(text.encode())

    def error(self, error: Exception, name: str) -> None:
        """Say that an item failed."""
        self.close()
        wording.show(error, self._cli.world, as_json=self._cli.flags.json, name=name)

    def stats(self, results: Sequence[Result]) -> None:
        """Say what the job cost, when the user asked for it."""
        if self._cli.flags.stats and results:
            self._say(stats_line(results))

    def outcome(self, code: int, results: Sequence[Result]) -> None:
        """Say what was held back, now that it is known whether the command succeeded, and why a result is partial.

        With ``--json`` the warnings stand in the results, and stderr holds objects only.
        """
        for text in self._held if code and not self._cli.flags.json else ():
            self._say(f"llm: warning: {sanitize.line(text)}")
        partial = [result for result in results if result.cut]
        if partial:
            long = any(result.finish_reason is FinishReason.LENGTH for result in partial)
            self.error(AnswerCut() if long else LeftUndone(), "")

    def _say(self, text: str) -> None:
        self.close()
        wording.say(self._cli.world, text)

    def close(self) -> None:
        """Leave the terminal clean for other writers."""
        self._bar.close()
        if self._reasoned:
            self._reasoned = False
            wording.say(self._cli.world, "")


def stats_line(results: Sequence[Result]) -> str:
    """Return tokens and speed of a job in one line; times are those of its slowest item."""
    usage = sum((result.usage for result in results), Usage())
    first = [r.timings.first_token_s for r in results if r.timings.first_token_s is not None]
    rates = [r.timings.tokens_per_second for r in results if r.timings.tokens_per_second is not None]
    parts = [
        f"{usage.prompt_tokens} tokens in ({usage.cached_tokens} reused), {usage.completion_tokens} out",
        f"first token after {min(first):.2f} s" if first else "",
        f"{sum(rates) / len(rates):.1f} tokens/s" if rates else "",
        f"{max(result.timings.total_s for result in results):.2f} s in all",
    ]
    return "llm: " + ", ".join(part for part in parts if part)
