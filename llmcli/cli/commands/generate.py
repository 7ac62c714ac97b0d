"""``llm generate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.completers import generate_kinds
from llmcli.cli.input import inputs
from llmcli.cli.input.standard_input import STDIN
from llmcli.cli.options import command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.cli.records.record_flags import RecordFlags, wants_records
from llmcli.cli.render.renderer import render_task
from llmcli.errors import MissingError, UsageError


@command(
    examples="""
      llm generate --list
      llm generate email --list
      llm generate email --var topic="a later meeting" --var tone=formal
      llm generate article --var topic=tides --var text=@notes.txt
      llm generate poem --var topic=rain --seed 7
      llm generate email -f people.csv --var tone=formal -o emails.csv
    """,
    flags=RecordFlags,
)
def generate(
    ctx: CommandContext,
    kind: Annotated[
        str | None,
        Argument(metavar="[KIND]", help="What to write: article, email, ...", autocompletion=generate_kinds),
    ] = None,
    var: Annotated[
        list[str] | None,
        Option(
            "--var",
            metavar="NAME=VALUE",
            help="A variable of the prompt; @FILE reads a file, @@ is a literal @; repeatable.",
        ),
    ] = None,
    file: Annotated[
        list[str] | None,
        Option("-f", "--file", metavar="FILE", help="Records: a text for each, its columns as variables."),
    ] = None,
    show_list: Annotated[
        bool,
        Option(
            "--list",
            help="List the kinds (kind, description), or the variables of KIND (variable, default, choices, description).",
        ),
    ] = False,
) -> int:
    """Write an article, an email, a story, a poem, ..."""
    from llmcli.tasks.generate import generate as task

    if show_list:
        if ctx.flags.output is not None:
            raise UsageError("--list goes to standard output, so it takes no --output")
        return _list_kinds(ctx, kind)
    if kind is None:
        raise UsageError("which kind of text?", detail="Try: llm generate --list")
    variables, read = _read_variables(ctx, var or [])
    if file or wants_records(ctx.flags):
        from llmcli.cli.records.record_tasks import generate_records

        return generate_records(ctx, kind, variables, file or [])
    text = inputs.read_stdin_document(ctx).text if inputs.reads_stdin(ctx, read) else None
    options = ctx.generation_options()
    return render_task(ctx, lambda backend: task(backend, ctx.runtime.prompts, kind, variables, text, options))


def _read_variables(ctx: CommandContext, texts: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of variables, and ``["-"]`` if one of them is standard input."""
    pairs = [_parse_assignment(inputs.decode_argument(text)) for text in texts]
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--var sets {twice} twice")
    read = [value[1:] for _, value in pairs if value == f"@{STDIN}"]
    if len(read) > 1:
        raise UsageError("standard input can be read only once")
    return {name: _read_value(ctx, name, value) for name, value in pairs}, read


def _parse_assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--var expects NAME=VALUE, not {text!r}")
    return name.strip(), value


def _read_value(ctx: CommandContext, name: str, value: str) -> str:
    """Return the value; for ``@FILE`` the file's text without trailing newlines, as $(cat FILE) gives it."""
    if not value.startswith("@") or value.startswith("@@"):
        return value.removeprefix("@")
    if value == "@":
        raise UsageError(f"--var {name}=@ names no file", detail=f"Try: --var {name}=@FILE, or @@ for a literal @")
    try:
        return inputs.read_document(ctx, value[1:]).text.rstrip("\r\n")
    except MissingError as error:
        raise MissingError(value[1:], kind="file of a variable", detail=error.detail) from error


def _list_kinds(ctx: CommandContext, kind: str | None) -> int:
    from llmcli.prompts.contracts import GENERATE_PREFIX

    if kind is None:
        rows: list[dict[str, object]] = [
            {"kind": summary.name.removeprefix(GENERATE_PREFIX), "description": summary.description}
            for summary in ctx.runtime.prompts.list_summaries(GENERATE_PREFIX)
        ]
    else:
        rows = [
            {
                "variable": variable.name,
                "default": variable.default,
                "choices": list(variable.choices),
                "description": variable.description,
            }
            for variable in ctx.runtime.prompts.get(GENERATE_PREFIX + kind).variables.values()
        ]
    ctx.console.write_table(
        rows
        if ctx.console.as_json
        else [{name: _format_cell(name, cell) for name, cell in row.items()} for row in rows]
    )
    return 0


def _format_cell(name: str, cell: object) -> object:
    if isinstance(cell, list):
        return ", ".join(cell)
    return "(required)" if name == "default" and cell is None else cell
