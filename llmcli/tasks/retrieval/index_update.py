"""Brings the index of a directory up to date: files that are new, that changed and that are gone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from llmcli.documents.reading.directory_walk import expand_input
from llmcli.documents.reading.file_reader import read_bytes
from llmcli.documents.reading.source_reader import read_source, refuse_unknown
from llmcli.documents.reading.streamed_file import StreamedFile, open_streamed_file
from llmcli.errors import BadDocument, IsADirectory, LlmError, MissingError
from llmcli.fast_dataclass import frozen, replace
from llmcli.interrupt import Interrupt, run_interruptible
from llmcli.store.passage_index import FileState, IndexedPassage, PassageIndex
from llmcli.tasks.retrieval.passage_cutter import cut_document, cut_streamed_file
from llmcli.tasks.retrieval.passage_embedder import PassageEmbedder
from llmcli.types import ItemFailed, Notice, Progress, TaskEvent

_BATCH_PASSAGES = 1_000
"""Passages that are written in one transaction: a few tenths of a second, in which another process has to wait."""
_EMBEDDED_PASSAGES = 256
"""Passages whose vectors are written in one transaction."""


@frozen
class IndexChanges:
    """The numbers of files that were ``added``, ``changed``, ``removed``, left ``unchanged``, and that ``failed``."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    failed: int = 0


class IndexUpdater:
    """Updates ``index`` from ``directory``, an absolute path of a directory or file; ``changes`` counts what it did."""

    def __init__(self, index: PassageIndex, directory: str, interrupt: Interrupt) -> None:
        self._index = index
        self._directory = directory
        self._interrupt = interrupt
        self._pending: list[tuple[FileState, list[IndexedPassage] | None]] = []
        self.changes = IndexChanges()

    def update(self) -> Iterator[TaskEvent]:
        """Read what changed: Progress, a Notice for what is left out of a file, ItemFailed for one that is unreadable.

        A file is read if its size or modification time changed, and indexed again if its content did. The index holds
        no passages of a file that cannot be read. Raises ``MissingError`` if there is nothing under that name, and what
        ``PassageIndex`` raises.
        """
        if not Path(self._directory).exists():
            raise MissingError(self._directory, kind="input")
        known = self._index.files()
        notices: list[str] = []
        names = expand_input(self._directory, notices.append)
        yield from map(Notice, notices)
        gone = known.keys() - set(names)
        for number, name in enumerate(names):
            self._interrupt.check()
            yield Progress(number, len(names), "files")
            try:
                yield from self._update_file(name, known.get(name))
            except LlmError as error:
                self._interrupt.check()
                if name in known:
                    gone.add(name)
                yield ItemFailed(self.changes.failed, name, error)
                self._count(failed=1)
            if sum(len(passages or ()) for _, passages in self._pending) >= _BATCH_PASSAGES:
                self._write()
        self._write()
        if gone:
            self._index.remove(sorted(gone))
            self._count(removed=len(gone))

    def _update_file(self, name: str, known: FileState | None) -> Iterator[TaskEvent]:
        try:
            status = Path(name).stat()
        except OSError as error:
            raise MissingError(name, kind="input", detail=error.strerror or "") from error
        if known is not None and known.is_same(status.st_size, status.st_mtime_ns):
            self._count(unchanged=1)
            return
        read_at = time.time_ns()
        large = open_streamed_file(name)
        if large is not None:
            state = FileState(name, status.st_size, status.st_mtime_ns, large.sha256, read_at, large.characters)
            yield from self._update_large(state, large, known)
            return
        try:
            data = read_bytes(name, self._interrupt, refuse_unknown)
        except IsADirectory as error:
            raise BadDocument(name, detail="no file in this directory can be read as a document") from error
        digest = hashlib.sha256(data).hexdigest()
        state = FileState(name, status.st_size, status.st_mtime_ns, digest, read_at)
        if known is not None and known.digest == digest:
            self._keep_unchanged(state, known)
            return
        document = run_interruptible(read_source, data, name, Path(name))
        notes = () if document.source is None else document.source.notes
        passages = run_interruptible(cut_document, document)
        self._pending.append((replace(state, characters=len(document.text), notes=notes), passages))
        self._count(added=known is None, changed=known is not None)
        yield from (Notice(f"{name}: {note}") for note in notes)

    def _update_large(self, state: FileState, large: StreamedFile, known: FileState | None) -> Iterator[TaskEvent]:
        """Index a text that is not kept in memory; of a table or JSON its overview."""
        if known is not None and known.digest == state.digest:
            self._keep_unchanged(state, known)
            return
        if large.table:
            document = run_interruptible(large.read_overview)
            notes = () if document.source is None else document.source.notes
            state = replace(state, characters=len(document.text), notes=notes)
            self._pending.append((state, cut_document(document)))
            yield from (Notice(f"{state.path}: {note}") for note in notes)
        else:
            self._write()
            self._index.replace_large(state, cut_streamed_file(large))
        self._count(added=known is None, changed=known is not None)

    def _keep_unchanged(self, state: FileState, known: FileState) -> None:
        """Note that a file was read, and has the content that is known."""
        self._pending.append((replace(state, characters=known.characters, notes=known.notes), None))
        self._count(unchanged=1)

    def _count(self, **more: int) -> None:
        self.changes = replace(self.changes, **{name: getattr(self.changes, name) + n for name, n in more.items()})

    def _write(self) -> None:
        if self._pending:
            self._index.replace(self._pending)
            self._pending.clear()


def embed_passages(index: PassageIndex, embedder: PassageEmbedder, interrupt: Interrupt) -> Iterator[TaskEvent]:
    """Compute the vectors that an index lacks: Progress, and a Notice if those of another layer are replaced.

    Raises as ``PassageEmbedder.embed`` and ``PassageIndex`` do.
    """
    outdated = embedder.outdated(index.summary().vectors)
    if outdated:
        index.remove_vectors(outdated)
        yield Notice("vectors are computed again: those of the index come from another layer of the model")
    missing = index.missing_vectors(embedder.model)
    for first in range(0, len(missing), _EMBEDDED_PASSAGES):
        texts = {
            number: each.text for number, each in index.passages(missing[first : first + _EMBEDDED_PASSAGES]).items()
        }
        done = first
        for vectors in embedder.embed(texts):
            interrupt.check()
            index.add_vectors(embedder.model, vectors)
            done += len(vectors)
            yield Progress(done, len(missing), "passages")
