"""summarize --insights: figures and trends of tables, computed by SQL; no model is involved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from llmcli.documents.reading.document import Document
from llmcli.errors import BadDocument, EmptyInput, LlmError
from llmcli.interrupt import Interrupt
from llmcli.tasks.runner.answers import renumber_failure
from llmcli.tasks.tables.column_roles import ColumnFacts, ColumnRole, find_roles, with_role
from llmcli.tasks.tables.insight_queries import Insight, InsightQueries, column_pairs
from llmcli.tasks.tables.table_database import QueryError, TableDatabase
from llmcli.tasks.tables.table_loader import Table, find_text_tables, load_tables
from llmcli.types import ItemFailed, Notice, Result, TaskEvent, Timings

MAX_INSIGHTS = 24
"""Of one table."""
_MAX_MEASURES, _MAX_CATEGORIES, _MAX_DATES = 5, 4, 1
_MIN_ROWS = 2
Query = Callable[[], Iterator[Insight]]


def summarize_tables(
    documents: Sequence[Document | ItemFailed], interrupt: Interrupt, *, queries: bool = False
) -> Iterator[TaskEvent]:
    """Say what the tables of documents hold: a Result, or ItemFailed, for each; ``queries``: with them in its text.

    Fields of a Result: ``method`` ("sql"), ``tables`` (name, number of rows and columns) and ``insights``, each with
    ``table``, ``kind``, ``text``, ``sql``, ``columns``, ``rows`` and ``truncated``. A document without a table of at
    least two rows fails with ``BadDocument``.
    """
    for item, document in enumerate(documents):
        if isinstance(document, ItemFailed):
            yield renumber_failure(document, item)
            continue
        started = time.monotonic()
        try:
            found: list[tuple[Table, Insight]] = []
            tables = [table for table in _read_tables(document, interrupt) if len(table.rows) >= _MIN_ROWS]
            if not tables:
                raise BadDocument(document.name, detail="it has no table with at least two rows")
            yield from _find_insights(item, tables, interrupt, found)
        except LlmError as error:
            interrupt.check()
            yield ItemFailed(item, document.name, error)
            continue
        yield Result(
            item,
            document.name,
            _as_text(tables, found, queries=queries),
            {
                "method": "sql",
                "tables": [
                    {"name": each.name, "rows": len(each.rows), "columns": len(each.columns)} for each in tables
                ],
                "insights": [_as_object(table, insight) for table, insight in found],
            },
            timings=Timings(total_s=time.monotonic() - started),
        )


def _read_tables(document: Document, interrupt: Interrupt) -> list[Table]:
    """Return the table of a CSV, JSON or spreadsheet file, or the tables in the text of another document."""
    if not document.text.strip():
        raise EmptyInput(document.name)
    in_text = find_text_tables(document, interrupt)
    return in_text if in_text is not None else load_tables([document], interrupt)


def _find_insights(
    item: int, tables: Sequence[Table], interrupt: Interrupt, found: list[tuple[Table, Insight]]
) -> Iterator[Notice]:
    """Add the insights of all tables to ``found``; yield a notice if a query was given up."""
    with TableDatabase(tables, interrupt) as database:
        for table in tables:
            failures: list[str] = []
            insights = islice(_insights_of(database, table, failures), MAX_INSIGHTS)
            found += [(table, insight) for insight in insights]
            if failures:
                count = "1 query" if len(failures) == 1 else f"{len(failures)} queries"
                words = f"{table.name}: {count} gave no figures: {failures[0]}"
                yield Notice(words, item)


def _insights_of(database: TableDatabase, table: Table, failures: list[str]) -> Iterator[Insight]:
    """Yield what is to be said about a table; a query that fails is added to ``failures``."""
    try:
        columns = find_roles(database, table)
    except QueryError as error:
        failures.append(str(error))
        return
    for query in _plan_queries(InsightQueries(database, table.name), columns, len(table.rows)):
        try:
            found = list(query())
        except QueryError as error:
            failures.append(str(error))
        else:
            yield from found


def _plan_queries(queries: InsightQueries, columns: Sequence[ColumnFacts], rows: int) -> Iterator[Query]:
    """Yield the queries that suit the columns, the trends first."""
    measures = with_role(columns, ColumnRole.MEASURE, _MAX_MEASURES)
    for date in with_role([each for each in columns if not each.unread], ColumnRole.DATE, _MAX_DATES):
        trended: Sequence[ColumnFacts | None] = measures or [None]
        yield from (partial(queries.trend, date, measure) for measure in trended)
    yield from (partial(queries.measure, measure) for measure in measures)
    for category in with_role(columns, ColumnRole.CATEGORY, _MAX_CATEGORIES):
        yield partial(queries.shares, category)
        yield from (partial(queries.breakdown, measure, category) for measure in measures)
    yield from (partial(queries.correlation, *pair) for pair in column_pairs(measures))
    yield from (partial(queries.outliers, measure) for measure in measures)
    yield from (partial(queries.missing, column) for column in columns if column.filled < rows)


def _as_text(tables: Sequence[Table], found: Sequence[tuple[Table, Insight]], *, queries: bool) -> str:
    """Return the insights in Markdown: each table's size, and a point for each insight, with its query if wanted."""
    blocks = []
    for table in tables:
        size = f"{len(table.rows):,} rows, {len(table.columns)} column{'' if len(table.columns) == 1 else 's'}"
        shown = [insight for owner, insight in found if owner is table]
        points = [f"- {each.text}\n  `{each.sql}`" if queries else f"- {each.text}" for each in shown]
        blocks.append("\n".join([f"{table.name}: {size}", "", *points]).rstrip())
    return "\n\n".join(blocks)


def _as_object(table: Table, insight: Insight) -> dict[str, Any]:
    return {
        "table": table.name,
        "kind": insight.kind,
        "text": insight.text,
        "sql": insight.sql,
        "columns": list(insight.found.columns),
        "rows": [list(row) for row in insight.found.rows],
        "truncated": insight.found.truncated,
    }
