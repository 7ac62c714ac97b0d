"""``llm models``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.commands.models.maintenance_commands import alias, default, import_, prune, verify
from llmcli.cli.commands.models.quantize_command import quantize
from llmcli.cli.commands.models.search_commands import recommend, search
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command, reject_empty_values
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import ModelNotDownloaded

ModelArgument = Annotated[str, Argument(metavar="NAME", help="Any name that -m accepts.", autocompletion="models")]
OptionalModelArgument = Annotated[
    str | None,
    Argument(
        metavar="[NAME]",
        help="Any name that -m accepts (default: the default model).",
        autocompletion="models",
    ),
]


@command(*GENERAL_OPTIONS, examples="llm models list\nllm models list --json | jq -r 'select(.here).name'")
def show_list(ctx: CommandContext) -> int:
    """List the models on this machine, and those that you can download by name.

    In a pipe, tab-separated: name, bytes, quantization, context, licence, last used (UTC), verification, source, here,
    default, path, copies in other types (TYPE:BYTES).
    """
    from llmcli.cli.commands.models import model_rows
    from llmcli.cli.console import sanitize, table

    library = ctx.runtime.models
    default, origin = library.default_model()
    models = library.list()
    rows = [model_rows.local_model_row(library, model) for model in models]
    known = {model.catalogue for model in models}
    ladder = [entry for entry in library.catalogue_entries() if entry.name not in known]
    if not ctx.console.writes_for_people:
        rows += [model_rows.catalogue_row(entry, default=default) for entry in ladder]
        ctx.console.write_table(rows if ctx.console.as_json else list(map(model_rows.derived_as_text, rows)))
        return 0
    copies = any(row["derived"] for row in rows)
    mine = [
        model_rows.local_model_for_terminal(row, with_derived=copies)
        | ({"source": row["source"]} if ctx.console.verbose else {})
        for row in rows
    ]
    mine_text = table.render_table(mine, as_json=False, terminal=True, columns=ctx.console.columns)
    ctx.console.write_stdout(mine_text or "No models here yet.\n")
    decided = sanitize.single_line(f"The default is {default} ({origin}).")
    ctx.console.write_wrapped(f"\n{decided}\nTo download one of these: llm models pull NAME\n\n")
    ctx.console.write_table([model_rows.catalogue_entry_for_terminal(entry) for entry in ladder])
    return 0


@command(
    *GENERAL_OPTIONS,
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
    ctx: CommandContext,
    name: OptionalModelArgument = None,
    force: Annotated[bool, Option("--force", help="Download it even if it does not fit this machine.")] = False,
) -> int:
    """Download a model and verify it; a local file stays where it is.

    If the name has no quantization, llm chooses the one with the most bits per weight, up to 8, that fits this machine
    with the wanted context (--ctx). A model that does not fit is refused before anything is downloaded (71).

    Then llm measures the model in the background while the machine is idle, as llm models tune does, unless the setting
    tune is off.
    """
    from llmcli.cli.commands.models import maintenance
    from llmcli.runtime import tune

    model = ctx.runtime.pull_model(ctx.runtime.models.default_model()[0] if name is None else name, force=force)
    maintenance.report_local_model(ctx, model)
    tune.measure_in_background(ctx.runtime.config, model)
    return 0


@command(*GENERAL_OPTIONS, examples="llm models show\nllm models show qwen3-1.7b --json")
def show(ctx: CommandContext, name: OptionalModelArgument = None) -> int:
    """Show the details of a model: its header, size, memory for each task, and origin."""
    from llmcli.cli.commands.models import model_rows
    from llmcli.runtime import memory_needs

    try:
        model = ctx.runtime.models.find(name)
        facts = model_rows.model_details(
            ctx.runtime.models,
            model,
            memory_needs.peak_bytes_by_task(ctx.runtime.config, ctx.runtime.models, model),
        )
    except ModelNotDownloaded as missing:
        entries = {entry.name: entry for entry in ctx.runtime.models.catalogue_entries()}
        if missing.subject not in entries:
            raise
        facts = model_rows.catalogue_details(entries[missing.subject])
    ctx.console.write_record(facts if ctx.console.as_json else model_rows.details_for_terminal(facts))
    return 0


@command(*GENERAL_OPTIONS, examples="llm models rm qwen3-1.7b\nllm models rm --yes Qwen/Qwen3-4B-GGUF:Q4_K_M")
def rm(
    ctx: CommandContext,
    name: ModelArgument,
    yes: YesOption = False,
) -> int:
    """Remove a model from this machine; a file that you pulled by its path is not deleted.

    Files that another model needs stay. Aliases and defaults that name the model are removed, and so are its copies in
    other types (derived weights).
    """
    from llmcli.cli.commands.models import maintenance, model_rows
    from llmcli.cli.console import confirm
    from llmcli.cli.console.messages.message_text import format_bytes

    try:
        model = ctx.runtime.models.remover.find_removable(name)
    except ModelNotDownloaded as missing:
        if not ctx.runtime.models.remover.orphaned_partials(name):  # advice to download it would not help here
            raise maintenance.nothing_to_remove(missing.subject) from missing
        removable, what = missing.subject, f"Remove the unfinished download of {missing.subject}"
    else:
        model_rows.require_unambiguous(ctx.runtime.models.list(), name, model)
        removable = model.name
        forgotten = model.repo is None and not ctx.runtime.models.is_imported_copy(model)
        what = f"Forget {model.name}" if forgotten else f"Remove {model.name} ({format_bytes(model.size)})"
    again = ("models", "rm", "--yes", name)
    if not yes and not confirm.require_confirmation(ctx.console, what, again, maintenance.LOCATION_VARIABLES):
        return 1
    removed = [str(path) for path in ctx.runtime.models.remover.remove(name)]
    if ctx.console.as_json:
        ctx.console.write_record({"name": removable, "removed": removed})
    elif ctx.console.verbose:
        for path in removed:
            ctx.console.write_note(f"removed {path}")
    return 0


@command(
    *GENERAL_OPTIONS,
    examples="""
      llm models tune
      llm models tune qwen3-1.7b --json
      llm models tune --all qwen3-4b
      llm models tune --plot speed.svg
    """,
)
def tune(
    ctx: CommandContext,
    name: OptionalModelArgument = None,
    plot: Annotated[
        str | None, Option("--plot", metavar="FILE", help="Draw the speed of each type of weights (.svg or .png).")
    ] = None,
    everything: Annotated[bool, Option("--all", help="Measure everything, however long it takes.")] = False,
) -> int:
    """Measure how fast a model is on this machine, and choose the type of its weights for each kind of work.

    llm stores the weights in the types that this processor computes fast, and times prompts, single answers and 16
    answers at once, in tokens a second. A type is used only if its answers diverge from those of exact evaluation as
    little as those of the file do. Copies that are best for some kind of work are kept (setting derived_weights), the
    others removed. Of a model of a billion parameters or more, up to six layers are timed. Pulling a model, a new
    default and a large job start the same in the background, unless the setting tune is off.

    Of a model that llm does not know, tune also finds the layers whose hidden states tell most about a text, with short
    texts of its own: calibrations and vectors read these.

    tune first says how long it takes, which is at most about two minutes. It leaves out what does not fit, and names it
    in one line; a model of which nothing fits is refused (2). --all measures everything.
    """
    from llmcli.cli.commands.models import tuning_view

    return tuning_view.tune_model(ctx, name, plot, everything=everything)


models = CommandGroup(
    "Find, download, list and remove models.",
    {
        name: reject_empty_values(function)
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
            "quantize": quantize,
        }.items()
    },
    area=CommandArea.MODELS,
    also="The engine: llm engine.",
)
