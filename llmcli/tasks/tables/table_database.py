"""A database in memory that answers one SELECT at a time, and nothing else.

The statement comes from a model that read a document, so it is untrusted. SQLite's authorizer allows reading the tables
and calling harmless functions; it refuses everything else, whatever the statement is called: writing, ATTACH, PRAGMA,
the table of the schema, extensions, recursion. Limits bound the length of a value, the time, and what is returned.
Sources: https://sqlite.org/c3ref/set_authorizer.html, https://sqlite.org/security.html.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from typing import Self

from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.tasks.tables.streamed_rows import StreamedRows
from llmcli.tasks.tables.table_loader import Table
from llmcli.tasks.tables.table_values import Value

MAX_ROWS = 1_000
"""Rows that a query returns."""
MAX_RESULT_BYTES = 1_000_000
"""Size of the values that a query returns."""
TIME_LIMIT_S = 5.0
_MAX_VALUE_BYTES = 1_000_000
_MAX_SQL_BYTES = 10_000
_PROGRESS_STEPS = 20_000
_LOADED_ROWS = 2_000
_SORTER_KIB = 16_384  # memory of a temporary table, before it goes to a file
_MAX_HEAP_BYTES = 64 << 20  # of SQLite in this process, the tables included
_QUOTED = re.compile(r"""'(?:[^']|'')*'|(\bAS\s+)?"((?:[^"]|"")*)["]""", re.IGNORECASE)
"""A text, or a name in double quotes: whether AS stands before it, and the name."""
_FIRST_WORD = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _MAX_VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: _MAX_SQL_BYTES,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 20,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 500,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_FUNCTIONS = frozenset(
    [
        "abs",
        "avg",
        "cast",
        "ceil",
        "ceiling",
        "coalesce",
        "count",
        "cume_dist",
        "date",
        "datetime",
        "dense_rank",
        "exp",
        "first_value",
        "floor",
        "glob",
        "group_concat",
        "ifnull",
        "iif",
        "instr",
        "julianday",
        "lag",
        "last_value",
        "lead",
        "length",
        "like",
        "ln",
        "log",
        "log10",
        "log2",
        "lower",
        "ltrim",
        "max",
        "min",
        "mod",
        "nth_value",
        "ntile",
        "nullif",
        "percent_rank",
        "pow",
        "power",
        "rank",
        "replace",
        "round",
        "row_number",
        "rtrim",
        "sign",
        "sqrt",
        "strftime",
        "string_agg",
        "substr",
        "substring",
        "sum",
        "time",
        "total",
        "trim",
        "trunc",
        "typeof",
        "unicode",
        "upper",
    ]
)
"""Functions that read no file and make no large value from nothing."""


class QueryError(Exception):
    """A statement that is refused, wrong or too slow; the message is for the model and the user."""


@frozen
class QueryRows:
    """What a query returned. ``truncated``: it had more rows than the limits allow."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    truncated: bool = False


class TableDatabase:
    """The ``tables`` in memory; a context manager."""

    def __init__(self, tables: Sequence[Table], interrupt: Interrupt, *, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._interrupt = interrupt
        self._time_limit_s = time_limit_s
        self._ends_at = 0.0
        self._tables = {table.name for table in tables}
        self._names = {name.lower() for table in tables for name in (table.name, *table.columns)}
        self._refused = ""
        in_file = any(isinstance(table.rows, StreamedRows) for table in tables)
        # without a name, SQLite makes a temporary database that it removes, and moves what is much to a file
        self._connection = sqlite3.connect("" if in_file else ":memory:", isolation_level=None)
        for table in tables:
            self._load(table)
        self._connection.execute("PRAGMA temp_store = FILE")
        self._connection.execute(f"PRAGMA hard_heap_limit = {_MAX_HEAP_BYTES}")
        self._connection.execute(f"PRAGMA cache_size = -{_SORTER_KIB}")
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.execute("PRAGMA trusted_schema = OFF")
        for limit, value in _LIMITS.items():
            self._connection.setlimit(limit, value)
        self._connection.set_authorizer(self._authorize)
        self._connection.set_progress_handler(self._must_stop, _PROGRESS_STEPS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _load(self, table: Table) -> None:
        name, columns = quote_name(table.name), ", ".join(map(quote_name, table.columns))
        self._connection.execute("BEGIN")
        self._connection.execute(f"CREATE TABLE {name} ({columns})")
        marks = ", ".join("?" * len(table.columns))
        for first in range(0, len(table.rows), _LOADED_ROWS):
            self._interrupt.check()
            rows = table.rows[first : first + _LOADED_ROWS]
            self._connection.executemany(f"INSERT INTO {name} VALUES ({marks})", map(_storable, rows))  # noqa: S608 (quoted)
        self._connection.execute("COMMIT")

    def query(self, statement: str) -> QueryRows:
        """Return what one SELECT returns. Raises ``QueryError``, and what ``interrupt.check()`` raises."""
        self._ends_at = time.monotonic() + self._time_limit_s
        self._refused = ""
        if _FIRST_WORD.match(statement) is None:  # SQLite also has words that the authorizer does not see (EXPLAIN)
            raise QueryError("only SELECT is allowed")
        if unknown := self._find_unknown_name(statement):
            raise QueryError(f'there is no column "{unknown}"')
        try:
            return self._fetch(self._connection.execute(statement))
        except MemoryError as error:
            raise QueryError(f"it needs more than {_MAX_HEAP_BYTES >> 20} MB of memory") from error
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:  # ValueError: a NUL in the statement
            self._interrupt.check()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise QueryError(f"it took longer than {self._time_limit_s:g} seconds") from error
            raise QueryError(self._refused or str(error)) from error

    def _find_unknown_name(self, statement: str) -> str:
        """Return a name in double quotes that no table, column or AS has; "" if there is none.

        SQLite takes such a name for a text (https://sqlite.org/quirks.html#dblquote), and the query finds nothing.
        """
        quoted = [
            (match[1], match[2].replace('""', '"')) for match in _QUOTED.finditer(statement) if match[2] is not None
        ]
        known = self._names | {name.lower() for alias, name in quoted if alias}
        return next((name for _, name in quoted if name.lower() not in known), "")

    def _fetch(self, cursor: sqlite3.Cursor) -> QueryRows:
        columns = tuple(each[0] for each in cursor.description)
        rows: list[tuple[Value, ...]] = []
        size = 0
        for row in cursor:
            size += sum(len(each) if isinstance(each, str | bytes) else 8 for each in row)
            if len(rows) == MAX_ROWS or size > MAX_RESULT_BYTES:
                cursor.close()
                return QueryRows(columns, tuple(rows), truncated=True)
            rows.append(tuple(each.hex() if isinstance(each, bytes) else each for each in row))
        return QueryRows(columns, tuple(rows))

    def _must_stop(self) -> bool:
        return self._interrupt.requested or time.monotonic() >= self._ends_at

    def _authorize(
        self, action: int, first: str | None, second: str | None, _database: str | None, _by: str | None
    ) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (first in self._tables or not first):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS:
            return sqlite3.SQLITE_OK
        self._refused = self._explain(action, first, second)
        return sqlite3.SQLITE_DENY

    @staticmethod
    def _explain(action: int, first: str | None, second: str | None) -> str:
        if action == sqlite3.SQLITE_FUNCTION:
            return f"the function {second} is not allowed"
        if action == sqlite3.SQLITE_READ:
            return f"there is no table {first}"
        return "recursion is not allowed" if action == sqlite3.SQLITE_RECURSIVE else "only SELECT is allowed"


def quote_name(name: str) -> str:
    """Return a name of a table or column in SQL."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _storable(row: Sequence[Value]) -> list[Value]:
    """Return a row without lone surrogates, which SQLite refuses."""
    return [each.encode("utf-8", "replace").decode() if isinstance(each, str) else each for each in row]
