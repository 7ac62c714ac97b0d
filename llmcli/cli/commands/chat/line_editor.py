"""The line editor of a chat: keys, history, completion, and the bar at the bottom."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, emacs_mode, is_searching, vi_navigation_mode
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from llmcli.cli.commands.chat import chat_commands
from llmcli.cli.commands.chat.active_chat import ActiveChat
from llmcli.cli.commands.chat.session_files import HISTORY_FILE, open_read_only
from llmcli.cli.commands.chat.slash.option_commands import OPTION_NAMES
from llmcli.cli.console import sanitize
from llmcli.cli.input.editor import compose_text
from llmcli.control_characters import control_character_pattern
from llmcli.errors import EmptyInput, LlmError
from llmcli.files import private_files
from llmcli.prompts.prompt_library import own_prompt_names


def create_line_editor(chat: ActiveChat) -> PromptSession[str]:
    """Return the line editor on the run's terminal; the prompt goes to stderr if stdout is no terminal."""
    console = chat.ctx.console
    shown = console.environment.stdout if console.stdout_is_terminal else console.environment.stderr
    environ = chat.ctx.runtime.environ
    vi = chat.ctx.runtime.settings["chat.keys"] == "vi"
    return PromptSession(
        multiline=True,
        enable_suspend=True,
        key_bindings=_key_bindings(chat),
        editing_mode=EditingMode.VI if vi else EditingMode.EMACS,
        history=_open_history(chat),
        completer=_ChatCompleter(chat),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        reserve_space_for_menu=0,
        bottom_toolbar=lambda: status_bar(chat),
        input=create_input(os.fdopen(os.dup(console.environment.stdin), encoding="utf-8", errors="replace")),
        # without this, a terminal that does not report its cursor position gets a warning and a delay at every prompt
        output=_ChatOutput(
            os.fdopen(os.dup(shown), "w", encoding="utf-8", errors="replace"),
            lambda: Size(console.environment.rows(shown), console.environment.columns(shown)),
            term=environ.get("TERM"),
            default_color_depth=ColorDepth.MONOCHROME if environ.get("NO_COLOR") else None,
            enable_cpr=False,
        ),
    )


def type_keys(editor: PromptSession[str], typed: str) -> None:
    """Let the next prompt begin with keys, as a terminal sends them."""
    if typed:
        keys: list[KeyPress] = []
        Vt100Parser(keys.append).feed_and_flush(typed)
        store_typeahead(editor.input, keys)


class _ChatOutput(Vt100_Output):
    """A terminal whose cursor position is not asked for, and which gets no active characters of a line or a name."""

    def write(self, data: str) -> None:
        """Write text; prompt_toolkit itself shows C0 controls as ``^X``, but leaves those of C1 and of Unicode."""
        super().write(control_character_pattern().sub("", data))

    def get_rows_below_cursor_position(self) -> int:
        """Return the rows that are surely free: without a number, the bar at the bottom would not be shown."""
        return 1


def _key_bindings(chat: ActiveChat) -> KeyBindings:

    keys = KeyBindings()
    pasting = Condition(lambda: chat.pasting)

    def accept(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    keys.add("enter", filter=~pasting & ~is_searching)(accept)
    keys.add("enter", filter=pasting & ~is_searching)(begin_line)
    keys.add("c-d", filter=pasting)(accept)
    keys.add("escape", "enter")(begin_line)
    open_editor = _editor_key(chat)
    keys.add("c-x", "c-e", filter=emacs_mode)(open_editor)
    keys.add("v", filter=vi_navigation_mode)(open_editor)
    # the mouse is off, so this is other input, such as a pasted colour, on which prompt_toolkit's own binding fails
    keys.add(Keys.Vt100MouseEvent)(lambda _: None)
    return keys


def _editor_key(chat: ActiveChat) -> Callable[[KeyPressEvent], None]:
    """Return the function of the key that opens the user's editor on the line.

    That of prompt_toolkit loses the line if Ctrl-C is typed in the editor, and does not tell why an editor failed.
    """

    def edit(buffer: Buffer) -> None:
        try:
            text = compose_text(chat.ctx.console, buffer.text)
        except EmptyInput:
            text = ""
        except LlmError as error:
            if chat.ctx.runtime.interrupt.error is None:
                chat.write_error(error)
            return
        buffer.document = Document(text, len(text))

    def open_editor(event: KeyPressEvent) -> None:
        run_in_terminal(lambda: edit(event.current_buffer))

    return open_editor


def _open_history(chat: ActiveChat) -> History:
    """Return what was typed in earlier chats; a chat that is not saved leaves nothing in the file."""
    if not chat.recorder.saves:
        return InMemoryHistory()
    path = chat.ctx.runtime.paths.sessions.with_name(HISTORY_FILE)
    try:
        private_files.make_directory(path.parent)
        descriptor = private_files.open_file(path, os.O_RDWR)
        try:
            private_files.restrict_to_owner(descriptor)
        finally:
            os.close(descriptor)
    except OSError:  # the chat itself cannot be saved there either, and a warning says so after the first answer
        return InMemoryHistory()
    return FileHistory(str(path))


def status_bar(chat: ActiveChat) -> str:
    """Return model, session, share of the context and rate, as far as they are known and fit the terminal."""
    console = chat.ctx.console
    width = console.environment.columns(console.environment.stderr) - 1
    result = chat.last_result
    model = (result.model if result else chat.ctx.runtime.responder_name).rpartition("/")[2]
    session = chat.recorder.session.name if chat.recorder.saves else "not saved"
    context = rate = ""
    if result is not None and result.usage.prompt_tokens:
        used = result.usage.prompt_tokens + result.usage.completion_tokens
        context = f"{min(100, round(100 * used / chat.ctx.runtime.backend().info().context))}% of the context"
        rate = f"{result.timings.tokens_per_second:.1f} tokens/s" if result.timings.tokens_per_second else ""
    parts = [sanitize.single_line(part) for part in (model, session, context, rate) if part]
    while len(parts) > 1 and len(" · ".join(parts)) > width:
        parts.pop()
    return " · ".join(parts)[:width]


class _ChatCompleter(Completer):
    """Completes slash commands and their arguments."""

    def __init__(self, chat: ActiveChat) -> None:
        self._chat = chat

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        word, space, argument = document.text_before_cursor.partition(" ")
        if not word.startswith("/") or "\n" in document.text_before_cursor:
            return
        commands = chat_commands.slash_commands()
        if not space:
            yield from (
                Completion(name + " " * bool(command.arguments), -len(word))
                for name, command in commands.items()
                if name.startswith(word)
            )
        elif (command := commands.get(word)) is not None and command.completes == "files":
            for found in PathCompleter(expanduser=True).get_completions(Document(argument), complete_event):
                yield Completion(found.text, found.start_position, display=sanitize.single_line(found.display_text))
        elif command is not None:
            known = complete_argument(self._chat, command.completes)
            yield from (Completion(each, -len(argument)) for each in known if each.startswith(argument))


def complete_argument(chat: ActiveChat, kind: str) -> list[str]:
    """Return what the argument of a slash command may be; nothing if that cannot be read."""
    with suppress(LlmError, OSError):
        if kind == "models":
            return list(chat.ctx.runtime.models.known_names())
        if kind == "sessions":
            with open_read_only(chat.ctx.runtime.paths.sessions) as sessions:
                return [each.session.name for each in sessions.list()]
        if kind == "prompts":
            return own_prompt_names(chat.ctx.runtime.prompts)
        if kind == "options":
            return list(OPTION_NAMES)
    return []
