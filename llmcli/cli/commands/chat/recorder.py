"""Where a chat is saved: the session that the options mean, and what becomes of the talk when it cannot be."""

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
from llmcli.store.session_store import Session, new_session
from llmcli.types import Turn


class ChatRecorder:
    """Saves one conversation as it goes. An error while saving never ends the chat; ``flush_warnings`` reports it once.

    ``path`` is the file of saved chats. ``forget_states`` removes what models keep on disk of the sessions whose ids it
    is given a test for. ``by_default``: chats without a name are saved too; ``named``: the user chose the name.
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
        self._orphaned_ids: set[str] = set()  # under which a model may have kept what is saved elsewhere, or nowhere

    @property
    def id(self) -> str | None:
        """What names it in requests; None while it is not saved, since then nothing of it may be kept elsewhere."""
        return None if self._error or not self.saves else self.session.id

    @property
    def exit_code(self) -> int:
        """The exit code by itself: 3 when the talk could not be saved where the user wanted it."""
        return PartialError.exit_code if self._error and self.named else 0

    @property
    def is_saved(self) -> bool:
        """Whether something is saved, as far as is known here."""
        return self._saved_turns > 0 and self._error is None

    def refresh_saved_name(self) -> bool:
        """Look whether the whole conversation is saved now, and under which name."""
        try:
            with open_read_only(self._path) as sessions:
                found = {each.session.id: each for each in sessions.list()}.get(self.session.id)
        except LlmError:  # it was told before, or there is nothing that could be promised
            return False
        if found is not None:
            self.session = replace(self.session, name=found.session.name)
        return self.is_saved and found is not None and found.message_count >= self._saved_turns

    def forget_orphaned_states(self) -> None:
        """Remove what a model may have kept under ids that are not this conversation's any more."""
        if not self._orphaned_ids:
            return
        with suppress(LlmError):  # then it stays until the cache needs its room, or `llm sessions rm` comes by
            self._forget_states(self._orphaned_ids.__contains__)

    def save(self, turns: Sequence[Turn], model: str) -> None:
        """Save the conversation, if wanted; the turns that could not be saved before are tried again."""
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
        """Say what went wrong since the last time; not while an answer is shown, in whose line it would be."""
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
        """Have it told where the conversation is saved, when that is not where it was expected."""
        if now.id == before.id and (self._saved_turns or now.name == before.name or not self.named):
            return
        if now.name == before.name:
            self._pending_warnings.append(
                f"{now.name} was removed meanwhile; this conversation is saved again, as a whole"
            )
        else:
            self._pending_warnings.append(
                f"another process continued {before.name}; this conversation is saved as {now.name}"
            )

    def renew(self) -> None:
        """Begin another session, with the same instructions and a generated name."""
        self.session = new_session(_default_name(), self.session.system)
        self.turns, self.model, self.named, self._saved_turns, self._error = (), "", False, 0, None
        self.changed, self.saves = False, self._by_default

    def rename(self, name: str) -> None:
        """Call the session ``name``. Raises ``UsageError`` where that cannot be, and what ``SessionStore`` raises."""
        require_valid_name(name)
        with open_sessions(self._path) as sessions:
            free = sessions.rename(self.session, name) if self.is_saved else sessions.find(name) is None
        if not free:
            raise name_taken(name)
        self.session, self.saves, self.named = replace(self.session, name=name), True, True


def choose_recorder(
    ctx: CommandContext, name: str | None, *, go_on: bool, off: bool, system: str | None
) -> ChatRecorder:
    """Return where the chat is saved by its options; ``go_on``: with the session used last, ``off``: nowhere.

    ``system`` replaces the instructions of an earlier session, unless it is None. Raises ``UsageError``, ``MissingError``,
    and where the user named a session all that would keep it from being saved.
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
