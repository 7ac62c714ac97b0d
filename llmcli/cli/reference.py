"""The reference of all commands in Markdown: ``python -m llmcli.cli.reference [README]``.

Printed, or with a file written between its lines ``<!-- reference:begin -->`` and ``<!-- reference:end -->``. It is made
from the commands themselves, so it says what ``--help`` says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from llmcli.cli import command_registry
from llmcli.cli.options import ALL_OPTIONS, GENERAL_OPTIONS

REFERENCE_BEGIN, REFERENCE_END = "<!-- reference:begin -->\n", "<!-- reference:end -->"
_SHARED_OPTIONS = frozenset(ALL_OPTIONS)
_MIN_MODEL_OPTIONS = len(_SHARED_OPTIONS) // 2  # a command that has most of them runs a model


def build_reference() -> str:
    """Return the reference as Markdown: the options that recur, then each command with its own."""
    lines = [
        "Options of the commands that run a model:",
        "",
        *_option_table([param for param in _load_parser("ask").params if param.name in _SHARED_OPTIONS]),
    ]
    for command in command_registry.COMMANDS:
        loaded = _load_parser(command.name)
        if command.group:
            lines += _group_section(command, loaded)
        else:
            lines += _command_section(command.name, loaded)
    return "\n".join(lines) + "\n"


def _load_parser(name: str) -> Any:
    """Return the parser of one command, as Typer made it."""
    parser: Any = typer.main.get_command(command_registry.build_app(name))
    return parser.commands[name]


def _group_section(group: command_registry.Command, loaded: Any) -> Iterator[str]:
    yield from ["", f"### llm {group.name}", "", f"{group.help} All take `--json`, `-q` and `-v`.", ""]
    yield from ["| command | meaning |", "|---|---|"]
    for name, command in loaded.commands.items():
        params = [param for param in command.params if param.name not in GENERAL_OPTIONS]
        words = [f"llm {group.name} {name}", *(_metavar(p) for p in params if p.param_type_name == "argument")]
        options = [f" `{_format_option(param)}`: {param.help}" for param in params if param.param_type_name == "option"]
        yield f"| `{' '.join(words)}` | {' '.join(command.help.split())}{''.join(options)} |"


def _command_section(name: str, command: Any) -> Iterator[str]:
    shared = [param for param in command.params if param.name in _SHARED_OPTIONS]
    own = [param for param in command.params if param not in shared]
    usage = " ".join([f"llm {name}", "[OPTIONS]", *(_metavar(p) for p in own if p.param_type_name == "argument")])
    yield from ["", f"### {usage}", "", command.help.strip()]
    if own:
        yield from ["", *_option_table(own)]
    if len(shared) > _MIN_MODEL_OPTIONS:
        missing = sorted(_SHARED_OPTIONS - {param.name for param in shared})
        but = f" but {', '.join('`--' + name.replace('_', '-') + '`' for name in missing)}" if missing else ""
        yield from ["", f"And the options of the commands that run a model{but}."]
    elif shared:
        yield from ["", f"And {', '.join('`' + max(param.opts, key=len) + '`' for param in shared)}."]


def _option_table(params: Sequence[Any]) -> Iterator[str]:
    yield from ["| option | meaning |", "|---|---|"]
    yield from (f"| `{_format_option(param)}` | {param.help} |" for param in params)


def _format_option(param: Any) -> str:
    """Return names and value of an option as a cell of a table shows them."""
    names = ", ".join(param.opts) if param.param_type_name == "option" else ""
    value = "" if getattr(param, "is_flag", False) else _metavar(param)
    return " ".join(part for part in (names, value) if part).replace("|", r"\|")


def _metavar(param: Any) -> str:
    if param.metavar:
        return str(param.metavar)
    choices = getattr(param.type, "choices", None)
    return "|".join(str(getattr(choice, "value", choice)) for choice in choices) if choices else str(param.name).upper()


def insert_reference(text: str) -> str:
    """Return the Markdown ``text`` with the reference between its markers. Raises ``ValueError`` without them."""
    before, begin, rest = text.partition(REFERENCE_BEGIN)
    _, end, after = rest.partition(REFERENCE_END)
    if not begin or not end:
        raise ValueError(f"no lines {REFERENCE_BEGIN.strip()} and {REFERENCE_END}")
    return before + begin + build_reference() + end + after


def run(argv: Sequence[str]) -> int:
    """Print the reference, or write it into the file that the command line names; returns the exit code."""
    if not argv:
        sys.stdout.write(build_reference())
        return 0
    file = Path(argv[0])
    file.write_text(insert_reference(file.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
