"""Groups of commands: ``llm models list``, ``llm prompts edit``, ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer

from llmcli.cli.console import error_messages
from llmcli.cli.parsing.implied_command import LIST
from llmcli.cli.parsing.typer_parser import COMPLETE_HELP_SETTINGS, TYPER_OPTIONS, HelpfulGroup, add_command

COMMAND_SYNONYMS = {"list": "ls", "rm": "remove"}
"""Other names of subcommands, which work and are not shown."""


def build_group(
    text: str, commands: Mapping[str, Callable[..., int]], synonyms: Mapping[str, str] | None = None
) -> typer.Typer:
    """Return the application of a group: ``text`` is its line of help, ``commands`` were made by ``@command``.

    Commands that have a synonym are added under it too, hidden; ``synonyms``: more of them, each with the name of its
    command. A group with the command ``list`` lists if no command is named (``implied_command``).
    """
    hidden = {
        **{synonym: name for name, synonym in COMMAND_SYNONYMS.items() if name in commands},
        **(synonyms or {}),
    }
    if LIST in {*commands, *hidden}:
        text += "\n\nWithout a command, it lists."
    app = typer.Typer(
        **TYPER_OPTIONS, cls=HelpfulGroup, help=text, add_completion=False, context_settings=COMPLETE_HELP_SETTINGS
    )
    app.callback(invoke_without_command=True)(_require_subcommand)
    for name, function in commands.items():
        decorated: Any = function
        line = str(decorated.__doc__).splitlines()[0]  # else Typer cuts it at 45 characters
        add_command(app, name, decorated, short_help=line)
        for synonym in (other for other, original in hidden.items() if original == name):
            add_command(app, synonym, decorated, short_help=line, hidden=True)
    return app


def _require_subcommand(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        error_messages.write_stderr(context.obj[0], context.get_help())
        raise typer.Exit(2)
