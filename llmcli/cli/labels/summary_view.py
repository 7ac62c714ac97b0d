"""The summary of a run over records: a few lines with bars on a terminal's stderr, and a file of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmcli.cli.command_context import CommandContext
    from llmcli.tasks.extract.record_extraction import ValueSummary
    from llmcli.tasks.labels.label_summary import LabelSummary

_MAX_BAR_COLUMNS = 24
_MAX_LABELS = 20
_MIN_RECORDS = 2
"""Fewer need no summary."""


def write_summary(ctx: CommandContext, summary: LabelSummary, path: str | None) -> None:
    """Write the summary to the file ``path``, and show it on a terminal unless -q or --json is given."""
    if path is not None:
        from llmcli.cli.console import json_text
        from llmcli.cli.render.report_file import write_report_file

        content = (json_text.dumps(summary.to_json(), indent=2) + "\n").encode("utf-8", "backslashreplace")
        write_report_file(ctx, path, content)
    console = ctx.console
    if _shows_summary(ctx, summary.records):
        columns = console.environment.columns(console.environment.stderr)
        ctx.console.write_stderr("\n".join(format_summary(summary, columns)))


def write_value_summary(ctx: CommandContext, summary: ValueSummary) -> None:
    """Show the counts of extracted values on a terminal, unless -q or --json is given."""
    console = ctx.console
    if not _shows_summary(ctx, summary.records):
        return
    parts = {"blank": summary.blank, "failed": summary.failed, "without a value": summary.without_values}
    if summary.many:
        parts["rows"] = summary.rows
    columns = console.environment.columns(console.environment.stderr)
    console.write_stderr("\n".join(format_counts(summary.records, parts, columns)))


def _shows_summary(ctx: CommandContext, records: int) -> bool:
    console = ctx.console
    return console.stderr_is_terminal and not console.quiet and not console.as_json and records >= _MIN_RECORDS


def format_counts(records: int, parts: Mapping[str, int], columns: int, ending: str = "") -> list[str]:
    """Return the lines that count the records, and those of ``parts`` that there are; they fit ``columns``."""
    from llmcli.cli.console.wrapping import wrap_words

    counts = "".join(f", {count:,} {name}" for name, count in parts.items() if count)
    return wrap_words(f"llm: {records:,} records{counts}{ending}", columns)


def format_summary(summary: LabelSummary, columns: int) -> list[str]:
    """Return the lines: the head, then for each label its count, its share and a bar; they fit ``columns``."""
    parts = {"blank": summary.blank, "failed": summary.failed, "without a label": summary.abstained}
    ending = "" if summary.mean_score is None else f", mean score {summary.mean_score:+.2f}"
    lines = format_counts(summary.records, parts, columns, ending)
    labels = summary.labels
    if len(labels) > _MAX_LABELS:
        labels = sorted(labels, key=lambda label: -summary.counts[label])[:_MAX_LABELS]
    width = max((len(label) for label in labels), default=0)
    most = max((summary.counts[label] for label in labels), default=0)
    digits = len(f"{most:,}")
    bar_columns = min(_MAX_BAR_COLUMNS, max(columns - len(f"  {'':<{width}}  {'':>{digits}}  100%  "), 0))
    for label in labels:
        count = summary.counts[label]
        share = count / summary.records if summary.records else 0.0
        bar = "━" * round(bar_columns * count / most) if most else ""
        lines.append(f"  {label:<{width}}  {count:>{digits},}  {share:>4.0%}  {bar}".rstrip())
    if len(summary.labels) > len(labels):
        lines.append(f"  and {len(summary.labels) - len(labels)} more labels")
    return lines
