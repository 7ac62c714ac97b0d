"""``llm merge``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.options import GENERAL_OPTIONS, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import UsageError

if TYPE_CHECKING:
    from llmcli.documents.records.part_merge import MergedParts


@command(
    *GENERAL_OPTIONS,
    "output",
    examples="""
      llm merge part-*.csv -o labelled.csv
      llm merge --summary summary.json part-*.jsonl -o answers.jsonl
    """,
    area=CommandArea.RECORDS,
    listed=False,
)
def merge(
    ctx: CommandContext,
    parts: Annotated[
        list[str], Argument(metavar="PART...", help="The outputs of all shards, with PART.shard beside each.")
    ],
    summary: Annotated[
        str | None, Option("--summary", metavar="FILE", help="Write counts and means to this file, as JSON.")
    ] = None,
) -> int:
    """Merge the outputs of --shard: a job on several machines.

    The rows are joined in the order of the input, so that this is the output of one run over all of it. The parts must
    be complete, unchanged, and of one job: the same input, command, options, model and weights. What is missing or
    differs is named, and nothing is written then. With --json, prints the number of parts, records and failed records.
    """
    from llmcli.cli.input.inputs import check_distinct
    from llmcli.cli.render.report_file import check_report_path
    from llmcli.documents.records.part_file import INDEX_SUFFIX
    from llmcli.documents.records.part_merge import MergedParts
    from llmcli.files.atomic_file import atomic_write

    output = ctx.flags.output
    if output is None:
        raise UsageError("the merged output needs a name", detail="Add -o FILE.")
    names = [name for name in parts if not name.endswith(INDEX_SUFFIX)] or parts  # named by a wildcard
    if summary is not None:
        check_report_path("--summary", summary)
    written = [("the output", output), *([] if summary is None else [("--summary", summary)])]
    read = [("a part", name) for part in names for name in (part, f"{part}{INDEX_SUFFIX}")]
    check_distinct(read, written)
    merged = MergedParts(names)
    _refuse_other_format(output, merged)
    if summary is not None and (not merged.summaries or _has_values(merged)):
        raise UsageError("the command of these parts has no summary", detail="Leave out --summary.")
    merged.require_unchanged(ctx.runtime.interrupt.check)
    with atomic_write(output, interrupt=ctx.runtime.interrupt) as file:
        for piece in merged.rows():
            file.write(piece)
    _write_summary(ctx, merged, summary)
    return _report(ctx, merged)


def _refuse_other_format(output: str, merged: MergedParts) -> None:
    """Raise ``UsageError`` if the name of the output is that of another format: the rows stay as they are."""
    from llmcli.documents.format_registry import output_record_format, record_format_names

    named, made = output_record_format(output), merged.info.format
    if named not in {None, made} and made in record_format_names():
        raise UsageError(f"the parts are {made}, and {output} has the name of {named}", detail="Choose another name.")


def _write_summary(ctx: CommandContext, merged: MergedParts, path: str | None) -> None:
    """Write the summary of all parts if their verb has one."""
    if not merged.summaries:
        return
    if _has_values(merged):
        from llmcli.cli.labels.summary_view import write_value_summary
        from llmcli.tasks.extract.record_extraction import ValueSummary

        values = ValueSummary()
        for state in merged.summaries:
            values.add_state(state)
        write_value_summary(ctx, values)
        return
    from llmcli.cli.labels.summary_view import write_summary
    from llmcli.tasks.labels.label_summary import LabelSummary

    total = LabelSummary()
    for state in merged.summaries:
        total.add_state(state)
    write_summary(ctx, total, path)


def _has_values(merged: MergedParts) -> bool:
    """Whether the rows have values of a schema, which have no summary of labels."""
    return merged.info.manifest.get("verb") == "extract"


def _report(ctx: CommandContext, merged: MergedParts) -> int:
    """Report what the parts lack; return the exit code, which is that of one run."""
    if ctx.console.as_json:
        counts = {"parts": len(merged.parts), "records": merged.info.records}
        ctx.console.write_record({**counts, "failed": merged.failed, "incomplete": merged.incomplete})
    if not (merged.failed or merged.incomplete):
        return 0
    from llmcli.errors.saved_state_errors import EarlierFailures

    error = EarlierFailures(merged.failed, merged.incomplete, are_kept=merged.info.keeps_failed)
    ctx.console.write_error(error)
    return error.exit_code
