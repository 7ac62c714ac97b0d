"""One run of extract over records: values as new columns, and a line that counts the records without values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.extract.extract_run import PARQUET, ExtractionRequest, ExtractOptions, explain_values
from llmcli.cli.records.record_flags import OnError, record_flags
from llmcli.cli.records.record_output import JsonLineOutput
from llmcli.cli.records.record_run import RecordRunSpec, prompt_manifest, run_records
from llmcli.documents.records.formats.record_format import ERROR_COLUMN, RecordWriter
from llmcli.documents.records.record import Record
from llmcli.errors import UsageError
from llmcli.fast_dataclass import asdict, replace
from llmcli.tasks.extract.record_extraction import ExtractTask, ValueSummary, value_columns
from llmcli.types import Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.tasks.runner.record_runner import RecordProcessor


def extract_records(ctx: CommandContext, files: Sequence[str], wanted: ExtractOptions) -> int:
    """Write the values of each record as columns; return the exit code.

    Raises ``UsageError`` for options of documents, and for values whose columns would have the name of another one.
    """
    _refuse_document_options(wanted)
    _use_format(ctx, wanted)
    request = ExtractionRequest.read(ctx, wanted)
    columns = value_columns(request.schema, request.node, free=wanted.free)
    flags = record_flags(ctx)
    if ERROR_COLUMN in columns and flags.on_error is not OnError.SKIP and not ctx.console.as_json:
        words = f"the field {ERROR_COLUMN} has the name of the column that says why a record failed"
        raise UsageError(words, detail="Rename the field, or leave out records that fail: --on-error skip")
    if wanted.many and flags.retry_failed and not ctx.console.as_json:
        words = "--retry-failed needs an output with a row for each record, which --many does not write"
        raise UsageError(words, detail="Leave out --retry-failed to begin again.")
    summary = ValueSummary(many=wanted.many)

    def show_places(events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
        for event in events:
            if isinstance(event, Result) and "found" in event.fields:
                explain_values(ctx, event)
            yield event

    def manifest() -> Mapping[str, Any]:
        return {
            **prompt_manifest(request.prompt),
            "--schema": request.schema,
            "--many": wanted.many,
            "--free": wanted.free,
            "--examples": [asdict(each) for each in request.examples],
        }

    task = RecordRunSpec(
        lambda backend, options: ExtractTask(request.make_plan(backend, options)),
        manifest,
        wrap=show_places,
        make_output=ManyRowsOutput if wanted.many else JsonLineOutput,
        summary=summary,
    )
    from llmcli.cli.labels.summary_view import write_value_summary

    code = run_records(ctx, files, task)
    if not flags.dry_run:
        write_value_summary(ctx, summary)
    return code


def _refuse_document_options(wanted: ExtractOptions) -> None:
    if wanted.html is not None:
        raise UsageError("--html is for documents, not for records", detail="Leave out --html.")


def _use_format(ctx: CommandContext, wanted: ExtractOptions) -> None:
    """Let --format be that of the output. Raises ``UsageError`` for one that records cannot have."""
    if wanted.format is None:
        return
    if ctx.console.as_json:
        raise UsageError("--json and --format are two formats", detail="Leave out one of them.")
    if wanted.format == "json":
        raise UsageError("records are written as an object on each line", detail="Try: --format jsonl")
    if wanted.format == PARQUET and ctx.flags.output is None:
        raise UsageError("Parquet needs a file", detail="Name it: -o FILE.parquet")
    ctx.flags = replace(record_flags(ctx), output_format=wanted.format)


class ManyRowsOutput(JsonLineOutput):
    """Writes a row for each object of a record, with the columns of the record in each."""

    def _choose_format(self, schema: Any) -> str:
        chosen = super()._choose_format(schema)
        if chosen == PARQUET and self._work.sharded is not None:
            words = "--many writes any number of rows for a record, which a Parquet file of a shard cannot have"
            raise UsageError(words, detail="Write JSON Lines instead: -o FILE.jsonl")
        return chosen

    def _format_result(self, writer: RecordWriter, verb: RecordProcessor, record: Record, result: Result) -> bytes:
        assert isinstance(verb, ExtractTask)
        if self._format == PARQUET:
            from llmcli.documents.records.formats.parquet import ParquetWriter

            assert isinstance(writer, ParquetWriter)
            return writer.rows(record, verb.rows(result))
        return b"".join(writer.row(record, row, "") for row in verb.rows(result))
