"""Slash commands that bring more into the next message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.cli.commands.chat.slash.slash_command import SlashCommand, require_argument
from llmcli.errors import EmptyInput, UsageError

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat


DROP_FILES = "-"
"""The argument of /file that attaches nothing."""


def attach_file(chat: ActiveChat, argument: str) -> None:
    """Attach a file in any format that llm reads, or those of a directory; the whole text goes with the next message."""
    from llmcli.cli.input.source_inputs import expand_names, read_source_document

    name = require_argument("/file", argument, "/file report.pdf")
    if name == DROP_FILES:
        chat.attachments.clear()
        chat.write_notice("No file goes with your next message.")
        return
    attached: list[tuple[str, str]] = []
    for each in expand_names(chat.ctx, [name]):
        document = read_source_document(chat.ctx, each)
        if not document.text.strip():
            raise EmptyInput(each)
        attached.append((document.name, document.text))
    chat.attachments += attached
    what = f"{attached[0][0]} goes" if len(attached) == 1 else f"{len(attached)} files go"
    size = sum(len(text) for _, text in attached)
    chat.write_notice(f"{what} with your next message ({size} characters).")


def attach_page(chat: ActiveChat, argument: str) -> None:
    """Attach the page at a web address."""
    from llmcli.cli.input.inputs import is_web_address

    name = require_argument("/url", argument, "/url https://example.org/page")
    if not is_web_address(name):
        raise UsageError(f"{name!r} is no web address", detail="Write it as https://HOST/PATH; for a file: /file")
    attach_file(chat, name)


def paste(chat: ActiveChat, _argument: str) -> None:
    """Let the next message have many lines."""
    chat.pasting = True
    chat.write_notice("Paste or type many lines; Enter starts a new one. Ctrl-D sends them, Ctrl-C drops them.")


COMMANDS = (
    SlashCommand("/file", "attach a file to the next message; - drops what is attached", attach_file, "PATH", "files"),
    SlashCommand("/url", "attach a web page to the next message", attach_page, "ADDRESS"),
    SlashCommand("/paste", "type or paste many lines", paste),
)
