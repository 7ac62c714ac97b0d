"""The part of a conversation that is sent: what fits the context, by the policy of the session.

Nothing is removed from the conversation itself. The prompt file's system message and the exchanges with a pinned
message are always sent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from llmcli.backends.base import Backend
from llmcli.errors.saved_state_errors import ConversationFull
from llmcli.frozen_dataclass import frozen
from llmcli.store.session import Turn
from llmcli.tasks.conversation.overflow_policy import OverflowPolicy
from llmcli.tasks.conversation.turn_summarizer import TurnSummarizer
from llmcli.tasks.runner.context_budget import INEXACT_CONTEXT_SHARE
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Notice, Request, Role

ANSWER_CONTEXT_FRACTION = 4
"""A quarter of the context is kept free for the answer."""
KEPT_HISTORY_SHARE = 0.75
"""Share of the history's room that is filled after messages were left out, so that the next turns reuse the cache."""
SUMMARIZED_HISTORY_SHARE = 0.5
"""The same after messages were summarized, since a summary takes room and time."""


@frozen
class SentPart:
    """The part of a conversation that is sent: the messages from ``start`` on, and a ``summary`` of those before it."""

    start: int = 0
    summary: str = ""


@frozen
class ContextUse:
    """Tokens of the next request, without an answer, in a ``context``; ``exact`` False: an estimate."""

    tokens: int
    context: int
    exact: bool


def sent_turns(turns: Sequence[Turn], start: int) -> list[Turn]:
    """Return the messages that are sent: those from ``start`` on, and before it the exchanges with a pinned message."""
    pairs = [turns[index : index + 2] for index in range(0, start, 2)]
    return [turn for pair in pairs if any(each.pinned for each in pair) for turn in pair] + list(turns[start:])


class ContextWindow:
    """Chooses the part of a conversation that is sent; ``make_request`` builds the request of a part and a message."""

    def __init__(
        self,
        backend: Backend,
        make_request: Callable[[SentPart, Sequence[Turn], str], Request],
        summarizer: TurnSummarizer,
        *,
        max_tokens: int | None,
    ) -> None:
        self._backend = backend
        self._make_request = make_request
        self._summarizer = summarizer
        self._max_tokens = max_tokens

    def measure(self, part: SentPart, turns: Sequence[Turn], text: str) -> ContextUse:
        """Return how much of the context the next request takes."""
        (tokens,), exact = self._backend.count([self._make_request(part, turns, text)])
        return ContextUse(tokens, self._backend.info().context, exact)

    async def fit(
        self, run: TaskRun, part: SentPart, turns: Sequence[Turn], text: str, policy: OverflowPolicy
    ) -> SentPart:
        """Return ``part`` if it fits with the message ``text``, else a smaller one; notices say what is done.

        Raises ``ConversationFull`` where the policy is to stop.
        """
        use = self.measure(part, turns, text)
        if use.tokens <= self._budget(use):
            return part
        if policy is OverflowPolicy.STOP:
            raise ConversationFull(tokens=use.tokens, context=use.context)
        if policy is OverflowPolicy.SUMMARIZE:
            start = self._find_start(part, turns, text, use, SUMMARIZED_HISTORY_SHARE)
            if self._has_room_for_summary(SentPart(start), turns, text):
                smaller = await self.summarize(run, part, turns, start)
                if smaller is not None and self._fits(smaller, turns, text):
                    return smaller
        start = self._find_start(part, turns, text, use, KEPT_HISTORY_SHARE)
        return SentPart(start, part.summary if self._fits(SentPart(start, part.summary), turns, text) else "")

    async def summarize(self, run: TaskRun, part: SentPart, turns: Sequence[Turn], start: int) -> SentPart | None:
        """Return the part from ``start`` on with a summary of everything before it; None if no summary could be made."""
        if start <= part.start:
            return None
        run.report(Notice(f"the first {start} messages no longer fit the context; a summary replaces them"))
        summary = await self._summarizer.summarize(run, turns[part.start : start], part.summary)
        return None if summary is None else SentPart(start, summary)

    def _fits(self, part: SentPart, turns: Sequence[Turn], text: str) -> bool:
        use = self.measure(part, turns, text)
        return use.tokens <= self._budget(use)

    def _has_room_for_summary(self, part: SentPart, turns: Sequence[Turn], text: str) -> bool:
        use = self.measure(part, turns, text)
        return use.tokens + self._summarizer.max_summary_tokens() <= self._budget(use)

    def _budget(self, use: ContextUse) -> int:
        keep = min(self._max_tokens or use.context, use.context // ANSWER_CONTEXT_FRACTION)
        return (use.context if use.exact else int(use.context * INEXACT_CONTEXT_SHARE)) - keep

    def _find_start(self, part: SentPart, turns: Sequence[Turn], text: str, use: ContextUse, share: float) -> int:
        """Return the first message to send, so that some of the context is free."""
        starts = [index for index in range(part.start, len(turns)) if turns[index].role is Role.USER]
        starts = [*starts, len(turns)]
        goal = int(self._budget(use) * share)
        found = bisect_left(
            starts, True, key=lambda start: self.measure(SentPart(start, part.summary), turns, text).tokens <= goal
        )
        return starts[min(found, len(starts) - 1)]
