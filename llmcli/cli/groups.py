"""Groups of commands: ``llm models list``, ``llm prompts edit``, ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from llmcli.cli.command_registry import CommandArea
from llmcli.cli.options import declaration_of
from llmcli.cli.parsing.implied_command import LIST
from llmcli.cli.parsing.typer_parser import COMPLETE_HELP_SETTINGS, TYPER_OPTIONS, HelpfulGroup, add_command

COMMAND_SYNONYMS = {"list": "ls", "rm": "remove"}
"""Other names of subcommands, which work and are not shown."""


class CommandGroup(typer.Typer):
    """The declaration of a group, which is its Typer application."""

    def __init__(
        self,
        text: str,
        commands: Mapping[str, Callable[..., int]],
        synonyms: Mapping[str, str] | None = None,
        *,
        area: CommandArea = CommandArea.LANGUAGE,
        listed: bool = True,
        also: str = "",
    ) -> None:
        """Declare a group: ``text`` is its line of help, ``commands`` were made by ``@command``.

        Commands that have a synonym are added under it too, hidden; ``synonyms``: more of them, each with the name of
        its command. A group with the command ``list`` lists if no command is named (``implied_command``). ``area``,
        ``listed`` and ``also`` are those of ``ListedCommand``.
        """
        self.help, self.area, self.listed, self.also = text, area, listed, also
        hidden = {
            **{synonym: name for name, synonym in COMMAND_SYNONYMS.items() if name in commands},
            **(synonyms or {}),
        }
        if LIST in {*commands, *hidden}:
            text += "\n\nWithout a command, it lists."
        super().__init__(
            **TYPER_OPTIONS, cls=HelpfulGroup, help=text, add_completion=False, context_settings=COMPLETE_HELP_SETTINGS
        )
        self.callback(invoke_without_command=True)(_require_subcommand)
        for name, function in commands.items():
            line = declaration_of(function).help  # else Typer cuts it at 45 characters
            add_command(self, name, function, short_help=line)
            for synonym in (other for other, original in hidden.items() if original == name):
                add_command(self, synonym, function, short_help=line, hidden=True)


def _require_subcommand(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        context.obj[0].write_stderr(context.get_help())
        raise typer.Exit(2)
