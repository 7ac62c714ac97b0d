"""Finding the text for the words after ``llm help``."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.cli import command_registry
from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.help import help_topics
from llmcli.cli.commands.help.help_topics import topic_name
from llmcli.cli.console.environment import Environment
from llmcli.cli.parsing import typer_parser
from llmcli.cli.render.terminal_markdown import MarkdownWriter
from llmcli.errors import UsageError
from llmcli.fast_dataclass import replace


def find_help(ctx: CommandContext, words: Sequence[str], *, complete: bool) -> str | None:
    """Return the text for ``words``: a command's help, or a page of the documentation; None if neither is called so.

    ``complete``: the help of ``--help-all``. A page is rendered if standard output is a terminal.
    """
    topic = help_topics.find_topic("-".join(words).lower())
    if topic is not None:
        return _show_page(ctx, topic.read())
    program = typer_parser.build_parser(words[0] if words else "")
    parser = program
    for word in words:
        parser = getattr(parser, "commands", {}).get(word)
        if parser is None:
            return None
    return _command_help(ctx, program, words, complete=complete)


def _show_page(ctx: CommandContext, markdown: str) -> str:
    terminal = ctx.console.stdout_is_terminal and ctx.runtime.environ.get("TERM") != "dumb"
    if not terminal or ctx.runtime.settings["markdown"] == "off":
        return markdown

    return render_page(markdown, ctx.console.environment)


def _command_help(ctx: CommandContext, program: Any, words: Sequence[str], *, complete: bool) -> str:
    """Return the output of ``--help`` or ``--help-all`` for a command, and a line that names its guide."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        program.main(
            [*words, "--help-all" if complete else "--help"],
            prog_name=command_registry.PROGRAM_NAME,
            standalone_mode=False,
            obj=(ctx.console.environment, ctx.console.interrupt),
        )
    guide = f"{words[0]}-guide" if words else ""
    hint = f"\n  Guide: llm help {guide}\n" if guide and help_topics.find_topic(guide) else ""
    return text.getvalue() + hint


def unknown_topic(words: Sequence[str]) -> UsageError:
    """Return the error about words that name nothing and stand on no page, with similar names."""
    name = " ".join(words)
    group = command_registry.find_command(words[0])
    commands = [each.name for each in command_registry.COMMANDS]
    if group is not None and group.is_group:
        commands = [f"{group.name} {each.name}" for each in group.load().registered_commands if not each.hidden]
    known = [*commands, *(topic.name for topic in help_topics.list_topics()), "topics"]
    similar = difflib.get_close_matches(name, known, n=3)
    question = f"Did you mean {', '.join(similar)}? " if similar else ""
    return UsageError(f"no command or help topic is called {name}", detail=f"{question}Try: llm help topics")


_MAX_COLUMNS = 100  # longer lines are hard to read
_FENCE = "```"
_HIDDEN = ("![", "<!--")
_SINGLE_LINE = re.compile(r"\s*(?:\||#|$)")
"""The beginning of a line that the next one does not continue: a table's row, a heading, an empty line."""
_NEW_BLOCK = re.compile(r"\s*(?:[-*+] |\d+\. |\||#|>|```|$)")
"""The beginning of a line that does not continue the one before."""
_PAGE_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([\w./-]*)(?:#[\w-]*)?\)")


class _Buffer:
    """Takes the bytes that would go to the terminal."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


def render_page(markdown: str, environment: Environment) -> str:
    """Return a page as a terminal shows it, with escape sequences."""
    columns = min(environment.columns(environment.stdout), _MAX_COLUMNS)
    narrow = replace(environment, environ={**environment.environ, "COLUMNS": str(columns)})
    buffer = _Buffer()
    writer = MarkdownWriter(narrow, buffer, terminal=False)
    for line in _prepare_lines(markdown):
        writer.feed(f"{line}\n")
    writer.finish()
    return buffer.data.decode()


def _prepare_lines(markdown: str) -> Iterator[str]:
    """Yield the lines of a page: one line per paragraph, links name the topic, pictures are left out."""
    paragraph: list[str] = []
    in_fence = False
    for line in [*markdown.splitlines(), ""]:
        if paragraph and not _NEW_BLOCK.match(line):
            paragraph.append(line.strip())
            continue
        if paragraph:
            yield _PAGE_LINK.sub(_name_topic, " ".join(paragraph))
            paragraph = []
        fence = line.lstrip().startswith(_FENCE)
        if in_fence or fence:
            yield line
        elif _SINGLE_LINE.match(line):
            yield _PAGE_LINK.sub(_name_topic, line)
        elif not line.startswith(_HIDDEN):
            paragraph = [line]
        in_fence ^= fence


def _name_topic(link: re.Match[str]) -> str:
    """Return the text of a link to a page, and the command that shows the page."""
    text, page = link.groups()
    if not page:  # a section of the same page
        return text
    command = page.removeprefix("../").removeprefix("reference/").removesuffix(".md")
    command = "index" if command == "index-command" else "" if command == "index" else command
    if "reference/" in page and command != "exit-codes":
        return f"{text} (`llm help {command}`)" if command else f"{text} (`llm help`)"
    return f"{text} (`llm help {topic_name(page)}`)"
