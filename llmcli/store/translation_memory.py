"""The translation memory: what was translated before, so that nothing is translated twice.

One SQLite file. Table ``units``: a text and its translation, under the languages, the model and the ``variant`` (all
else that may change a translation: prompt, glossary, formality). Those that people made (imported, or edits of theirs)
have neither model nor variant and win over a model's. Table ``outputs``: what was written to a file last, text by text,
so that a later run can tell what people changed in it, and with ``stamp`` whether it is finished.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

from llmcli.store.database import Database, DatabaseSpec

_SCHEMA = """
CREATE TABLE units (
    source_language TEXT NOT NULL, target_language TEXT NOT NULL, source TEXT NOT NULL,
    model TEXT NOT NULL, variant TEXT NOT NULL, translation TEXT NOT NULL, changed INTEGER NOT NULL,
    PRIMARY KEY (source, target_language, source_language, model, variant)
) WITHOUT ROWID;
CREATE TABLE outputs (
    path TEXT PRIMARY KEY, language TEXT NOT NULL, texts TEXT NOT NULL, skeleton TEXT NOT NULL, stamp TEXT NOT NULL
) WITHOUT ROWID;
"""
_SPEC = DatabaseSpec(
    description="a translation memory", kind="memory", version=1, schema=_SCHEMA, tables=frozenset({"units", "outputs"})
)
_FIND_TRANSLATION = """
SELECT translation FROM units WHERE source = :source
AND (target_language = :to OR (model = '' AND :to NOT LIKE '%-%' AND target_language LIKE :to || '-%'))
AND (:base = '' OR source_language = '' OR source_language = :base OR source_language LIKE :base || '-%')
AND ((model = '' AND variant = '') OR (model = :model AND variant = :variant))
ORDER BY model, target_language = :to DESC, source_language = :from DESC, changed DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class TranslationUnit:
    """A text and its translation; languages are BCP 47 codes, ``source_language`` "" where it is not known.

    ``model`` identifies the model that made it, "" a person.
    """

    source_language: str
    target_language: str
    source: str
    translation: str
    model: str = ""
    variant: str = ""
    changed: int = 0


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """What was written to the file ``path`` (as ``of`` spells it), in ``language``.

    ``texts``: of each text whatever can be JSON, as JSON; ``skeleton``: what stood between them. ``stamp`` identifies
    the file's text and all that it was made of; "" where something was left undone.
    """

    path: str
    language: str
    texts: str
    skeleton: str
    stamp: str

    @classmethod
    def for_file(
        cls, path: Path, language: str, texts: Sequence[Sequence[str | None]], skeleton: str, stamp: str
    ) -> OutputRecord:
        """Return the record of a file."""
        return cls(_path_key(path), language, json.dumps(texts, ensure_ascii=False), skeleton, stamp)


class TranslationMemory:
    """The memory in the file ``path``, made when it is not there; a context manager."""

    def __init__(self, path: Path, *, read_only: bool = False, private: bool = True) -> None:
        """Raises what ``Database`` raises; ``read_only`` and ``private`` as there."""
        self.path = path
        self.read_only = read_only
        self._database = Database(path, _SPEC, read_only=read_only, private=private)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def find_translation(self, source: str, languages: tuple[str, str], model: str, variant: str) -> str | None:
        """Return the translation of a text between two ``languages``, a person's before the model's; None: unknown.

        Where one of the two source languages is not known, or they differ in region or script only, they are the same;
        so are a target language without a region and that of a person's translation with one.
        """
        values = {"source": source, "from": languages[0], "to": languages[1], "model": model, "variant": variant}
        with self._database.read() as database:
            row = database.execute(_FIND_TRANSLATION, {**values, "base": languages[0].partition("-")[0]}).fetchone()
        return row[0] if row else None

    def add_units(self, entries: Iterable[TranslationUnit]) -> int:
        """Remember translations, in place of those under the same key; return how many there were.

        All of them or none: none when ``entries`` raises.
        """
        now, count = int(time.time()), 0

        def rows() -> Iterator[tuple[str | int, ...]]:
            nonlocal count
            for e in entries:
                count += 1
                yield (
                    e.source_language,
                    e.target_language,
                    e.source,
                    e.model,
                    e.variant,
                    e.translation,
                    e.changed or now,
                )

        with self._database.transaction() as database:
            database.executemany("INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?, ?, ?, ?)", rows())
        return count

    def iter_units(self) -> Iterator[TranslationUnit]:
        """Yield all that is remembered, by languages and text."""
        with self._database.read() as database:
            rows = database.execute(
                "SELECT source_language, target_language, source, translation, model, variant, changed FROM units "
                "ORDER BY source_language, target_language, source, model, variant"
            )
            for row in rows:
                yield TranslationUnit(*row)

    def count_by_languages(self) -> list[tuple[str, str, int, int]]:
        """Return source language, target language, how many translations, and how many of those are people's."""
        with self._database.read() as database:
            return database.execute(
                "SELECT source_language, target_language, count(*), sum(model = '') FROM units GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall()

    def clear(self) -> int:
        """Forget everything; return how many translations that were."""
        with self._database.transaction() as database:
            (count,) = database.execute("SELECT count(*) FROM units").fetchone()
            database.execute("DELETE FROM units")
            database.execute("DELETE FROM outputs")
        return int(count)

    # ---- outputs --------------------------------------------------------------------------------------------------

    def save_output(self, record: OutputRecord) -> None:
        """Remember what was written to a file, in place of what is remembered of it."""
        with self._database.transaction() as database:
            database.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?)", astuple(record))

    def get_output(self, path: Path) -> OutputRecord | None:
        """Return what is remembered of a file, in whatever language; None where nothing is."""
        with self._database.read() as database:
            row = database.execute("SELECT * FROM outputs WHERE path = ?", (_path_key(path),)).fetchone()
        return OutputRecord(*row) if row else None

    def forget_output(self, path: Path) -> None:
        """Forget what is remembered of a file."""
        with self._database.transaction() as database:
            database.execute("DELETE FROM outputs WHERE path = ?", (_path_key(path),))

    def output_stamp(self, path: Path, language: str) -> str:
        """Return the stamp of what was written to a file last, "" where there is none."""
        with self._database.read() as database:
            row = database.execute(
                "SELECT stamp FROM outputs WHERE path = ? AND language = ?", (_path_key(path), language)
            ).fetchone()
        return row[0] if row else ""

    def last_output_texts(self, path: Path, language: str) -> tuple[list[list[str | None]], str] | None:
        """Return texts and skeleton of what was written to a file last, None where that is not known."""
        with self._database.read() as database:
            row = database.execute(
                "SELECT texts, skeleton FROM outputs WHERE path = ? AND language = ?", (_path_key(path), language)
            ).fetchone()
        return (json.loads(row[0]), row[1]) if row else None


def _path_key(path: Path) -> str:
    """Return what a file is known by; bytes of its name that are not UTF-8, which SQLite refuses, are spelt out."""
    return os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")
