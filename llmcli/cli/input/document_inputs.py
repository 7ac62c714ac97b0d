"""The documents of a command: standard input or the named files, read once, and again where memory would not hold all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar, overload

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input.inputs import STDIN, announce_stdin_wait, check_output, note_input, reads_stdin
from llmcli.documents.reading.document import Document, open_document, refuse_unreadable
from llmcli.documents.reading.file_reader import read_file, read_stdin
from llmcli.errors import BadDocument, LlmError, UsageError
from llmcli.interrupt import Interrupt, run_interruptible
from llmcli.types import ItemFailed

T = TypeVar("T")


_TAG = re.compile("<[^<>]*+>")


MAX_KEPT_CHARACTERS = 1 << 20
"""Of the texts of all documents that are kept: reading more than that again takes no time beside working on it."""


def _digest(document: Document) -> bytes:
    import hashlib

    return hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).digest()


class ReloadableInputs(Sequence[T | ItemFailed], Generic[T]):
    """The inputs that were added, in their order.

    Each is read once when it is added, so that its failure is known before the work begins. Texts beyond
    ``MAX_KEPT_CHARACTERS`` are then dropped unless ``keeps_all``, and read again from their files whenever they are
    asked for; a file that cannot be read any more, or has another text, is an ``ItemFailed``. What can be read only
    once is always kept. ``notes``: what was left out of the documents, by their positions. ``characters``: the length
    of all their texts.
    """

    def __init__(
        self, ctx: CommandContext, read: Callable[[CommandContext, str], T], *, keeps_all: bool = False
    ) -> None:
        self._ctx = ctx
        self._keeps_all = keeps_all
        self._read = read
        self._names: list[str] = []
        self._kept: list[T | ItemFailed | None] = []
        self._digests: dict[int, bytes] = {}  # of the texts that were dropped
        self._kept_characters = 0
        self.characters = 0
        self.notes: dict[int, list[str]] = {}

    def add(self, name: str) -> None:
        """Read an input. Raises what ``read`` raises."""
        found = self._read(self._ctx, name)
        dropped = False
        if isinstance(found, Document):
            self.notes[len(self)] = found.notes
            full = self._kept_characters + len(found.text) > MAX_KEPT_CHARACTERS and not self._keeps_all
            dropped = full and name != STDIN and Path(name).is_file()
            self._kept_characters += 0 if dropped else len(found.text)
            self.characters += len(found.text)
            if dropped:
                self._digests[len(self)] = _digest(found)
        self._names.append(name)
        self._kept.append(None if dropped else found)

    def append(self, document: T) -> None:
        """Add a document that has been read; it is kept."""
        assert isinstance(document, Document)
        self.notes[len(self)] = document.notes
        self.characters += len(document.text)
        self._names.append(document.name)
        self._kept.append(document)

    @property
    def names(self) -> Sequence[str]:
        """The names of the inputs."""
        return self._names

    @property
    def is_kept(self) -> bool:
        """Whether no text was dropped."""
        return None not in self._kept

    def add_failure(self, name: str, error: LlmError) -> None:
        """Add an input that cannot be read."""
        self._kept.append(ItemFailed(len(self), name, error))
        self._names.append(name)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> T | ItemFailed: ...
    @overload
    def __getitem__(self, index: slice) -> list[T | ItemFailed]: ...
    def __getitem__(self, index: int | slice) -> T | ItemFailed | list[T | ItemFailed]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        kept = self._kept[index]
        return self._read_again(range(len(self))[index]) if kept is None else kept

    def _read_again(self, index: int) -> T | ItemFailed:
        """Read an input once more; its characters were counted before."""
        runtime, name = self._ctx.runtime, self._names[index]
        counted = runtime.input_characters
        try:
            found = self._read(self._ctx, name)
        except LlmError as error:
            runtime.interrupt.check()
            return ItemFailed(index, name, error)
        finally:
            runtime.input_characters = counted
        if isinstance(found, Document) and _digest(found) == self._digests[index]:
            return found
        return ItemFailed(index, name, BadDocument(name, detail="the file changed while the command ran"))


def read_stdin_document(ctx: CommandContext) -> Document:
    """Read standard input to its end. Raises ``UsageError`` if -o would overwrite the file that it comes from."""
    check_output(ctx, [STDIN])
    return count_characters(ctx, open_document(read_stdin_bytes(ctx, refuse_unreadable), STDIN))


def read_stdin_bytes(ctx: CommandContext, refuse_binary: Callable[[bytes, str], None]) -> bytes:
    """Read standard input to its end, and note it as an input. Raises as ``read_stdin``."""
    console = ctx.console
    waiting = partial(announce_stdin_wait, console)
    data = read_stdin(console.claim_stdin(), console.interrupt, waiting, refuse_binary=refuse_binary)
    note_input(ctx, STDIN, data)
    return data


def read_document(ctx: CommandContext, name: str) -> Document:
    """Read one named input; ``-`` is standard input. Raises ``UsageError`` if -o would overwrite it."""
    check_output(ctx, [name])
    if name == STDIN:
        return read_stdin_document(ctx)
    note_input(ctx, name)
    return count_characters(ctx, read_file(name, ctx.runtime.interrupt))


def read_translatable_document(ctx: CommandContext, name: str) -> Document:
    """Read one named input to translate it: a text as ``read_document`` does, or an archive such as an Office file."""
    from llmcli.documents.reading.translatable import open_translatable, read_translatable, refuse_untranslatable

    check_output(ctx, [name])
    if name != STDIN:
        note_input(ctx, name)
        return count_characters(ctx, read_translatable(name, ctx.runtime.interrupt))
    data = read_stdin_bytes(ctx, refuse_untranslatable)
    return count_characters(ctx, run_interruptible(open_translatable, data, STDIN))


def count_characters(ctx: CommandContext, document: Document) -> Document:
    """Count a document's text as input of the job, whose size decides which weights answer; of an archive, no tags."""
    if ctx.runtime.input_characters is not None:
        tags = sum(len(match[0]) for match in _TAG.finditer(document.text)) if document.data is not None else 0
        ctx.runtime.input_characters += len(document.text) - tags
    return document


def read_inputs(
    ctx: CommandContext, files: Sequence[str], read: Callable[[CommandContext, str], T], *, keeps_all: bool = False
) -> Sequence[T | ItemFailed]:
    """Read the named inputs with ``read``, or standard input if none is named.

    Unless ``keeps_all``, of many those that would fill the memory are read again when they are asked for. If there are
    several inputs, an unreadable one becomes an ``ItemFailed`` at its position; a single one raises.
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
    check_output(ctx, files)
    return _read_several(ReloadableInputs(ctx, read, keeps_all=keeps_all), files, ctx.runtime.interrupt)


def _read_several(found: ReloadableInputs[T], files: Sequence[str], interrupt: Interrupt) -> ReloadableInputs[T]:
    failed: list[LlmError] = []
    for name in files:
        try:
            found.add(name)
        except LlmError as error:
            interrupt.check()
            failed.append(error)
            found.add_failure(name, error)
    if len(failed) == len(files):
        raise failed[0]
    return found
