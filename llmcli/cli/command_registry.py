"""The commands by name.

``llm --help`` and a Tab press must not pay for other commands, so a command's module is imported only when its name is
the first word. What they show is in ``command_table``, which is generated from the declarations.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from importlib import import_module
from typing import Any

from llmcli.cli.command_table import ROWS
from llmcli.fast_dataclass import frozen

PROGRAM_NAME = "llm"
PURPOSE = "Language work from the shell on your own machine."
ROOT_OPTIONS = ("-h", "--help", "-V", "--version")
"""How the options begin that the program has without a command."""
SYNONYMS = {"shell": "command"}
"""Other names of commands, which work and are not listed."""


class CommandArea(StrEnum):
    """What a command is about: the headings of ``llm --help``, in order."""

    LANGUAGE = "Language work"
    RECORDS = "Records"
    MODELS = "Models and servers"
    HOUSEKEEPING = "Housekeeping"


@frozen
class ListedCommand:
    """A command: its name, its line of help, and its heading in ``llm --help``.

    ``model_task`` is the catalogue task that decides which models are recommended; "" if the command runs no model.
    ``is_group``: its commands have names of their own. One that is not ``listed`` is shown by ``llm help --all`` alone;
    ``also`` names one of them behind the line of the command that it belongs to. ``module`` has a function or a
    ``CommandGroup`` of the command's name (``-`` as ``_``); "" is the module of that name among the commands here.
    """

    name: str
    help: str
    area: CommandArea = CommandArea.LANGUAGE
    model_task: str = ""
    is_group: bool = False
    listed: bool = True
    also: str = ""
    module: str = ""

    @property
    def runs_model(self) -> bool:
        """Whether the command is a verb."""
        return bool(self.model_task)

    def load(self) -> Any:
        """Import the command's module and return its function, or its Typer application for a group."""
        word = self.name.replace("-", "_")
        return getattr(import_module(self.module or f"llmcli.cli.commands.{word}"), word)


COMMANDS = [ListedCommand(name, line, CommandArea(area), **more) for name, line, area, more in ROWS]


def register_command(command: ListedCommand) -> None:
    """Add a command. Raises ``ValueError`` if the name is taken."""
    if find_command(command.name) is not None:
        raise ValueError(f"the command {command.name} already exists")
    COMMANDS.append(command)


def unregister_command(name: str) -> None:
    """Remove the command called ``name``."""
    COMMANDS[:] = [command for command in COMMANDS if command.name != name]


def find_command(name: str) -> ListedCommand | None:
    """Return the command called ``name``, by its name or a synonym, or None."""
    known = SYNONYMS.get(name, name)
    return next((command for command in COMMANDS if command.name == known), None)


def model_commands() -> list[ListedCommand]:
    """Return the commands that run a model."""
    return [command for command in COMMANDS if command.runs_model]


def begins_with_command(argv: Sequence[str]) -> bool:
    """Return whether the first word is a command's name; the other commands are then not needed."""
    return bool(argv) and find_command(argv[0]) is not None


def first_word(argv: Sequence[str]) -> str:
    """Return the first argument that is not an option (the root's options take no values), "" without one."""
    return next((word for word in argv if not word.startswith("-")), "")


def command_path(argv: Sequence[str]) -> str:
    """Return the words of ``argv`` that name a command, "ask" or "models list"; "" if the first word names none."""
    word, *rest = [word for word in argv if not word.startswith("-")] or [""]
    command = find_command(word)
    if command is None:
        return ""
    names = {each.name for each in command.load().registered_commands} if command.is_group and rest else set()
    return f"{word} {rest[0]}" if rest and rest[0] in names else word
