"""Where a chat is saved: the session that the options select, and what happens if it cannot be saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.chat.session_files import name_taken, open_read_only, open_sessions, require_valid_name
from llmcli.cli.console import error_messages
from llmcli.cli.console.console import Console
from llmcli.errors import LlmError, MissingError, PartialError, UsageError
from llmcli.store.session import Session, new_session
from llmcli.store.turn import Turn


class ChatRecorder:
    """Saves one conversation as it goes. An error while saving never ends the chat; ``flush_warnings`` reports it once.

    ``path`` is the file of saved chats. ``forget_states`` removes the states that models keep on disk for the sessions
    whose ids pass a test. ``by_default``: chats without a name are saved too; ``named``: the user chose the name.
    """

    def __init__(
        self,
        console: Console,
        path: Path,
        session: Session,
        turns: Sequence[Turn] = (),
        *,
        forget_states: Callable[[Callable[[str], bool]], None],
        by_default: bool,
        named: bool = False,
    ) -> None:
        self._console = console
        self._path = path
        self._forget_states = forget_states
        self.session = session
        self.turns = turns
        self.model = session.model
        self.saves = by_default or named
        self._by_default = by_default
        self.named = named
        self.changed = False
        self._saved_turns = len(turns)
        self._error: LlmError | None = None
        self._pending_warnings: list[str | LlmError] = []
        self._orphaned_ids: set[str] = set()  # ids of states on disk that the saved chat does not use

    @property
    def id(self) -> str | None:
        """Its id in requests; None while it is not saved, since no state of it may then be kept on disk."""
        return None if self._error or not self.saves else self.session.id

    @property
    def exit_code(self) -> int:
        """The exit code of saving: 3 if the chat could not be saved where the user wanted it."""
        return PartialError.exit_code if self._error and self.named else 0

    @property
    def is_saved(self) -> bool:
        """Whether something is saved, as far as this object knows."""
        return self._saved_turns > 0 and self._error is None

    def refresh_saved_name(self) -> bool:
        """Check whether the whole conversation is saved now, and under which name."""
        try:
            with open_read_only(self._path) as sessions:
                found = {each.session.id: each for each in sessions.list()}.get(self.session.id)
        except LlmError:  # reported before, or nothing can be promised
            return False
        if found is not None:
            self.session = replace(self.session, name=found.session.name)
        return self.is_saved and found is not None and found.message_count >= self._saved_turns

    def forget_orphaned_states(self) -> None:
        """Remove states that a model may have kept under ids that this conversation no longer uses."""
        if not self._orphaned_ids:
            return
        with suppress(LlmError):  # then they stay until the cache needs the space, or until `llm sessions rm`
            self._forget_states(self._orphaned_ids.__contains__)

    def save(self, turns: Sequence[Turn], model: str) -> None:
        """Save the conversation, if wanted; retry the turns that could not be saved before."""
        if not self.saves:
            return
        before = replace(self.session, model=model)
        try:
            with open_sessions(self._path) as sessions:
                now = sessions.save(before, turns, self._saved_turns)
        except LlmError as error:
            self._record_failure(error)
            return
        self._note_new_place(before, now)
        self._orphaned_ids.discard(now.id)
        if now.id != before.id:
            self._orphaned_ids.add(before.id)
        self.session, self.model, self._saved_turns, self._error, self.changed = now, model, len(turns), None, True

    def flush_warnings(self) -> None:
        """Report what went wrong since the last call; do not call it while an answer is shown."""
        self.forget_orphaned_states()
        for each in self._pending_warnings:
            if isinstance(each, str):
                self._console.warn(each)
            else:
                name = f"session {self.session.name}"
                self._console.write_error(each, name=name)
        self._pending_warnings.clear()

    def _record_failure(self, error: LlmError) -> None:
        if self._error is None:
            words = ". ".join(filter(None, error_messages.describe(error)))
            self._pending_warnings.append(error if self.named else f"this conversation is not saved: {words}")
        self._error = error
        self._orphaned_ids.add(self.session.id)

    def _note_new_place(self, before: Session, now: Session) -> None:
        """Report where the conversation is saved if that is not the expected session."""
        if now.id == before.id and (self._saved_turns or now.name == before.name or not self.named):
            return
        if now.name == before.name:
            self._pending_warnings.append(
                f"{now.name} was removed in the meantime; this conversation is saved again in full"
            )
        else:
            self._pending_warnings.append(
                f"another process continued {before.name}; this conversation is saved as {now.name}"
            )

    def renew(self) -> None:
        """Begin a new session with the same instructions and a generated name."""
        self.session = new_session(_default_name(), self.session.system)
        self.turns, self.model, self.named, self._saved_turns, self._error = (), "", False, 0, None
        self.changed, self.saves = False, self._by_default

    def rename(self, name: str) -> None:
        """Rename the session. Raises ``UsageError`` for an invalid or used name, and what ``SessionStore`` raises."""
        require_valid_name(name)
        with open_sessions(self._path) as sessions:
            free = sessions.rename(self.session, name) if self.is_saved else sessions.find(name) is None
        if not free:
            raise name_taken(name)
        self.session, self.saves, self.named = replace(self.session, name=name), True, True


def choose_recorder(
    ctx: CommandContext, name: str | None, *, go_on: bool, off: bool, system: str | None
) -> ChatRecorder:
    """Return the recorder that the options select; ``go_on``: the session used last, ``off``: save nothing.

    ``system`` replaces the instructions of an earlier session, unless it is None. Raises ``UsageError``,
    ``MissingError``, and, if the user named a session, everything that would prevent saving it.
    """
    if go_on and name is not None:
        raise UsageError("--session and --continue exclude each other")
    if off and (go_on or name is not None):
        raise UsageError(f"--no-save and {'--continue' if go_on else '--session'} exclude each other")
    by_default = not off and ctx.runtime.settings["chat.save"] == "on" and ctx.console.stdin_is_terminal
    path = ctx.runtime.paths.sessions
    recorder = partial(
        ChatRecorder,
        ctx.console,
        path,
        forget_states=partial(_forget_states, ctx.runtime.paths.prefix_cache),
        by_default=by_default,
    )
    if name is None and not go_on:
        return recorder(new_session(_default_name(), system or ""))
    if go_on:
        name = _last_session_name(path)
    with open_sessions(path) as sessions:
        sessions.check_writable()
        session = sessions.find(require_valid_name(name or "")) or new_session(name or "")
        turns = sessions.load_turns(session)
    session = session if system is None else replace(session, system=system)
    return recorder(session, turns, named=True)


def _forget_states(prefix_cache: Path, is_forgotten: Callable[[str], bool]) -> None:
    from llmcli.engine.kv.disk_prefix_store import delete_sessions

    delete_sessions(prefix_cache, is_forgotten)


def _last_session_name(path: Path) -> str:
    with open_read_only(path) as sessions:
        session = sessions.last_used()
    if session is None:
        raise MissingError("--continue", kind="last session")
    return session.name


def _default_name() -> str:
    """Return a name made of date and time."""
    return time.strftime("%Y-%m-%d-%H%M")
