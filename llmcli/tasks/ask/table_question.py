"""A question about tables: a template or the model writes a SELECT, SQLite runs it, and the rows are the answer.

A template answers a question whose words all name something in the table or say what to compute. The model writes the
other queries; one that leaves out a value, a number or a column of the question is asked for again. The rows are not
put into words by the model: it could change the numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from llmcli.backends.base import Backend
from llmcli.errors import BadDocument, PartialError
from llmcli.errors.incomplete_results import LARGER_MODEL_ADVICE
from llmcli.fast_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.ask.question_prompts import SQL_PROMPT
from llmcli.tasks.runner.answers import Reading, ask_until
from llmcli.tasks.runner.constrained_answers import Constraint, ask_constrained
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.work_estimate import WorkEstimate, WorkRange, count_requests
from llmcli.tasks.tables.question_templates import QuestionReading, TemplateQuery, read_question
from llmcli.tasks.tables.schema_linking import TableVocabulary
from llmcli.tasks.tables.table_database import MAX_ROWS, QueryError, QueryRows, TableDatabase, quote_name
from llmcli.tasks.tables.table_loader import Table
from llmcli.tasks.tables.table_values import Value
from llmcli.types import Notice, Priority, Request, Result

MAX_ATTEMPTS = 3
MAX_STATEMENT_TOKENS = 400
_STATEMENT_TOKENS = 40
"""About how long a statement is."""
_FIRST_ATTEMPT = {"values": "", "query": "", "problem": ""}
_SAMPLE_ROWS = 3
_SAMPLE_CHARS = 40
_SAMPLE_COLUMNS = 60
_MAX_LISTED_VALUES = 20
NOTHING_FOUND = "two queries found nothing"
NO_ROWS_PROBLEM = "it finds nothing; texts have to be written as they stand in the table"
NO_SUCH_ROWS = "no row meets the conditions of the query"
EMPTY_CELLS = "the query finds nothing but empty cells"
LONGER_ROWS = "rows have more values than the header has names; does a value hold an unquoted separator?"
UNEXPLAINED = "check the query, since the table has nothing called"
_HOW_MANY = re.compile(r"\W*(?:(?:and|so|but|then|now|well|ok|okay)\b\W*)*how\s+many\b", re.IGNORECASE)
_NO_COUNT = re.compile(r"\b(?:each|every|per|average|mean|median|most|least)\b", re.IGNORECASE)
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

    A query that finds or counts nothing is asked for again once, with the values of short columns; two of them are the
    answer. One that gives no single number to a question that asks how many is a failed attempt.

    A query that adds up texts, or compares them with a number, is a failed attempt. One that ignores a value, a number,
    a column or a name in the question is a failed attempt, too, and so is a count with a condition if the question
    names nothing of the tables.

    Fields of the result: ``method`` ("sql"), ``template`` (the kind of question; None: the model wrote the query),
    ``unexplained`` (words of the question that name nothing in the tables), ``sql``, ``columns``, ``rows`` (lists of
    numbers, texts and None), ``truncated``, ``coverage`` (1: the query sees all rows), ``answered`` (False: nothing was
    found). Raises ``PartialError`` after ``MAX_ATTEMPTS`` statements that do not work, and the failure of a request.
    """
    prompt, counts = prompts.get(SQL_PROMPT), asks_how_many(question, tables)
    grammar = select_grammar(tables, one_number=counts)
    constraints: list[Constraint] = [lambda request: replace(request, grammar=grammar)]
    _warn_of_longer_rows(run, tables)
    with TableDatabase(tables, interrupt) as database:
        readings = read_question_of_tables(database, tables, question)
        by_template = _query_by_template(database, readings)
        if by_template is not None:
            return _template_result(run, *by_template, unexplained=_find_unexplained(readings))
        _require_rows(tables)
        reader = _StatementReader(run, database, tables, readings, counts=counts)

        def request_after(statement: str, problem: str) -> Request:
            attempt = {"values": reader.known_values, "query": statement, "problem": problem}
            number = reader.num_failed + reader.found_nothing
            return _query_request(prompt, question, tables, options, number, attempt)

        async def ask(request: Request) -> Reading[tuple[str, QueryRows | None]]:
            answer, num_missing = await ask_constrained(run.ask, request, constraints)
            del constraints[:num_missing]
            return reader.read(extract_statement(answer.text))

        def retry(_: Request, last: Reading[tuple[str, QueryRows | None]]) -> Request | None:
            return request_after(last.value[0], last.problem) if reader.num_failed < MAX_ATTEMPTS else None

        *_, last = await ask_until(ask, request_after("", ""), retry, attempts=MAX_ATTEMPTS + 1)
    statement, found = last.value
    if last.problem or found is None:
        one_line = " ".join(statement.split())
        raise PartialError(
            statement,
            detail=last.problem,
            message=f"no query of the model answers the question; the last one was: {one_line}: {{detail}}"
            if statement
            else "the model wrote no SQL",
            advice=f"Rephrase the question with the names of columns, or {LARGER_MODEL_ADVICE}",
            type_name="QueryFailed",
        )
    return _rows_result(run, statement, found, unexplained=_find_unexplained(readings))


class _StatementReader:
    """Runs the statements of a model, and says what is wrong with each.

    ``counts``: the question asks for one number. ``known_values`` describes the values of short columns, once a
    statement has missed one. ``num_failed`` counts the statements that do not work, of which one that finds nothing is
    none; ``found_nothing``: there was one.
    """

    def __init__(
        self,
        run: TaskRun,
        database: TableDatabase,
        tables: Sequence[Table],
        readings: Sequence[QuestionReading],
        *,
        counts: bool,
    ) -> None:
        self._run, self._database, self._tables, self._readings = run, database, tables, readings
        self._counts = counts
        self.known_values = ""
        self.num_failed = 0
        self.found_nothing = False

    def read(self, statement: str) -> Reading[tuple[str, QueryRows | None]]:
        """Return a statement with its rows, and why it is no answer; a second one that finds nothing is an answer."""
        try:
            found = _query(self._database, self._readings, statement)
        except QueryError as error:
            self.num_failed += 1
            return Reading((statement, None), str(error))
        problem = self._find_problem(statement, found)
        if problem:
            self.num_failed += 1
        elif self._is_zero(found) and not self.found_nothing:
            self.found_nothing = True
            self.known_values = describe_values(self._database, self._tables)
            self._run.report(Notice("the query found nothing, so the model is asked for another one"))
            problem = NO_ROWS_PROBLEM
        return Reading((statement, found), problem)

    def _find_problem(self, statement: str, found: QueryRows) -> str:
        """Return why a statement does not answer the question, "" if it may."""
        if ignored := _find_ignored(self._readings, statement):
            self.known_values = describe_values(self._database, self._tables)
            return f"it does not use {ignored}, which the question names"
        if not self._counts:
            return ""
        if unasked := _find_unasked_value(self._readings, statement):
            return f"it looks for {unasked}, which the question does not name"
        if self._is_zero(found) or _is_number(found):
            return ""
        return f"the question asks for one number, but it returns {_describe_size(found)}"

    def _is_zero(self, found: QueryRows) -> bool:
        """Whether a statement has found nothing, or counted nothing."""
        return _is_nothing(found) or (self._counts and found.rows == ((0,),))


def estimate_table_question(
    backend: Backend,
    prompts: PromptLibrary,
    name: str,
    question: str,
    tables: Sequence[Table],
    options: GenerationOptions,
    interrupt: Interrupt,
) -> WorkEstimate:
    """Return the work of ``answer_from_tables``: none for a template, else one call, and more if its query fails.

    A server that refuses grammars is asked once more. Raises ``BadDocument`` for tables without rows.
    """
    with TableDatabase(tables, interrupt) as database:
        by_template = _query_by_template(database, read_question_of_tables(database, tables, question))
    if by_template is not None:
        return WorkEstimate(name, "template", len(tables), 0, 0)
    _require_rows(tables)
    request = _query_request(prompts.get(SQL_PROMPT), question, tables, options, 0, _FIRST_ATTEMPT)
    calls, tokens = count_requests(backend, [request])
    most = MAX_ATTEMPTS + 2  # one of them finds nothing, and one is refused
    work = WorkRange(calls, most, tokens, tokens + (most - calls) * backend.info().context)
    return WorkEstimate(name, "sql", len(tables), calls, tokens, _STATEMENT_TOKENS, decided_by_answers=work)


def _query_request(
    prompt: Prompt,
    question: str,
    tables: Sequence[Table],
    options: GenerationOptions,
    number: int,
    attempt: Mapping[str, str],
) -> Request:
    """Return the request for a statement; ``attempt``: the known values, the last query and what is wrong with it."""
    about = {
        "question": question,
        "schema": "\n".join(map(describe_table, tables)),
        "sample": "\n\n".join(map(_describe_rows, tables)),
    }
    return make_request(
        f"sql.{number}",
        prompt.render({**about, **attempt}),
        prompt,
        replace(options, reasoning=False),
        max_tokens=max_answer_tokens(prompt, options, MAX_STATEMENT_TOKENS),
        priority=Priority.INTERACTIVE,
    )


def _require_rows(tables: Sequence[Table]) -> None:
    if not any(table.rows for table in tables):
        raise BadDocument(", ".join(table.name for table in tables), detail="it has no rows")


def _warn_of_longer_rows(run: TaskRun, tables: Sequence[Table]) -> None:
    for table in tables:
        if table.longer_rows:
            run.warn(f"{table.name}: {LONGER_ROWS} (for example row {table.longer_rows})")


def _query(database: TableDatabase, readings: Sequence[QuestionReading], statement: str) -> QueryRows:
    """Return what a statement of the model returns. Raises ``QueryError``, also for one that computes with texts."""
    found = database.query(statement)
    for column in filter(None, (reading.misused_by(statement) for reading in readings)):
        example = f' such as "{column.unread}"' if column.unread else ""
        raise QueryError(f'"{column.name}" has texts{example}, which are no numbers')
    return found


def read_question_of_tables(database: TableDatabase, tables: Sequence[Table], question: str) -> list[QuestionReading]:
    """Return what a question names in each table; a table that takes too long to read is left out."""
    readings = []
    for table in tables:
        try:
            readings.append(read_question(TableVocabulary(database, table), question))
        except QueryError:
            continue
    return readings


def needs_query(tables: Sequence[Table], question: str, interrupt: Interrupt) -> bool:
    """Whether a query answers a question better than a model that reads the tables.

    A template has one, it is a count, or there are no rows to read.
    """
    if asks_how_many(question, tables) or not any(table.rows for table in tables):
        return True
    with TableDatabase(tables, interrupt) as database:
        return _find_template(read_question_of_tables(database, tables, question)) is not None


def _find_template(readings: Sequence[QuestionReading]) -> TemplateQuery | None:
    """Return the query if all words of the question are explained by one table, and by no other."""
    queries = [reading.query for reading in readings if reading.query is not None]
    return queries[0] if len(queries) == 1 else None


def _query_by_template(
    database: TableDatabase, readings: Sequence[QuestionReading]
) -> tuple[TemplateQuery, QueryRows] | None:
    """Return the query of a template and its rows; None without one, or if it takes too long."""
    query = _find_template(readings)
    if query is None:
        return None
    try:
        return query, database.query(query.sql)
    except QueryError:
        return None


def _template_result(run: TaskRun, query: TemplateQuery, found: QueryRows, *, unexplained: Sequence[str]) -> Result:
    for assumption in query.assumptions:
        run.warn(assumption)
    return _rows_result(run, query.sql, found, template=query.template, unexplained=unexplained)


def _find_ignored(readings: Sequence[QuestionReading], statement: str) -> str:
    """Return the words of the question that every table explains, and that a statement leaves out.

    It is "" if there are none.
    """
    ignored = [reading.ignored_by(statement) for reading in readings]
    words = [word for word in ignored[0] if all(word in other for other in ignored)] if ignored else []
    return ", ".join(f'"{word}"' for word in words)


def _find_unasked_value(readings: Sequence[QuestionReading], statement: str) -> str:
    """Return what a statement looks for although the question names nothing of any table; "" if there is nothing."""
    unasked = [reading.find_unasked_value(statement) for reading in readings]
    return unasked[0] if unasked and all(unasked) else ""


def _find_unexplained(readings: Sequence[QuestionReading]) -> list[str]:
    """Return the words of the question that no table explains."""
    others = [reading.unexplained for reading in readings]
    return [word for word in others[0] if all(word in other for other in others)] if others else []


def _rows_result(
    run: TaskRun,
    statement: str,
    found: QueryRows,
    *,
    template: str | None = None,
    unexplained: Sequence[str],
) -> Result:
    answered = not _is_nothing(found)
    if unexplained:
        run.warn(f"{UNEXPLAINED}: {', '.join(unexplained)}")
    if not answered:
        run.warn(NOTHING_FOUND if template is None else EMPTY_CELLS if found.rows else NO_SUCH_ROWS)
    fields = {
        "method": "sql",
        "coverage": 1.0,
        "answered": answered,
        "template": template,
        "unexplained": list(unexplained),
        "sql": statement,
        "columns": list(found.columns),
        "rows": [list(row) for row in found.rows],
        "truncated": found.truncated,
    }
    incomplete = _rows_omitted() if found.truncated else None
    if template is not None:  # no model was asked, so it need not be loaded
        warnings = tuple(run.warnings)
        return Result(run.item, run.name, None, fields, warnings=warnings, cut=found.truncated, incomplete=incomplete)
    return run.result(None, fields, prompt=SQL_PROMPT, cut=found.truncated, incomplete=incomplete)


def _is_nothing(found: QueryRows) -> bool:
    """Whether there are no rows, or no values in them."""
    return all(value is None for row in found.rows for value in row)


def _is_number(found: QueryRows) -> bool:
    return len(found.rows) == 1 and len(found.columns) == 1 and isinstance(found.rows[0][0], int | float)


def _describe_size(found: QueryRows) -> str:
    """Return "a text", or "3 rows of 2 columns"."""
    rows, columns = len(found.rows), len(found.columns)
    if (rows, columns) == (1, 1):
        return "a text"
    more = "more than " if found.truncated else ""
    return f"{more}{rows} row{'s' * (rows != 1)} of {columns} column{'s' * (columns != 1)}"


def asks_how_many(question: str, tables: Sequence[Table]) -> bool:
    """Whether the answer is a count or a sum: the question begins with "how many", and names no groups or averages."""
    if _HOW_MANY.match(question) is None or _NO_COUNT.search(question) is not None:
        return False
    names = "|".join(re.escape(column) for table in tables for column in table.columns)
    return re.search(rf"\bby (?:the )?(?:{names})s?(?!\w)", question, re.IGNORECASE) is None


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


def describe_values(database: TableDatabase, tables: Sequence[Table]) -> str:
    """Return the texts in each column that has few and short ones; a column that takes too long to read is left out."""
    lines: list[str] = []
    for table in tables:
        for column in map(quote_name, table.columns[:_SAMPLE_COLUMNS]):
            statement = (
                f"SELECT DISTINCT {column} FROM {quote_name(table.name)} WHERE typeof({column}) = 'text' "  # noqa: S608 (quoted)
                f"LIMIT {_MAX_LISTED_VALUES + 1}"
            )
            try:
                texts = [str(row[0]) for row in database.query(statement).rows]
            except QueryError:
                continue
            if 0 < len(texts) <= _MAX_LISTED_VALUES and all(len(each) <= _SAMPLE_CHARS for each in texts):
                listed = ", ".join("'" + each.replace("'", "''") + "'" for each in sorted(texts))
                lines.append(f"All texts in {quote_name(table.name)}.{column}: {listed}")
    return "\n".join(lines)


def _shorten(value: Value) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= _SAMPLE_CHARS else f"{text[: _SAMPLE_CHARS - 3]}..."


MAX_CONSTRAINED_COLUMNS = 200
"""With more columns in all tables, the statement is not constrained."""
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# https://sqlite.org/lang_keywords.html: those that are no names without quotation marks, and names of literals
_KEYWORDS = frozenset(
    "add all alter and as autoincrement between case check collate commit constraint create cross current_date "  # noqa: SIM905 (a list of words is easier to read)
    "current_time current_timestamp default deferrable delete distinct drop else escape except exists false filter "
    "foreign from full group having in index inner insert intersect into is isnull join left limit natural not notnull "
    "null on or order outer over primary references returning right select set table then to transaction true union "
    "unique update using values when where window with".split()
)
_RULES = r"""
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


_START = 'start: select ";"?'
_START_OF_NUMBER = """
start: "SELECT " number (" AS " ALIAS)? " FROM " source where? ";"?
number: total (ARITHMETIC total){0,3}
total: "COUNT(" ("*" | "DISTINCT "? expression) ")" | "SUM(" expression ")" | "(SELECT " number " FROM " source where? ")"
"""


def select_grammar(tables: Sequence[Table], *, one_number: bool = False) -> str | None:
    """Return the grammar; None for tables of more than ``MAX_CONSTRAINED_COLUMNS`` columns.

    ``one_number``: the statement counts or adds up the rows that it selects, without groups.

    It admits joins of two tables, conditions, groups, order, limit, arithmetic and subqueries. The format is that of
    llguidance (see ``grammars``).
    """
    columns = dict.fromkeys(column for table in tables for column in table.columns)
    if len(columns) > MAX_CONSTRAINED_COLUMNS:
        return None
    start, names = _START_OF_NUMBER if one_number else _START, _alternatives(table.name for table in tables)
    return f"{start}{_RULES}table: {names}\ncolumn: {_alternatives(columns)}\n"


def _alternatives(names: Iterable[str]) -> str:
    """Return the alternatives of a rule: each name in quotation marks, and as it is if SQL allows that."""
    found = [text for name in names for text in (quote_name(name), *([name] if _is_plain(name) else []))]
    return " | ".join(json.dumps(each, ensure_ascii=False) for each in found)


def _is_plain(name: str) -> bool:
    return _PLAIN_NAME.fullmatch(name) is not None and name.lower() not in _KEYWORDS


def _rows_omitted() -> PartialError:
    return PartialError(
        message=f"the query has more rows than are printed (at most {MAX_ROWS:,})",
        advice="Ask for fewer rows, or for a sum, a count or the largest ones.",
        type_name="RowsOmitted",
    )
