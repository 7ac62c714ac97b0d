"""``llm tokens``."""

from __future__ import annotations

from collections.abc import Iterator

from llmcli.cli.command_context import CommandContext
from llmcli.cli.flags import Writes
from llmcli.cli.input import source_inputs
from llmcli.cli.input.inputs import format_source_name
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.records.record_flags import RecordFlags, wants_records
from llmcli.cli.render.renderer import DisplayOptions, render_events
from llmcli.types import Result, TaskEvent


@command(
    examples="""
      llm tokens README.md
      man ls | llm tokens
      llm tokens report.pdf slides.pptx letters/
      llm tokens --json README.md
      llm tokens tickets.csv --column text -o counted.csv
    """,
    flags=RecordFlags,
    model_task="classify",
    listed=False,
    writes=Writes.COUNTS,
)
def tokens(ctx: CommandContext, files: FilesArgument = None) -> int:
    """Count the tokens of texts, files or records.

    Prints their number, their share of the model's context and the name of the file, and the total of several files;
    records get the column tokens. Nothing is evaluated. The number is that of the text alone, without instructions and
    chat template. For a model on a server it is an estimate: ~ before it on a terminal, "exact": false in JSON.
    """
    from llmcli.tasks.tokens import TokenCounter, count_tokens

    if wants_records(ctx.flags):
        from llmcli.cli.records.record_run import RecordRunSpec, run_records

        return run_records(ctx, files or [], RecordRunSpec(lambda backend, _: TokenCounter(backend), dict))
    names, documents = source_inputs.read_streamed_sources(ctx, files or [])
    marks = ctx.console.stdout_is_terminal and ctx.flags.output is None

    def format_row(result: Result) -> str:
        number = ("~" if marks and not result.fields["exact"] else "") + str(result.fields["tokens"])
        return f"{number:>8} {result.fields['share']:>7.1%} {format_source_name(result.name)}"

    def events() -> Iterator[TaskEvent]:
        found: list[Result] = []
        for event in source_inputs.add_source_notes(count_tokens(ctx.runtime.backend(), documents), documents):
            yield event
            found += [event] if isinstance(event, Result) else []
        if found and len(documents) > 1 and not ctx.console.as_json:
            sums = {name: sum(each.fields[name] for each in found) for name in ("tokens", "share")}
            yield Result(len(documents), "total", None, {**sums, "exact": all(each.fields["exact"] for each in found)})

    return render_events(ctx, events, DisplayOptions(input_names=tuple(names), format_row=format_row)).exit_code
