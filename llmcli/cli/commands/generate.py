"""``llm generate``."""

from __future__ import annotations

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
    show_list: Annotated[bool, typer.Option("--list", help="List the kinds, or the variables of KIND.")] = False,
) -> int:
    """Write an article, an email, a story, a poem, ..."""
    from llmcli.tasks.generate import generate as task

    if show_list:
        return _list(cli, kind)
    if kind is None:
        raise UsageError("which kind of text?", detail="Try: llm generate --list")
    variables = dict(_pair(inputs.argument(text)) for text in var or ())
    text = inputs.stdin_document(cli).text if inputs.stdin_wanted(cli, []) else None
    options = cli.options()
    return cli.show(lambda backend: task(backend, cli.prompts, kind, variables, text, options))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--var wants NAME=VALUE, not {text!r}")
    return name.strip(), value


def _list(cli: Context, kind: str | None) -> int:
    from llmcli.templates.contracts import GENERATE

    if kind is None:
        rows = [
            {"kind": summary.name.removeprefix(GENERATE), "description": summary.description}
            for summary in cli.prompts.list(GENERATE)
        ]
    else:
        rows = [
            {
                "variable": variable.name,
                "default": "(required)" if variable.default is None else variable.default,
                "choices": ", ".join(variable.choices),
                "description": variable.description,
            }
            for variable in cli.prompts.get(GENERATE + kind).variables.values()
        ]
    cli.table(rows)
    return 0
