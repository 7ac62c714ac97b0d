"""``llm prompts``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmcli.cli import completers
from llmcli.cli.context import Context
from llmcli.cli.groups import group
from llmcli.cli.options import GENERAL, command
from llmcli.errors import CannotCreate, ConfigError, MissingError
from llmcli.templates import Problem, Prompt
from llmcli.templates.contracts import GENERATE

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a prompt.", autocompletion=completers.prompts)]
OptionalName = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Name of a prompt (default: all).", autocompletion=completers.prompts),
]
Source = Annotated[
    str | None,
    typer.Option("--from", metavar="NAME", help="The prompt to copy.", autocompletion=completers.prompts),
]


@command(*GENERAL, examples="llm prompts list\nllm prompts list --json")
def show_list(cli: Context) -> int:
    """List the prompts: yours and the built-in ones.

    In a pipe, tab-separated: name, where, description, path.
    """
    rows: list[dict[str, Any]] = []
    for summary in cli.prompts.list():
        text = summary.description or f"(broken: llm prompts check {summary.name})"
        rows.append({"name": summary.name, "where": "yours" if summary.own else "built in", "description": text})
        if not cli.world.terminal(cli.world.stdout):
            rows[-1]["path"] = str(summary.origin)
    cli.table(rows)
    return 0


@command(*GENERAL, examples="llm prompts show summarize\nllm prompts show generate/email --json")
def show(cli: Context, name: Name) -> int:
    """Show a prompt file as it is; with --json what was understood of it."""
    if cli.flags.json:
        cli.facts(_as_object(cli.prompts.get(name)))
        return 0
    cli.write(cli.prompts.read(name))
    return 0


def _as_object(prompt: Prompt) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "name": prompt.name,
        "path": str(prompt.origin),
        "description": prompt.description,
        "system": prompt.system and prompt.system.source,
        "user": prompt.user.source,
        "examples": [{"user": user.source, "assistant": answer.source} for user, answer in prompt.examples],
        "variables": {name: asdict(variable) for name, variable in prompt.variables.items()},
        "passed": list(prompt.passed),
        "options": asdict(prompt.options),
        "output": prompt.output,
        "labels": list(prompt.labels),
        "schema": prompt.schema,
    }


@command(*GENERAL, examples="llm prompts new summarize\nllm prompts new generate/haiku --from generate/poem")
def new(cli: Context, name: Name, source: Source = None) -> int:
    """Make a prompt of your own from another one and print its path."""
    try:
        file = cli.prompts.new(name, source)
    except CannotCreate as error:
        if not error.exists:
            raise
        raise CannotCreate(error.subject, detail=f"it exists; llm prompts edit {name} opens it") from error
    except MissingError as error:
        if source is not None:
            raise
        detail = "say which one to copy: --from NAME"
        near = () if name.startswith(GENERATE) else error.suggestions  # kinds of texts may have any name
        raise MissingError(name, kind="prompt", suggestions=near, detail=detail) from error
    cli.facts({"name": name, "path": str(file)}) if cli.flags.json else cli.write(f"{file}\n")
    return 0


@command(*GENERAL, examples="llm prompts edit summarize\nEDITOR=nano llm prompts edit generate/email")
def edit(cli: Context, name: Name) -> int:
    """Open a prompt of yours in your editor and check it; one that is built in is copied first."""
    from llmcli.cli import editing

    file = cli.prompts.path(name)
    fresh = not file.is_relative_to(cli.prompts.user)
    if fresh:
        file = cli.prompts.new(name)
    with editing.editing(file, fresh=fresh):
        editing.edit(cli, file)
    problems = cli.prompts.check(name)
    if problems:
        lines = "; ".join(f"line {each.line}: {each.message}" if each.line else each.message for each in problems)
        raise ConfigError(str(file), origin=str(file), detail=lines)
    return 0


@command(*GENERAL, examples="llm prompts check\nllm prompts check generate/haiku")
def check(cli: Context, name: OptionalName = None) -> int:
    """Print what is wrong with the prompts, a line each; exit code 78 when something is."""
    problems = cli.prompts.check(name)
    if cli.flags.json:
        cli.table([_row(problem) for problem in problems])
    else:
        cli.write("".join(f"{_place(problem)}: {problem.message}\n" for problem in problems))
    return ConfigError.exit_code if problems else 0


def _row(problem: Problem) -> dict[str, Any]:
    return {"name": problem.name, "path": str(problem.origin), "line": problem.line, "message": problem.message}


def _place(problem: Problem) -> str:
    return f"{problem.origin}:{problem.line}" if problem.line else str(problem.origin)


prompts = group(
    "Look at the prompts, and make your own.",
    {"list": show_list, "show": show, "new": new, "edit": edit, "check": check},
)
