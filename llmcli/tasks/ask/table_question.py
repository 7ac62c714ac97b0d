"""A question about tables: the model writes a SELECT, SQLite runs it, and the rows are the answer.

The rows are not put into words by the model: it could change the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmcli.errors.incomplete_results import QueryFailed, RowsOmitted
from llmcli.frozen_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.prompts import PromptLibrary
from llmcli.tasks.ask.question_prompts import SQL_PROMPT
from llmcli.tasks.runner.constrained_answers import Constraint, ask_constrained, unconstrained
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.tables.select_grammar import select_grammar
from llmcli.tasks.tables.table_database import MAX_ROWS, QueryError, QueryRows, TableDatabase, quote_name
from llmcli.tasks.tables.table_loader import Table
from llmcli.tasks.tables.table_values import Value
from llmcli.types import Priority, Result

MAX_ATTEMPTS = 3
MAX_STATEMENT_TOKENS = 400
_SAMPLE_ROWS = 3
_SAMPLE_CHARS = 40
_SAMPLE_COLUMNS = 60
_FENCED = re.compile(r"```(?:sql(?:ite)?)?\s*\n?(.*?)```", re.DOTALL | re.IGNORECASE)


async def answer_from_tables(
    run: TaskRun,
    prompts: PromptLibrary,
    question: str,
    tables: Sequence[Table],
    options: GenerationOptions,
    interrupt: Interrupt,
) -> Result:
    """Return the rows that answer a question about tables, without text.

    Fields of the result: ``method`` ("sql"), ``sql``, ``columns``, ``rows`` (lists of numbers, texts and None),
    ``truncated``, ``coverage`` (1: the query sees all rows), ``answered``. Raises ``QueryFailed`` after ``MAX_ATTEMPTS``
    statements that SQLite refuses, and the failure of a request.
    """
    prompt, statement, problem = prompts.get(SQL_PROMPT), "", ""
    constraints: list[Constraint] = [
        lambda request: replace(request, grammar=select_grammar(tables)),
        unconstrained,
    ]
    with TableDatabase(tables, interrupt) as database:
        for attempt in range(MAX_ATTEMPTS):
            values: dict[str, object] = {
                "question": question,
                "schema": "\n".join(map(describe_table, tables)),
                "sample": "\n\n".join(map(_describe_rows, tables)),
                "query": statement,
                "problem": problem,
            }
            request = make_request(
                f"sql.{attempt}",
                prompt.render(values),
                prompt,
                replace(options, reasoning=False),
                max_tokens=max_answer_tokens(prompt, options, MAX_STATEMENT_TOKENS),
                priority=Priority.INTERACTIVE,
            )
            answer, met = await ask_constrained(run, request, constraints)
            constraints = constraints[met:]
            statement = extract_statement(answer.text)
            try:
                found = database.query(statement)
            except QueryError as error:
                problem = str(error)
                continue
            return _rows_result(run, statement, found)
    raise QueryFailed(statement, detail=problem)


def _rows_result(run: TaskRun, statement: str, found: QueryRows) -> Result:
    answered = any(value is not None for row in found.rows for value in row)
    if not answered:
        run.warn("the query found nothing")
    return run.result(
        None if found.rows else "",
        {
            "method": "sql",
            "coverage": 1.0,
            "answered": answered,
            "sql": statement,
            "columns": list(found.columns),
            "rows": [list(row) for row in found.rows],
            "truncated": found.truncated,
        },
        prompt=SQL_PROMPT,
        cut=found.truncated,
        incomplete=RowsOmitted(limit=MAX_ROWS) if found.truncated else None,
    )


def extract_statement(answer: str) -> str:
    """Return the statement in an answer: what stands in its first code fence, else all of it, without semicolons."""
    fenced = _FENCED.search(answer)
    return (fenced[1] if fenced else answer).strip().rstrip(";").strip()


def describe_table(table: Table) -> str:
    """Return the CREATE TABLE statement of a table; types are those of the values."""
    columns = ", ".join(
        f"{quote_name(name)} {_type_name([row[at] for row in table.rows[:1000]])}"
        for at, name in enumerate(table.columns)
    )
    return f"CREATE TABLE {quote_name(table.name)} ({columns}); -- {len(table.rows)} rows"


def _type_name(values: Sequence[Value]) -> str:
    """Return the type of most values."""
    filled = [each for each in values if each is not None]
    numbers = [each for each in filled if isinstance(each, int | float)]
    if 2 * len(numbers) <= len(filled):
        return "TEXT"
    return "INTEGER" if all(isinstance(each, int) for each in numbers) else "REAL"


def _describe_rows(table: Table) -> str:
    """Return the first rows of a table, with long values cut."""
    lines = [f"The first rows of {quote_name(table.name)}:", "|".join(table.columns[:_SAMPLE_COLUMNS])]
    lines += ["|".join(map(_shorten, row[:_SAMPLE_COLUMNS])) for row in table.rows[:_SAMPLE_ROWS]]
    return "\n".join(lines)


def _shorten(value: Value) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= _SAMPLE_CHARS else f"{text[: _SAMPLE_CHARS - 3]}..."
