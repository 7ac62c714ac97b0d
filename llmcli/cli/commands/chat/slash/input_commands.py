"""Slash commands that attach files and pages, or run another verb of llm on the last answer."""

from __future__ import annotations

import shlex
import signal
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from llmcli.cli.commands.chat.slash.slash_command import SlashCommand, require_argument
from llmcli.cli.console.signals import SIGNAL_BY_EXIT_CODE
from llmcli.cli.flags import model_options
from llmcli.errors import EmptyInput, UsageError
from llmcli.fast_dataclass import replace

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat

_VERBS = (
    ("translate", "--to LANG", "translate the last answer, as llm translate does"),
    ("summarize", "[OPTIONS]", "summarize the last answer, as llm summarize does"),
    ("sentiment", "[OPTIONS]", "label the lines of the last answer"),
    ("classify", "--labels A,B,...", "classify the last answer, as llm classify does"),
    ("filter", "STATEMENT", "print the lines of the last answer for which it holds"),
    ("extract", "--schema SCHEMA", "take values out of the last answer, as llm extract does"),
    ("check", "--against FILE", "check the last answer, as llm check does"),
    ("proofread", "[OPTIONS]", "list the words of the last answer that look wrong"),
    ("redact", "[OPTIONS]", "show which private values the last answer has"),
)
"""The verbs, their arguments, of which those without brackets are required, and what they do."""


def _run_verb(verb: str, required: bool, chat: ActiveChat, argument: str) -> None:
    """Run ``llm VERB ARGUMENT`` in this process with the last answer as its input; its output is not part of the chat.

    Without a required argument, its help is shown.
    """
    from llmcli.cli.dispatch import dispatch

    try:
        words = shlex.split(argument or ("--help" if required else ""))
    except ValueError as error:
        raise UsageError(f"/{verb}: {error}", detail="Quote words as in a shell.") from error
    with tempfile.TemporaryFile() as source:
        source.write(chat.last_answer().encode("utf-8", "replace"))
        source.seek(0)
        environment = replace(chat.ctx.console.environment, stdin=source.fileno())
        code = dispatch([verb, *words, *model_options(chat.ctx.flags)], environment)
    signum = SIGNAL_BY_EXIT_CODE.get(code)
    if signum in {signal.SIGTERM, signal.SIGHUP}:  # they end the chat too; Ctrl-C has stopped the verb
        chat.ctx.runtime.interrupt.set(signum)
    chat.ctx.runtime.interrupt.check()


VERB_COMMANDS = tuple(
    SlashCommand(f"/{verb}", meaning, partial(_run_verb, verb, not arguments.startswith("[")), arguments)
    for verb, arguments, meaning in _VERBS
)


DROP_FILES = "-"
"""The argument of /file that attaches nothing."""


def attach_file(chat: ActiveChat, argument: str) -> None:
    """Attach a file in any format that llm reads, or those of a directory; all of it goes with the next message."""
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


INPUT_COMMANDS = (
    SlashCommand("/file", "attach a file to the next message; - drops what is attached", attach_file, "PATH", "files"),
    SlashCommand("/url", "attach a web page to the next message", attach_page, "ADDRESS"),
    SlashCommand("/paste", "type or paste many lines", paste),
)
