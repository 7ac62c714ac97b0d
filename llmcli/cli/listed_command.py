"""A line of the table of commands: what ``llm --help`` shows of a command without importing it."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import Any

from llmcli.fast_dataclass import frozen


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
