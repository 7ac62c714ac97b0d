"""The loop of ``llm chat``: with a person at a terminal, or with a pipe that sends one message per line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmcli.cli.commands.chat import chat_commands, tree_view
from llmcli.cli.commands.chat.active_chat import ActiveChat
from llmcli.cli.commands.chat.session_files import format_local_time
from llmcli.cli.console import suggestion
from llmcli.cli.flags import model_options
from llmcli.cli.input.inputs import stdin_lines
from llmcli.errors import InputError, Interrupted, LlmError, MissingError, PartialError, UsageError

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from llmcli.cli.commands.chat.typed_keys import TypedKeys

_POLL_S = 0.1


class ChatLoop:
    """How the messages of a chat arrive."""

    def __init__(self, chat: ActiveChat) -> None:
        self._chat = chat
        self._ctx = chat.ctx

    def run_piped(self) -> int:
        """Answer each line of standard input; returns 0, 3 or the first failure's code."""
        codes: list[int] = []
        try:
            for line in stdin_lines(self._ctx.console):
                if not line.strip():
                    continue
                codes.append(self._chat.send(line))
        except (InputError, MissingError) as error:  # the lines before the bad one are answered
            if all(codes):
                raise
            codes.append(error.exit_code)
            self._ctx.console.write_error(error)
        failed = [code for code in codes if code]
        code = PartialError.exit_code if failed and len(failed) < len(codes) else (failed or [0])[0]
        return code or self._chat.recorder.exit_code

    def run_interactive(self) -> int:
        """Chat until the person leaves. Ctrl-C stops an answer or clears the line; it does not end the program."""
        from llmcli.cli.commands.chat.typed_keys import TypedKeys

        typed = self._chat.typed = TypedKeys(self._ctx.console.environment)
        self._ctx.console.environment.key_readers.append(typed.cooked_mode)
        with typed.restored_at_death(self._ctx.runtime.interrupt):
            self._converse(typed)
        return self._finish()

    def _converse(self, typed: TypedKeys) -> None:
        """Read and answer messages until the person leaves."""
        from llmcli.cli.commands.chat.line_editor import create_line_editor, type_keys

        editor = create_line_editor(self._chat)
        self._chat.write_notice("Ctrl-C stops an answer, Ctrl-D leaves, /help lists the commands.")
        self._show_resumed()
        while not (self._chat.leaving or typed.wants_to_leave):
            type_keys(editor, typed.take())
            try:
                text = self._read_message(editor)
            except (KeyboardInterrupt, Interrupted):  # the key, or its signal between an answer and the prompt
                self._ctx.runtime.interrupt.clear()
                self._chat.edited, self._chat.pasting = None, False
                continue
            except EOFError:
                break
            if text:
                with typed.collecting():
                    self._handle(text)
            else:
                self._chat.edited = None

    def _read_message(self, editor: PromptSession[str]) -> str:
        """Return what the person typed; a new text replaces the question that is edited."""
        chat = self._chat
        prefill, chat.prefill = chat.prefill, ""
        typed = editor.prompt("> ", default=prefill, pre_run=self._exit_on_interrupt)
        literal, chat.pasting = chat.pasting, False
        text = typed.strip()
        return f"/{text}" if literal and text.startswith("/") else text

    def _show_resumed(self) -> None:
        """Show where a resumed chat was."""
        recorder, conversation = self._chat.recorder, self._chat.conversation
        if not recorder.is_saved:
            return
        session, count = recorder.session, len(recorder.turns)
        last = format_local_time(session.updated)
        self._chat.write_notice(f"Continuing {session.name}: {count} messages, the last at {last}.")
        self._chat.write_notice(tree_view.format_last_exchange(conversation.history))
        if conversation.unanswered is not None:
            self._chat.write_notice(f"> {tree_view.shorten(conversation.unanswered.content)}")
            self._chat.write_notice("The last question has no answer: /retry asks it again.")

    def _handle(self, text: str) -> None:
        """Run a slash command or answer a message; what goes wrong is reported, and the chat goes on."""
        try:
            command, rest = chat_commands.parse_chat_command(text)
            if command:
                self._chat.edited = None
                chat_commands.slash_commands()[command].run(self._chat, rest)
            else:
                self._chat.send(rest)
        except Interrupted:
            self._ctx.runtime.interrupt.clear()
        except UsageError as error:
            self._chat.write_error(error)
        except LlmError as error:
            if self._ctx.runtime.interrupt.error is not None or not text.startswith("/"):
                raise
            self._chat.write_error(error)

    def _finish(self) -> int:
        chat = self._chat
        if chat.recorder.changed and chat.recorder.refresh_saved_name():
            name = chat.recorder.session.name
            again = suggestion.format_command("chat", *model_options(self._ctx.flags), "--session", name)
            chat.write_notice(f"Saved as {name}. To continue: {again}")
        return chat.recorder.exit_code

    def _exit_on_interrupt(self) -> None:
        """End the wait for a message at a signal or the deadline."""
        from prompt_toolkit.application import get_app

        app, interrupt = get_app(), self._ctx.runtime.interrupt

        async def watch() -> None:
            while interrupt.error is None:  # noqa: ASYNC110 (a signal handler may not wake an event)
                await asyncio.sleep(_POLL_S)
            app.exit(exception=interrupt.error)

        app.create_background_task(watch())
