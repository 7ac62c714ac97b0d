"""The part of a conversation that is sent: what fits the context, by the policy of the session.

Nothing is removed from the conversation itself. The prompt file's system message and the exchanges with a pinned
message are always sent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from llmcli.backends.base import Backend
from llmcli.errors import InputError, LlmError
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import check_interrupt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.store.session import StoredMessage
from llmcli.tasks.chat import OverflowPolicy
from llmcli.tasks.runner.context_budget import INEXACT_CONTEXT_SHARE
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.text_answers import ask_for_text
from llmcli.types import Notice, Priority, Request, Role

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


def sent_turns(turns: Sequence[StoredMessage], start: int) -> list[StoredMessage]:
    """Return the messages that are sent: those from ``start`` on, and before it the exchanges with a pinned message."""
    pairs = [turns[index : index + 2] for index in range(0, start, 2)]
    return [turn for pair in pairs if any(each.pinned for each in pair) for turn in pair] + list(turns[start:])


class ContextWindow:
    """Chooses the part of a conversation that is sent; ``make_request`` builds the request of a part and a message."""

    def __init__(
        self,
        backend: Backend,
        make_request: Callable[[SentPart, Sequence[StoredMessage], str], Request],
        summarizer: TurnSummarizer,
        *,
        max_tokens: int | None,
    ) -> None:
        self._backend = backend
        self._make_request = make_request
        self._summarizer = summarizer
        self._max_tokens = max_tokens

    def measure(self, part: SentPart, turns: Sequence[StoredMessage], text: str) -> ContextUse:
        """Return how much of the context the next request takes."""
        (tokens,), exact = self._backend.count([self._make_request(part, turns, text)])
        return ContextUse(tokens, self._backend.info().context, exact)

    async def fit(
        self, run: TaskRun, part: SentPart, turns: Sequence[StoredMessage], text: str, policy: OverflowPolicy
    ) -> SentPart:
        """Return ``part`` if it fits with the message ``text``, else a smaller one; notices say what is done.

        Raises ``InputError`` where the policy is to stop.
        """
        use = self.measure(part, turns, text)
        if use.tokens <= self._budget(use):
            return part
        if policy is OverflowPolicy.STOP:
            raise InputError(
                message=f"the conversation takes {use.tokens} of {use.context} tokens, which leaves no room for an answer",
                advice="Let llm summarize or leave out its beginning: --overflow summarize or slide"
                " (in a chat: /set overflow slide)",
                type_name="ConversationFull",
            )
        if policy is OverflowPolicy.SUMMARIZE:
            start = self._find_start(part, turns, text, use, SUMMARIZED_HISTORY_SHARE)
            if self._has_room_for_summary(SentPart(start), turns, text):
                notice = f"the first {start} messages no longer fit the context; a summary replaces them"
                smaller = await self.summarize(run, part, turns, start, notice)
                if smaller is not None and self._fits(smaller, turns, text):
                    return smaller
        start = self._find_start(part, turns, text, use, KEPT_HISTORY_SHARE)
        return SentPart(start, part.summary if self._fits(SentPart(start, part.summary), turns, text) else "")

    async def summarize(
        self, run: TaskRun, part: SentPart, turns: Sequence[StoredMessage], start: int, notice: str
    ) -> SentPart | None:
        """Return the part from ``start`` on with a summary of everything before it; ``notice`` announces it.

        It is None if no summary could be made.
        """
        if start <= part.start:
            return None
        run.report(Notice(notice))
        summary = await self._summarizer.summarize(run, turns[part.start : start], part.summary)
        return None if summary is None else SentPart(start, summary)

    def _fits(self, part: SentPart, turns: Sequence[StoredMessage], text: str) -> bool:
        use = self.measure(part, turns, text)
        return use.tokens <= self._budget(use)

    def _has_room_for_summary(self, part: SentPart, turns: Sequence[StoredMessage], text: str) -> bool:
        use = self.measure(part, turns, text)
        return use.tokens + self._summarizer.max_summary_tokens() <= self._budget(use)

    def _budget(self, use: ContextUse) -> int:
        keep = min(self._max_tokens or use.context, use.context // ANSWER_CONTEXT_FRACTION)
        return (use.context if use.exact else int(use.context * INEXACT_CONTEXT_SHARE)) - keep

    def _find_start(
        self, part: SentPart, turns: Sequence[StoredMessage], text: str, use: ContextUse, share: float
    ) -> int:
        """Return the first message to send, so that some of the context is free."""
        starts = [index for index in range(part.start, len(turns)) if turns[index].role is Role.USER]
        starts = [*starts, len(turns)]
        goal = int(self._budget(use) * share)
        found = bisect_left(
            starts, True, key=lambda start: self.measure(SentPart(start, part.summary), turns, text).tokens <= goal
        )
        return starts[min(found, len(starts) - 1)]


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

    async def summarize(self, run: TaskRun, turns: Sequence[StoredMessage], summary: str) -> str | None:
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

    def _count_fitting(self, turns: Sequence[StoredMessage], summary: str) -> int:
        """Return how many messages from the first one on fit into one request."""
        room = self._backend.info().context - self.max_summary_tokens()
        for count in range(len(turns), 0, -1):
            (tokens,), _ = self._backend.count([self._request(turns[:count], summary)])
            if tokens <= room:
                return count
        return 0

    def _request(self, turns: Sequence[StoredMessage], summary: str) -> Request:
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
