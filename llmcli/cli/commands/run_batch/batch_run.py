"""One run of run-batch: its model, its requests, its output."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input.inputs import STDIN
from llmcli.cli.records.record_flags import OnError
from llmcli.cli.records.record_inputs import RecordWork
from llmcli.cli.records.record_output import RecordOutput
from llmcli.cli.records.record_run import RecordRunSpec, run_records
from llmcli.documents.format_registry import JSON_LINES
from llmcli.documents.reading.file_reader import open_stream
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.errors import LlmError, MissingError
from llmcli.openai_api import batches
from llmcli.types import ItemFailed, Result

_MAX_LINE_BYTES = 64 << 20
_MAX_CACHED_NAMES = 1024


def run_requests(ctx: CommandContext, path: str, served_names: Sequence[str]) -> int:
    """Answer the requests of a file, or of standard input; return the exit code."""
    from llmcli.tasks.run_batch import BatchTask, check_requests

    requested = _use_first_model(ctx, path)
    accepts = _accept_server_model(ctx) if ctx.runtime.is_remote else _LocalNames(ctx).refer_to_model
    task = RecordRunSpec(
        lambda backend, options: BatchTask(backend, options, served_names=served_names, accepts=accepts),
        lambda: {"--served-model-name": list(served_names)},
        prepare=check_requests,
        needs_text=False,
        make_output=BatchOutput,
        input_format=JSON_LINES,
    )
    try:
        return run_records(ctx, [path], task)
    except MissingError as error:
        if error.kind == "model" and error.subject == requested:
            raise MissingError(error.subject, kind="model of the requests", detail="there is none") from error
        raise


def _use_first_model(ctx: CommandContext, path: str) -> str | None:
    """Let the model of the first request answer, unless one is named on the command line; return its name.

    A stream is not read ahead.
    """
    if ctx.flags.model is not None or path == STDIN:
        return None
    with open_stream(path, ctx.runtime.interrupt) as stream:
        first: bytes = next((line for line in iter(lambda: stream.readline(_MAX_LINE_BYTES), b"") if line.strip()), b"")
    with suppress(ValueError, RecursionError, LlmError):  # the line fails when its turn comes
        name = batches.parse_batch_request(json.loads(first)).model
        if name is not None:
            ctx.use_default_settings(model=name if ctx.runtime.is_remote else _LocalNames(ctx).model_for(name))
        return name
    return None


def _accept_server_model(ctx: CommandContext) -> Callable[[str], bool]:
    """Return the check of a request's model where a server answers: only the server knows other names for its own."""
    names = {ctx.flags.model, ctx.runtime.settings["model"]}
    return names.__contains__


class _LocalNames:
    """The names of the models on this machine: those that -m accepts, and those that ``llm serve`` has for clients."""

    def __init__(self, ctx: CommandContext) -> None:
        self._ctx = ctx
        self.refer_to_model = lru_cache(_MAX_CACHED_NAMES)(self._refers_to_model)
        """Returns whether a name means the model that answers."""

    @cached_property
    def _served_files(self) -> Mapping[str, str]:
        from llmcli.models.library.served_names import ServedNames

        return ServedNames(self._ctx.runtime.models).files

    def model_for(self, name: str) -> str:
        """Return the model that a request names, for -m."""
        try:
            self._ctx.runtime.models.find(name)
        except MissingError:
            return self._served_files.get(name, name)
        except LlmError:  # found out again, and reported, when the model is loaded
            return name
        return name

    def _refers_to_model(self, name: str) -> bool:
        models = self._ctx.runtime.models
        model = models.find(self._ctx.runtime.model_name)
        return models.refers_to(name, model) or self._served_files.get(name) == model.name


class BatchOutput(RecordOutput):
    """Writes a line in OpenAI's format for each request, also for one that failed."""

    keeps_failures = True

    def __init__(self, ctx: CommandContext, work: RecordWork) -> None:
        super().__init__(ctx, work)
        self._as_json = False  # each line is JSON already

    def _named_format(self, path: str | None) -> str | None:
        del path
        return JSON_LINES

    def _refuse_clashes(self, schema: RecordSchema, new: set[str]) -> None:
        """Accept all inputs: their fields are not in the output."""

    def write_result(self, result: Result) -> LlmError | None:
        """Write the line of an answer."""
        record: Record = result.record
        if record.carried is not None:
            self._write_row(record, record.carried, result)
            return None
        answer = batches.dump_batch_answer(record.fields["custom_id"], 200, result.fields["body"])
        self._write_row(record, _dump_line(answer), result)
        return None

    def write_failure(self, failed: ItemFailed) -> None:
        """Write the line of a request that failed, unless such requests are left out."""
        record: Record = failed.record
        data: bytes | None = None
        if self._flags.on_error is OnError.KEEP:
            custom_id = record.fields.get("custom_id")
            known = custom_id if isinstance(custom_id, str) and custom_id else None
            data = _dump_line(batches.dump_batch_failure(known, record.fields.get("url"), failed.error))
        self._write_row(record, data, failed)

    def _has_failed(self, row: Record) -> bool:
        return not batches.is_batch_success(row.fields)


def _dump_line(line: dict[str, Any]) -> bytes:
    from llmcli.documents.json_values import dump_text

    return (dump_text(line) + "\n").encode()
