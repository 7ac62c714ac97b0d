"""``llm generate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmcli.cli import inputs
from llmcli.cli.completers import kinds
from llmcli.cli.context import Context
from llmcli.cli.options import command
from llmcli.errors import MissingError, UsageError


@command(
    examples="""
      llm generate --list
      llm generate email --list
      llm generate email --var topic="a later meeting" --var tone=formal
      llm generate article --var topic=tides --var text=@notes.txt
      llm generate poem --var topic=rain --seed 7
    """
)
def generate(
    cli: Context,
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="What to write: article, email, ...", autocompletion=kinds)
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option(
            "--var",
            metavar="NAME=VALUE",
            help="A variable of the prompt; @FILE is a file's text, @@ a literal @; repeatable.",
        ),
    ] = None,
    show_list: Annotated[
        bool,
        typer.Option(
            "--list",
            help="List the kinds (kind, description), or the variables of KIND (variable, default, choices, description).",
        ),
    ] = False,
) -> int:
    """Write an article, an email, a story, a poem, ..."""
    from llmcli.tasks.generate import generate as task

    if show_list:
        if cli.flags.output is not None:
            raise UsageError("--list goes to standard output, so it takes no --output")
        return _list(cli, kind)
    if kind is None:
        raise UsageError("which kind of text?", detail="Try: llm generate --list")
    variables, read = _variables(cli, var or [])
    text = inputs.stdin_document(cli).text if inputs.stdin_wanted(cli, read) else None
    options = cli.options()
    return cli.show(lambda backend: task(backend, cli.prompts, kind, variables, text, options))


def _variables(cli: Context, texts: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of variables, and ``-`` in a list where one of them was standard input."""
    pairs = [_pair(inputs.argument(text)) for text in texts]
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--var gives {twice} twice")
    read = [value[1:] for _, value in pairs if value == f"@{inputs.STDIN}"]
    if len(read) > 1:
        raise UsageError("standard input can be read only once")
    return {name: _value(cli, name, value) for name, value in pairs}, read


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--var wants NAME=VALUE, not {text!r}")
    return name.strip(), value


def _value(cli: Context, name: str, value: str) -> str:
    """Return a value as meant: of ``@FILE`` the file's text without the newlines at its end, as $(cat FILE) gives it."""
    if not value.startswith("@") or value.startswith("@@"):
        return value.removeprefix("@")
    if value == "@":
        raise UsageError(f"--var {name}=@ names no file", detail=f"Try: --var {name}=@FILE, or @@ for a literal @")
    try:
        return inputs.document(cli, value[1:]).text.rstrip("\r\n")
    except MissingError as error:
        raise MissingError(value[1:], kind="file of a variable", detail=error.detail) from error


def _list(cli: Context, kind: str | None) -> int:
    from llmcli.templates.contracts import GENERATE

    if kind is None:
        rows: list[dict[str, object]] = [
            {"kind": summary.name.removeprefix(GENERATE), "description": summary.description}
            for summary in cli.prompts.list(GENERATE)
        ]
    else:
        rows = [
            {
                "variable": variable.name,
                "default": variable.default,
                "choices": list(variable.choices),
                "description": variable.description,
            }
            for variable in cli.prompts.get(GENERATE + kind).variables.values()
        ]
    cli.table(rows if cli.flags.json else [{name: _shown(name, cell) for name, cell in row.items()} for row in rows])
    return 0


def _shown(name: str, cell: object) -> object:
    if isinstance(cell, list):
        return ", ".join(cell)
    return "(required)" if name == "default" and cell is None else cell
