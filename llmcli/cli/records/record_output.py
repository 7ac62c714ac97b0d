"""The output of records: rows in the format of the input or another one, to a file, a job, or standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.records.record_flags import OnError, record_flags
from llmcli.cli.records.record_inputs import RecordWork
from llmcli.cli.render.text_writer import ByteSink, writes_to_terminal
from llmcli.documents.format_registry import (
    DELIMITED_FORMATS,
    JSON_LINES,
    LINES,
    TEXT_FORMATS,
    load_record_format,
    output_record_format,
)
from llmcli.documents.records.formats.record_format import (
    ERROR_COLUMN,
    LINE_COLUMN,
    OutputColumns,
    RecordWriter,
)
from llmcli.documents.records.record import ColumnType, Record, RecordSchema
from llmcli.errors import BadDocument, LlmError, UsageError
from llmcli.types import ItemFailed, Result, Usage

if TYPE_CHECKING:
    from llmcli.cli.records.job_checkpoint import JobCheckpoint
    from llmcli.documents.records.job_state import JobProgress
    from llmcli.documents.records.part_file import PartFile
    from llmcli.errors.saved_state_errors import EarlierFailures
    from llmcli.tasks.runner.record_runner import RecordProcessor

_JSON_RESULTS = "json results"
"""The output format of ``--json``: an object of the pipe contract for each record, with its columns as ``row``."""


class RecordOutput:
    """Writes a row for each result.

    ``open`` comes first, then ``begin``, then rows, then ``complete`` or ``discard``.
    """

    keeps_failures = False
    """Whether the output is kept even if all of its records failed."""

    def __init__(self, ctx: CommandContext, work: RecordWork) -> None:
        self._ctx = ctx
        self._work = work
        self._flags = record_flags(ctx)
        self._as_json = ctx.console.as_json
        self._sink: ByteSink | None = None
        self._on_terminal = False
        self._writer: RecordWriter | None = None
        self._verb: RecordProcessor | None = None
        self._schema = RecordSchema(LINES, ())
        self._format = ""
        self.job: JobCheckpoint | None = None
        """The job of a regular file, None for other outputs."""
        self.delivered_before = False
        """Whether the output has results of earlier runs, or is kept even if all of its records failed, as a part
        is."""
        self.earlier_work = (Usage(), 0.0, 0)
        """Tokens, seconds and records of earlier runs of the job."""
        self.earlier_failures: EarlierFailures | None = None
        """What earlier runs of the job have left undone."""
        self._part: PartFile | None = None
        self._part_progress: JobProgress | None = None  # of a part without a job
        self._head_bytes = 0
        self._manifest: Mapping[str, Any] = {}
        if self._flags.output_format is not None:
            load_record_format(self._flags.output_format)
            if self._as_json:
                raise UsageError("--json and --output-format are two formats", detail="Leave out one of them.")

    @property
    def fails_at_first_error(self) -> bool:
        """Whether a failed record ends the job."""
        return self._flags.on_error is OnError.FAIL

    def open(self, stack: ExitStack) -> ByteSink:
        """Open the output and return its sink. Raises what opening raises, and ``UsageError``."""
        path = self._flags.output
        if path is None or not _is_resumable(path):
            if self._work.sharded is not None:
                raise UsageError("a shard is written to a regular file", detail="Add -o FILE.")
            if self._flags.resume or self._flags.retry_failed:
                raise UsageError("a job can be resumed only if its output is a regular file", detail="Add -o FILE.")
        elif self._named_format(path) != "parquet" or self._as_json:
            from llmcli.cli.records.job_checkpoint import JobCheckpoint
            from llmcli.documents.records.job_state import FinishedJobs

            finished = FinishedJobs(self._ctx.runtime.paths.finished_jobs)
            self.job = JobCheckpoint(
                path, self._work, finished, resume=self._flags.resume, retry_failed=self._flags.retry_failed
            )
            self._part = self.job.part
            stack.push(self._leave)
            return self.job
        elif self._flags.resume or self._flags.retry_failed:
            raise UsageError("a Parquet file cannot be continued", detail="Write JSON Lines instead: -o FILE.jsonl")
        return self._open_plain(stack) if self._work.sharded is None or path is None else self._open_part(path, stack)

    def _open_part(self, path: str, stack: ExitStack) -> ByteSink:
        """Open the output of a shard that is not continued."""
        from llmcli.documents.records.job_state import JobProgress
        from llmcli.documents.records.part_file import PartFile

        part = self._part = self._sink = PartFile(path)
        self._part_progress = JobProgress()
        stack.callback(self._discard_part)
        part.truncate(0)
        part.truncate_rows(0)
        return part

    def _open_plain(self, stack: ExitStack) -> ByteSink:
        """Open standard output, or the file of -o, which is not continued."""
        self._sink = stack.enter_context(self._ctx.console.open_output(self._flags.output))
        self._on_terminal = writes_to_terminal(self._sink)
        return self._sink

    def begin(self, schema: RecordSchema, verb: RecordProcessor, manifest: Callable[[], Mapping[str, Any]]) -> None:
        """Write the head, or continue the job that was begun with the same ``manifest``.

        Raises ``UsageError`` when the input has columns with the names of new ones, and ``JobMismatch``.
        """
        self._schema, self._verb = schema, verb
        self._format = self._choose_format(schema)
        is_lines = self._format == LINES
        added: Mapping[str, ColumnType] = {LINE_COLUMN: str} if is_lines else verb.columns
        has_error = self._flags.on_error is not OnError.SKIP
        self._refuse_clashes(schema, {*added, ERROR_COLUMN} if has_error else {*added})
        if not self._as_json:
            columns = OutputColumns(schema, added, has_error, self._flags.overwrite)
            self._writer = load_record_format(self._format).open_writer(columns)
        if self.job is not None or self._part is not None:
            self._manifest = {**manifest(), "format": schema.format, "output format": self._format}
        has_head = self.job is not None and self._begin_job(self.job, self._manifest)
        self.delivered_before = self.delivered_before or self.keeps_failures or self._part is not None
        head = b"" if self._writer is None else self._writer.head()
        self._head_bytes = len(head)
        if not has_head:
            self._write(head)

    def _begin_job(self, job: JobCheckpoint, manifest: Mapping[str, Any]) -> bool:
        """Begin or continue the job; return whether the output has its head."""
        has_head = job.begin(manifest)
        progress = job.progress
        self.delivered_before = progress.delivered > 0 or job.retries
        self.earlier_work = (progress.usage, progress.seconds, progress.done)
        self.earlier_failures = job.earlier_failures(are_kept=self._flags.on_error is OnError.KEEP)
        return has_head

    def _named_format(self, path: str | None) -> str | None:
        """Return the format that the user chose, by its name or by that of the output."""
        return self._flags.output_format or (output_record_format(path) if path else None)

    def _choose_format(self, schema: RecordSchema) -> str:
        named = self._named_format(self._flags.output)
        chosen = _JSON_RESULTS if self._as_json else named or schema.format
        path = self._flags.output or ""
        if named is None and path.lower().endswith(".json") and chosen in DELIMITED_FORMATS:
            words = f"cannot write {path}: the output is {chosen}, not JSON"
            raise UsageError(words, detail="Try: -o FILE.jsonl for an object for each record, or -o FILE.csv")
        if chosen == "parquet" and named is None and self.job is not None:
            raise UsageError("name the Parquet file .parquet", detail="Try: -o FILE.parquet")
        no_rows = self._flags.on_error is not OnError.KEEP or chosen == LINES
        if no_rows and self.job is not None and self.job.retries:
            words = "--retry-failed needs an output with a row for each record"
            raise UsageError(words, detail="Leave out --retry-failed to begin again.")
        return chosen

    def _refuse_clashes(self, schema: RecordSchema, new: set[str]) -> None:
        if self._as_json or self._format == LINES or self._flags.overwrite:
            return
        clashes = [name for name in schema.columns if name in new]
        if clashes:
            words = f"the input already has the column{'s' if len(clashes) > 1 else ''} {', '.join(clashes)}"
            raise UsageError(words, detail="Add --overwrite to replace it, or rename it.")

    # ---- rows -----------------------------------------------------------------------------------------------------

    def write_result(self, result: Result) -> LlmError | None:
        """Write the row of a result; return what is wrong with it if the format cannot hold it."""
        record: Record = result.record
        assert self._verb is not None
        if record.carried is not None:
            self._write_row(record, record.carried, result)
            return None
        if self._writer is None:
            from llmcli.cli.console.json_text import result_as_object

            shown = result_as_object(result, self._ctx.runtime)
            self._write_row(record, self._json_row(record, shown), result)
            return None
        try:
            data = self._format_result(self._writer, self._verb, record, result)
        except BadDocument as error:
            if not self.fails_at_first_error:
                self.write_failure(ItemFailed(result.item, result.name, error, record))
            return error
        self._write_row(record, data, result)
        return None

    def _format_result(self, writer: RecordWriter, verb: RecordProcessor, record: Record, result: Result) -> bytes:
        """Return the row of a result; a subclass may return several rows. Raises as ``RecordWriter.row`` does."""
        if self._format == LINES:
            return writer.row(record, {LINE_COLUMN: verb.line(result)}, "")
        return writer.row(record, {**dict.fromkeys(verb.columns), **verb.row(result)}, "")

    def write_failure(self, failed: ItemFailed) -> None:
        """Write the row of a record that failed, unless such records are left out."""
        record: Record = failed.record
        assert self._verb is not None
        data: bytes | None = None
        if self._flags.on_error is OnError.KEEP:
            from llmcli.cli.console import error_messages

            what = error_messages.describe(failed.error)[0]
            if self._writer is None:
                data = self._json_row(record, {**record.position, ERROR_COLUMN: what})
            else:
                data = self._format_failure(self._writer, record, what)
        self._write_row(record, data, failed)

    def _format_failure(self, writer: RecordWriter, record: Record, what: str) -> bytes:
        added = dict.fromkeys({} if self._format == LINES or self._verb is None else self._verb.columns)
        try:
            return writer.row(record, added, what)
        except BadDocument:  # fields that the output has no columns for
            columns = frozenset(self._schema.columns)
            known = {name: value for name, value in record.fields.items() if name in columns}
            kept = Record(record.index, record.text, record.line, record.file, known, record.raw, record.error)
            return writer.row(kept, added, what)

    def _json_row(self, record: Record, found: Mapping[str, Any]) -> bytes:
        from llmcli.cli.console import json_text

        fields = record.fields
        if self._schema.arrow_schema is not None:
            from llmcli.documents.json_values import as_json_value

            fields = as_json_value(fields)
        row: dict[str, Any] = {} if self._schema.format == LINES else {"row": fields}
        if self._schema.format == JSON_LINES and record.fields:  # the bytes of the input
            head = json_text.dumps({**record.position, "row": None}).removesuffix("null}")
            rest = {name: value for name, value in found.items() if name not in record.position}
            text = f"{head}{record.raw.decode().strip()}, {json_text.dumps(rest)[1:]}"
        else:
            text = json_text.dumps({**record.position, **row, **found})
        return (text + "\n").encode("utf-8", "backslashreplace")

    def _write_row(self, record: Record, data: bytes | None, result: Result | ItemFailed) -> None:
        """Write the row of a record; None if it has none. A writer may return the bytes of a row later (Parquet)."""
        if self._work.summary is not None and record.carried is None:
            self._work.summary.add(result)
        if self._part is not None:
            length = 0 if data is None else 1 if self._part_progress is not None else len(data)
            self._part.add_row(record.input_index, length)
        if self.job is not None:
            self.job.write_row(record, data or b"", result)
            return
        if self._part_progress is not None:
            self._part_progress.add(record, result)
        if data:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self.job is not None:
            self.job.write(data)
        elif data:
            assert self._sink is not None
            if self._on_terminal:
                from llmcli.cli.console.sanitize import strip_controls

                data = strip_controls(data.decode("utf-8", "replace")).encode()
            self._sink.write(data)

    def exit_code(self, code: int) -> int:
        """Return the exit code of the command, ``code`` if the rows do not change it."""
        return code

    # ---- the end --------------------------------------------------------------------------------------------------

    def complete(self, *, ended_early: bool) -> None:
        """Complete the output; a job that an error has ended early is kept instead."""
        if ended_early and self.job is not None:
            self._suspend(explains=True)
            return
        if self._writer is not None:
            self._write(self._writer.tail())
        if self.job is not None:
            if not self.job.is_finished:
                self._describe_part(self.job.progress)
            self.job.finish()
            self.job = None
        elif self._part is not None and self._part_progress is not None:
            if ended_early:
                return
            self._describe_part(self._part_progress)
            self._part.commit()
            self._part = None

    def _describe_part(self, progress: JobProgress) -> None:
        """Complete the index of a part, if the output is one."""
        if self._part is None or self._work.sharded is None:
            return
        from llmcli.documents.records.part_file import PartInfo

        self._part.describe(
            PartInfo(
                shard=str(self._work.sharded.shard),
                manifest=self._manifest,
                records=self._work.sharded.records,
                input_digest=self._work.sharded.digest,
                format=self._format,
                head_bytes=self._head_bytes,
                failed=progress.failed,
                incomplete=progress.incomplete,
                keeps_failed=self._flags.on_error is OnError.KEEP,
                summary=None if self._work.summary is None else self._work.summary.to_state(),
            )
        )

    def _leave(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        """Keep the progress of a job that ends by an exception."""
        self._suspend(explains=not isinstance(error, UsageError))

    def _suspend(self, *, explains: bool) -> None:
        """Keep the progress of the job, if there is one, and tell how to go on."""
        job, self.job = self.job, None
        if job is None:
            return
        done = job.progress.done if job.has_begun else 0
        if job.suspend() and explains and not self._ctx.console.quiet:
            command = resume_command(self._ctx)
            self._ctx.console.write_message(
                f"llm: {done:,} {'record is' if done == 1 else 'records are'} done. To go on: {command}"
            )

    def _discard_part(self) -> None:
        """Remove what there is of a part that cannot be continued, unless it is complete."""
        if self._part is not None:
            self._part.discard()

    def discard(self) -> None:
        """Leave no trace of a job without a result."""
        if self.job is not None:
            self.job.discard()
            self.job = None

    # ---- retries --------------------------------------------------------------------------------------------------

    def carry_over(self, records: Iterable[Record]) -> Iterator[Record]:
        """Set ``carried`` of the records that have no error in the complete output.

        Raises ``RetryRefused`` when that output does not have a row for each record.
        """
        assert self.job is not None
        rows = iter(self.job.read_complete("jsonl" if self._as_json else self._format))
        for record in records:
            row = next(rows, None)
            if row is None:
                break
            record.carried = None if self._has_failed(row) else row.raw
            yield record
        else:
            if next(rows, None) is None:
                return
        from llmcli.errors.saved_state_errors import RetryRefused

        raise RetryRefused(self._flags.output or "", "the output does not have a row for each record")

    def _has_failed(self, row: Record) -> bool:
        """Return whether a row of the complete output is that of a record that failed."""
        return bool(row.fields.get(ERROR_COLUMN))


class JsonLineOutput(RecordOutput):
    """Writes JSON Lines where the input is text; tables keep their format."""

    def _choose_format(self, schema: RecordSchema) -> str:
        chosen = super()._choose_format(schema)
        return JSON_LINES if chosen in TEXT_FORMATS else chosen


def resume_command(ctx: CommandContext) -> str:
    """Return the command line of this run with --resume."""
    from llmcli.cli.console.suggestion import format_command

    words = list(ctx.console.environment.argv)
    at = words.index("--") if "--" in words else len(words)
    if "--resume" not in words[:at]:
        words.insert(at, "--resume")
    return format_command(*words)


def _is_resumable(path: str) -> bool:
    from llmcli.files.resumable_file import is_resumable

    return is_resumable(path)
