"""The reference of all commands in Markdown: ``python -m llmcli.cli.reference [README]``.

Printed, or with a file written between its lines ``<!-- reference:begin -->`` and ``<!-- reference:end -->``. It is made
from the commands themselves, so it says what ``--help`` says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

from llmcli.cli import app
from llmcli.cli.options import GENERAL, Flags

BEGIN, END = "<!-- reference:begin -->\n", "<!-- reference:end -->"
_EVERY_MODEL = frozenset(field.name for field in fields(Flags))
_ALMOST = len(_EVERY_MODEL) // 2  # a command that has most of them runs a model


def reference() -> str:
    """Return the reference as Markdown: the options that recur, then each command with its own."""
    lines = [
        "Options of the commands that run a model:",
        "",
        *_table([param for param in _command("ask").params if param.name in _EVERY_MODEL]),
    ]
    for command in app.COMMANDS:
        loaded = _command(command.name)
        if command.group:
            lines += _group(command, loaded)
        else:
            lines += _single(command.name, loaded)
    return "\n".join(lines) + "\n"


def _command(name: str) -> Any:
    """Return the parser of one command, as Typer made it."""
    parser: Any = typer.main.get_command(app.build(name))
    return parser.commands[name]


def _group(group: app.Command, loaded: Any) -> Iterator[str]:
    yield from ["", f"### llm {group.name}", "", f"{group.help} All take `--json`, `-q` and `-v`.", ""]
    yield from ["| command | meaning |", "|---|---|"]
    for name, command in loaded.commands.items():
        params = [param for param in command.params if param.name not in GENERAL]
        words = [f"llm {group.name} {name}", *(_metavar(p) for p in params if p.param_type_name == "argument")]
        options = [f" `{_shown(param)}`: {param.help}" for param in params if param.param_type_name == "option"]
        yield f"| `{' '.join(words)}` | {' '.join(command.help.split())}{''.join(options)} |"


def _single(name: str, command: Any) -> Iterator[str]:
    shared = [param for param in command.params if param.name in _EVERY_MODEL]
    own = [param for param in command.params if param not in shared]
    usage = " ".join([f"llm {name}", "[OPTIONS]", *(_metavar(p) for p in own if p.param_type_name == "argument")])
    yield from ["", f"### {usage}", "", command.help.strip()]
    if own:
        yield from ["", *_table(own)]
    if len(shared) > _ALMOST:
        missing = sorted(_EVERY_MODEL - {param.name for param in shared})
        but = f" but {', '.join('`--' + name.replace('_', '-') + '`' for name in missing)}" if missing else ""
        yield from ["", f"And the options of the commands that run a model{but}."]
    elif shared:
        yield from ["", f"And {', '.join('`' + max(param.opts, key=len) + '`' for param in shared)}."]


def _table(params: Sequence[Any]) -> Iterator[str]:
    yield from ["| option | meaning |", "|---|---|"]
    yield from (f"| `{_shown(param)}` | {param.help} |" for param in params)


def _shown(param: Any) -> str:
    """Return names and value of an option as a cell of a table shows them."""
    names = ", ".join(param.opts) if param.param_type_name == "option" else ""
    value = "" if getattr(param, "is_flag", False) else _metavar(param)
    return " ".join(part for part in (names, value) if part).replace("|", r"\|")


def _metavar(param: Any) -> str:
    if param.metavar:
        return str(param.metavar)
    choices = getattr(param.type, "choices", None)
    return "|".join(str(getattr(choice, "value", choice)) for choice in choices) if choices else str(param.name).upper()


def insert(text: str) -> str:
    """Return the Markdown ``text`` with the reference between its markers. Raises ``ValueError`` without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no lines {BEGIN.strip()} and {END}")
    return before + begin + reference() + end + after


def run(argv: Sequence[str]) -> int:
    """Print the reference, or write it into the file that the command line names; returns the exit code."""
    if not argv:
        sys.stdout.write(reference())
        return 0
    file = Path(argv[0])
    file.write_text(insert(file.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
