"""The Lark grammar of a SELECT about given tables, so that a model cannot name a column that does not exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from llmcli.tasks.tables.table_database import quote_name
from llmcli.tasks.tables.table_loader import Table

MAX_CONSTRAINED_COLUMNS = 200
"""With more columns in all tables, the statement is not constrained."""
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# https://sqlite.org/lang_keywords.html: those that are no names without quotation marks, and names of literals
_KEYWORDS = frozenset(
    "add all alter and as autoincrement between case check collate commit constraint create cross current_date "  # noqa: SIM905
    "current_time current_timestamp default deferrable delete distinct drop else escape except exists false filter "
    "foreign from full group having in index inner insert intersect into is isnull join left limit natural not notnull "
    "null on or order outer over primary references returning right select set table then to transaction true union "
    "unique update using values when where window with".split()
)
_RULES = r"""
start: select
select: "SELECT " "DISTINCT "? results " FROM " source where? group? order? limit?
results: "*" | result (", " result){0,7}
result: expression (" AS " ALIAS)?
source: table (" JOIN " table " ON " column " = " column)?
where: " WHERE " condition
group: " GROUP BY " expression (", " expression){0,3} having?
having: " HAVING " condition
order: " ORDER BY " ordered (", " ordered){0,3}
ordered: expression (" DESC" | " ASC")?
limit: " LIMIT " COUNT
condition: term ((" AND " | " OR ") term){0,5}
term: "NOT "? comparison | "(" condition ")"
comparison: expression OPERATOR expression
    | expression " BETWEEN " value " AND " value
    | expression " IN (" value (", " value){0,9} ")"
    | expression " IN (" select ")"
    | expression " LIKE " TEXT
    | expression (" IS NULL" | " IS NOT NULL")
expression: operand (ARITHMETIC operand){0,3}
operand: "COUNT(" ("*" | "DISTINCT "? expression) ")" | AGGREGATE "(" expression ")" | FUNCTION "(" expression (", " value){0,2} ")"
    | column | value | "(" expression ")" | "(" select ")"
value: NUMBER | TEXT
OPERATOR: " = " | " != " | " < " | " <= " | " > " | " >= "
ARITHMETIC: " + " | " - " | " * " | " / " | " || "
AGGREGATE: "SUM" | "AVG" | "MIN" | "MAX"
FUNCTION: "ROUND" | "ABS" | "LOWER" | "UPPER" | "LENGTH" | "SUBSTR" | "DATE" | "STRFTIME" | "COALESCE"
ALIAS: /[a-z][a-z_]{1,30}/
NUMBER: /-?[0-9]{1,15}(\.[0-9]{1,6})?/
TEXT: /'([^'\n\\]|''){0,100}'/
COUNT: /[1-9][0-9]{0,3}/
"""


def select_grammar(tables: Sequence[Table]) -> str | None:
    """Return the grammar; None for tables of more than ``MAX_CONSTRAINED_COLUMNS`` columns.

    It admits joins of two tables, conditions, groups, order, limit, arithmetic and subqueries. The format is that of
    llguidance (see ``grammars``).
    """
    columns = dict.fromkeys(column for table in tables for column in table.columns)
    if len(columns) > MAX_CONSTRAINED_COLUMNS:
        return None
    return f"{_RULES}table: {_alternatives(table.name for table in tables)}\ncolumn: {_alternatives(columns)}\n"


def _alternatives(names: Iterable[str]) -> str:
    """Return the alternatives of a rule: each name in quotation marks, and as it is if SQL allows that."""
    found = [text for name in names for text in (quote_name(name), *([name] if _is_plain(name) else []))]
    return " | ".join(json.dumps(each, ensure_ascii=False) for each in found)


def _is_plain(name: str) -> bool:
    return _PLAIN_NAME.fullmatch(name) is not None and name.lower() not in _KEYWORDS
