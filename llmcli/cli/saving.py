"""Where a chat is saved: the session that the options mean, and what becomes of the talk when it cannot be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from llmcli.cli import wording
from llmcli.cli.context import Context
from llmcli.engine.prefixes import forget_sessions
from llmcli.errors import LlmError, MissingError, PartialError, UsageError
from llmcli.store.database import make_directory
from llmcli.store.sessions import ALLOWED, Session, Sessions, begin, is_name
from llmcli.types import Turn


def open_sessions(cli: Context) -> Sessions:
    """Open the user's saved chats to change them; the file is made where it is not there. Raises as ``Sessions``."""
    make_directory(cli.paths.sessions)
    return Sessions(cli.paths.sessions)


def look(cli: Context) -> Sessions:
    """Open the user's saved chats to look at them; where none was saved, there are none. Raises as ``Sessions``."""
    return Sessions(cli.paths.sessions, looks=True)


def checked(name: str) -> str:
    """Return the name of a session; raises ``UsageError`` for what can be none."""
    if not is_name(name):
        said = f"{name!r} cannot be the name of a session" if name else "a session needs a name"
        raise UsageError(f"{said}: {ALLOWED}")
    return name


def said_at(seconds: float) -> str:
    """Return a time for people."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


class Saving:
    """Saves one conversation as it goes. What goes wrong there never ends the talk; ``tell`` says it, once.

    ``by_default``: chats that nobody named are saved too; ``named``: the user said where.
    """

    def __init__(
        self, cli: Context, session: Session, turns: Sequence[Turn] = (), *, by_default: bool, named: bool = False
    ) -> None:
        self._cli = cli
        self.session = session
        self.turns = turns
        self.model = session.model
        self.wanted = by_default or named
        self._by_default = by_default
        self.named = named
        self.changed = False
        self._known = len(turns)
        self._error: LlmError | None = None
        self._untold: list[str | LlmError] = []
        self._strays: set[str] = set()  # ids under which a model may have kept what is saved elsewhere, or nowhere

    @property
    def id(self) -> str | None:
        """What names it in requests; None while it is not saved, since then nothing of it may be kept elsewhere."""
        return None if self._error or not self.wanted else self.session.id

    @property
    def code(self) -> int:
        """The exit code by itself: 3 when the talk could not be saved where the user wanted it."""
        return PartialError.exit_code if self._error and self.named else 0

    @property
    def saved(self) -> bool:
        """Whether something is saved, as far as is known here."""
        return self._known > 0 and self._error is None

    def still_there(self) -> bool:
        """Look whether the whole conversation is saved now, and under which name."""
        try:
            with look(self._cli) as sessions:
                found = {each.session.id: each for each in sessions.list()}.get(self.session.id)
        except LlmError:  # it was told before, or there is nothing that could be promised
            return False
        if found is not None:
            self.session = replace(self.session, name=found.session.name)
        return self.saved and found is not None and found.messages >= self._known

    def forget(self) -> None:
        """Remove what a model may have kept under ids that are not this conversation's any more."""
        if not self._strays:
            return
        with suppress(LlmError):  # then it stays until the cache needs its room, or `llm sessions rm` comes by
            forget_sessions(self._cli.paths.prefixes, self._strays.__contains__)

    def save(self, turns: Sequence[Turn], model: str) -> None:
        """Save the conversation, if wanted; the turns that could not be saved before are tried again."""
        if not self.wanted:
            return
        before = replace(self.session, model=model)
        try:
            with open_sessions(self._cli) as sessions:
                now = sessions.save(before, turns, self._known)
        except LlmError as error:
            self._failed(error)
            return
        self._moved(before, now)
        self._strays.discard(now.id)
        if now.id != before.id:
            self._strays.add(before.id)
        self.session, self.model, self._known, self._error, self.changed = now, model, len(turns), None, True

    def tell(self) -> None:
        """Say what went wrong since the last time; not while an answer is shown, in whose line it would be."""
        self.forget()
        for each in self._untold:
            if isinstance(each, str):
                self._cli.warn(each)
            else:
                name = f"session {self.session.name}"
                wording.show(each, self._cli.world, as_json=self._cli.flags.json, name=name)
        self._untold.clear()

    def _failed(self, error: LlmError) -> None:
        if self._error is None:
            words = ". ".join(filter(None, wording.words(error)))
            self._untold.append(error if self.named else f"this conversation is not saved: {words}")
        self._error = error
        self._strays.add(self.session.id)

    def _moved(self, before: Session, now: Session) -> None:
        """Have it told where the conversation is saved, when that is not where it was expected."""
        if now.id == before.id and (self._known or now.name == before.name or not self.named):
            return
        if now.name == before.name:
            self._untold.append(f"{now.name} was removed meanwhile; this conversation is saved again, as a whole")
        else:
            self._untold.append(f"somebody else went on with {before.name}; this conversation is saved as {now.name}")

    def renew(self) -> None:
        """Begin another session, with the same instructions and a name that nobody chose."""
        self.session = begin(_now(), self.session.system)
        self.turns, self.model, self.named, self._known, self._error = (), "", False, 0, None
        self.changed, self.wanted = False, self._by_default

    def rename(self, name: str) -> None:
        """Call the session ``name``. Raises ``UsageError`` where that cannot be, and what ``Sessions`` raises."""
        checked(name)
        with open_sessions(self._cli) as sessions:
            free = sessions.rename(self.session, name) if self.saved else sessions.find(name) is None
        if not free:
            raise taken(name)
        self.session, self.wanted, self.named = replace(self.session, name=name), True, True


def taken(name: str) -> UsageError:
    """Return what to raise where another session has a name."""
    return UsageError(f"there is a session called {name}", detail=f"Choose another name, or: llm sessions rm {name}")


def choose(cli: Context, name: str | None, *, go_on: bool, off: bool, system: str | None) -> Saving:
    """Return where the chat is saved by its options; ``go_on``: with the session used last, ``off``: nowhere.

    ``system`` replaces the instructions of an earlier session, unless it is None. Raises ``UsageError``, ``MissingError``,
    and where the user named a session all that would keep it from being saved.
    """
    if go_on and name is not None:
        raise UsageError("--session and --continue exclude each other")
    if off and (go_on or name is not None):
        raise UsageError(f"--no-save and {'--continue' if go_on else '--session'} exclude each other")
    by_default = not off and cli.settings["chat.save"] == "on" and cli.world.terminal(cli.world.stdin)
    if name is None and not go_on:
        return Saving(cli, begin(_now(), system or ""), by_default=by_default)
    if go_on:
        name = _last(cli)
    with open_sessions(cli) as sessions:
        sessions.try_writing()
        session = sessions.find(checked(name or "")) or begin(name or "")
        turns = sessions.turns(session)
    session = session if system is None else replace(session, system=system)
    return Saving(cli, session, turns, by_default=by_default, named=True)


def _last(cli: Context) -> str:
    with look(cli) as sessions:
        session = sessions.last()
    if session is None:
        raise MissingError("--continue", kind="last session")
    return session.name


def _now() -> str:
    """Return a name made of date and time."""
    return time.strftime("%Y-%m-%d-%H%M")
