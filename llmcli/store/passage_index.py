"""The index of a directory: the passages of its files, found by their words and by vectors. One SQLite file.

Table ``files``: a file with its state when it was read. ``passages``: its passages. ``words``: their full-text index.
``vectors``: the vector of a passage by a model. ``properties``: the directory, and when the index changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Self

from llmcli.errors import BadDocument, LlmError
from llmcli.errors.saved_state_errors import DamagedState
from llmcli.fast_dataclass import frozen, replace
from llmcli.files import private_files
from llmcli.store.database import Database, DatabaseSpec, make_parent_directory
from llmcli.store.word_ranking import WORDS_DEFINITION, add_words, remove_words, search_words

_SCHEMA = f"""
CREATE TABLE properties (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL,
    digest TEXT NOT NULL, read_ns INTEGER NOT NULL, characters INTEGER NOT NULL, notes TEXT NOT NULL
);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL, page INTEGER,
    first_line INTEGER NOT NULL, last_line INTEGER NOT NULL, start INTEGER NOT NULL, headings TEXT NOT NULL
);
CREATE INDEX passages_of_files ON passages (file);
CREATE TABLE vectors (
    passage INTEGER NOT NULL, model TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (passage, model)
) WITHOUT ROWID;
{WORDS_DEFINITION};
"""
_SPEC = DatabaseSpec(
    description="an index of passages",
    kind="index",
    version=1,
    schema=_SCHEMA,
    tables=frozenset({"properties", "files", "passages", "vectors", "words"}),
)
_BATCH_PASSAGES = 1_000
"""Passages of a large file that are written in one transaction: a few tenths of a second."""
_RACY_NS = 1_000_000_000  # file systems round modification times, to a second at worst
_GET_PASSAGE = """
SELECT path, text, source, page, first_line, last_line, start, headings
FROM passages JOIN files ON files.id = file WHERE passages.id = ?
"""


@frozen
class IndexedPassage:
    """A passage of the file ``path``: ``start`` is the offset of ``text`` in the text of the document, in characters.

    ``source``, ``page``, the lines and ``headings`` are those of ``Passage`` in ``documents.reading.passages``.
    """

    path: str
    text: str
    source: str
    page: int | None
    first_line: int
    last_line: int
    start: int
    headings: tuple[str, ...] = ()


@frozen
class FileState:
    """What a file was when it was read at ``read_ns``: its size in bytes, modification time and SHA-256.

    ``characters`` is the length of its text, ``notes`` says what of it was left out.
    """

    path: str
    size: int
    modified_ns: int
    digest: str
    read_ns: int
    characters: int = 0
    notes: tuple[str, ...] = ()

    def is_same(self, size: int, modified_ns: int) -> bool:
        """Whether the file needs no reading: equal size and time, and a change after reading would show in the time.

        A file that changed in the second in which it was read might have the same time (as in Git's racy-git).
        """
        return (size, modified_ns) == (self.size, self.modified_ns) and self.read_ns - modified_ns > _RACY_NS


@frozen
class IndexSummary:
    """Counts of an index. ``directory`` is what was indexed, ``vectors`` maps a model to the number of its vectors.

    ``changed`` is the time of the last change, in seconds since 1970; ``size`` is in bytes.
    """

    directory: str
    files: int
    passages: int
    characters: int
    vectors: Mapping[str, int]
    changed: int
    size: int


class PassageIndex:
    """The index in the file ``path``, created if it does not exist; a context manager.

    Several processes may use it at once: each change is one transaction.
    """

    def __init__(self, path: Path, directory: str = "", *, read_only: bool = False) -> None:
        """``directory`` is what the index is about, for a new one. Raises what ``Database`` raises."""
        self.path = path
        self._database = Database(path, _SPEC, read_only=read_only)
        if not read_only and directory:
            with self._database.transaction() as database:
                database.execute("INSERT OR IGNORE INTO properties VALUES ('directory', ?)", (_to_stored(directory),))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def check_intact(self) -> None:
        """Read the whole file, and raise ``BadDocument`` if it is damaged.

        Source: the pragma integrity_check of SQLite, and the command integrity-check of FTS5.
        """
        with self._database.transaction() as database:
            (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            database.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        if found != "ok":
            raise DamagedState(str(self.path), detail=f"the file is damaged: {found}", kind=_SPEC.kind)

    def files(self) -> dict[str, FileState]:
        """Return the files by their paths."""
        with self._database.read() as database:
            rows = database.execute(
                "SELECT path, size, modified_ns, digest, read_ns, characters, notes FROM files ORDER BY id"
            )
            states = (
                replace(FileState(*row[:6]), path=_to_name(row[0]), notes=tuple(json.loads(row[6]))) for row in rows
            )
            return {state.path: state for state in states}

    def replace(self, files: Iterable[tuple[FileState, Sequence[IndexedPassage] | None]]) -> None:
        """Add files or replace them, in one transaction; passages None: they stay, and only the state changes."""
        with self._database.transaction() as database:
            for state, passages in files:
                if passages is not None:
                    _remove_file(database, state.path)
                file = _save_state(database, state)
                for each in passages or ():
                    _add_passage(database, file, each)
            _touch(database)

    def replace_large(self, state: FileState, passages: Iterable[IndexedPassage]) -> None:
        """Add a file or replace it, some passages in each transaction, so that others need not wait for all of them.

        Until the last one the file has the size -1, so that it is read again if this does not come to its end.
        """
        unfinished = replace(state, size=-1, digest="")
        self.replace([(unfinished, ())])
        rest = iter(passages)
        while batch := list(islice(rest, _BATCH_PASSAGES)):
            with self._database.transaction() as database:
                file = _save_state(database, unfinished)
                for each in batch:
                    _add_passage(database, file, each)
        self.replace([(state, None)])

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, in one transaction."""
        with self._database.transaction() as database:
            for path in paths:
                _remove_file(database, path)
            _touch(database)

    def search_words(self, question: str, limit: int) -> list[int]:
        """Return the passages that contain a word of ``question``, the best by BM25 first."""
        with self._database.read() as database:
            return search_words(database, question, limit)

    def missing_vectors(self, model: str) -> list[int]:
        """Return the passages without a vector of ``model``."""
        with self._database.read() as database:
            rows = database.execute(
                "SELECT id FROM passages WHERE id NOT IN (SELECT passage FROM vectors WHERE model = ?) ORDER BY id",
                (model,),
            )
            return [row for (row,) in rows]

    def add_vectors(self, model: str, vectors: Mapping[int, bytes]) -> None:
        """Add the vectors of passages; those of passages that were removed meanwhile are ignored."""
        with self._database.transaction() as database:
            database.executemany(
                "INSERT OR REPLACE INTO vectors SELECT id, ?, ? FROM passages WHERE id = ?",
                [(model, vector, passage) for passage, vector in vectors.items()],
            )
            _touch(database)

    def remove_vectors(self, models: Sequence[str]) -> None:
        """Remove the vectors of models."""
        with self._database.transaction() as database:
            database.executemany("DELETE FROM vectors WHERE model = ?", [(model,) for model in models])
            _touch(database)

    def vectors(self, model: str) -> tuple[list[int], list[bytes]]:
        """Return the passages that have a vector of ``model``, and these."""
        with self._database.read() as database:
            rows = database.execute("SELECT passage, vector FROM vectors WHERE model = ? ORDER BY passage", (model,))
            found = rows.fetchall()
        return [row[0] for row in found], [row[1] for row in found]

    def passages(self, ids: Sequence[int]) -> dict[int, IndexedPassage]:
        """Return passages by their ids; those that another process removed meanwhile are missing."""
        found: dict[int, IndexedPassage] = {}
        with self._database.read() as database:
            for number in ids:
                row = database.execute(_GET_PASSAGE, (number,)).fetchone()
                if row is not None:
                    passage = replace(IndexedPassage(*row[:7]), headings=tuple(json.loads(row[7])))
                    found[number] = replace(passage, path=_to_name(passage.path), source=_to_name(passage.source))
        return found

    def file_sizes(self) -> list[tuple[int, int]]:
        """Return the number of each file and of its passages, in the order of their paths."""
        with self._database.read() as database:
            return database.execute(
                "SELECT id, (SELECT count(*) FROM passages WHERE file = files.id) FROM files ORDER BY path"
            ).fetchall()

    def position_in_file(self, passage: int) -> tuple[int, int] | None:
        """Return the number of a passage's file, and how many passages are before it there; None if it is gone."""
        with self._database.read() as database:
            found: tuple[int, int] | None = database.execute(
                "SELECT file, (SELECT count(*) FROM passages AS other "
                "WHERE other.file = this.file AND other.id < this.id) FROM passages AS this WHERE id = ?",
                (passage,),
            ).fetchone()
        return found

    def passage_by_position(self, file: int, position: int) -> int | None:
        """Return the passage of a file that has ``position`` passages before it; None if there is none."""
        with self._database.read() as database:
            statement = "SELECT id FROM passages WHERE file = ? ORDER BY id LIMIT 1 OFFSET ?"
            row = database.execute(statement, (file, position)).fetchone()
        return None if row is None else int(row[0])

    def summary(self) -> IndexSummary:
        """Return what the index contains."""
        with self._database.read() as database:
            properties = dict(database.execute("SELECT name, value FROM properties"))
            files, characters = database.execute("SELECT count(*), total(characters) FROM files").fetchone()
            (passages,) = database.execute("SELECT count(*) FROM passages").fetchone()
            vectors = dict(database.execute("SELECT model, count(*) FROM vectors GROUP BY model"))
        changed = int(properties.get("changed", 0))
        size = self.path.stat().st_size
        directory = _to_name(properties.get("directory", ""))
        return IndexSummary(directory, files, passages, int(characters), vectors, changed, size)


def _to_stored(name: str) -> str | bytes:
    """Return the name of a file as it is stored: its bytes if they are not UTF-8 (lone surrogates in Python)."""
    return name if name.isascii() or name.encode("utf-8", "replace").decode() == name else os.fsencode(name)


def _to_name(stored: str | bytes) -> str:
    """Return the name for what ``_to_stored`` returned."""
    return os.fsdecode(stored) if isinstance(stored, bytes) else stored


def _touch(database: sqlite3.Connection) -> None:
    database.execute("INSERT OR REPLACE INTO properties VALUES ('changed', ?)", (str(int(time.time())),))


def _save_state(database: sqlite3.Connection, state: FileState) -> int:
    """Insert or change the row of a file; return its id."""
    (file,) = database.execute(
        "INSERT INTO files (path, size, modified_ns, digest, read_ns, characters, notes) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (path) DO UPDATE SET size = excluded.size, modified_ns = excluded.modified_ns, "
        "digest = excluded.digest, read_ns = excluded.read_ns, characters = excluded.characters, "
        "notes = excluded.notes RETURNING id",
        (
            _to_stored(state.path),
            state.size,
            state.modified_ns,
            state.digest,
            state.read_ns,
            state.characters,
            json.dumps(state.notes),
        ),
    ).fetchone()
    return int(file)


def _add_passage(database: sqlite3.Connection, file: int, passage: IndexedPassage) -> None:
    row = database.execute(
        "INSERT INTO passages (file, text, source, page, first_line, last_line, start, headings) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            file,
            passage.text,
            _to_stored(passage.source),
            passage.page,
            passage.first_line,
            passage.last_line,
            passage.start,
            json.dumps(passage.headings),
        ),
    ).lastrowid
    add_words(database, int(row or 0), searched_text(passage.text, passage.headings))


def _remove_file(database: sqlite3.Connection, path: str) -> None:
    row = database.execute("SELECT id FROM files WHERE path = ?", (_to_stored(path),)).fetchone()
    if row is None:
        return
    for number, text, headings in database.execute("SELECT id, text, headings FROM passages WHERE file = ?", row):
        remove_words(database, number, searched_text(text, json.loads(headings)))
    database.execute("DELETE FROM vectors WHERE passage IN (SELECT id FROM passages WHERE file = ?)", row)
    database.execute("DELETE FROM passages WHERE file = ?", row)
    database.execute("DELETE FROM files WHERE id = ?", row)


def searched_text(text: str, headings: Sequence[str]) -> str:
    """Return what the words of a passage are: its text, and the headings above it."""
    return "\n".join([*headings, text])


_SUFFIX = ".sqlite"


class IndexFiles:
    """The indexes in the directory ``cache``, which need not exist."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def path_of(self, directory: str) -> Path:
        """Return the index file of a directory, whether it exists or not; links in its path are followed."""
        real = os.fsencode(os.path.realpath(directory))
        return self._cache / f"{hashlib.sha256(real).hexdigest()[:32]}{_SUFFIX}"

    def exists(self, directory: str) -> bool:
        """Whether a directory has an index."""
        return private_files.exists(self.path_of(directory))

    def open(self, directory: str) -> PassageIndex:
        """Open the index of a directory for changes, created if it does not exist.

        Raises what ``Database`` raises, and ``OutputError``.
        """
        path = self.path_of(directory)
        make_parent_directory(path)
        return PassageIndex(path, real_path(directory))

    def open_intact(self, directory: str) -> tuple[PassageIndex, bool]:
        """Open the index of a directory as ``open`` does; return it, and whether it replaces one that was damaged."""
        try:
            index = self.open(directory)
            try:
                index.check_intact()
            except BaseException:
                index.close()
                raise
        except BadDocument:
            self.remove(directory)
            return self.open(directory), True
        return index, False

    def open_read_only(self, directory: str) -> PassageIndex:
        """Open the index of a directory; one that does not exist is empty. Raises what ``Database`` raises."""
        return PassageIndex(self.path_of(directory), read_only=True)

    def summaries(self, report: Callable[[LlmError], object] = lambda _: None) -> Iterator[IndexSummary]:
        """Yield what each index contains; ``report`` gets the error of each file that cannot be read."""
        for file in sorted(self._cache.glob(f"*{_SUFFIX}")):
            try:
                with PassageIndex(file, read_only=True) as index:
                    summary = index.summary()
            except LlmError as error:
                report(error)
            else:
                yield summary

    def remove(self, directory: str) -> bool:
        """Delete the index of a directory; return whether there was one. Raises ``OSError``."""
        file = self.path_of(directory)
        try:
            file.unlink()
        except FileNotFoundError:
            return False
        with suppress(FileNotFoundError):
            file.with_name(f"{file.name}-journal").unlink()
        return True


def real_path(directory: str) -> str:
    """Return the path of a directory without links in it."""
    return os.path.realpath(directory)
