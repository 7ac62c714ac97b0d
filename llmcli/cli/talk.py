"""The talk of ``llm chat``: with a person at a terminal, or with a pipe that gives a message a line."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from llmcli.cli import chat_commands, suggestion, wording
from llmcli.cli.context import Context
from llmcli.cli.lines import stdin_lines
from llmcli.cli.output import deliver
from llmcli.cli.saving import Saving, said_at
from llmcli.errors import Interrupted, LlmError, PartialError, UsageError
from llmcli.tasks.chat import Conversation

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

_LOOK_S = 0.1


class Talk:
    """One conversation, the way its messages come in, and where it is saved."""

    def __init__(self, cli: Context, conversation: Conversation, saving: Saving) -> None:
        self._cli = cli
        self._conversation = conversation
        self._saving = saving

    def with_pipe(self) -> int:
        """Answer each line of standard input; returns 0, 3 or the first failure's code."""
        codes = [self._answer(record.text) for record in stdin_lines(self._cli) if record.text.strip()]
        failed = [code for code in codes if code]
        code = PartialError.exit_code if failed and len(failed) < len(codes) else (failed or [0])[0]
        return code or self._saving.code

    def with_person(self) -> int:
        """Talk until the person leaves. Ctrl-C stops an answer, or empties the line; it does not end the program."""
        editor = _editor(self._cli)
        self._say("Ctrl-C stops an answer, Ctrl-D leaves, /help says more.")
        if self._saving.saved:
            session, count = self._saving.session, len(self._saving.turns)
            self._say(f"Going on with {session.name}: {count} messages, the last of {said_at(session.updated)}.")
        while True:
            try:
                text = editor.prompt("> ", pre_run=self._watch).strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return self._left()
            if not text:
                continue
            try:
                command, rest = chat_commands.parse(text)
            except UsageError as error:
                self._refuse(error)
                continue
            if command in chat_commands.EXITS:
                return self._left()
            self._handle(command, rest)

    def _left(self) -> int:
        if self._saving.changed and self._saving.still_there():
            name = self._saving.session.name
            again = suggestion.command("chat", *suggestion.of_model(self._cli), "--session", name)
            self._say(f"Saved as {name}. To go on: {again}")
        return self._saving.code

    def _handle(self, command: str, rest: str) -> None:
        if command == "/help":
            self._say(chat_commands.HELP)
        elif command == "/reset":
            kept = f"; it stays saved as {self._saving.session.name}" if self._saving.still_there() else ""
            self._conversation.reset()
            self._say(f"What was said is forgotten{kept}.")
        elif command == "/save":
            self._save(rest)
        else:
            try:
                self._answer(rest)
            except Interrupted:
                self._cli.interrupt.clear()

    def _refuse(self, error: LlmError) -> None:
        wording.show(error, self._cli.world, as_json=self._cli.flags.json)

    def _save(self, name: str) -> None:
        """Save the conversation under another name, also one that was not saved so far."""
        fresh = not self._saving.wanted
        try:
            self._saving.rename(name)
        except LlmError as error:
            self._refuse(chat_commands.save_again(error, name) if isinstance(error, UsageError) else error)
            return
        if fresh:
            self._conversation.keep(self._saving)
            self._saving.tell()
        if not self._saving.code:
            when = "is saved" if self._saving.saved else "will be saved, with its first answer,"
            self._say(f"This chat {when} as {self._saving.session.name}.")

    def _answer(self, text: str) -> int:
        try:
            return deliver(self._cli, lambda: self._conversation.say(text))
        finally:
            self._saving.tell()

    def _say(self, text: str) -> None:
        if not self._cli.flags.quiet:
            wording.say(self._cli.world, text)

    def _watch(self) -> None:
        """Let a signal or the deadline end the waiting for a message."""
        from prompt_toolkit.application import get_app

        app, interrupt = get_app(), self._cli.interrupt

        async def watch() -> None:
            while interrupt.error is None:  # noqa: ASYNC110 (a signal handler may not wake an event)
                await asyncio.sleep(_LOOK_S)
            app.exit(exception=interrupt.error)

        app.create_background_task(watch())


def _editor(cli: Context) -> PromptSession[str]:
    """Return the line editor on the world's terminal; the prompt goes to stderr where stdout is no terminal."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.data_structures import Size
    from prompt_toolkit.input import create_input
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.output.vt100 import Vt100_Output

    keys = KeyBindings()
    keys.add("enter")(lambda event: event.current_buffer.validate_and_handle())
    keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
    shown = cli.world.stdout if cli.world.terminal(cli.world.stdout) else cli.world.stderr
    return PromptSession(
        multiline=True,
        key_bindings=keys,
        input=create_input(os.fdopen(os.dup(cli.world.stdin), encoding="utf-8", errors="replace")),
        # a terminal that does not answer where its cursor is would get a warning and a delay at every prompt
        output=Vt100_Output(
            os.fdopen(os.dup(shown), "w", encoding="utf-8", errors="replace"),
            lambda: Size(cli.world.rows(shown), cli.world.columns(shown)),
            term=cli.world.environ.get("TERM"),
            enable_cpr=False,
        ),
    )
