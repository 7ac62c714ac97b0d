"""``llm models``: ``alias``, ``default``, ``verify``, ``prune``, ``import``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import suggestion
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import UsageError


class ForeignProgram(StrEnum):
    """Programs whose models can be imported."""

    OLLAMA = "ollama"
    LMSTUDIO = "lmstudio"


@command(
    *GENERAL_OPTIONS,
    examples="""
      llm models alias
      llm models alias small smollm2-135m
      llm models alias qwen Qwen/Qwen3-4B-GGUF:Q4_K_M && llm ask -m qwen "Hello?"
      llm models alias --remove small
    """,
)
def alias(
    ctx: CommandContext,
    name: Annotated[str | None, Argument(metavar="[NAME]", help="The alias.", autocompletion="aliases")] = None,
    model: Annotated[
        str | None,
        Argument(metavar="[MODEL]", help="The model that it stands for.", autocompletion="models"),
    ] = None,
    remove: Annotated[bool, Option("--remove", help="Remove the alias.")] = False,
) -> int:
    """List the aliases, print the model of NAME, or make NAME an alias for MODEL.

    In a pipe, tab-separated: alias, model, where it was set.
    """
    choices = ctx.runtime.models.defaults
    if remove and (name is None or model is not None):
        raise UsageError("--remove needs one NAME", detail="Try: llm models alias --remove NAME")
    if name is None:
        ctx.console.write_table([_alias_row(each.name, each.model, each.origin) for each in choices.aliases()])
    elif remove:
        choices.remove_alias(name)
    else:
        found = choices.get_alias(name) if model is None else ctx.runtime.models.set_alias(name, model)
        if ctx.console.as_json:
            ctx.console.write_record(_alias_row(found.name, found.model, found.origin))
        elif model is None:
            ctx.console.write_stdout(f"{found.model}\n")
            ctx.console.explain(f"{name}: {found.origin}")
    return 0


def _alias_row(name: str, model: str, origin: str) -> dict[str, str]:
    return {"alias": name, "model": model, "origin": origin}


@command(
    *GENERAL_OPTIONS,
    examples="""
      llm models default
      llm models default qwen3-1.7b
      llm models default --for translate qwen3-4b
      llm models default --for translate --unset
      llm models default --list
    """,
)
def default(
    ctx: CommandContext,
    name: Annotated[
        str | None,
        Argument(metavar="[NAME]", help="The model to make the default.", autocompletion="models"),
    ] = None,
    verb: Annotated[
        str | None,
        Option("--for", metavar="COMMAND", help="For this command only.", autocompletion="model_commands"),
    ] = None,
    unset: Annotated[bool, Option("--unset", help="Clear the default.")] = False,
    every: Annotated[bool, Option("--list", help="List the defaults of all commands.")] = False,
) -> int:
    """Print the default model, or make NAME the default; -v says where it was set.

    The setting model overrides the default of a command (--for), which overrides the default of all commands.

    A new default is measured in the background, as llm models tune does, unless the setting tune is off.

    In a pipe, --list is tab-separated: command, model, where it was set.
    """
    from llmcli.cli import command_registry

    verb, verbs = verb or "", [each.name for each in command_registry.model_commands()]
    if verb and verb not in verbs:
        raise UsageError(f"--for {verb}: not a command that runs a model", detail=f"Choose from: {', '.join(verbs)}")
    if (name is not None) + unset + every > 1 or (every and verb):
        raise UsageError("NAME, --unset and --list exclude each other")
    if unset:
        ctx.runtime.models.defaults.store_default(None, verb)
    elif name is not None:
        _set_default(ctx, name, verb)
    if every:
        ctx.console.write_table([_default_row(ctx, each) for each in ("", *verbs)])
        return 0
    decided = _default_row(ctx, verb)
    if ctx.console.as_json:
        ctx.console.write_record({key: decided[key] for key in ("name", "origin")})
        return 0
    if name is None and not unset:
        ctx.console.write_stdout(f"{decided['name']}\n")
    ctx.console.explain(f"{decided['name']}: {decided['origin']}")
    return 0


def _set_default(ctx: CommandContext, name: str, verb: str) -> None:
    """Make a model the default, and explain a base model on a terminal: it would answer everything from now on."""
    from llmcli.cli.render import base_model_notice
    from llmcli.runtime import hardware_fit, tune

    model = ctx.runtime.models.set_default(name, verb, unsupported_reason=hardware_fit.unsupported_reason)
    if model is not None:
        base_model_notice.explain_base_model(ctx.console, ctx.runtime.models, model)
        tune.measure_in_background(ctx.runtime.config, model)


def _default_row(ctx: CommandContext, verb: str) -> dict[str, str]:
    decided, origin = ctx.runtime.models.default_model(verb)
    return {"command": verb or "all", "name": decided, "origin": origin}


@command(
    *GENERAL_OPTIONS,
    "timeout",
    examples="""
      llm models verify
      llm models verify qwen3-1.7b
      llm models verify --json | jq -r 'select(.ok | not) | .repair'
    """,
)
def verify(
    ctx: CommandContext,
    names: Annotated[
        list[str] | None,
        Argument(metavar="[NAME]...", help="Any names that -m accepts (default: all).", autocompletion="models"),
    ] = None,
) -> int:
    """Hash models again and compare with the checksums of their source, or else with the earlier hashes.

    This finds changed bytes even if size and time are unchanged. llm then no longer runs the model, and the exit code
    is 76. Standard error says how to repair it: llm models pull NAME. Copies in other types are verified too; a damaged
    one is removed.

    In a pipe, tab-separated: name, verification, SHA-256, path, repair command.
    """
    from llmcli.cli.commands.models import maintenance

    models = [ctx.runtime.models.find(name) for name in names] if names else ctx.runtime.models.list()
    return maintenance.verify_models(ctx, models, all_copies=not names)


@command(
    *GENERAL_OPTIONS,
    examples="""
      llm models prune --dry-run
      llm models prune --yes
    """,
)
def prune(
    ctx: CommandContext,
    yes: YesOption = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only show what would be removed.")] = False,
) -> int:
    """Remove what is no longer needed: unfinished downloads, unreferenced files, records and copies of missing models.

    Files that a running process is writing stay. Partial files of other programs are removed after a day without
    changes, cache files without a snapshot after an hour.

    In a pipe, tab-separated: path, bytes freed, what it is.
    """
    from llmcli.cli.commands.models import maintenance

    return maintenance.prune_files(ctx, yes=yes, dry_run=dry_run)


@command(
    *GENERAL_OPTIONS,
    "timeout",
    examples="""
      llm models import ~/Downloads/mine.gguf
      llm models import big-Q4_K_M-00001-of-00002.gguf --name big
      llm models import --from ollama
      llm models import --from ollama llama3.2:1b --name llama
    """,
)
def import_(
    ctx: CommandContext,
    path: Annotated[
        str | None,
        Argument(metavar="[PATH]", help="A file, or with --from a model's name.", autocompletion="foreign_models"),
    ] = None,
    name: Annotated[
        str | None, Option("--name", metavar="NAME", help="Its name here (default: that of the file).")
    ] = None,
    program: Annotated[
        ForeignProgram | None,
        Option("--from", help="The program to import from; without a model, list its models."),
    ] = None,
) -> int:
    """Import a model into llm's own directory, by hard link or by copying.

    It is hashed once; all parts of a split model are imported. rm deletes llm's files, never the original.

    In a pipe, the list of --from is tab-separated: name, bytes, path.
    """
    from llmcli.cli.commands.models import maintenance

    if program is None:
        if path is None:
            raise UsageError(
                "import what?", detail="Try: llm models import FILE.gguf, or: llm models import --from ollama"
            )
        return maintenance.import_model(ctx, Path(path), name or "")
    if path is None:
        if name:
            words = ("models", "import", "--from", program, "MODEL", "--name", name)
            raise UsageError("--name needs a model", detail=f"Try: {suggestion.format_command(*words)}")
        return maintenance.list_foreign_models(ctx, program)
    return maintenance.import_foreign_model(ctx, program, path, name or "")
