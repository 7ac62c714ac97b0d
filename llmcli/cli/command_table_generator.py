"""Generates ``command_table``: ``python -m llmcli.cli.command_table_generator > llmcli/cli/command_table.py``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from llmcli.cli.groups import CommandGroup
from llmcli.cli.listed_command import CommandArea, ListedCommand
from llmcli.cli.options import command

NAMES = (
    "ask",
    "chat",
    "translate",
    "summarize",
    "extract",
    "generate",
    "check",
    "verify",
    "proofread",
    "quiz",
    "command",
    "tokens",
    "redact",
    "index",
    "tm",
    "sentiment",
    "classify",
    "filter",
    "label",
    "audit",
    "calibrations",
    "records",
    "run-batch",
    "embed",
    "similar",
    "models",
    "engine",
    "backends",
    "keys",
    "serve",
    "worker",
    "sessions",
    "logs",
    "prompts",
    "config",
    "doctor",
    "completion",
    "help",
)
"""In the order of ``llm help --all`` below each heading."""
_HEAD = '''"""The commands as ``llm --help`` lists them. Generated from their declarations by ``command_table_generator``."""

from llmcli.cli.listed_command import CommandArea, ListedCommand

COMMANDS = (
'''


def list_commands() -> Iterator[ListedCommand]:
    """Yield the line of each command, from its declaration."""
    for name in NAMES:
        function = ListedCommand(name, "").load()
        declared: command | CommandGroup = function if isinstance(function, CommandGroup) else function.declaration
        yield ListedCommand(
            name,
            declared.help,
            declared.area,
            model_task="" if isinstance(declared, CommandGroup) else declared.model_task,
            is_group=isinstance(declared, CommandGroup),
            listed=declared.listed,
            also=declared.also,
        )


def build_table() -> str:
    """Return the source of ``command_table``."""
    return _HEAD + "".join(_format_command(each) for each in list_commands()) + ")\n"


def _format_command(each: ListedCommand) -> str:
    plain = ListedCommand("", "")
    facts = [json.dumps(each.name), json.dumps(each.help), f"CommandArea.{CommandArea(each.area).name}"]
    for name in ("model_task", "is_group", "listed", "also"):
        value = getattr(each, name)
        if value != getattr(plain, name):
            facts.append(f"{name}={json.dumps(value) if isinstance(value, str) else value}")
    return "".join(["    ListedCommand(\n", *(f"        {fact},\n" for fact in facts), "    ),\n"])


if __name__ == "__main__":
    sys.stdout.write(build_table())
