"""Summaries of the beginning of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.backends.base import Backend
from llmcli.errors import LlmError
from llmcli.interrupt import check_interrupt
from llmcli.prompts import PromptLibrary
from llmcli.store.session import Turn
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.text_answers import ask_for_text
from llmcli.types import Priority, Request

PROMPT = "chat.summary"
_SUMMARY_CONTEXT_FRACTION = 8
"""A summary may take an eighth of the context."""
_MAX_SUMMARY_TOKENS = 600
_WORDS_PER_TOKEN = 0.6
"""Words that fit a token of most European languages; the limit in the prompt stays below that in tokens."""


class TurnSummarizer:
    """Summarizes messages with one backend; ``session`` as in ``Request``."""

    def __init__(self, backend: Backend, prompts: PromptLibrary, options: GenerationOptions) -> None:
        self._backend = backend
        self._prompt = prompts.get(PROMPT)
        self._options = GenerationOptions(seed=options.seed, deadline=options.deadline)
        self._requests = 0

    async def summarize(self, run: TaskRun, turns: Sequence[Turn], summary: str) -> str | None:
        """Return a summary of ``turns`` and of the earlier ``summary``; None if the model gives none.

        Messages that do not fit the context together are summarized one after the other.
        """
        rest = list(turns)
        while rest:
            count = self._count_fitting(rest, summary)
            result = await self._ask(run, self._request(rest[:count], summary)) if count else None
            if result is None:
                return None
            summary, rest = result, rest[count:]
        return summary or None

    async def _ask(self, run: TaskRun, request: Request) -> str | None:
        """Return the summary that a request gives, None if it fails: then the messages are left out."""
        try:
            answer = await ask_for_text(run, request, self._options, shows_text=False)
        except LlmError:
            check_interrupt()
            return None
        return answer.text.strip()

    def _count_fitting(self, turns: Sequence[Turn], summary: str) -> int:
        """Return how many messages from the first one on fit into one request."""
        room = self._backend.info().context - self.max_summary_tokens()
        for count in range(len(turns), 0, -1):
            (tokens,), _ = self._backend.count([self._request(turns[:count], summary)])
            if tokens <= room:
                return count
        return 0

    def _request(self, turns: Sequence[Turn], summary: str) -> Request:
        text = "\n\n".join(f"{turn.role.capitalize()}: {turn.content.strip()}" for turn in turns)
        words = max(20, int(self.max_summary_tokens() * _WORDS_PER_TOKEN))
        self._requests += 1
        return make_request(
            f"chat.summary.{self._requests}",
            self._prompt.render({"text": text, "summary": summary, "words": words}),
            self._prompt,
            self._options,
            max_tokens=self.max_summary_tokens(),
            priority=Priority.INTERACTIVE,
            conversation=True,
        )

    def max_summary_tokens(self) -> int:
        """Return the most tokens of a summary."""
        return min(_MAX_SUMMARY_TOKENS, max(16, self._backend.info().context // _SUMMARY_CONTEXT_FRACTION))
