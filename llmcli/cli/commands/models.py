"""``llm models``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmcli.cli import completers
from llmcli.cli.commands.models_find import recommend, search
from llmcli.cli.commands.models_keep import alias, default, import_, prune, verify
from llmcli.cli.context import Context
from llmcli.cli.groups import group
from llmcli.cli.options import GENERAL, Yes, command, filled
from llmcli.errors import ModelNotHere, NothingToRemove

Name = Annotated[str, typer.Argument(metavar="NAME", help="Any name that -m takes.", autocompletion=completers.models)]
OptionalName = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="Any name that -m takes (default: the default model).", autocompletion=completers.models
    ),
]


@command(*GENERAL, examples="llm models list\nllm models list --json | jq -r 'select(.here).name'")
def show_list(cli: Context) -> int:
    """List the models on this machine, and those that llm knows by name.

    In a pipe, tab-separated: name, bytes, quantization, context, licence, last used (UTC), verification, source, here,
    default, path.
    """
    from llmcli.cli import sanitize, shelf, table

    default, origin = cli.models.default()
    models = cli.models.list()
    rows = [shelf.here(cli.models, model) for model in models]
    ladder = [entry for entry in cli.models.catalogue() if entry.name not in {model.catalogue for model in models}]
    if cli.flags.json or not cli.world.terminal(cli.world.stdout):
        cli.table(rows + [shelf.known(entry, default=default) for entry in ladder])
        return 0
    columns = cli.world.columns(cli.world.stdout)
    mine = [shelf.here_for_people(row) | ({"source": row["source"]} if cli.flags.verbose else {}) for row in rows]
    cli.write(table.render(mine, as_json=False, terminal=True, columns=columns) or "No models here yet.\n")
    decided = sanitize.line(f"The default is {default} ({origin}).")
    cli.prose(f"\n{decided}\nWhat llm knows by name, to fetch with: llm models pull NAME\n\n")
    cli.table([shelf.known_for_people(entry) for entry in ladder])
    return 0


@command(
    *GENERAL,
    "offline",
    "timeout",
    "ctx",
    examples="""
      llm models pull qwen3-1.7b
      llm models pull Qwen/Qwen3-4B-GGUF:Q4_K_M
      llm models pull Qwen/Qwen3-4B-GGUF --ctx 16384
      llm models pull ./mine.gguf
    """,
)
def pull(
    cli: Context,
    name: OptionalName = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch it though it does not fit this machine.")] = False,
) -> int:
    """Fetch a model and check it; a file that is here already is used where it lies.

    Of a repository without a quantization the best is taken that fits this machine with the wanted context: the one
    with most bits a weight up to 8. What does not fit is refused before anything is fetched (71).
    """
    from llmcli.cli import base_models, sanitize, shelf, wording

    model = cli.pull(cli.models.default()[0] if name is None else name, force=force)
    if cli.flags.json:
        cli.facts(shelf.here(cli.models, model))
    elif cli.flags.verbose or (cli.world.terminal(cli.world.stderr) and not cli.flags.quiet):
        wording.say(cli.world, f"llm: {sanitize.line(f'{model.name} is here: {model.path}')}")
    base_models.tell(cli, model)
    return 0


@command(*GENERAL, examples="llm models show\nllm models show qwen3-1.7b --json")
def show(cli: Context, name: OptionalName = None) -> int:
    """Show what is known about a model: its header, its size, what each task takes, where it came from."""
    from llmcli.cli import fitting, shelf

    try:
        model = cli.models.find(name)
        facts = shelf.details(cli.models, model, fitting.peaks(cli, model))
    except ModelNotHere as missing:
        entries = {entry.name: entry for entry in cli.models.catalogue()}
        if missing.subject not in entries:
            raise
        facts = shelf.details_of_entry(entries[missing.subject])
    cli.facts(facts if cli.flags.json else shelf.for_people(facts))
    return 0


@command(*GENERAL, examples="llm models rm qwen3-1.7b\nllm models rm --yes Qwen/Qwen3-4B-GGUF:Q4_K_M")
def rm(
    cli: Context,
    name: Name,
    yes: Yes = False,
) -> int:
    """Remove a model from this machine; a file that was pulled by its path is forgotten, not deleted.

    Files that another name needs stay. Aliases and defaults that mean the model are forgotten.
    """
    from llmcli.cli import asking, keeping, sanitize, shelf, wording

    try:
        model = cli.models.find_removable(name)
    except ModelNotHere as missing:
        if not cli.models.left_behind(name):  # nobody who removes it wants to be told how to fetch it
            raise NothingToRemove(missing.subject) from missing
        removable, what = missing.subject, f"Remove what an unfinished download left of {missing.subject}"
    else:
        shelf.require_one(cli.models.list(), name, model)
        removable = model.name
        forgotten = model.repo is None and not cli.models.owns(model)
        what = f"Forget {model.name}" if forgotten else f"Remove {model.name} ({wording.size(model.size)})"
    if not yes and not asking.confirmed(cli, what, ("models", "rm", "--yes", name), keeping.VARIABLES):
        return 1
    removed = [str(path) for path in cli.models.remove(name)]
    if cli.flags.json:
        cli.facts({"name": removable, "removed": removed})
    elif cli.flags.verbose:
        for path in removed:
            wording.say(cli.world, f"llm: removed {sanitize.line(path)}")
    return 0


@command(*GENERAL, examples="llm models tune\nllm models tune qwen3-1.7b --json")
def tune(cli: Context, name: OptionalName = None) -> int:
    """Measure, within seconds, which settings of the KV cache suit a model on this machine.

    The first job with a model does this by itself afterwards, in the background, unless the setting tune is off.
    """
    from llmcli.cli import tuning

    cli.facts(tuning.measured(cli, cli.models.find(name)))
    return 0


models = group(
    "Find, fetch, list and remove models.",
    {
        name: filled(function)
        for name, function in {
            "list": show_list,
            "search": search,
            "recommend": recommend,
            "pull": pull,
            "show": show,
            "rm": rm,
            "alias": alias,
            "default": default,
            "verify": verify,
            "prune": prune,
            "import": import_,
            "tune": tune,
        }.items()
    },
)
