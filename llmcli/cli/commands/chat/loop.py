"""The loop of ``llm chat``: with a person at a terminal, or with a pipe that sends one message per line."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.chat import chat_commands
from llmcli.cli.commands.chat.recorder import ChatRecorder
from llmcli.cli.commands.chat.session_files import format_local_time
from llmcli.cli.console import suggestion
from llmcli.cli.flags import model_options
from llmcli.cli.input.standard_input import stdin_lines
from llmcli.cli.render.renderer import render_events
from llmcli.errors import InputError, Interrupted, LlmError, MissingError, PartialError, UsageError
from llmcli.tasks.chat import Conversation

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

_POLL_S = 0.1


class ChatLoop:
    """One conversation: how its messages arrive, and where it is saved."""

    def __init__(self, ctx: CommandContext, conversation: Conversation, saving: ChatRecorder) -> None:
        self._ctx = ctx
        self._conversation = conversation
        self._recorder = saving

    def run_piped(self) -> int:
        """Answer each line of standard input; returns 0, 3 or the first failure's code."""
        codes: list[int] = []
        try:
            for line in stdin_lines(self._ctx.console):
                if not line.strip():
                    continue
                codes.append(self._render_answer(line))
        except (InputError, MissingError) as error:  # the lines before the bad one are answered
            if all(codes):
                raise
            codes.append(error.exit_code)
            self._ctx.console.write_error(error)
        failed = [code for code in codes if code]
        code = PartialError.exit_code if failed and len(failed) < len(codes) else (failed or [0])[0]
        return code or self._recorder.exit_code

    def run_interactive(self) -> int:
        """Chat until the person leaves. Ctrl-C stops an answer or clears the line; it does not end the program."""
        editor = _create_prompt_session(self._ctx)
        self._write_notice("Ctrl-C stops an answer, Ctrl-D leaves, /help lists the commands.")
        if self._recorder.is_saved:
            session, count = self._recorder.session, len(self._recorder.turns)
            self._write_notice(
                f"Continuing {session.name}: {count} messages, the last at {format_local_time(session.updated)}."
            )
        while True:
            try:
                text = editor.prompt("> ", pre_run=self._exit_on_interrupt).strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return self._finish()
            if not text:
                continue
            try:
                command, rest = chat_commands.parse_chat_command(text)
            except UsageError as error:
                self._write_refusal(error)
                continue
            if command in chat_commands.EXIT_COMMANDS:
                return self._finish()
            self._run_chat_command(command, rest)

    def _finish(self) -> int:
        if self._recorder.changed and self._recorder.refresh_saved_name():
            name = self._recorder.session.name
            again = suggestion.format_command("chat", *model_options(self._ctx.flags), "--session", name)
            self._write_notice(f"Saved as {name}. To continue: {again}")
        return self._recorder.exit_code

    def _run_chat_command(self, command: str, rest: str) -> None:
        if command == "/help":
            self._write_notice(chat_commands.CHAT_HELP)
        elif command == "/reset":
            kept = f"; it remains saved as {self._recorder.session.name}" if self._recorder.refresh_saved_name() else ""
            self._conversation.reset()
            self._write_notice(f"This chat is forgotten{kept}.")
        elif command == "/save":
            self._save_as(rest)
        else:
            try:
                self._render_answer(rest)
            except Interrupted:
                self._ctx.runtime.interrupt.clear()

    def _write_refusal(self, error: LlmError) -> None:
        self._ctx.console.write_error(error)

    def _save_as(self, name: str) -> None:
        """Save the conversation under another name, even if it was not saved before."""
        fresh = not self._recorder.saves
        try:
            self._recorder.rename(name)
        except LlmError as error:
            self._write_refusal(
                chat_commands.explain_save_refusal(error, name) if isinstance(error, UsageError) else error
            )
            return
        if fresh:
            self._conversation.save_to(self._recorder)
            self._recorder.flush_warnings()
        if not self._recorder.exit_code:
            when = "is saved" if self._recorder.is_saved else "will be saved after its first answer"
            self._write_notice(f"This chat {when} as {self._recorder.session.name}.")

    def _render_answer(self, text: str) -> int:
        try:
            return render_events(self._ctx, lambda: self._conversation.send(text))
        finally:
            self._recorder.flush_warnings()

    def _write_notice(self, text: str) -> None:
        if not self._ctx.console.quiet:
            self._ctx.console.write_stderr(text)

    def _exit_on_interrupt(self) -> None:
        """End the wait for a message at a signal or the deadline."""
        from prompt_toolkit.application import get_app

        app, interrupt = get_app(), self._ctx.runtime.interrupt

        async def watch() -> None:
            while interrupt.error is None:  # noqa: ASYNC110 (a signal handler may not wake an event)
                await asyncio.sleep(_POLL_S)
            app.exit(exception=interrupt.error)

        app.create_background_task(watch())


def _create_prompt_session(ctx: CommandContext) -> PromptSession[str]:
    """Return the line editor on the run's terminal; the prompt goes to stderr if stdout is no terminal."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.data_structures import Size
    from prompt_toolkit.input import create_input
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.keys import Keys
    from prompt_toolkit.output.vt100 import Vt100_Output

    keys = KeyBindings()
    keys.add("enter")(lambda event: event.current_buffer.validate_and_handle())
    keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
    # the mouse is off, so this is other input, such as a pasted colour, on which prompt_toolkit's own binding fails
    keys.add(Keys.Vt100MouseEvent)(lambda _: None)
    shown = ctx.console.environment.stdout if ctx.console.stdout_is_terminal else ctx.console.environment.stderr
    return PromptSession(
        multiline=True,
        key_bindings=keys,
        input=create_input(os.fdopen(os.dup(ctx.console.environment.stdin), encoding="utf-8", errors="replace")),
        # without this, a terminal that does not report its cursor position gets a warning and a delay at every prompt
        output=Vt100_Output(
            os.fdopen(os.dup(shown), "w", encoding="utf-8", errors="replace"),
            lambda: Size(ctx.console.environment.rows(shown), ctx.console.environment.columns(shown)),
            term=ctx.runtime.environ.get("TERM"),
            enable_cpr=False,
        ),
    )
