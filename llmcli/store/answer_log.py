"""The log of answers: one SQLite file, mode 0600, with everything that is needed to repeat a run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from llmcli.errors import MissingError
from llmcli.fast_dataclass import field, frozen
from llmcli.store.database import Database, DatabaseSpec, TrigramIndex, match_query, parse_terms
from llmcli.store.session import replace_surrogates

_INDEX = TrigramIndex("answer_index")
_SCHEMA = """
CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, verb TEXT NOT NULL, model TEXT NOT NULL,
    question TEXT NOT NULL, answer TEXT NOT NULL, details TEXT NOT NULL
);
CREATE INDEX answers_by_time ON answers (time);
"""
_SELECT = "SELECT id, time, verb, model, question, answer, details FROM answers"
LOG_SPEC = DatabaseSpec(
    description="a log of answers",
    kind="logs",
    version=1,
    schema=_SCHEMA + _INDEX.schema,
    tables=frozenset({"answers"}),
)


@frozen
class LoggedAnswer:
    """An answer at ``time`` (seconds of the epoch) of the command ``verb``; ``id`` 0: not saved yet.

    ``question`` is the last message that the model got, or what the user asked for, if many requests made the answer:
    ``details`` then have the command line as ``argv``. ``details`` are JSON values: ``system``, ``prompt`` (name of the
    prompt file), ``model_id``, ``weights``, ``finish_reason``, ``usage``, ``timings``, ``request`` (all that the model
    got) and ``run`` (the options that choose the model).
    """

    time: float
    verb: str
    model: str
    question: str
    answer: str
    details: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0


class AnswerLog:
    """The log in the file ``path``, created if it does not exist; a context manager."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises what ``Database`` raises; ``read_only`` is as there."""
        self._database = Database(path, LOG_SPEC, read_only=read_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, answer: LoggedAnswer) -> int:
        """Save an answer; return its id."""
        question, text = replace_surrogates(answer.question), replace_surrogates(answer.answer)
        details = json.dumps(answer.details, default=str)
        with self._database.transaction() as database:
            inserted = database.execute(
                "INSERT INTO answers (time, verb, model, question, answer, details) VALUES (?, ?, ?, ?, ?, ?)",
                (answer.time, answer.verb, answer.model, question, text, details),
            ).lastrowid
            _INDEX.add(database, inserted or 0, _indexed_text(question, text))
        return inserted or 0

    def get(self, number: int | None) -> LoggedAnswer:
        """Return the answer with the id ``number``, the last one for None; raises ``MissingError``."""
        where, values = ("ORDER BY id DESC LIMIT 1", ()) if number is None else ("WHERE id = ?", (number,))
        found = next(self._select(where, values), None)
        if found is None:
            raise MissingError("the log" if number is None else str(number), kind="logged answer")
        return found

    def list(self, limit: int | None = None) -> Iterator[LoggedAnswer]:
        """Yield the answers, the newest first; ``limit``: at most so many."""
        yield from self._select("ORDER BY id DESC LIMIT ?", (-1 if limit is None else limit,))

    def search(self, text: str) -> Iterator[LoggedAnswer]:
        """Yield the answers with all terms of ``text`` in question or answer, the newest first.

        Terms are words and "quoted phrases"; case is ignored.
        """
        terms = parse_terms(text)
        query = match_query(terms)
        found = "" if query is None else "WHERE id IN (SELECT rowid FROM answer_index WHERE answer_index MATCH ?)"
        for each in self._select(f"{found} ORDER BY id DESC", () if query is None else (query,)):
            folded = _indexed_text(each.question, each.answer).casefold()
            if all(term in folded for term in terms):
                yield each

    def ids_before(self, time: float | None) -> Sequence[int]:
        """Return the ids of the answers before ``time``, of all for None, the oldest first."""
        with self._database.read() as database:
            where, values = ("", ()) if time is None else ("WHERE time < ?", (time,))
            return [row[0] for row in database.execute(f"SELECT id FROM answers {where} ORDER BY id", values)]  # noqa: S608 (a fixed condition)

    def remove(self, ids: Collection[int]) -> None:
        """Remove answers, so that nothing of them is left in the file."""
        with self._database.transaction() as database:
            for each in ids:
                row = database.execute("SELECT question, answer FROM answers WHERE id = ?", (each,)).fetchone()
                if row is not None:
                    _INDEX.delete(database, [(each, _indexed_text(*row))])
                    database.execute("DELETE FROM answers WHERE id = ?", (each,))
            _INDEX.purge(database)

    def _select(self, rest: str, values: Sequence[object]) -> Iterator[LoggedAnswer]:
        with self._database.read() as database:
            for number, time, verb, model, question, answer, details in database.execute(f"{_SELECT} {rest}", values):
                yield LoggedAnswer(time, verb, model, question, answer, json.loads(details), number)


def _indexed_text(question: str, answer: str) -> str:
    return f"{question}\n{answer}"
