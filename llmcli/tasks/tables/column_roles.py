"""The roles of the columns of a table: measures, categories, dates; found by queries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from llmcli.fast_dataclass import frozen
from llmcli.tasks.tables.table_database import TableDatabase, quote_name
from llmcli.tasks.tables.table_loader import Table

MAX_CATEGORIES = 20
"""Distinct values of a column that groups rows."""
_MIN_ROWS_PER_CATEGORY = 2
_MIN_PROSE_WORDS = 8
_MOST = 0.9
"""The share of values that have to be of a kind."""
_IDENTIFIER_NAME = re.compile(r"(?:^|[\W_])(?:id|key|code|no|nr|number|zip|index|uuid|row|line)$", re.IGNORECASE)
_GROUP_NAME = re.compile(r"(?:^|[\W_])(?:group|cluster|topic|class|category|label|fold)$", re.IGNORECASE)
_SHARE_NAME = re.compile(
    r"(?:^|[\W_])(?:prob|probability|confidence|logprob|percent|percentage|pct|share|ratio|rate)(?:$|[\W_])|%",
    re.IGNORECASE,
)
_INTENSIVE_NAME = re.compile(
    r"(?:^|[\W_])(?:temp|temperature|length|height|width|depth|age|rating|score|density|speed|latitude|longitude|lat|lon|lng|"
    r"mean|avg|average|median|max|min|per)(?:$|[\W_])",
    re.IGNORECASE,
)
"""Names of measures that are not added up: two days of 20 degrees are no day of 40."""
_YEAR_NAME = re.compile(r"(?:^|[\W_])year(?:$|[\W_])", re.IGNORECASE)
_FIRST_YEAR, _LAST_YEAR = 1000, 2200
_CAMEL_IDENTIFIER = re.compile(r"[a-z]I[dD]$")
_DATE_GLOB = "[0-9][0-9][0-9][0-9][-/][0-9][0-9]*"
_DAY = "[0-9][0-9][0-9][0-9]{0}[0-9][0-9]"
_IS_NUMBER = "typeof({0}) IN ('integer', 'real')"


class ColumnRole(StrEnum):
    """What a column is good for; OTHER: to count its values only."""

    MEASURE = "measure"
    CATEGORY = "category"
    DATE = "date"
    OTHER = "other"


@frozen
class ColumnFacts:
    """A column: ``filled`` of the rows have a value. ``mixed``: not all of these are numbers.

    ``has_total``: the sum of its numbers says something, which that of shares and temperatures does not. ``distinct``:
    how many values differ. ``numeric``: most are numbers, from ``low`` to ``high``. ``unread``: a text with digits
    among these ("5 kg"), which may be a number that no query counts.
    """

    name: str
    role: ColumnRole
    filled: int
    mixed: bool = False
    has_total: bool = True
    distinct: int = 0
    numeric: bool = False
    low: float = 0.0
    high: float = 0.0
    unread: str = ""
    words: float = 0.0

    @property
    def quoted(self) -> str:
        """The name in SQL."""
        return quote_name(self.name)

    @property
    def is_prose(self) -> bool:
        """Whether it holds sentences, whose words are no names of rows."""
        return not self.numeric and self.words >= _MIN_PROSE_WORDS

    @property
    def has_signs(self) -> bool:
        """Whether some of its numbers are negative and others positive."""
        return self.numeric and self.low < 0 < self.high

    @property
    def holds_number(self) -> str:
        """The condition in SQL that a row has a number in it."""
        return _IS_NUMBER.format(self.quoted) if self.mixed else f"{self.quoted} IS NOT NULL"


def find_roles(database: TableDatabase, table: Table) -> list[ColumnFacts]:
    """Return the role of each column of a table. Raises ``QueryError``."""
    return [_find_role(database, table, name) for name in table.columns]


def with_role(columns: Sequence[ColumnFacts], role: ColumnRole, most: int) -> list[ColumnFacts]:
    """Return the first columns of a role."""
    return [each for each in columns if each.role is role][:most]


def _find_role(database: TableDatabase, table: Table, name: str) -> ColumnFacts:
    column = quote_name(name)
    number = _IS_NUMBER.format(column)
    statement = (
        f"SELECT COUNT({column}), COUNT(DISTINCT {column}), TOTAL({number}), TOTAL(typeof({column}) = 'integer'), "  # noqa: S608 (quoted)
        f"TOTAL({column} GLOB '{_DATE_GLOB}'), MIN(CASE WHEN {number} THEN {column} END), "
        f"MAX(CASE WHEN {number} THEN {column} END), "
        f"MIN(CASE WHEN NOT {number} AND {column} GLOB '*[0-9]*' THEN {column} END), "
        f"TOTAL({_is_whole_date(column, '-')}), TOTAL({_is_whole_date(column, '/')}), "
        f"AVG(1 + LENGTH({column}) - LENGTH(REPLACE({column}, ' ', ''))) FROM {quote_name(table.name)}"
    )
    filled, distinct, numbers, integers, dates, low, high, unread, dashed, slashed, words = database.query(
        statement
    ).rows[0]
    count, different = int(filled or 0), int(distinct or 0)
    role = ColumnRole.OTHER
    has_years = _FIRST_YEAR <= float(low or 0) <= float(high or 0) <= _LAST_YEAR
    is_year = integers == numbers and has_years and _YEAR_NAME.search(name) is not None
    is_truth = integers == numbers and different > 1 and (float(low or 0), float(high or 0)) == (0, 1)
    if count and float(dates or 0) >= _MOST * count:
        role = ColumnRole.DATE
    elif _GROUP_NAME.search(name) or is_year or is_truth or not (count and float(numbers or 0) >= _MOST * count):
        if 1 < different <= min(MAX_CATEGORIES, count // _MIN_ROWS_PER_CATEGORY):
            role = ColumnRole.CATEGORY
    else:
        is_consecutive = integers == count == different and int(high or 0) - int(low or 0) + 1 == count
        named = _IDENTIFIER_NAME.search(name) or _CAMEL_IDENTIFIER.search(name)
        role = ColumnRole.OTHER if named or (is_consecutive and count > 1) else ColumnRole.MEASURE
    if role is ColumnRole.DATE and count in {dashed, slashed}:
        unread = None
    are_shares = integers != numbers and float(low or 0) >= 0 and float(high or 0) <= 1
    has_total = not are_shares and not any(each.search(name) for each in (_SHARE_NAME, _INTENSIVE_NAME))
    return ColumnFacts(
        name,
        role,
        count,
        mixed=numbers != count,
        has_total=has_total,
        distinct=different,
        numeric=bool(count) and 2 * float(numbers or 0) > count,
        low=float(low or 0),
        high=float(high or 0),
        unread=str(unread or ""),
        words=float(words or 0),
    )


def _is_whole_date(column: str, separator: str) -> str:
    """Return the condition that a text begins with a date or month with this separator, which compares as a text."""
    month = _DAY.format(separator)
    return f"({column} GLOB '{month}' OR {column} GLOB '{month}{separator}[0-9][0-9]' OR {column} GLOB '{month}{separator}[0-9][0-9][ T]*')"
