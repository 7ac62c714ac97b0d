"""One run of an audit: its words and inputs, the verb, the table, the report, the chart and the exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.audit import audit_report
from llmcli.cli.input import document_inputs, inputs
from llmcli.cli.records import record_inputs
from llmcli.cli.render import svg_chart
from llmcli.cli.render.renderer import DisplayOptions, render_events
from llmcli.cli.render.report_file import check_report_path, write_report_file
from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen
from llmcli.tasks.audit import Audit, AuditOptions, AuditResult
from llmcli.tasks.audit.swap_file import SwapFile, parse_swap_file, read_bundled
from llmcli.tasks.audit.swapper import SwappedInputs, swap_records
from llmcli.types import Notice, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.records.record_run import RecordRunSpec
    from llmcli.documents.records.record import Record
    from llmcli.tasks.sentiment import SentimentTask

_MAX_NAMED_SHIFTS = 5


@frozen
class AuditRequest:
    """The options of an audit, as typed. ``rates_answers``: the sentiment of free answers is a measure, too."""

    swap: str
    reference: str | None = None
    fail_above: float | None = None
    report: str | None = None
    plot: str | None = None
    rates_answers: bool = False


def run_audit(ctx: CommandContext, files: Sequence[str], spec: RecordRunSpec, request: AuditRequest) -> int:
    """Audit the verb of ``spec`` on the records of ``files``, or of standard input; return the exit code.

    Raises for invalid options, swap files and inputs before a model is loaded.
    """
    if request.report is not None:
        check_report_path("--report", request.report)
    if request.plot is not None:
        svg_chart.check_plot_path(request.plot)
    swaps = _read_swaps(ctx, request.swap)
    _check_reference(swaps, request.reference)
    named = [("the output", ctx.flags.output), ("--report", request.report), ("--plot", request.plot)]
    outputs = [(what, name) for what, name in named if name is not None]
    inputs.check_distinct([("an input", name) for name in files], outputs)
    swapped = swap_records(_read_records(ctx, files, spec), swaps)
    options = AuditOptions(
        request.reference,
        ctx.flags.seed or 0,
        (lambda backend: _sentiment(ctx, backend)) if request.rates_answers else None,
    )
    audit = Audit(swapped, swaps, options)

    def events() -> Iterator[TaskEvent]:
        generation = ctx.generation_options(**spec.generation)
        backend = ctx.runtime.backend()
        return _add_notices(swapped, audit.run(backend, spec.make_verb(backend, generation), spec.wrap))

    def show(_result: Result) -> str:
        assert audit.result is not None
        terminal = ctx.console.stdout_is_terminal and ctx.flags.output is None
        return audit_report.format_table(audit.result, terminal=terminal, columns=ctx.console.columns)

    display = DisplayOptions(markdown=False, format_row=show, suits_small_models=spec.suits_small_models)
    code = render_events(ctx, events, display).exit_code
    if audit.result is None:
        return code
    _write_files(ctx, audit, swaps, request)
    return code or _judge(ctx, audit.result, request.fail_above)


def _read_swaps(ctx: CommandContext, value: str) -> SwapFile:
    """Return the swap file of ``--swap``: the name of one that llm brings, or ``@FILE``. Raises what reading raises."""
    if value in {"", "@"}:
        raise UsageError("--swap names no file", detail="Try: --swap names, or --swap @FILE")
    if value.startswith("@"):
        return parse_swap_file(document_inputs.read_document(ctx, value[1:]).text, value[1:])
    return parse_swap_file(read_bundled(value), value)


def _check_reference(swaps: SwapFile, reference: str | None) -> None:
    names = [group.name for group in swaps.groups]
    if reference is not None and reference not in names:
        raise UsageError(f"--reference {reference}: {swaps.name} has no such group", detail=f"Try: {', '.join(names)}")


def _read_records(ctx: CommandContext, files: Sequence[str], spec: RecordRunSpec) -> Iterator[Record]:
    """Yield the records with their texts, blank ones excepted. Raises the error of a malformed one."""
    source = record_inputs.open_source(ctx, files, spec.input_format)
    try:
        choice = record_inputs.text_choice(ctx, required=spec.needs_text).resolve(source.open())
        for record in record_inputs.selection(ctx).apply(source):
            ctx.runtime.interrupt.check_input()
            choice.apply(record)
            if record.error is not None:
                raise record.error
            if record.text.strip():
                yield record
        for _, error in source.failed:
            raise error
    finally:
        source.close()


def _sentiment(ctx: CommandContext, backend: Backend) -> SentimentTask:
    from llmcli.tasks.sentiment import sentiment_spec

    spec = sentiment_spec(ctx.runtime.prompts)
    return spec.make_task(spec.make_scorer(backend, ctx.generation_options(), ctx.runtime.prior_directory))


def _add_notices(swapped: SwappedInputs, events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    """Say first how much of the input the audit does not cover."""
    told = audit_report.describe_coverage(swapped.unchanged, swapped.dropped)
    if told:
        yield Notice(told)
    yield from events


def _write_files(ctx: CommandContext, audit: Audit, swaps: SwapFile, request: AuditRequest) -> None:
    assert audit.result is not None
    title = f"llm {ctx.verb}, {swaps.name} swapped"
    if request.report is not None:
        report = audit_report.format_report(audit.result, swaps, title, model=audit.model, prompt=audit.prompt)
        write_report_file(ctx, request.report, report.encode("utf-8", "backslashreplace"))
    if request.plot is not None:
        write_report_file(ctx, request.plot, audit_report.draw_shifts(request.plot, audit.result, title))


def _judge(ctx: CommandContext, result: AuditResult, limit: float | None) -> int:
    """Say whether shifts are larger than ``limit``; return the exit code."""
    if limit is None:
        return 0
    above, undecided = result.above(limit), result.undecided(limit)
    if above:
        named = ", ".join(audit_report.describe_shift(each) for each in above[:_MAX_NAMED_SHIFTS])
        more = f", and {len(above) - _MAX_NAMED_SHIFTS} more" if len(above) > _MAX_NAMED_SHIFTS else ""
        ctx.console.write_notice(f"larger than {limit:g}: {named}{more}")
        return 1
    if undecided:
        count = f"{len(undecided)} of {len(result.shifts)} shifts"
        ctx.console.warn(f"{count} may be larger than {limit:g}: the inputs are too few to tell")
    return 0
