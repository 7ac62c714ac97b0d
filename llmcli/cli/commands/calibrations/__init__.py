"""``llm calibrations``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.groups import CommandGroup
from llmcli.cli.options import GENERAL_OPTIONS, YesOption, command
from llmcli.cli.parsing.parameters import Argument, Option

if TYPE_CHECKING:
    from llmcli.tasks.calibration.calibration_store import CalibrationStore

CalibrationArgument = Annotated[str, Argument(metavar="NAME", help="A calibration.", autocompletion="calibrations")]


def _open_store(ctx: CommandContext) -> CalibrationStore:
    from llmcli.tasks.calibration.calibration_store import CalibrationStore

    return CalibrationStore(ctx.runtime.paths.calibrations)


@command(*GENERAL_OPTIONS, examples="llm calibrations list\nllm calibrations list --json | jq -r .name")
def show_list(ctx: CommandContext) -> int:
    """List the calibrations with their labels and how good they are.

    In a pipe, tab-separated: name, command, labels, model, labelled rows, accuracy, calibration error, created. One
    that cannot be read has only a name; standard error says why, and the exit code is 77 or 78. The figures are
    cross-validated: each labelled row is predicted by a fit that did not see it. "llm calibrations show NAME" compares
    them with those of the model alone, which answers where the calibration gains nothing. With several labels for a
    record, they are means over the labels.
    """
    from statistics import fmean

    from llmcli.errors.saved_state_errors import DamagedCalibration, UnreadableState

    store, rows, code = _open_store(ctx), [], 0
    for name in store.names():
        row: dict[str, object] = {"name": name}
        try:
            stored = store.load(name)
        except (DamagedCalibration, UnreadableState) as error:
            ctx.console.write_error(error, name=name)
            code = code or error.exit_code
            row |= dict.fromkeys(("verb", "labels", "model", "rows", "accuracy", "ece", "created"))
        else:
            figures = [problem.figures for problem in stored.problems.values()]
            row |= {"verb": stored.identity.get("verb"), "labels": ",".join(stored.labels)}
            row |= {"model": stored.model, "rows": figures[0].rows}
            row |= {"accuracy": round(fmean(each.accuracy.value for each in figures), 3)}
            row |= {"ece": round(fmean(each.ece.value for each in figures), 3)}
            row["created"] = stored.created
        rows.append(row)
    if ctx.console.writes_for_people and not rows:
        ctx.console.write_stdout("No calibrations. To make one: llm classify --calibrate FILE --calibration NAME\n")
    ctx.console.write_table(rows)
    return code


@command(
    *GENERAL_OPTIONS,
    examples="""
      llm calibrations show tickets
      llm calibrations show tickets --json | jq .figures
      llm calibrations show tickets --plot tickets.svg
    """,
)
def show(
    ctx: CommandContext,
    name: CalibrationArgument,
    plot: Annotated[
        str | None,
        Option("--plot", metavar="FILE", help="Draw the reliability and the learning curve (.svg or .png)."),
    ] = None,
) -> int:
    """Show what a calibration gains: the figures with it and without it, learning curve, reliability, confusion."""
    from llmcli.cli.labels.calibration_report import write_calibration
    from llmcli.cli.render import svg_chart

    if plot is not None:
        svg_chart.check_plot_path(plot)
    write_calibration(ctx, name, _open_store(ctx).load(name), "labelled, each predicted without itself", plot)
    return 0


@command(*GENERAL_OPTIONS, examples="llm calibrations rm tickets\nllm calibrations rm --yes tickets")
def rm(
    ctx: CommandContext,
    names: Annotated[list[str], Argument(metavar="NAME...", help="Calibrations.", autocompletion="calibrations")],
    yes: YesOption = False,
) -> int:
    """Remove calibrations; asks first, unless --yes."""
    from llmcli.cli.console import confirm
    from llmcli.errors import MissingError
    from llmcli.settings import DATA_DIR_VARIABLE

    store, chosen = _open_store(ctx), [*dict.fromkeys(names)]
    for name in chosen:
        if name not in store.names():
            raise MissingError(name, kind="calibration", suggestions=store.names())
    again = ("calibrations", "rm", "--yes", *chosen)
    what = f"Remove the calibration {chosen[0]}" if len(chosen) == 1 else f"Remove {len(chosen)} calibrations"
    if not yes and not confirm.require_confirmation(ctx.console, what, again, [DATA_DIR_VARIABLE]):
        return 1
    for name in chosen:
        _remove_states(ctx, store, name)
        store.remove(name)
    if ctx.console.as_json:
        ctx.console.write_record({"removed": chosen})
    return 0


def _remove_states(ctx: CommandContext, store: CalibrationStore, name: str) -> None:
    """Remove what llm label keeps for this calibration. A damaged one names none; then its age removes it."""
    from contextlib import suppress

    from llmcli.errors.saved_state_errors import DamagedCalibration, UnreadableState
    from llmcli.tasks.label.state_store import remove_states

    with suppress(DamagedCalibration, UnreadableState):
        remove_states(ctx.runtime.paths.label_states, store.load(name).identity)


calibrations = CommandGroup(
    "List, show and remove calibrations of classify, sentiment and filter.",
    {"list": show_list, "show": show, "rm": rm},
    area=CommandArea.RECORDS,
    listed=False,
)
