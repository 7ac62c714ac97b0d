"""Inputs that have been read: of many large ones, those that would fill the memory are read again when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from llmcli.documents.reading.document import Document
from llmcli.errors import BadDocument, LlmError
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.cli.command_context import CommandContext

T = TypeVar("T")
MAX_KEPT_CHARACTERS = 1 << 20
"""Of the texts of all documents that are kept: reading more than that again takes no time beside working on it."""


def find_notes(document: Document) -> list[str]:
    """Return what was left out of a document when it was read."""
    return [] if document.source is None else [f"{document.name}: {note}" for note in document.source.notes]


def _digest(document: Document) -> bytes:
    import hashlib

    return hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).digest()


class InputSequence(Sequence[T | ItemFailed], Generic[T]):
    """The inputs that were added, in their order.

    Each is read once when it is added, so that its failure is known before the work begins. Texts beyond
    ``MAX_KEPT_CHARACTERS`` are then dropped unless ``keeps_all``, and read again from their files whenever they are asked
    for; a file that cannot be read any more, or has another text, is an ``ItemFailed``. What can be read only once is
    always kept. ``notes``: what was left out of the documents, by their positions. ``characters``: the length of all
    their texts.
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
            self.notes[len(self)] = find_notes(found)
            full = self._kept_characters + len(found.text) > MAX_KEPT_CHARACTERS and not self._keeps_all
            dropped = full and Path(name).is_file()
            self._kept_characters += 0 if dropped else len(found.text)
            self.characters += len(found.text)
            if dropped:
                self._digests[len(self)] = _digest(found)
        self._names.append(name)
        self._kept.append(None if dropped else found)

    def append(self, document: T) -> None:
        """Add a document that has been read; it is kept."""
        assert isinstance(document, Document)
        self.notes[len(self)] = find_notes(document)
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
