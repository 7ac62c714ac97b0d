"""chat: a conversation that stays within the context."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from llmcli.backends.base import Backend
from llmcli.tasks.base import Options, answer_limit, make_request, one_answer
from llmcli.tasks.fitting import INEXACT
from llmcli.templates import Library
from llmcli.types import Delta, Message, Notice, Priority, Request, Result, Role, TaskEvent

PROMPT = "chat"
ANSWER_SHARE = 4  # one part in four of the context is kept free for the answer
FORGET_TO = (
    0.75  # of what history may take: leaving out more than is needed lets the next turns reuse the cached prefix
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation; ``interrupted`` marks an answer that was stopped before its end."""

    role: Role
    content: str
    interrupted: bool = False


class Conversation:
    """A conversation with one backend."""

    def __init__(self, backend: Backend, prompts: Library, options: Options, *, system: str = "") -> None:
        """``system``: instructions of the user's own, added to those of the prompt file, which stay in every request."""
        self._backend = backend
        self._options = options
        self._prompt = prompts.get(PROMPT)
        self._system = system
        self._turns: list[Turn] = []  # user and assistant in turn
        self._start = 0  # the first turn that is still sent
        self._number = 0

    @property
    def history(self) -> tuple[Turn, ...]:
        """Everything said so far, what is no longer sent included."""
        return tuple(self._turns)

    def reset(self) -> None:
        """Forget everything said so far."""
        self._turns.clear()
        self._start = 0

    def say(self, text: str) -> Iterator[TaskEvent]:
        """Send ``text``; yield the answer's Deltas, then its Result, or ItemFailed.

        When the history no longer fits, its oldest turns are left out of what is sent, and a ``Notice`` says so. A text
        too large on its own fails with ``ContextOverflow``. An answer that is stopped (by closing the iterator, by an
        error) stays in the history as far as it came; a text without any answer does not.
        """
        start = self._first_that_fits(text)
        if start > self._start:
            yield Notice(f"the oldest {start} messages no longer fit the context and are left out")
        self._start = start
        self._number += 1
        said: list[str] = []
        complete = False
        try:
            with closing(one_answer(self._backend, self._request(start, text), self._options, prompt=PROMPT)) as events:
                for event in events:
                    if isinstance(event, Delta) and not event.reasoning:
                        said.append(event.text)
                    complete = complete or isinstance(event, Result)
                    yield event
        finally:
            if complete or said:
                self._turns += [Turn(Role.USER, text), Turn(Role.ASSISTANT, "".join(said), interrupted=not complete)]

    def _first_that_fits(self, text: str) -> int:
        """Return the first turn to send: the last one's if it fits, else one that leaves some room."""
        context = self._backend.info().context
        keep = min(self._options.max_tokens or context, context // ANSWER_SHARE)
        tokens, exact = self._tokens(self._start, text)
        budget = (context if exact else int(context * INEXACT)) - keep
        if tokens <= budget:
            return self._start
        starts = range(self._start, len(self._turns) + 1, 2)
        goal = int(budget * FORGET_TO)
        found = bisect_left(starts, True, key=lambda start: self._tokens(start, text)[0] <= goal)
        return starts[min(found, len(starts) - 1)]

    def _tokens(self, start: int, text: str) -> tuple[int, bool]:
        (tokens,), exact = self._backend.count([self._request(start, text)])
        return tokens, exact

    def _request(self, start: int, text: str) -> Request:
        *opening, last = self._render(text)
        messages = [*opening]
        for turn in self._turns[start:]:
            is_user = turn.role is Role.USER
            messages.append(self._render(turn.content)[-1] if is_user else Message(Role.ASSISTANT, turn.content))
        limit = answer_limit(self._prompt, self._options, None)
        return make_request(
            f"chat.{self._number}",
            (*messages, last),
            self._prompt,
            self._options,
            max_tokens=limit,
            priority=Priority.INTERACTIVE,
            conversation=True,
        )

    def _render(self, text: str) -> tuple[Message, ...]:
        return self._prompt.render({"message": text, "system": self._system})
