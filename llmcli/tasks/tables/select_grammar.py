"""The Lark grammar of a SELECT about given tables, so that a model cannot name a column that does not exist."""

from __future__ import annotations

import json
from collections.abc import Sequence

from llmcli.tasks.tables.table_database import quote_name
from llmcli.tasks.tables.table_loader import Table

MAX_CONSTRAINED_COLUMNS = 200
"""With more columns in all tables, the statement is not constrained."""
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
operand: "COUNT(*)" | AGGREGATE "(" "DISTINCT "? expression ")" | FUNCTION "(" expression (", " value){0,2} ")"
    | column | value | ALIAS | "(" expression ")" | "(" select ")"
value: NUMBER | TEXT
OPERATOR: " = " | " != " | " < " | " <= " | " > " | " >= "
ARITHMETIC: " + " | " - " | " * " | " / " | " || "
AGGREGATE: "COUNT" | "SUM" | "AVG" | "MIN" | "MAX"
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
    columns = dict.fromkeys(quote_name(column) for table in tables for column in table.columns)
    if len(columns) > MAX_CONSTRAINED_COLUMNS:
        return None
    names = " | ".join(json.dumps(quote_name(table.name), ensure_ascii=False) for table in tables)
    fields = " | ".join(json.dumps(column, ensure_ascii=False) for column in columns)
    return f"{_RULES}table: {names}\ncolumn: {fields}\n"
