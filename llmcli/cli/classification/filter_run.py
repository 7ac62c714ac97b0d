"""One run of filter: its query, its records, its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from llmcli.cli.classification.filter_output import FilterOutput, FilterView, exit_code, view_fields
from llmcli.cli.classification.prior_cache import prior_directory
from llmcli.cli.classification.scoring_flags import FilterFlags
from llmcli.cli.classification.summary_view import write_summary
from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import inputs
from llmcli.cli.records.record_run import RecordTask, prompt_manifest, run_records
from llmcli.errors import UsageError
from llmcli.tasks.classification.label_summary import LabelSummary
from llmcli.tasks.classification.scoring_notices import add_scoring_notices
from llmcli.tasks.filter import DEFAULT_THRESHOLD, PROMPT, FilterOptions, FilterQuery, FilterVerb

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.execution.task_requests import GenerationOptions


def make_query(
    ctx: CommandContext,
    statement: Sequence[str],
    conjuncts: Sequence[str] | None,
    alternatives: Sequence[str] | None,
    excluded: Sequence[str] | None,
    *,
    invert: bool,
) -> FilterQuery:
    """Return the query of a command line. Raises ``UsageError`` for a blank statement and ``NotUtf8``."""
    groups = [
        tuple(inputs.decode_argument(text).strip() for text in group or ())
        for group in (statement, conjuncts, alternatives, excluded)
    ]
    if any(not text for group in groups for text in group):
        raise UsageError("a statement is empty", detail='Try: llm filter "the customer is angry" FILE')
    (first,), together, either, never = groups
    flags = filter_flags(ctx)
    threshold = DEFAULT_THRESHOLD if flags.threshold is None else flags.threshold
    return FilterQuery(first, together, either, never, invert=invert, threshold=threshold)


def filter_flags(ctx: CommandContext) -> FilterFlags:
    """Return the options of the command."""
    assert isinstance(ctx.flags, FilterFlags)
    return ctx.flags


def run_filter(ctx: CommandContext, query: FilterQuery, view: FilterView, files: Sequence[str]) -> int:
    """Print the records that match; return the exit code. Raises ``UsageError`` for views that exclude each other."""
    if view.names and view.numbers:
        raise UsageError("--files prints names, which have no line numbers", detail="Leave out -n.")
    flags, prompt, summary = filter_flags(ctx), ctx.runtime.prompts.get(PROMPT), LabelSummary()
    outputs: list[FilterOutput] = []

    def make_output(ctx: CommandContext) -> FilterOutput:
        outputs.append(FilterOutput(ctx, view))
        return outputs[0]

    def make_verb(backend: Backend, generation: GenerationOptions) -> FilterVerb:
        options = FilterOptions(not flags.no_prior, prior_directory(ctx), splits_long_texts=view.names)
        return FilterVerb(backend, prompt, query, generation, options)

    task = RecordTask(
        make_verb,
        lambda: {**prompt_manifest(prompt), "query": asdict(query), "--no-prior": flags.no_prior, **view_fields(view)},
        lambda events: summary.observe(add_scoring_notices(events)),
        make_output=make_output,
        input_format="document" if view.names else None,
    )
    code = run_records(ctx, files, task)
    summary.details["threshold"] = query.threshold
    write_summary(ctx, summary, flags.summary)
    return exit_code(code, outputs[0])
