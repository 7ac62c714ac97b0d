"""Inputs in any format that a reader knows, directories and patterns too: their text, and what was left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input.document_inputs import (
    ReloadableInputs,
    count_characters,
    read_inputs,
    read_stdin_bytes,
)
from llmcli.cli.input.inputs import STDIN, check_output, is_web_address, note_input
from llmcli.documents.reading.document import Document, is_plain_start, open_document
from llmcli.documents.reading.file_reader import is_large_file, read_bytes, read_file
from llmcli.errors import BadDocument, EmptyInput, IsADirectory, LlmError, UsageError
from llmcli.fast_dataclass import replace
from llmcli.interrupt import run_interruptible
from llmcli.types import ItemFailed, Notice, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.documents.reading.streamed_file import StreamedFile


def read_source_document(ctx: CommandContext, name: str) -> Document:
    """Read one named input; ``-`` is standard input.

    Raises what ``read_source`` raises, ``BadDocument`` for a directory (``expand_names`` found no file in it), and
    ``UsageError`` if -o would overwrite it.
    """
    check_output(ctx, [name])
    if name != STDIN and not is_web_address(name):
        note_input(ctx, name)
    return count_characters(ctx, _read_stdin_source(ctx) if name == STDIN else _read_named_source(ctx, name))


def read_streamed_source(ctx: CommandContext, name: str) -> Document | StreamedFile:
    """Read one named input as ``read_source_document`` does; a text that is too large to be kept is only checked."""
    check_output(ctx, [name])
    large = open_large(ctx, name)
    return read_source_document(ctx, name) if large is None or large.table else large


def open_large(ctx: CommandContext, name: str) -> StreamedFile | None:
    """Return an input that is a text too large to be kept, a table as well; None for all others."""
    large = _open_large(name)
    if large is not None:
        note_input(ctx, name)
    if large is not None and not large.table and ctx.runtime.input_characters is not None:
        ctx.runtime.input_characters += large.characters
    return large


def _open_large(name: str) -> StreamedFile | None:
    if name == STDIN or is_web_address(name) or not is_large_file(name):
        return None
    from llmcli.documents.reading.streamed_file import open_streamed_file

    return open_streamed_file(name)


def _read_named_source(ctx: CommandContext, name: str) -> Document:
    if is_web_address(name):
        from llmcli.cli.input.web_inputs import read_web_document

        return read_web_document(ctx, name)
    from llmcli.documents.reading.source_reader import read_source, refuse_unknown

    large = _open_large(name)
    if large is not None:
        read = large.read_overview if large.table else large.read_whole
        return run_interruptible(read)
    try:
        data = read_bytes(name, ctx.runtime.interrupt, refuse_unknown)
    except IsADirectory as error:
        raise BadDocument(name, detail="no file in this directory can be read as a document") from error
    return run_interruptible(read_source, data, name, Path(name))


def _refuse_unknown(data: bytes, name: str) -> None:
    """Raise as ``refuse_unknown``; the readers are imported only if an input is no text."""
    from llmcli.documents.reading.source_reader import refuse_unknown

    refuse_unknown(data, name)


def read_text_documents(ctx: CommandContext, files: Sequence[str]) -> Sequence[Document | ItemFailed]:
    """Read the named inputs, or standard input if none is named: texts as they are, other documents by their readers.

    Markup and tables are texts. Raises as ``read_inputs``.
    """
    return read_inputs(ctx, files, _read_text_document, keeps_all=True)


def _read_text_document(ctx: CommandContext, name: str) -> Document:
    check_output(ctx, [name])
    if name == STDIN:
        data, path = read_stdin_bytes(ctx, _refuse_unknown), None
    else:
        note_input(ctx, name)
        data, path = read_bytes(name, ctx.runtime.interrupt, _refuse_unknown), Path(name)
    from llmcli.documents.reading.source_reader import is_plain_text, read_source

    if is_plain_text(data):
        return count_characters(ctx, open_document(data, name, path))
    return count_characters(ctx, run_interruptible(read_source, data, name, path))


def _read_stdin_source(ctx: CommandContext) -> Document:
    data = read_stdin_bytes(ctx, _refuse_unknown)
    if is_plain_start(data):
        return open_document(data, STDIN)
    from llmcli.documents.reading.source_reader import read_source

    return run_interruptible(read_source, data, STDIN)


def expand_names(ctx: CommandContext, names: Sequence[str]) -> list[str]:
    """Return the files that names of files, directories and patterns stand for, each once; web addresses stay."""
    found: dict[str, None] = {}
    for name in names:
        if is_web_address(name) or os.path.isfile(name):  # noqa: PTH113 (a Path raises for a long name)
            found[name] = None
        else:
            from llmcli.documents.reading.directory_walk import expand_input

            found |= dict.fromkeys(expand_input(name, ctx.console.warn))
    return list(found)


def expand_inputs(ctx: CommandContext, files: Sequence[str]) -> list[str]:
    """Return the names that ``read_inputs`` reads; it refuses standard input that is named twice."""
    return expand_names(ctx, files) if files.count(STDIN) <= 1 else list(files)


def read_sources(ctx: CommandContext, files: Sequence[str]) -> tuple[list[str], Sequence[Document | ItemFailed]]:
    """Return the names of the inputs and what was read, as ``read_inputs`` does.

    Raises what ``expand_input`` raises.
    """
    names = expand_inputs(ctx, files)
    return names, read_inputs(ctx, names, read_source_document)


def read_streamed_sources(
    ctx: CommandContext, files: Sequence[str]
) -> tuple[list[str], Sequence[Document | StreamedFile | ItemFailed]]:
    """Return the names of the inputs and what ``read_streamed_source`` read. Raises what ``expand_input`` raises."""
    names = expand_inputs(ctx, files)
    return names, read_inputs(ctx, names, read_streamed_source)


def read_evidence(
    ctx: CommandContext, names: Sequence[str]
) -> tuple[Sequence[Document | ItemFailed], Sequence[ItemFailed]]:
    """Return the documents that ``names`` stand for, and the files of directories and patterns that cannot be read.

    A document that is read again later may be an ``ItemFailed``. Raises what a file that is named itself raises,
    ``EmptyInput`` for one that is blank: it is evidence of nothing, so it was named by mistake. In a directory, blank
    files are left out.
    """
    found = ReloadableInputs(ctx, _read_nonblank)
    failed = add_files(ctx, names, found.add, requires_named=True)
    if failed and not found:
        raise failed[0].error
    return found, [each for each in failed if not isinstance(each.error, EmptyInput)]


def _read_nonblank(ctx: CommandContext, name: str) -> Document:
    document = read_source_document(ctx, name)
    if not document.text.strip():
        raise EmptyInput(name)
    return document


def read_earlier_file(ctx: CommandContext, name: str) -> Document:
    """Read a file that -o may replace, since it is the earlier version of the output."""
    return read_file(name, ctx.runtime.interrupt)


def add_files(
    ctx: CommandContext, files: Sequence[str], add: Callable[[str], None], *, requires_named: bool = False
) -> list[ItemFailed]:
    """Call ``add`` for each file; return the files for which it failed.

    ``requires_named``: a file that is named itself must be readable. Raises its error then, and ``UsageError``.
    """
    failed: list[ItemFailed] = []
    named = set(files)
    for name in expand_names(ctx, files) if files else ():
        try:
            add(name)
        except LlmError as error:
            ctx.runtime.interrupt.check()
            if isinstance(error, UsageError) or (requires_named and name in named):
                raise
            failed.append(ItemFailed(len(failed), name, error))
    return failed


def add_source_notes(
    events: Iterator[TaskEvent], documents: Sequence[Document | StreamedFile | ItemFailed], *, one_answer: bool = False
) -> Iterator[TaskEvent]:
    """Add what was left out of the documents: first as a ``Notice`` each, later as warnings of the results.

    ``one_answer``: the result is about all documents; otherwise its item is the position of its document.
    """
    notes: dict[int, list[str]] = {}
    for index, texts in _notes_by_position(documents).items():
        notes.setdefault(0 if one_answer else index, []).extend(texts)
    yield from (Notice(text, item) for item, texts in notes.items() for text in texts)
    for event in events:
        own = notes.get(event.item) if isinstance(event, Result) else None
        yield replace(event, warnings=(*own, *event.warnings)) if own and isinstance(event, Result) else event


def _notes_by_position(documents: Sequence[Document | StreamedFile | ItemFailed]) -> Mapping[int, list[str]]:
    """Return what was left out of documents, by their positions."""
    if isinstance(documents, ReloadableInputs):
        return documents.notes
    sources = {index: each for index, each in enumerate(documents) if isinstance(each, Document)}
    return {index: document.notes for index, document in sources.items()}


def append_failed(events: Iterator[TaskEvent], failed: Sequence[ItemFailed]) -> Iterator[TaskEvent]:
    """Add the inputs that could not be read: as warnings of the results, and as the last items of a task."""
    count = 0
    for event in add_unread_warnings(events, failed):
        count += isinstance(event, Result | ItemFailed)
        yield event
    for index, failure in enumerate(failed, count):
        yield replace(failure, item=index)


def add_unread_warnings(events: Iterator[TaskEvent], failed: Sequence[ItemFailed]) -> Iterator[TaskEvent]:
    """Add to the warnings of each result the inputs that could not be read, since its answer may be in one of them."""
    unread = tuple(_describe_unread(each) for each in failed)
    for event in events:
        yield replace(event, warnings=(*unread, *event.warnings)) if unread and isinstance(event, Result) else event


def warn_of_later_failures(events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    """Do the same for a task that yields its one result first, then the inputs that could not be read."""
    later: list[TaskEvent] = []
    for event in events:
        if later or isinstance(event, Result):
            later.append(event)
        else:
            yield event
    yield from add_unread_warnings(iter(later), [each for each in later if isinstance(each, ItemFailed)])


def _describe_unread(failure: ItemFailed) -> str:
    from llmcli.cli.console.error_messages import describe

    reason, _ = describe(failure.error)
    return f"not read: {reason}" if failure.name in reason else f"not read: {failure.name}: {reason}"
