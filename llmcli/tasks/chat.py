"""chat: a conversation that stays within the context."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from llmcli.backends.base import Backend
from llmcli.tasks.base import Options, answer_limit, make_request, one_answer
from llmcli.tasks.fitting import INEXACT
from llmcli.templates import Library
from llmcli.types import Delta, Message, Notice, Priority, Request, Result, Role, TaskEvent, Turn

PROMPT = "chat"
ANSWER_SHARE = 4  # one part in four of the context is kept free for the answer
FORGET_TO = (
    0.75  # of what history may take: leaving out more than is needed lets the next turns reuse the cached prefix
)


class Saved(Protocol):
    """Where a conversation is saved: ``turns`` of earlier, and the ``model`` that answered last ("": none yet)."""

    turns: Sequence[Turn]
    model: str

    @property
    def id(self) -> str | None:
        """What names it in requests; None while it is not saved."""
        ...

    def save(self, turns: Sequence[Turn], model: str) -> None:
        """Save the conversation, of which the end is new; raises nothing that would end the talk."""
        ...

    def renew(self) -> None:
        """Begin another one."""
        ...


class Conversation:
    """A conversation with one backend."""

    def __init__(
        self,
        backend: Backend,
        prompts: Library,
        options: Options,
        *,
        system: str = "",
        saved: Saved | None = None,
    ) -> None:
        """``system``: instructions of the user's own, added to those of the prompt file, which stay in every request.

        ``saved``: a conversation that goes on, or one that begins to be saved.
        """
        self._backend = backend
        self._options = options
        self._prompt = prompts.get(PROMPT)
        self._system = system
        self._saved = saved
        self._turns: list[Turn] = list(saved.turns) if saved else []  # user and assistant in turn
        self._start = 0  # the first turn that is still sent
        self._number = 0
        self._model = ""  # that answers

    @property
    def history(self) -> tuple[Turn, ...]:
        """Everything said so far, what is no longer sent included."""
        return tuple(self._turns)

    def reset(self) -> None:
        """Forget everything said so far, and begin to save another conversation."""
        self._turns.clear()
        self._start = 0
        if self._saved is not None:
            self._saved.renew()

    def keep(self, saved: Saved) -> None:
        """Save the conversation from now on, and what was said so far."""
        self._saved = saved
        if self._turns:
            saved.save(self._turns, self._model)

    def say(self, text: str) -> Iterator[TaskEvent]:
        """Send ``text``; yield the answer's Deltas, then its Result, or ItemFailed.

        When the history no longer fits, its oldest turns are left out of what is sent, and a ``Notice`` says so, as do
        the ``warnings`` of the Result. A text too large on its own fails with ``ContextOverflow``, and nothing is left
        out. An answer that is stopped (by closing the iterator, by an error) stays in the history as far as it came; a
        text without any answer does not. The history is saved before the Result is yielded, and after an answer that
        was stopped.
        """
        yield from self._other_model()
        start = self._first_that_fits(text)
        left_out = f"the oldest {start} messages no longer fit the context and are left out"
        self._number += 1
        asked, said, complete = time.time(), list[str](), False
        try:
            with closing(one_answer(self._backend, self._request(start, text), self._options, prompt=PROMPT)) as events:
                for event in events:
                    if isinstance(event, Delta | Result) and start > self._start:  # it was not refused
                        self._start = start
                        yield Notice(left_out)
                    if isinstance(event, Delta) and not event.reasoning:
                        said.append(event.text)
                    if isinstance(event, Result):
                        complete = True
                        self._remember(Turn(Role.USER, text, time=asked), "".join(said))
                        yield replace(event, warnings=(*event.warnings, left_out)) if start else event
                    else:
                        yield event
        finally:
            if said and not complete:
                self._remember(Turn(Role.USER, text, time=asked), "".join(said), interrupted=True)

    def _remember(self, question: Turn, answer: str, *, interrupted: bool = False) -> None:
        self._turns += [question, Turn(Role.ASSISTANT, answer, interrupted, time.time())]
        if self._saved is not None:
            self._saved.save(self._turns, self._model)

    def _other_model(self) -> Iterator[Notice]:
        """Say once that another model goes on with a conversation."""
        self._model = self._backend.info().model
        if self._saved is not None and self._saved.model not in {"", self._model}:
            yield Notice(f"so far {self._saved.model} answered in this conversation; now {self._model} does")
            self._saved.model = self._model

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
            session=self._saved.id if self._saved else None,
        )

    def _render(self, text: str) -> tuple[Message, ...]:
        return self._prompt.render({"message": text, "system": self._system})
