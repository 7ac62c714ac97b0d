"""Inputs: whether standard input or files are read, by the pipe contract, and the resulting documents."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input.path_conflicts import check_distinct
from llmcli.cli.input.stdin_lines import STDIN, announce_stdin_wait, stdin_lines
from llmcli.documents.reading.document import Document, open_document
from llmcli.documents.reading.file_reader import read_file, read_stdin
from llmcli.documents.records import Record, count_line_records, iter_line_records
from llmcli.errors import LlmError, NotUtf8, UsageError
from llmcli.types import ItemFailed, Result, TaskEvent


def decode_argument(text: str) -> str:
    """Return a text argument as UTF-8, whatever the locale decoded its bytes as. Raises ``NotUtf8``."""
    data = os.fsencode(text)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8("the argument", offset=error.start) from error


def reads_stdin(ctx: CommandContext, files: Sequence[str]) -> bool:
    """Whether standard input is read by default: no file is named, it is no terminal, and it is not switched off."""
    return not files and ctx.runtime.settings["stdin"] == "on" and not ctx.console.stdin_is_terminal


def read_stdin_document(ctx: CommandContext) -> Document:
    """Read standard input to its end."""
    console = ctx.console
    data = read_stdin(console.environment.stdin, console.interrupt, lambda: announce_stdin_wait(console))
    return open_document(data, STDIN)


def read_document(ctx: CommandContext, name: str) -> Document:
    """Read one named input; ``-`` is standard input. Raises ``UsageError`` if -o would overwrite it."""
    if ctx.flags.output is not None:
        check_distinct([("an input", name)], [("the output", ctx.flags.output)])
    return read_stdin_document(ctx) if name == STDIN else read_file(name, ctx.runtime.interrupt)


def read_documents(
    ctx: CommandContext, files: Sequence[str], read: Callable[[CommandContext, str], Document] = read_document
) -> list[Document | ItemFailed]:
    """Read the named inputs with ``read``, or standard input if none is named.

    If there are several inputs, an unreadable one becomes an ``ItemFailed`` at its position; a single one raises.
    Raises ``UsageError`` if there is no input, or if -o would overwrite one.
    """
    if not files:
        if not reads_stdin(ctx, files):
            raise UsageError("no input: name a file, or pipe text in")
        return [read(ctx, STDIN)]
    if files.count(STDIN) > 1:
        raise UsageError("standard input can be read only once")
    if len(files) == 1:
        return [read(ctx, files[0])]
    if ctx.flags.output is not None:
        check_distinct([("an input", name) for name in files], [("the output", ctx.flags.output)])
    return list(_read_several(ctx, files, read))


def _read_several(
    ctx: CommandContext, files: Sequence[str], read: Callable[[CommandContext, str], Document]
) -> Iterator[Document | ItemFailed]:
    failed: list[LlmError] = []
    for index, name in enumerate(files):
        try:
            yield read(ctx, name)
        except LlmError as error:
            ctx.runtime.interrupt.check()
            failed.append(error)
            yield ItemFailed(index, name, error)
    if len(failed) == len(files):
        raise failed[0]


def read_records(ctx: CommandContext, files: Sequence[str]) -> tuple[Iterable[Record], list[ItemFailed]]:
    """Return the lines of the inputs, numbered consecutively, and the inputs that cannot be read.

    Standard input alone is read as it arrives, so it may be endless. Raises as ``read_documents`` does.
    """
    if list(files) == [STDIN] or reads_stdin(ctx, files):
        return stdin_lines(ctx.console), []
    found = read_documents(ctx, files)
    good = [document for document in found if isinstance(document, Document)]
    return _NumberedRecords(good, named=len(found) > 1), [failed for failed in found if isinstance(failed, ItemFailed)]


class _NumberedRecords:
    """The lines of documents, numbered consecutively; ``named``: each carries its document's name. Counted on demand."""

    def __init__(self, documents: Sequence[Document], *, named: bool) -> None:
        self._documents = documents
        self._named = named

    def __iter__(self) -> Iterator[Record]:
        together = ((document, record) for document in self._documents for record in iter_line_records(document.text))
        for index, (document, record) in enumerate(together):
            yield Record(index, record.text, record.line, document.name if self._named else "")

    def __len__(self) -> int:
        return sum(count_line_records(document.text) for document in self._documents)


def append_failed(events: Iterator[TaskEvent], failed: Sequence[ItemFailed]) -> Iterator[TaskEvent]:
    """Add the inputs that could not be read as the last items of a task."""
    count = 0
    for event in events:
        count += isinstance(event, Result | ItemFailed)
        yield event
    for index, failure in enumerate(failed, count):
        yield replace(failure, item=index)
