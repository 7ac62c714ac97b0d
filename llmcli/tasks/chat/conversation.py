"""chat: a conversation that stays within the context."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from llmcli.backends.base import Backend
from llmcli.errors.incomplete_results import RepetitionStopped
from llmcli.fast_dataclass import replace
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.store.session import StoredMessage, Summary
from llmcli.tasks.chat import OverflowPolicy
from llmcli.tasks.chat.context_window import ContextUse, ContextWindow, SentPart, TurnSummarizer, sent_turns
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.tasks.runner.text_answers import write_text
from llmcli.types import Message, Notice, Priority, Request, Result, Role, TaskEvent

PROMPT = "chat"
PARTIAL_SAVE_S = 0.5
"""Seconds between two savings of an answer that is being written."""


class Conversation:
    """A conversation with one backend; ``turns`` are those of its current branch, in order."""

    def __init__(
        self,
        backend: Backend,
        prompts: PromptLibrary,
        options: GenerationOptions,
        *,
        system: str = "",
        saved: ConversationStore | None = None,
        policy: OverflowPolicy = OverflowPolicy.SUMMARIZE,
    ) -> None:
        """``system``: the user's own instructions, added to those of the prompt file, which stay in every request.

        ``saved``: the saved conversation to continue, or the one to save to. ``policy``: what happens to messages that
        no longer fit.
        """
        self.options = options
        self.system = system
        self.policy = policy
        self.announces_model = True
        """Whether the next answer begins with a Notice if another model gave the earlier ones."""
        self._prompts = prompts
        self._prompt = prompts.get(PROMPT)
        self._saved = saved
        self._turns: list[StoredMessage] = []  # user and assistant alternate
        self._part = SentPart()
        self._request_number = 0
        self._model = ""  # the model that answers
        self.unanswered: StoredMessage | None = None
        """A saved question at the end that got no answer, since the process was killed."""
        self._backend = backend
        self.load(saved.turns if saved else ())

    @property
    def history(self) -> tuple[StoredMessage, ...]:
        """All turns so far, including those that are no longer sent."""
        return tuple(self._turns)

    def load(self, turns: Sequence[StoredMessage]) -> None:
        """Continue from ``turns``; a question without an answer at their end is not sent."""
        self._turns, self.unanswered = list(turns), None
        if self._turns and self._turns[-1].role is Role.USER:
            self.unanswered = self._turns.pop()
        self._part = self._saved_part()

    def use_backend(self, backend: Backend) -> None:
        """Let another model answer from now on."""
        self._backend = backend

    def reset(self) -> None:
        """Drop all turns, and begin to save another conversation."""
        self.load(())
        if self._saved is not None:
            self._saved.renew()

    def save_to(self, saved: ConversationStore) -> None:
        """Save the conversation from now on, with its turns so far."""
        self._saved = saved
        self._save()

    def continue_from(self, saved: ConversationStore) -> None:
        """Continue another saved conversation."""
        self._saved = saved
        self.load(saved.turns)

    def go_back(self, exchanges: int) -> None:
        """Take back the last questions and their answers; they stay in the saved tree."""
        self.move_to(self._turns[: max(0, len(self._turns) - 2 * exchanges)])

    def move_to(self, turns: Sequence[StoredMessage]) -> None:
        """Continue from the end of ``turns``, the branch up to any answer of the saved tree."""
        self.load(turns)
        if self._saved is not None:
            self._turns = list(self._saved.save(self._turns, self._saved.model))

    def set_pinned(self, index: int, *, pinned: bool) -> StoredMessage:
        """Pin the turn number ``index``, from 0; return it."""
        self._turns[index] = replace(self._turns[index], pinned=pinned)
        return self._turns[index]

    def send(self, text: str) -> Iterator[TaskEvent]:
        """Send ``text``; yield the answer's Deltas, then its Result, or ItemFailed.

        When the history no longer fits, the policy decides; a ``Notice`` and the ``warnings`` of the Result say what
        was done. A text that is too large on its own fails with ``ContextOverflow``, and the history stays as it was.
        The question is saved before it is sent, and the answer while it is written. A stopped answer (the iterator was
        closed, or an error came) stays as far as it came; a text without any answer does not.
        """
        return self._run(self._turns, StoredMessage(Role.USER, text, time=time.time()))

    def retry(self) -> Iterator[TaskEvent]:
        """Ask the last question again, as a new branch. Raises ``IndexError`` if there is none."""
        if self.unanswered is not None:
            return self._run(self._turns, self.unanswered)
        return self._run(self._turns[:-2], self._turns[-2])

    def edit(self, index: int, text: str) -> Iterator[TaskEvent]:
        """Send ``text`` instead of the question that is turn number ``index`` (from 0), as a new branch."""
        return self._run(self._turns[:index], StoredMessage(Role.USER, text, time=time.time()))

    def compact(self, kept: int = 2) -> Iterator[TaskEvent]:
        """Replace all messages but the last ``kept`` by a summary in what is sent; Notices say how it went."""

        async def summarize(run: TaskRun) -> Result:
            before = self._part
            start = max(0, len(self._turns) - kept)
            notice = f"a summary replaces the first {start} messages"
            part = await self._window().summarize(run, before, self._turns, start, notice)
            if part is not None:
                self._set_part(part)
            elif len(self._turns) <= kept + before.start:
                run.report(Notice("there is nothing to summarize"))
            else:
                run.report(Notice("the model gave no summary"))
            return run.result(None)

        return (event for event in run_task(self._backend, summarize) if not isinstance(event, Result))

    def context_use(self) -> ContextUse:
        """Return how much of the context the next request takes, with an empty message."""
        return self._window().measure(self._part, self._turns, "")

    @property
    def part(self) -> SentPart:
        """The part of the turns that is sent."""
        return self._part

    # ---- one answer -----------------------------------------------------------------------------------------------

    def _run(self, base: Sequence[StoredMessage], question: StoredMessage) -> Iterator[TaskEvent]:
        return run_task(self._backend, lambda run: self._answer(run, base, question))

    async def _answer(self, run: TaskRun, base: Sequence[StoredMessage], question: StoredMessage) -> Result:
        """Answer ``question`` after the turns ``base``, which need not be all turns so far."""
        before, before_part = list(self._turns), self._part
        self._note_model_change(run)
        if len(base) < len(self._turns):
            self._turns = list(base)
            self._part = self._part if self._part.start <= len(base) else self._saved_part()
        said, complete = list[str](), False
        saved_at = time.monotonic()

        def save_text(text: str) -> None:
            nonlocal saved_at
            self._use_part(run, part)
            said.append(text)
            if len(said) == 1 or time.monotonic() - saved_at >= PARTIAL_SAVE_S:
                self._save_answer("".join(said), interrupted=True)
                saved_at = time.monotonic()

        try:
            part = await self._window().fit(run, self._part, self._turns, question.content, self.policy)
            self._request_number += 1
            request = self._request(part, self._turns, question.content)
            self._turns.append(question)
            self._save()
            result = await write_text(run, request, self.options, prompt=PROMPT, on_text=save_text)
            self._save_answer("".join(said), interrupted=isinstance(result.incomplete, RepetitionStopped))
            complete = True
            said_so = self._describe_part()
            return replace(result, warnings=(*result.warnings, said_so)) if said_so else result
        finally:
            if not complete:
                self._end_stopped(question, "".join(said), before, before_part)

    def _use_part(self, run: TaskRun, part: SentPart) -> None:
        """Send this part from now on, since the model answers to it."""
        if part == self._part:
            return
        left_out = part.start > self._part.start and not part.summary
        self._set_part(part)
        if left_out:
            run.report(Notice(self._describe_part()))

    def _end_stopped(
        self, question: StoredMessage, text: str, before: list[StoredMessage], before_part: SentPart
    ) -> None:
        """Keep what came of a stopped answer; take a question back that got none."""
        if text:
            self._save_answer(text, interrupted=True)
            return
        added = self._turns[-1] if len(self._turns) % 2 else None
        self._turns, self._part = before, before_part
        if self._saved is None or added is None:
            return
        if question.id == 0 and added.id:
            self._saved.withdraw(added)
        if before and added.parent != before[-1].id:
            self._turns = list(self._saved.save(before, self._saved.model))

    def _save_answer(self, text: str, *, interrupted: bool) -> None:
        """Add the answer, or replace what came of it so far, and save it."""
        if len(self._turns) % 2:
            self.unanswered = None
            self._turns.append(StoredMessage(Role.ASSISTANT, text, interrupted, time.time()))
            self._save()
            return
        answer = replace(self._turns[-1], content=text, interrupted=interrupted)
        self._turns[-1] = answer
        if self._saved is not None and answer.id:
            self._saved.update(answer)
        else:
            self._save()

    def _save(self) -> None:
        if self._saved is not None and self._turns:
            self._turns = list(self._saved.save(self._turns, self._model))

    def _note_model_change(self, run: TaskRun) -> None:
        """Report once that another model continues a conversation."""
        self._model = self._backend.info().model
        if self._saved is not None and self._saved.model not in {"", self._model}:
            if self.announces_model:
                known = self._saved.model
                run.report(Notice(f"{known} answered in this conversation so far; {self._model} answers from now on"))
            self._saved.model = self._model
        self.announces_model = True

    # ---- what is sent ---------------------------------------------------------------------------------------------

    def _window(self) -> ContextWindow:
        summarizer = TurnSummarizer(self._backend, self._prompts, self.options)
        return ContextWindow(self._backend, self._request, summarizer, max_tokens=self.options.max_tokens)

    def _saved_part(self) -> SentPart:
        """Return the part of the turns that follows their saved summary."""
        summary = self._saved.find_summary(self._turns) if self._saved is not None and self._turns else None
        if summary is None:
            return SentPart()
        covered = next(index for index, turn in enumerate(self._turns, 1) if turn.id == summary.turn)
        return SentPart(covered, summary.content)

    def _set_part(self, part: SentPart) -> None:
        self._part = part
        if part.summary and self._saved is not None and self._turns[part.start - 1].id:
            self._saved.save_summary(Summary(self._turns[part.start - 1].id, part.summary, self._model))

    def _describe_part(self) -> str:
        if not self._part.start:
            return ""
        if self._part.summary:
            return f"a summary replaces the first {self._part.start} messages"
        return f"the oldest {self._part.start} messages no longer fit the context and are left out"

    def _request(self, part: SentPart, turns: Sequence[StoredMessage], text: str) -> Request:
        *opening, last = self._render(text, part.summary)
        messages = [*opening]
        for turn in sent_turns(turns, part.start):
            is_user = turn.role is Role.USER
            messages.append(self._render(turn.content)[-1] if is_user else Message(Role.ASSISTANT, turn.content))
        return make_request(
            f"chat.{self._request_number}",
            (*messages, last),
            self._prompt,
            self.options,
            max_tokens=max_answer_tokens(self._prompt, self.options, None),
            priority=Priority.INTERACTIVE,
            conversation=True,
            session=self._saved.id if self._saved else None,
        )

    def _render(self, text: str, summary: str = "") -> tuple[Message, ...]:
        earlier = f"Summary of the earlier conversation:\n{summary}" if summary else ""
        system = "\n\n".join(filter(None, (self.system, earlier)))
        return self._prompt.render({"message": text, "system": system})


class ConversationStore(Protocol):
    """A saved conversation: its earlier ``turns``, and the ``model`` that answered last ("": none yet).

    No method raises an error that would end the chat.
    """

    turns: Sequence[StoredMessage]
    model: str

    @property
    def id(self) -> str | None:
        """Its id in requests; None while it is not saved."""
        ...

    def save(self, turns: Sequence[StoredMessage], model: str) -> Sequence[StoredMessage]:
        """Save the conversation that consists of ``turns``; return them with the ids of those that are saved."""
        ...

    def update(self, turn: StoredMessage) -> None:
        """Save the text of an answer that has grown."""
        ...

    def withdraw(self, turn: StoredMessage) -> None:
        """Remove a question that got no answer."""
        ...

    def find_summary(self, turns: Sequence[StoredMessage]) -> Summary | None:
        """Return the saved summary that covers most of ``turns``."""
        ...

    def save_summary(self, summary: Summary) -> None:
        """Save a summary."""
        ...

    def renew(self) -> None:
        """Begin a new conversation."""
        ...
