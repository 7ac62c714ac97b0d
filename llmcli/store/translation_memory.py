"""The translation memory: earlier translations, so that no text is translated twice.

One SQLite file. Table ``units``: a text and its translation, by languages, model and ``variant`` (everything else that
may change a translation: prompt, glossary, formality). Human translations (imported or edited) have neither model nor
variant and take precedence. Table ``outputs``: the last contents of each output file, text by text, so that a later run
can detect edits; ``stamp`` shows whether the file is complete.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from llmcli.fast_dataclass import asdict, frozen
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


@frozen
class TranslationUnit:
    """A text and its translation; languages are BCP 47 codes, ``source_language`` "" if unknown.

    ``model`` identifies the model that made it, "" for a human translation.
    """

    source_language: str
    target_language: str
    source: str
    translation: str
    model: str = ""
    variant: str = ""
    changed: int = 0


@frozen
class OutputRecord:
    """What was written to the file ``path`` (in the spelling of ``for_file``), in ``language``.

    ``texts``: the JSON of each text; ``skeleton``: the parts between them. ``stamp`` identifies the file's text and all
    of its inputs; "" for an incomplete file.
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
    """The memory in the file ``path``, created if it does not exist; a context manager."""

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
        """Return the translation of a text between two ``languages``, a human one before the model's; None if unknown.

        Source languages match if one of them is unknown, or if they differ in region or script only. A target language
        without a region also matches a human translation with a region.
        """
        values = {"source": source, "from": languages[0], "to": languages[1], "model": model, "variant": variant}
        with self._database.read() as database:
            row = database.execute(_FIND_TRANSLATION, {**values, "base": languages[0].partition("-")[0]}).fetchone()
        return row[0] if row else None

    def add_units(self, entries: Iterable[TranslationUnit]) -> int:
        """Add translations, replacing those with the same key; return how many were added.

        If ``entries`` raises, nothing is added.
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
        """Yield all translations, by languages and text."""
        with self._database.read() as database:
            rows = database.execute(
                "SELECT source_language, target_language, source, translation, model, variant, changed FROM units "
                "ORDER BY source_language, target_language, source, model, variant"
            )
            for row in rows:
                yield TranslationUnit(*row)

    def count_by_languages(self) -> list[tuple[str, str, int, int]]:
        """Return source language, target language, the number of translations, and the number of human ones."""
        with self._database.read() as database:
            return database.execute(
                "SELECT source_language, target_language, count(*), sum(model = '') FROM units GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall()

    def remove_all(self) -> None:
        """Delete all translations and records of outputs."""
        with self._database.transaction() as database:
            database.execute("DELETE FROM units")
            database.execute("DELETE FROM outputs")

    def remove_languages(self, source_language: str, target_language: str) -> None:
        """Delete the translations of a pair of languages, and the records of outputs in the target language.

        A record has the texts of a file, and not their language.
        """
        with self._database.transaction() as database:
            database.execute(
                "DELETE FROM units WHERE source_language = ? AND target_language = ?",
                (source_language, target_language),
            )
            database.execute("DELETE FROM outputs WHERE language = ?", (target_language,))

    # ---- outputs --------------------------------------------------------------------------------------------------

    def save_output(self, record: OutputRecord) -> None:
        """Save the record of an output file, replacing an earlier one."""
        with self._database.transaction() as database:
            database.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?)", tuple(asdict(record).values()))

    def get_output(self, path: Path) -> OutputRecord | None:
        """Return the record of an output file in any language, or None."""
        with self._database.read() as database:
            row = database.execute("SELECT * FROM outputs WHERE path = ?", (_path_key(path),)).fetchone()
        return OutputRecord(*row) if row else None

    def forget_output(self, path: Path) -> None:
        """Delete the record of an output file."""
        with self._database.transaction() as database:
            database.execute("DELETE FROM outputs WHERE path = ?", (_path_key(path),))

    def output_stamp(self, path: Path, language: str) -> str:
        """Return the stamp of the last contents of a file, "" if there is none."""
        with self._database.read() as database:
            row = database.execute(
                "SELECT stamp FROM outputs WHERE path = ? AND language = ?", (_path_key(path), language)
            ).fetchone()
        return row[0] if row else ""

    def last_output_texts(self, path: Path, language: str) -> tuple[list[list[str | None]], str] | None:
        """Return texts and skeleton of the last contents of a file, None if unknown."""
        with self._database.read() as database:
            row = database.execute(
                "SELECT texts, skeleton FROM outputs WHERE path = ? AND language = ?", (_path_key(path), language)
            ).fetchone()
        return (json.loads(row[0]), row[1]) if row else None


def _path_key(path: Path) -> str:
    """Return the key of a file; bytes of its path that are not UTF-8 are escaped, since SQLite refuses them."""
    return os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")
