"""The chat that runs: its conversation, where it is saved, and what its slash commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.chat.recorder import ChatRecorder
from llmcli.cli.commands.chat.typed_keys import TypedKeys
from llmcli.cli.render.renderer import render_events
from llmcli.errors import LlmError, UsageError
from llmcli.prompts.jinja_template import fence_text
from llmcli.store.session import Session, StoredMessage
from llmcli.tasks.chat import OverflowPolicy
from llmcli.tasks.chat.conversation import Conversation
from llmcli.types import Result, Role, TaskEvent, Usage


def overflow_policy(ctx: CommandContext, session: Session) -> OverflowPolicy:
    """Return what happens when a session exceeds the context: its own policy, else that of the settings."""
    return OverflowPolicy(session.overflow or ctx.runtime.settings["chat.overflow"])


class ActiveChat:
    """A conversation with a person or a pipe.

    ``attachments``: files (name and text) that go with the next message. ``prefill``: text with which the next prompt
    begins; ``edited``: the index of the turn that the next message replaces. ``pasting``: the next message may have
    many lines. ``leaving``: the chat ends. ``typed``: the keys of the person, None in a pipe.
    """

    def __init__(self, ctx: CommandContext, conversation: Conversation, recorder: ChatRecorder) -> None:
        self.ctx = ctx
        self.conversation = conversation
        self.recorder = recorder
        self.attachments: list[tuple[str, str]] = []
        self.prefill = ""
        self.edited: int | None = None
        self.pasting = False
        self.leaving = False
        self.typed: TypedKeys | None = None
        self.last_result: Result | None = None
        self.answers = 0
        self.usage = Usage()

    def leave(self) -> None:
        """End the chat after this command."""
        self.leaving = True

    def write_notice(self, text: str) -> None:
        """Write lines about the chat to stderr, unless --quiet; a terminal gets them wrapped at words."""
        if not self.ctx.console.quiet:
            self.ctx.console.write_message(text)

    @property
    def columns(self) -> int:
        """The columns that a line of a notice may fill."""
        environment = self.ctx.console.environment
        return environment.columns(environment.stderr) - 1

    def write_error(self, error: LlmError) -> None:
        """Write why something cannot be done; ⏎ is a line break of what was typed, since a space would look typed."""
        error.subject = error.subject.replace("\n", " ⏎ ")
        if isinstance(error, UsageError) and not error.detail:
            error.detail = "/help lists the commands."
        self.ctx.console.write_error(error)

    def use_session(self, session: Session, turns: Sequence[StoredMessage]) -> None:
        """Continue another saved session."""
        self.recorder.use(session, turns)
        self.recorder.named = True
        self.conversation.system = session.system
        self.conversation.policy = overflow_policy(self.ctx, session)
        self.conversation.continue_from(self.recorder)

    # ---- answers ------------------------------------------------------------------------------------------------

    def send(self, text: str) -> int:
        """Answer a message, with the attached files before it; returns the exit code."""
        message = "".join(f'File "{name}":\n{fence_text(content)}\n\n' for name, content in self.attachments) + text
        index, self.edited = self.edited, None
        if index is None:
            code = self.render(lambda: self.conversation.send(message))
        else:
            code = self.render(lambda: self.conversation.edit(index, message))
        self.attachments.clear()
        return code

    def render(self, make_events: Callable[[], Iterator[TaskEvent]]) -> int:
        """Show the events of the conversation, then what went wrong while it was saved; returns the exit code."""
        try:
            return render_events(self.ctx, lambda: self._watch(make_events())).exit_code
        finally:
            self.recorder.flush_warnings()

    def _watch(self, events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
        close = getattr(events, "close", None)
        with nullcontext() if close is None else closing(events):  # type: ignore[type-var]  # it has a method ``close``
            for event in events:
                if self.typed is not None:
                    self.typed.collect()
                if isinstance(event, Result):
                    self.last_result = event
                    self.answers += 1
                    self.usage += event.usage
                yield event

    # ---- turns --------------------------------------------------------------------------------------------------

    def last_answer(self) -> str:
        """Return the last answer; raises ``UsageError`` if there is none."""
        answers = [turn for turn in self.conversation.history if turn.role is Role.ASSISTANT]
        if not answers:
            raise UsageError("there is no answer yet", detail="Send a message first.")
        return answers[-1].content

    def tree(self) -> tuple[StoredMessage, ...]:
        """Return the messages of all branches; message number N is the N-th of them. Raises ``LlmError``."""
        return self.recorder.load_tree() if self.recorder.is_saved else self.conversation.history

    def index_of(self, number: int) -> int:
        """Return the index of message ``number`` in the current branch; raises ``UsageError`` if it is not in it."""
        turns, tree = self.conversation.history, self.tree()
        if number > len(tree):
            raise UsageError(f"there is no message {number}", detail="/tree shows the numbers.")
        wanted = tree[number - 1]
        found = next((index for index, turn in enumerate(turns) if turn.id == wanted.id and turn == wanted), None)
        if found is None:
            raise UsageError(f"message {number} is in another branch", detail=f"Go there first: /branches {number}")
        return found

    def number_of(self, turn: StoredMessage) -> int:
        """Return the number of a message."""
        return next(number for number, each in enumerate(self.tree(), 1) if each.id == turn.id and each == turn)
