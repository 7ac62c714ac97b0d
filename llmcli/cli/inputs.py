"""Inputs: which of standard input and files is read, by the pipe contract, and the documents that come of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from llmcli.cli import wording
from llmcli.cli.context import Context
from llmcli.documents.reading import Document, decode, read_file, read_stdin
from llmcli.documents.records import Record, count_lines, lines
from llmcli.errors import EmptyInput, LlmError, NotUtf8, UsageError
from llmcli.types import ItemFailed, Result, TaskEvent

STDIN = "-"


def argument(text: str) -> str:
    """Return a text argument as UTF-8 whatever the locale took its bytes for. Raises ``NotUtf8``."""
    data = os.fsencode(text)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8("the argument", offset=error.start) from error


def stdin_wanted(cli: Context, files: Sequence[str]) -> bool:
    """Whether standard input is read though nothing names it: no file named, not a terminal, not switched off."""
    return not files and cli.settings["stdin"] == "on" and not cli.world.terminal(cli.world.stdin)


def say_waiting(cli: Context) -> None:
    """Say what is awaited, to somebody who may not know that standard input is read."""
    if cli.world.terminal(cli.world.stderr) and not cli.flags.quiet:
        wording.say(cli.world, "llm: waiting for standard input (Ctrl-D ends it; --no-stdin does not read it)")


def stdin_document(cli: Context) -> Document:
    """Read standard input to its end."""
    text, bom = decode(read_stdin(cli.world.stdin, cli.interrupt, lambda: say_waiting(cli)), STDIN)
    return Document(STDIN, text, None, bom)


def document(cli: Context, name: str) -> Document:
    """Read one named input; ``-`` is standard input."""
    return stdin_document(cli) if name == STDIN else read_file(name, cli.interrupt)


def documents(cli: Context, files: Sequence[str]) -> list[Document | ItemFailed]:
    """Read the named inputs, or standard input where none is named.

    Of several inputs, one that cannot be read becomes an ``ItemFailed`` in its place; a single one raises. Raises
    ``UsageError`` when there is nothing to read.
    """
    if not files:
        if not stdin_wanted(cli, files):
            raise UsageError("nothing to read: name a file, or pipe a text in")
        return [stdin_document(cli)]
    if files.count(STDIN) > 1:
        raise UsageError("standard input can be read only once")
    if len(files) == 1:
        return [document(cli, files[0])]
    return list(_several(cli, files))


def _several(cli: Context, files: Sequence[str]) -> Iterator[Document | ItemFailed]:
    failed: list[LlmError] = []
    for index, name in enumerate(files):
        try:
            yield document(cli, name)
        except LlmError as error:
            cli.interrupt.check()
            failed.append(error)
            yield ItemFailed(index, name, error)
    if len(failed) == len(files):
        raise failed[0]


def question(cli: Context, prompt: str | None, files: Sequence[str]) -> tuple[str, list[Document]]:
    """Return the question and the documents that it is about.

    Without an argument, standard input is the question, unless a file is ``-``. Raises ``EmptyInput`` and ``UsageError``.
    """
    found = [document(cli, name) for name in files]
    asks = prompt is None and STDIN not in files
    piped = stdin_document(cli) if stdin_wanted(cli, () if asks else files) else None
    if prompt == STDIN:
        piped, prompt = piped or stdin_document(cli), None
    if prompt is not None:
        if not prompt.strip():
            raise EmptyInput("the question")
        if piped is not None and piped.text.strip():
            found.append(piped)
        return argument(prompt), found
    if piped is None or (files and not piped.text.strip()):
        raise UsageError("nothing to ask: give a question as an argument, or pipe one in")
    if not piped.text.strip():
        raise EmptyInput("standard input")
    return piped.text, found


def records(cli: Context, files: Sequence[str]) -> tuple[Iterable[Record], list[ItemFailed]]:
    """Return the lines of the inputs, numbered on, and the inputs that cannot be read.

    Standard input alone is read as it comes, so that it may be endless. Raises as ``documents`` does.
    """
    from llmcli.cli.lines import stdin_lines

    if list(files) == [STDIN] or stdin_wanted(cli, files):
        return stdin_lines(cli), []
    found = documents(cli, files)
    good = [document for document in found if isinstance(document, Document)]
    return _Numbered(good, named=len(found) > 1), [failed for failed in found if isinstance(failed, ItemFailed)]


class _Numbered:
    """The lines of documents, numbered on; ``named``: each bears the name of its document. They are counted on demand."""

    def __init__(self, documents: Sequence[Document], *, named: bool) -> None:
        self._documents = documents
        self._named = named

    def __iter__(self) -> Iterator[Record]:
        together = ((document, record) for document in self._documents for record in lines(document.text))
        for index, (document, record) in enumerate(together):
            yield Record(index, record.text, record.line, document.name if self._named else "")

    def __len__(self) -> int:
        return sum(count_lines(document.text) for document in self._documents)


def followed_by(events: Iterator[TaskEvent], failed: Sequence[ItemFailed]) -> Iterator[TaskEvent]:
    """Add the inputs that could not be read as the last items of a task."""
    count = 0
    for event in events:
        count += isinstance(event, Result | ItemFailed)
        yield event
    for index, failure in enumerate(failed, count):
        yield replace(failure, item=index)
