"""chat: a conversation that stays within the context."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from llmcli.backends.base import Backend
from llmcli.prompts import PromptLibrary
from llmcli.store.turn import Turn
from llmcli.tasks.execution.context_budget import INEXACT_CONTEXT_SHARE
from llmcli.tasks.execution.single_request import run_single_request
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.types import Delta, Message, Notice, Priority, Request, Result, Role, TaskEvent

PROMPT = "chat"
ANSWER_CONTEXT_FRACTION = 4  # a quarter of the context is kept free for the answer
KEPT_HISTORY_SHARE = (
    # share of the history's room that is filled: leaving out more than needed lets the next turns reuse the cached
    # prefix
    0.75
)


class ConversationStore(Protocol):
    """A saved conversation: its earlier ``turns``, and the ``model`` that answered last ("": none yet)."""

    turns: Sequence[Turn]
    model: str

    @property
    def id(self) -> str | None:
        """Its id in requests; None while it is not saved."""
        ...

    def save(self, turns: Sequence[Turn], model: str) -> None:
        """Save the conversation, whose last turns are new; never raises an error that would end the chat."""
        ...

    def renew(self) -> None:
        """Begin a new conversation."""
        ...


class Conversation:
    """A conversation with one backend."""

    def __init__(
        self,
        backend: Backend,
        prompts: PromptLibrary,
        options: GenerationOptions,
        *,
        system: str = "",
        saved: ConversationStore | None = None,
    ) -> None:
        """``system``: the user's own instructions, added to those of the prompt file, which stay in every request.

        ``saved``: the saved conversation to continue, or the one to save to.
        """
        self._backend = backend
        self._options = options
        self._prompt = prompts.get(PROMPT)
        self._system = system
        self._saved = saved
        self._turns: list[Turn] = list(saved.turns) if saved else []  # user and assistant alternate
        self._first_sent_turn = 0  # the first turn that is still sent
        self._request_number = 0
        self._model = ""  # the model that answers

    @property
    def history(self) -> tuple[Turn, ...]:
        """All turns so far, including those that are no longer sent."""
        return tuple(self._turns)

    def reset(self) -> None:
        """Drop all turns, and begin to save another conversation."""
        self._turns.clear()
        self._first_sent_turn = 0
        if self._saved is not None:
            self._saved.renew()

    def save_to(self, saved: ConversationStore) -> None:
        """Save the conversation from now on, with its turns so far."""
        self._saved = saved
        if self._turns:
            saved.save(self._turns, self._model)

    def send(self, text: str) -> Iterator[TaskEvent]:
        """Send ``text``; yield the answer's Deltas, then its Result, or ItemFailed.

        When the history no longer fits, the oldest turns are left out of requests; a ``Notice`` and the ``warnings`` of
        the Result say so. A text that is too large on its own fails with ``ContextOverflow``, and nothing is left out.
        A stopped answer (the iterator was closed, or an error came) stays in the history as far as it came; a text
        without any answer does not. The history is saved before the Result is yielded, and after a stopped answer.
        """
        yield from self._note_model_change()
        start = self._first_turn_that_fits(text)
        left_out = f"the oldest {start} messages no longer fit the context and are left out"
        self._request_number += 1
        asked, said, complete = time.time(), list[str](), False
        try:
            with closing(
                run_single_request(self._backend, self._request(start, text), self._options, prompt=PROMPT)
            ) as events:
                for event in events:
                    if isinstance(event, Delta | Result) and start > self._first_sent_turn:  # it was not refused
                        self._first_sent_turn = start
                        yield Notice(left_out)
                    if isinstance(event, Delta) and not event.reasoning:
                        said.append(event.text)
                    if isinstance(event, Result):
                        complete = True
                        self._append_turns(Turn(Role.USER, text, time=asked), "".join(said))
                        yield replace(event, warnings=(*event.warnings, left_out)) if start else event
                    else:
                        yield event
        finally:
            if said and not complete:
                self._append_turns(Turn(Role.USER, text, time=asked), "".join(said), interrupted=True)

    def _append_turns(self, question: Turn, answer: str, *, interrupted: bool = False) -> None:
        self._turns += [question, Turn(Role.ASSISTANT, answer, interrupted, time.time())]
        if self._saved is not None:
            self._saved.save(self._turns, self._model)

    def _note_model_change(self) -> Iterator[Notice]:
        """Report once that another model continues a conversation."""
        self._model = self._backend.info().model
        if self._saved is not None and self._saved.model not in {"", self._model}:
            yield Notice(f"{self._saved.model} answered in this conversation so far; {self._model} answers from now on")
            self._saved.model = self._model

    def _first_turn_that_fits(self, text: str) -> int:
        """Return the first turn to send: the same as last time if the rest fits, else one that frees some context."""
        context = self._backend.info().context
        keep = min(self._options.max_tokens or context, context // ANSWER_CONTEXT_FRACTION)
        tokens, exact = self._count_tokens(self._first_sent_turn, text)
        budget = (context if exact else int(context * INEXACT_CONTEXT_SHARE)) - keep
        if tokens <= budget:
            return self._first_sent_turn
        starts = range(self._first_sent_turn, len(self._turns) + 1, 2)
        goal = int(budget * KEPT_HISTORY_SHARE)
        found = bisect_left(starts, True, key=lambda start: self._count_tokens(start, text)[0] <= goal)
        return starts[min(found, len(starts) - 1)]

    def _count_tokens(self, start: int, text: str) -> tuple[int, bool]:
        (tokens,), exact = self._backend.count([self._request(start, text)])
        return tokens, exact

    def _request(self, start: int, text: str) -> Request:
        *opening, last = self._render(text)
        messages = [*opening]
        for turn in self._turns[start:]:
            is_user = turn.role is Role.USER
            messages.append(self._render(turn.content)[-1] if is_user else Message(Role.ASSISTANT, turn.content))
        limit = max_answer_tokens(self._prompt, self._options, None)
        return make_request(
            f"chat.{self._request_number}",
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
