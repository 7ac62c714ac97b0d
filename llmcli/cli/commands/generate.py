"""``llm generate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmcli.cli import inputs
from llmcli.cli.completers import kinds
from llmcli.cli.context import Context
from llmcli.cli.options import command
from llmcli.errors import UsageError


@command(
    examples="""
      llm generate --list
      llm generate email --list
      llm generate email --var topic="a later meeting" --var tone=formal
      llm generate poem --var topic=rain --seed 7
    """
)
def generate(
    cli: Context,
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="What to write: article, email, ...", autocompletion=kinds)
    ] = None,
    var: Annotated[
        list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="A variable of the prompt; repeatable.")
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
    variables = _variables(var or [])
    text = inputs.stdin_document(cli).text if inputs.stdin_wanted(cli, []) else None
    options = cli.options()
    return cli.show(lambda backend: task(backend, cli.prompts, kind, variables, text, options))


def _variables(texts: Sequence[str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for text in texts:
        name, value = _pair(inputs.argument(text))
        if name in variables:
            raise UsageError(f"--var gives {name} twice")
        variables[name] = value
    return variables


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--var wants NAME=VALUE, not {text!r}")
    return name.strip(), value


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
