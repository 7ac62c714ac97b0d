"""The records that a command line names: files or standard input, their texts, and which of them are processed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import inputs
from llmcli.cli.input.inputs import STDIN, check_distinct, open_stdin
from llmcli.cli.records.record_flags import record_flags
from llmcli.documents.format_registry import load_record_format
from llmcli.documents.reading.file_reader import open_stream
from llmcli.documents.records.formats.record_format import ReadOptions
from llmcli.documents.records.record import Row
from llmcli.documents.records.record_source import RecordInput, RecordSelection, RecordSource, TextChoice
from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.documents.records.shard import ShardedInput
    from llmcli.prompts.jinja_template import Template
    from llmcli.types import ItemFailed, Result


class RecordSummary(Protocol):
    """Counts results; its state is kept with the progress of a job."""

    def add(self, result: Result | ItemFailed) -> None:
        """Count a record."""
        ...

    def to_state(self) -> dict[str, Any]:
        """Return the counts so far as JSON values."""
        ...

    def restore(self, state: Mapping[str, Any], *, forgets_failed: bool) -> None:
        """Continue from ``state``, {} for none; ``forgets_failed``: the records that failed will be counted again."""
        ...


@frozen
class RecordWork:
    """The records that a run processes, and what counts their rows.

    ``inputs`` are the paths of the inputs, None if one is no file. ``sharded``: the share of them that is processed,
    None for all of it. ``summary`` counts the rows of the output, also those of earlier runs of its job.
    """

    inputs: Sequence[str] | None = None
    sharded: ShardedInput | None = None
    summary: RecordSummary | None = None


def open_source(ctx: CommandContext, files: Sequence[str], input_format: str | None = None) -> RecordSource:
    """Return the records of the files, or of standard input; ``input_format`` overrides --format.

    Raises ``UsageError`` if there is no input, or if -o would overwrite one.
    """
    flags = record_flags(ctx)
    if flags.format == "json" and ctx.verb == "ask":  # as after ollama run
        advice = "For an answer in JSON: --schema SCHEMA. For records of JSON: --format jsonl"
        raise UsageError("--format is the format of records", detail=advice)
    if flags.format is not None:
        load_record_format(flags.format)
    names = list(files)
    if not names:
        if not inputs.reads_stdin(ctx, names):
            raise UsageError("no input: name a file, or pipe text in")
        names = [STDIN]
    if names.count(STDIN) > 1:
        raise UsageError("standard input can be read only once")
    if flags.output is not None:
        check_distinct([("an input", name) for name in names], [("the output", flags.output)])
    _count_input(ctx, names)
    is_table = bool(flags.column or flags.template or flags.delimiter)
    made = [_make_input(ctx, name) for name in names]
    return RecordSource(made, input_format or flags.format, ReadOptions(flags.delimiter), is_table=is_table)


def _count_input(ctx: CommandContext, names: Sequence[str]) -> None:
    """Note the size of the input, which decides which weights answer: about a character for each byte of a file."""
    is_known = STDIN not in names and all(map(os.path.isfile, names))
    ctx.runtime.input_characters = sum(map(os.path.getsize, names)) if is_known else None


def _make_input(ctx: CommandContext, name: str) -> RecordInput:
    if name == STDIN:
        observe = None if ctx.provenance is None else ctx.provenance.open_stream(name).update
        return RecordInput(name, partial(open_stdin, ctx.console, observe))
    inputs.note_input(ctx, name)
    size = Path(name).stat().st_size if os.path.isfile(name) else None  # noqa: PTH113 (a Path raises for a long name)
    return RecordInput(name, partial(open_stream, name, ctx.runtime.interrupt), size)


def text_choice(ctx: CommandContext, *, required: bool) -> TextChoice:
    """Return how the text of a record is chosen; ``required`` as in ``TextChoice``.

    Raises ``UsageError`` for an invalid template.
    """
    flags = record_flags(ctx)
    template = None if flags.template is None else parse_template(ctx, flags.template)
    render = None if template is None else partial(_render_template, template)
    return TextChoice(tuple(flags.column or ()), render, required)


def parse_template(ctx: CommandContext, text: str) -> Template:
    """Return the template of --template, or of the file that it names by ``@FILE``."""
    from llmcli.cli.input.text_values import read_option_text
    from llmcli.prompts.jinja_template import Template, TemplateError

    try:
        template = Template.parse(read_option_text(ctx, "--template", text))
    except TemplateError as error:
        raise UsageError(f"--template: {error}") from error
    unknown = sorted(template.names - {"row"})
    if unknown:
        known = "columns are called row.NAME"
        raise UsageError(f"--template uses undefined variables: {', '.join(unknown)}", detail=f"Try: {known}")
    return template


def _render_template(template: Template, fields: Mapping[str, Any]) -> str:
    from llmcli.prompts.jinja_template import TemplateError

    try:
        return template.render({"row": Row(fields)})
    except TemplateError as error:
        raise UsageError(f"--template: {error}", detail=f"The columns are {', '.join(fields)}.") from error


def selection(ctx: CommandContext) -> RecordSelection:
    """Return which records are processed."""
    flags = record_flags(ctx)
    return RecordSelection(flags.limit, flags.sample, flags.seed or 0)


def sharded_input(ctx: CommandContext) -> ShardedInput | None:
    """Return the share of the input that --shard names, None without it."""
    shard = record_flags(ctx).shard
    if shard is None:
        return None
    from llmcli.documents.records.shard import Shard, ShardedInput

    return ShardedInput(Shard.parse(shard))
