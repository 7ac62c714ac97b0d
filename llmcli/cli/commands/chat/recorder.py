"""Saves a chat in the session that the options select, and reports it if the chat cannot be saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.chat.session_files import name_taken, open_read_only, open_sessions, require_valid_name
from llmcli.cli.console import error_messages
from llmcli.cli.console.console import Console
from llmcli.errors import LlmError, MissingError, PartialError, UsageError
from llmcli.fast_dataclass import replace
from llmcli.store.session import Session, StoredMessage, Summary, new_session
from llmcli.store.session_store import SessionStore


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
        turns: Sequence[StoredMessage] = (),
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
        self._error: LlmError | None = None
        self._grown_turns: dict[int, StoredMessage] = {}  # answers whose last text is not saved yet
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
        return bool(self.session.created) and self._error is None

    def refresh_saved_name(self) -> bool:
        """Check whether the whole conversation is saved now, and under which name."""
        try:
            with open_read_only(self._path) as sessions:
                found = {each.session.id: each for each in sessions.list()}.get(self.session.id)
        except LlmError:  # reported before, or nothing can be promised
            return False
        if found is not None:
            self.session = replace(self.session, name=found.session.name)
        return self.is_saved and found is not None

    def forget_orphaned_states(self) -> None:
        """Remove states that a model may have kept under ids that this conversation no longer uses."""
        if not self._orphaned_ids:
            return
        with suppress(LlmError):  # then they stay until the cache needs the space, or until `llm sessions rm`
            self._forget_states(self._orphaned_ids.__contains__)

    # ---- a ConversationStore ----------------------------------------------------------------------------------------

    def save(self, turns: Sequence[StoredMessage], model: str) -> Sequence[StoredMessage]:
        """Save the conversation, if wanted; retry the turns that could not be saved before."""
        self.turns = turns
        before = replace(self.session, model=model)
        with self._saving() as sessions:
            if sessions is not None:
                self._update_grown(sessions)
                saved = sessions.save(before, turns, joins=self.named)
                self._note_new_place(before, saved.session, branched=saved.branched)
                self.session, self.model, self.turns, self._error = saved.session, model, saved.turns, None
                self.changed = self.changed or len(turns) > 0
                self._orphaned_ids.discard(self.session.id)
        return self.turns

    def update(self, turn: StoredMessage) -> None:
        """Save the text of an answer that has grown; an answer that another process has removed is saved later."""
        self._grown_turns[turn.id] = turn
        with self._saving() as sessions:
            if sessions is not None:
                self._update_grown(sessions)
                self._error = None

    def _update_grown(self, sessions: SessionStore) -> None:
        for turn in self._grown_turns.values():
            sessions.update_turn(turn)
        self._grown_turns.clear()

    def withdraw(self, turn: StoredMessage) -> None:
        """Remove a question that got no answer; a session that has no other message is no longer saved."""
        with self._saving() as sessions:
            if sessions is not None:
                remains = sessions.withdraw(self.session, turn)
                created = self.session.created if remains else 0.0
                self.session = replace(self.session, head=turn.parent, created=created)

    def find_summary(self, turns: Sequence[StoredMessage]) -> Summary | None:
        """Return the saved summary that covers most of ``turns``."""
        with suppress(LlmError), open_read_only(self._path) as sessions:  # an unreadable file was reported
            return sessions.find_summary(turns)
        return None

    def save_summary(self, summary: Summary) -> None:
        """Save a summary."""
        with self._saving() as sessions:
            if sessions is not None:
                sessions.save_summary(summary)

    def renew(self) -> None:
        """Begin a new session with the same instructions and a generated name."""
        fresh = new_session(default_session_name(), self.session.system)
        self.use(replace(fresh, overflow=self.session.overflow), ())
        self.named, self.changed, self.saves = False, False, self._by_default

    # ---- the session ------------------------------------------------------------------------------------------------

    def use(self, session: Session, turns: Sequence[StoredMessage]) -> None:
        """Save to another session from now on."""
        self.session, self.turns, self.model, self._error = session, turns, session.model, None
        self.saves = True

    def set_details(self, *, system: str | None = None, overflow: str | None = None) -> None:
        """Change the instructions or the policy of the session; they are saved at once if it is."""
        session = self.session
        self.session = replace(
            session,
            system=session.system if system is None else system,
            overflow=session.overflow if overflow is None else overflow,
        )
        if self.is_saved:
            self.save(self.turns, self.model)

    def load_tree(self) -> tuple[StoredMessage, ...]:
        """Return the messages of all branches of the saved session. Raises ``LlmError``."""
        with open_read_only(self._path) as sessions:
            return sessions.load_tree(self.session)

    def open_store(self) -> SessionStore:
        """Open the file of saved chats to change it. Raises what ``SessionStore`` raises."""
        return open_sessions(self._path)

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

    @contextmanager
    def _saving(self) -> Iterator[SessionStore | None]:
        """Open the file for the block, which gets None if nothing is to be saved; an error is recorded, not raised."""
        if not self.saves:
            yield None
            return
        try:
            opened = open_sessions(self._path)
        except LlmError as error:
            self._record_failure(error)
            yield None
            return
        try:
            with opened as sessions:
                yield sessions
        except LlmError as error:
            self._record_failure(error)

    def _record_failure(self, error: LlmError) -> None:
        if self._error is None:
            words = ". ".join(filter(None, error_messages.describe(error)))
            self._pending_warnings.append(error if self.named else f"this conversation is not saved: {words}")
        self._error = error
        self._orphaned_ids.add(self.session.id)

    def _note_new_place(self, before: Session, now: Session, *, branched: bool) -> None:
        """Report where the conversation is saved if that is not what the user expects."""
        if now.id != before.id:
            self._orphaned_ids.add(before.id)
        if branched:
            self._pending_warnings.append(
                f"another process continued {now.name}; this conversation goes on as a branch of it"
            )
        elif now.id != before.id:
            renamed = f" as {now.name}" if now.name != before.name else ""
            self._pending_warnings.append(
                f"{before.name} was removed in the meantime; this conversation is saved again in full{renamed}"
            )

    def rename(self, name: str) -> None:
        """Rename the session. Raises ``UsageError`` for an invalid or used name, and what ``SessionStore`` raises."""
        require_valid_name(name)
        with open_sessions(self._path) as sessions:
            free = sessions.rename(self.session, name) if self.is_saved else sessions.find(name) is None
        if not free:
            raise name_taken(name)
        self.session, self.saves, self.named = replace(self.session, name=name), True, True


def choose_recorder(
    ctx: CommandContext, name: str | None, *, go_on: bool, off: bool, system: str | None, overflow: str | None = None
) -> ChatRecorder:
    """Return the recorder that the options select; ``go_on``: the session used last, ``off``: save nothing.

    ``system`` and ``overflow`` replace the instructions and the policy of an earlier session, unless they are None.
    Raises ``UsageError``, ``MissingError``, and, if the user named a session, everything that would prevent saving it.
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
        return recorder(replace(new_session(default_session_name(), system or ""), overflow=str(overflow or "")))
    if go_on:
        name = _last_session_name(path)
    with open_sessions(path) as sessions:
        sessions.check_writable()
        session = sessions.find(require_valid_name(name or "")) or new_session(name or "")
        turns = sessions.load_turns(session)
    session = session if system is None else replace(session, system=system)
    session = session if overflow is None else replace(session, overflow=str(overflow))
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


def default_session_name() -> str:
    """Return a name made of date and time."""
    return time.strftime("%Y-%m-%d-%H%M")
