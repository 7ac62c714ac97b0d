"""What each command and subcommand declares."""

from __future__ import annotations

from llmcli.cli.command_registry import COMMANDS
from llmcli.cli.options import declaration_of


def _each_function():
    for command in COMMANDS:
        loaded = command.load()
        if command.is_group:
            yield from (
                (f"{command.name} {each.name}", each.callback) for each in loaded.registered_commands if not each.hidden
            )
        else:
            yield command.name, loaded


DECLARED = {name: declaration_of(function) for name, function in _each_function()}
"""By the words that name it, such as "ask" and "quiz make"."""


def has_option(name: str, option: str) -> bool:
    """Whether a command has the option of a parameter's name."""
    return any(parameter.name == option for parameter in DECLARED[name].parameters)
