"""One run of embed: its model, its records, its output."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input.source_inputs import expand_names
from llmcli.cli.records.record_flags import record_flags
from llmcli.cli.records.record_output import JsonLineOutput, RecordOutput
from llmcli.cli.records.record_run import RecordRunSpec, run_records
from llmcli.cli.render.text_writer import ByteSink
from llmcli.documents.records.record import RecordSchema
from llmcli.errors import LlmError, OutputError, UsageError
from llmcli.files.atomic_file import OutputFile, atomic_write
from llmcli.tasks.embed import EMBEDDING_COLUMN, EmbedTask, Pooling
from llmcli.types import ItemFailed, Result

if TYPE_CHECKING:
    from llmcli.tasks.runner.record_runner import RecordProcessor

WHOLE_FILES = "document"


def run_embed(ctx: CommandContext, files: Sequence[str], pooling: Pooling, *, normalizes: bool, whole: bool) -> int:
    """Write the vectors of records; return the exit code. Raises ``UsageError`` for options that exclude each other."""
    use_embedding_model(ctx)
    files = expand_names(ctx, files) if whole else files
    flags = record_flags(ctx)
    to_numpy = flags.output is not None and flags.output.lower().endswith(NUMPY_SUFFIX)
    if to_numpy and (ctx.console.as_json or flags.output_format is not None):
        raise UsageError(
            "a NumPy file holds the vectors of all records",
            detail="Leave out --json and --output-format, or the suffix .npy.",
        )
    task = RecordRunSpec(
        lambda backend, options: EmbedTask(
            backend, options, pooling=pooling, normalizes=normalizes, names_files=len(files) > 1
        ),
        lambda: {"pooling": str(pooling), "--no-normalize": not normalizes, "--files": whole},
        make_output=NumpyOutput if to_numpy else JsonLineOutput,
        input_format=WHOLE_FILES if whole else None,
        suits_small_models=True,
    )
    return run_records(ctx, files, task)


def use_embedding_model(ctx: CommandContext) -> None:
    """Let the setting ``embedding_model`` answer, unless a model or a server is named on the command line."""
    name = ctx.runtime.settings["embedding_model"]
    if name is not None and ctx.flags.model is None and not ctx.runtime.is_remote:
        ctx.use_model(name)


NUMPY_SUFFIX = ".npy"
_HEADER_BYTES = 128
_MAGIC = b"\x93NUMPY\x01\x00"


class NumpyOutput(RecordOutput):
    """Writes an array of 32-bit floats; a record without a vector has a row of NaN, so that rows stay aligned."""

    _file: OutputFile
    _count = 0
    _width = 0
    _missing = 0

    def open(self, stack: ExitStack) -> ByteSink:
        """Open the file.

        Raises ``UsageError`` for a job to continue, and for a file that has no beginning to return to.
        """
        path = self._flags.output
        assert path is not None
        if self._work.sharded is not None:
            raise UsageError("NumPy files are not merged", detail="Write JSON Lines instead: -o FILE.jsonl")
        if self._flags.resume or self._flags.retry_failed:
            raise UsageError("a NumPy file cannot be continued", detail="Write JSON Lines instead: -o FILE.jsonl")
        self._file = stack.enter_context(atomic_write(path, interrupt=self._ctx.runtime.interrupt))
        if self._file.direct:
            raise UsageError("a NumPy file needs a regular file", detail="Write JSON Lines instead, or -o FILE.npy")
        return self._file

    def begin(self, schema: RecordSchema, verb: RecordProcessor, manifest: Callable[[], Mapping[str, Any]]) -> None:
        """Leave room for the header, which is known at the end."""
        del schema, verb, manifest
        self._file.write(bytes(_HEADER_BYTES))

    def write_result(self, result: Result) -> LlmError | None:
        """Write the row of a result."""
        import numpy as np

        vector = result.fields[EMBEDDING_COLUMN]
        if vector is None:
            self._add_missing()
        else:
            self._begin_rows(len(vector))
            self._file.write(np.asarray(vector, dtype="<f4").tobytes())
            self._count += 1
        return None

    def write_failure(self, failed: ItemFailed) -> None:
        """Write a row of NaN."""
        del failed
        self._add_missing()

    def _add_missing(self) -> None:
        if self._width:
            self._write_missing(1)
        else:
            self._missing += 1  # the width is not known yet

    def _begin_rows(self, width: int) -> None:
        if not self._width:
            self._width = width
            self._write_missing(self._missing)

    def _write_missing(self, rows: int) -> None:
        import numpy as np

        row = np.full(self._width, np.nan, dtype="<f4").tobytes()
        for _ in range(rows):
            self._file.write(row)
        self._count += rows

    def complete(self, *, ended_early: bool) -> None:
        """Write the header. Source: NumPy's format specification, version 1.0."""
        del ended_early
        shape = (self._count, self._width) if self._width else (self._missing, 0)
        words = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
        size = _HEADER_BYTES - len(_MAGIC) - 2
        header = _MAGIC + size.to_bytes(2, "little") + words.ljust(size - 1) + b"\n"
        try:
            os.pwrite(self._file.fd, header, 0)
        except OSError as error:
            raise OutputError(self._flags.output or "", detail=error.strerror or "") from error
