"""Generates ``command_table``: ``python -m llmcli.cli.command_table_generator > llmcli/cli/command_table.py``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from llmcli.cli.command_registry import ListedCommand
from llmcli.cli.groups import CommandGroup
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
    "merge",
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

from typing import Any

Row = tuple[str, str, str, dict[str, Any]]
"""Name, line of help, area, and the other fields of a ``ListedCommand`` that are not as usual."""

ROWS: tuple[Row, ...] = (
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
    facts = [json.dumps(text) for text in (each.name, each.help, each.area)]
    more = []
    for name in ("model_task", "is_group", "listed", "also"):
        value = getattr(each, name)
        if value != getattr(plain, name):
            more.append(f'"{name}": {json.dumps(value) if isinstance(value, str) else value}')
    facts.append(f"{{{', '.join(more)}}}")
    return "".join(["    (\n", *(f"        {fact},\n" for fact in facts), "    ),\n"])


if __name__ == "__main__":
    sys.stdout.write(build_table())
