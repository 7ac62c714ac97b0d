"""``llm prompts``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import CannotCreate, ConfigError, MissingError
from llmcli.prompts.contracts import is_own_name, prefix_of
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_parser import PromptProblem

PromptArgument = Annotated[str, Argument(metavar="NAME", help="Name of a prompt.", autocompletion="prompts")]
OptionalPromptArgument = Annotated[
    str | None,
    Argument(metavar="[NAME|FILE]", help="A prompt (default: all).", autocompletion="prompts"),
]
PromptSourceOption = Annotated[
    str | None,
    Option("--from", metavar="NAME", help="The prompt to copy.", autocompletion="prompts"),
]


@command(*GENERAL_OPTIONS, examples="llm prompts list\nllm prompts list --json")
def show_list(ctx: CommandContext) -> int:
    """List the prompts: yours and the built-in ones.

    In a pipe, tab-separated: name, where, description, path.
    """
    rows: list[dict[str, Any]] = []
    for summary in ctx.runtime.prompts.list_summaries():
        text = summary.description or f"(broken: llm prompts check {summary.name})"
        rows.append(
            {"name": summary.name, "where": "yours" if summary.is_user_file else "built in", "description": text}
        )
        if not ctx.console.stdout_is_terminal:
            rows[-1]["path"] = str(summary.origin)
    ctx.console.write_table(rows)
    return 0


@command(*GENERAL_OPTIONS, examples="llm prompts show summarize\nllm prompts show generate/email --json")
def show(ctx: CommandContext, name: PromptArgument) -> int:
    """Show a prompt file unchanged; with --json as llm parsed it."""
    if ctx.console.as_json:
        ctx.console.write_record(_prompt_as_object(ctx.runtime.prompts.get(name)))
        return 0
    ctx.console.write_stdout(ctx.runtime.prompts.read(name))
    return 0


def _prompt_as_object(prompt: Prompt) -> dict[str, Any]:
    from llmcli.fast_dataclass import asdict

    return {
        "name": prompt.name,
        "path": str(prompt.origin),
        "description": prompt.description,
        "system": prompt.system and prompt.system.source,
        "user": prompt.user.source,
        "examples": [{"user": user.source, "assistant": answer.source} for user, answer in prompt.examples],
        "content_free": list(prompt.content_free),
        "label_temperature": prompt.label_temperature,
        "variables": {name: asdict(variable) for name, variable in prompt.variables.items()},
        "passed": list(prompt.contract_variables),
        "options": asdict(prompt.options),
        "output": prompt.output,
        "labels": list(prompt.labels),
        "schema": prompt.schema,
    }


@command(
    *GENERAL_OPTIONS,
    examples="llm prompts new review\nllm prompts new summarize\nllm prompts new generate/haiku --from generate/poem",
)
def new(ctx: CommandContext, name: PromptArgument, source: PromptSourceOption = None) -> int:
    """Create a prompt of your own, or copy a built-in one, and print its path.

    A new name gets a small prompt to edit, for llm ask -p NAME. The name of a built-in prompt copies that, and your
    copy replaces it.
    """
    try:
        file = _create_or_copy(ctx, name, source)
    except CannotCreate as error:
        if not error.exists:
            raise
        raise CannotCreate(error.subject, exists=True, detail=f"To open it: llm prompts edit {name}") from error
    except MissingError as error:
        if source is not None:
            raise
        detail = "to copy another prompt: --from NAME"
        raise MissingError(name, kind="prompt", suggestions=error.suggestions, detail=detail) from error
    ctx.console.write_record({"name": name, "path": str(file)}) if ctx.console.as_json else ctx.console.write_stdout(
        f"{file}\n"
    )
    return 0


def _create_or_copy(ctx: CommandContext, name: str, source: str | None) -> Path:
    """Create the user's file; a new name that resembles a built-in one is taken for a mistake."""
    prompts = ctx.runtime.prompts
    is_free = bool(prefix_of(name)) or is_own_name(name)
    if source is None and is_free and not prompts.exists(name) and not prompts.misspelled(name):
        return prompts.create(name)
    return prompts.copy_to_user(name, source)


@command(*GENERAL_OPTIONS, examples="llm prompts edit summarize\nEDITOR=nano llm prompts edit generate/email")
def edit(ctx: CommandContext, name: PromptArgument) -> int:
    """Open a prompt in your editor and check it; a built-in one is copied first."""
    from llmcli.cli.input import editor

    file = ctx.runtime.prompts.path(name)
    fresh = not file.is_relative_to(ctx.runtime.prompts.user)
    if fresh:
        file = ctx.runtime.prompts.copy_to_user(name)
    with editor.remove_if_unchanged(file, fresh=fresh):
        editor.edit_file(ctx.console, file)
    problems = ctx.runtime.prompts.check(name)
    if problems:
        lines = "; ".join(f"line {each.line}: {each.message}" if each.line else each.message for each in problems)
        raise ConfigError(str(file), origin=str(file), detail=lines)
    return 0


@command(*GENERAL_OPTIONS, examples="llm prompts check\nllm prompts check generate/haiku")
def check(ctx: CommandContext, name: OptionalPromptArgument = None) -> int:
    """Print the problems of the prompts, one per line; exit code 78 if there are any."""
    problems = ctx.runtime.prompts.check(name)
    if ctx.console.as_json:
        ctx.console.write_table([_problem_row(problem) for problem in problems])
    else:
        ctx.console.write_stdout("".join(f"{_problem_location(problem)}: {problem.message}\n" for problem in problems))
    return ConfigError.exit_code if problems else 0


def _problem_row(problem: PromptProblem) -> dict[str, Any]:
    return {"name": problem.name, "path": str(problem.origin), "line": problem.line, "message": problem.message}


def _problem_location(problem: PromptProblem) -> str:
    return f"{problem.origin}:{problem.line}" if problem.line else str(problem.origin)


prompts = CommandGroup(
    "List, show, edit and check prompts.",
    {"list": show_list, "show": show, "new": new, "edit": edit, "check": check},
    area=CommandArea.HOUSEKEEPING,
    listed=False,
)
