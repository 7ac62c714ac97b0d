"""Finding the text for the words after ``llm help``."""

from __future__ import annotations

import contextlib
import difflib
import io
from collections.abc import Sequence
from typing import Any

from llmcli.cli import command_registry
from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.help import help_topics
from llmcli.cli.parsing import typer_parser
from llmcli.errors import UsageError


def find_help(ctx: CommandContext, words: Sequence[str]) -> str:
    """Return the text for ``words``: a command's help, or a page of the documentation.

    A page is rendered if standard output is a terminal. Raises ``UsageError``, with similar names.
    """
    topic = help_topics.find_topic("-".join(words).lower())
    if topic is not None:
        return _show_page(ctx, topic.read())
    program = typer_parser.build_parser(words[0] if words else "")
    parser = program
    for depth, word in enumerate(words):
        commands = getattr(parser, "commands", {})
        if word not in commands:
            raise _unknown_topic(words, [" ".join([*words[:depth], name]) for name in commands])
        parser = commands[word]
    return _command_help(program, words)


def _show_page(ctx: CommandContext, markdown: str) -> str:
    terminal = ctx.console.stdout_is_terminal and ctx.runtime.environ.get("TERM") != "dumb"
    if not terminal or ctx.runtime.settings["markdown"] == "off":
        return markdown
    from llmcli.cli.commands.help.help_pages import render_page

    return render_page(markdown, ctx.console.environment)


def _command_help(program: Any, words: Sequence[str]) -> str:
    """Return the output of ``--help`` for a command, and a line that names its guide."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        program.main([*words, "--help"], prog_name=command_registry.PROGRAM_NAME, standalone_mode=False)
    guide = f"{words[0]}-guide" if words else ""
    hint = f"\n  Guide: llm help {guide}\n" if guide and help_topics.find_topic(guide) else ""
    return text.getvalue() + hint


def _unknown_topic(words: Sequence[str], commands: Sequence[str]) -> UsageError:
    name = " ".join(words)
    known = [*commands, *(topic.name for topic in help_topics.list_topics()), "topics"]
    similar = difflib.get_close_matches(name, known, n=3)
    question = f"Did you mean {', '.join(similar)}? " if similar else ""
    return UsageError(f"no command or help topic is called {name}", detail=f"{question}Try: llm help topics")
