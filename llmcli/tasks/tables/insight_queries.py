"""The queries of insights, and the sentences that say what their rows hold.

Each figure of a sentence stands in the rows: SQLite computes all of them, and a template names them.
"""

# ruff: noqa: S608 (names are quoted, and the database answers nothing but SELECT)
from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmcli.fast_dataclass import frozen
from llmcli.tasks.tables.column_roles import ColumnFacts
from llmcli.tasks.tables.table_database import QueryRows, TableDatabase, quote_name
from llmcli.tasks.tables.table_values import Value

_MIN_CORRELATION = 0.5
_MIN_CORRELATED_ROWS = 10
_MIN_PERIODS, _MAX_PERIODS = 3, 60
_PERIODS = (("month", 7), ("year", 4), ("day", 10))
"""What a trend is by, and how many characters of a date it takes."""
_SHOWN_CATEGORIES = 3
_THOUSAND = 1000


@frozen
class Insight:
    """A sentence, and the query whose rows hold its figures. ``kind`` is the name of its template."""

    kind: str
    text: str
    sql: str
    found: QueryRows


class InsightQueries:
    """Finds what there is to say about a table by one query each; all methods raise ``QueryError``."""

    def __init__(self, database: TableDatabase, table: str) -> None:
        self._database = database
        self._table = quote_name(table)

    def _query(self, sql: str) -> QueryRows:
        return self._database.query(sql)

    def missing(self, column: ColumnFacts) -> Iterator[Insight]:
        """How many rows have no value."""
        sql = (
            f"SELECT COUNT(*) - COUNT({column.quoted}) AS empty, COUNT(*) AS rows, "
            f"ROUND(100.0 * (COUNT(*) - COUNT({column.quoted})) / COUNT(*), 1) AS percent FROM {self._table}"
        )
        found = self._query(sql)
        empty, rows, percent = found.rows[0]
        if empty:
            text = f"{column.name} is empty in {show(empty)} of {show(rows)} rows ({show(percent)}%)."
            yield Insight("missing", text, sql, found)

    def measure(self, column: ColumnFacts) -> Iterator[Insight]:
        """Mean, median, range, and the total where it says something."""
        values = f"(SELECT {column.quoted} AS v FROM {self._table} WHERE {column.holds_number})"
        sql = (
            f'SELECT COUNT(v) AS "values", AVG(v) AS mean, (SELECT AVG(v) FROM (SELECT v FROM {values} ORDER BY v '
            f"LIMIT 2 - (SELECT COUNT(*) FROM {values}) % 2 OFFSET (SELECT (COUNT(*) - 1) / 2 FROM {values}))) AS median, "
            f"MIN(v) AS lowest, MAX(v) AS highest{', SUM(v) AS total' if column.has_total else ''} FROM {values}"
        )
        found = self._query(sql)
        count, mean, median, lowest, highest, *total = found.rows[0]
        text = (
            f"{column.name}: mean {show(mean)}, median {show(median)}, from {show(lowest)} to {show(highest)}; "
            f"{''.join(f'total {show(each)} of ' for each in total)}{show(count)} values."
        )
        yield Insight("measure", text, sql, found)

    def outliers(self, column: ColumnFacts) -> Iterator[Insight]:
        """Values more than three standard deviations from the mean."""
        name, number = column.quoted, column.holds_number
        sql = (
            f"SELECT COUNT(*) AS outliers, MIN({name}) AS lowest, MAX({name}) AS highest FROM {self._table}, "
            f"(SELECT AVG({name}) AS mean, AVG({name} * {name}) - AVG({name}) * AVG({name}) AS variance FROM {self._table} "
            f"WHERE {number}) WHERE {number} AND ({name} - mean) * ({name} - mean) > 9 * variance AND variance > 0"
        )
        found = self._query(sql)
        count, lowest, highest = found.rows[0]
        if count:
            are = "value is" if count == 1 else "values are"
            where = show(lowest) if lowest == highest else f"from {show(lowest)} to {show(highest)}"
            text = f"{column.name}: {show(count)} {are} more than three standard deviations from the mean: {where}."
            yield Insight("outliers", text, sql, found)

    def shares(self, column: ColumnFacts) -> Iterator[Insight]:
        """How often each category occurs."""
        sql = (
            f"SELECT {column.quoted}, COUNT(*) AS rows, ROUND(100.0 * COUNT(*) / (SELECT COUNT({column.quoted}) FROM "
            f"{self._table}), 1) AS percent FROM {self._table} WHERE {column.quoted} IS NOT NULL GROUP BY 1 "
            "ORDER BY 2 DESC, 1"
        )
        found = self._query(sql)
        first = ", ".join(f"{show(name)} {show(percent)}%" for name, _, percent in found.rows[:_SHOWN_CATEGORIES])
        more = f" (and {len(found.rows) - _SHOWN_CATEGORIES} more)" if len(found.rows) > _SHOWN_CATEGORIES else ""
        yield Insight("shares", f"Rows by {column.name}: {first}{more}.", sql, found)

    def breakdown(self, measure: ColumnFacts, category: ColumnFacts) -> Iterator[Insight]:
        """A measure by category: the largest share of the total, the highest and the lowest mean."""
        name, number = measure.quoted, measure.holds_number
        rows = f"FROM {self._table} WHERE {number} AND {category.quoted} IS NOT NULL"
        totals = f"SUM({name}) AS total, ROUND(100.0 * SUM({name}) / (SELECT SUM({name}) {rows}), 1) AS percent, "
        sql = (
            f"SELECT {category.quoted}, {totals if measure.has_total else ''}AVG({name}) AS mean {rows} "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        )
        found = self._query(sql)
        if len(found.rows) <= 1:
            return
        ordered = sorted(found.rows, key=lambda row: _number(row[-1]))
        (lowest, *_, low), (highest, *_, high) = ordered[0], ordered[-1]
        means = (
            f"the mean is highest for {show(highest)} ({show(high)}) and lowest for {show(lowest)} ({show(low)})"
            if show(high) != show(low)
            else f"the mean is {show(low)} for each"
        )
        first = f"{_describe_largest(found)}; " if measure.has_total else ""
        text = f"{measure.name} by {category.name}: {first}{means}."
        yield Insight("breakdown", text, sql, found)

    def trend(self, date: ColumnFacts, measure: ColumnFacts | None) -> Iterator[Insight]:
        """Totals of a measure (of shares: means), or numbers of rows, by month, year or day, and the whole change."""
        for unit, length in _PERIODS:
            sql = self._trend_query(date, measure, length)
            found = self._query(sql)
            if unit == "month" and len({str(period)[4:] for period, *_ in found.rows}) == 1:
                continue  # one month of each year, as dates of years have
            if _MIN_PERIODS <= len(found.rows) <= _MAX_PERIODS:
                yield Insight("trend", self._describe_trend(measure, unit, found), sql, found)
                return

    def _trend_query(self, date: ColumnFacts, measure: ColumnFacts | None, length: int) -> str:
        value = "COUNT(*)" if measure is None else f"{'SUM' if measure.has_total else 'AVG'}({measure.quoted})"
        name = "mean" if measure is not None and not measure.has_total else "total"
        where = "" if measure is None else f" AND {measure.holds_number}"
        grouped = (
            f"SELECT SUBSTR({date.quoted}, 1, {length}) AS period, {value} AS {name} FROM {self._table} "
            f"WHERE LENGTH({date.quoted}) >= {length}{where} GROUP BY 1"
        )
        change = (
            f"ROUND(100.0 * ({name} - FIRST_VALUE({name}) OVER (ORDER BY period)) "
            f"/ NULLIF(ABS(FIRST_VALUE({name}) OVER (ORDER BY period)), 0), 1)"
        )
        return f"SELECT period, {name}, {change} AS percent FROM ({grouped}) ORDER BY period"

    @staticmethod
    def _describe_trend(measure: ColumnFacts | None, unit: str, found: QueryRows) -> str:
        first, last = found.rows[0], found.rows[-1]
        high = max(found.rows, key=lambda row: _number(row[1]))
        low = min(found.rows, key=lambda row: _number(row[1]))
        what = "Rows" if measure is None else measure.name if measure.has_total else f"{measure.name} (mean)"
        change = "" if last[2] is None else f" ({'+' if _number(last[2]) > 0 else ''}{show(last[2])}%)"
        return (
            f"{what} by {unit}: from {show(first[1])} in {first[0]} to "
            f"{show(last[1])} in {last[0]}{change}; highest in {high[0]} ({show(high[1])}), lowest in {low[0]} "
            f"({show(low[1])})."
        )

    def correlation(self, one: ColumnFacts, other: ColumnFacts) -> Iterator[Insight]:
        """Pearson's coefficient of two measures, if they are related."""
        both = f"{one.holds_number} AND {other.holds_number}"
        sql = (
            f"SELECT COUNT(*) AS rows, ROUND(SUM((x - mx) * (y - my)) / NULLIF(SQRT(SUM((x - mx) * (x - mx)) * "
            f"SUM((y - my) * (y - my))), 0), 2) AS r FROM (SELECT {one.quoted} AS x, {other.quoted} AS y FROM "
            f"{self._table} WHERE {both}), (SELECT AVG({one.quoted}) AS mx, AVG({other.quoted}) AS my FROM {self._table} "
            f"WHERE {both})"
        )
        found = self._query(sql)
        rows, r = found.rows[0]
        if r is not None and _number(rows) >= _MIN_CORRELATED_ROWS and abs(_number(r)) >= _MIN_CORRELATION:
            how = "rises" if _number(r) > 0 else "falls"
            text = f"{other.name} {how} with {one.name}: correlation {show(r)} over {show(rows)} rows."
            yield Insight("correlation", text, sql, found)


def _describe_largest(found: QueryRows) -> str:
    """Return which category has the highest total, and its share if no total is below zero."""
    top, total, percent, _ = found.rows[0]
    share = f" ({show(percent)}% of all)" if all(_number(row[1]) >= 0 for row in found.rows) else ""
    return f"{show(top)} has the highest total, {show(total)}{share}"


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def show(value: Value) -> str:
    """Return a value for people: numbers with separators of thousands, and at most two decimals from 1 on."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < _THOUSAND**5):
        return f"{int(value):,}"
    return f"{value:,.2f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.3g}"


def column_pairs(columns: Sequence[ColumnFacts]) -> Iterator[tuple[ColumnFacts, ColumnFacts]]:
    """Yield each pair of columns once."""
    for index, one in enumerate(columns):
        for other in columns[index + 1 :]:
            yield one, other
