"""A question about tables: the model writes a SELECT, SQLite runs it, and the rows are the answer.

The rows are not put into words by the model: it could change the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence

from llmcli.backends.base import Backend
from llmcli.errors import Unsupported
from llmcli.errors.incomplete_results import QueryFailed, RowsOmitted
from llmcli.frozen_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.prompts import PromptLibrary
from llmcli.tasks.execution.response_buffer import ResponseBuffer, UsageTally, raise_request_error, require_finished
from llmcli.tasks.execution.step_progress import progress_of_request
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.questions.question_prompts import SQL_PROMPT
from llmcli.tasks.tables.select_grammar import select_grammar
from llmcli.tasks.tables.table_database import MAX_ROWS, QueryError, QueryRows, TableDatabase, quote_name
from llmcli.tasks.tables.table_loader import Table
from llmcli.tasks.tables.table_values import Value
from llmcli.types import Finished, ItemFailed, Notice, Priority, Progress, Request, RequestProgress, Result, TaskEvent

MAX_ATTEMPTS = 3
MAX_STATEMENT_TOKENS = 400
_SAMPLE_ROWS = 3
_SAMPLE_CHARS = 40
_SAMPLE_COLUMNS = 60
_FENCED = re.compile(r"```(?:sql(?:ite)?)?\s*\n?(.*?)```", re.DOTALL | re.IGNORECASE)


class TableQuestion:
    """Answers ``question`` about tables."""

    def __init__(
        self,
        backend: Backend,
        prompts: PromptLibrary,
        question: str,
        options: GenerationOptions,
        interrupt: Interrupt,
    ) -> None:
        self._backend = backend
        self._prompt = prompts.get(SQL_PROMPT)
        self._question = question
        self._options = options
        self._interrupt = interrupt
        self._tally = UsageTally()
        self._constrained = True

    def answer(self, tables: Sequence[Table]) -> Iterator[TaskEvent]:
        """Yield Progress, then one Result without text, or ItemFailed with ``QueryFailed`` after ``MAX_ATTEMPTS``.

        Fields of the result: ``method`` ("sql"), ``sql``, ``columns``, ``rows`` (lists of numbers, texts and None),
        ``truncated``, ``coverage`` (1: the query sees all rows), ``answered``.
        """
        statement = problem = ""
        with TableDatabase(tables, self._interrupt) as database:
            for _ in range(MAX_ATTEMPTS):
                statement = yield from self._write_statement(tables, statement, problem)
                try:
                    found = database.query(statement)
                except QueryError as error:
                    problem = str(error)
                    continue
                yield from self._finish(statement, found)
                return
        yield ItemFailed(0, "", QueryFailed(statement, detail=problem))

    def _finish(self, statement: str, found: QueryRows) -> Iterator[TaskEvent]:
        answered = any(value is not None for row in found.rows for value in row)
        warnings = [] if answered else ["the query found nothing"]
        yield from map(Notice, warnings)
        yield Result(
            0,
            "",
            None if found.rows else "",
            fields={
                "method": "sql",
                "coverage": 1.0,
                "answered": answered,
                "sql": statement,
                "columns": list(found.columns),
                "rows": [list(row) for row in found.rows],
                "truncated": found.truncated,
            },
            model=self._backend.info().model,
            prompt=self._prompt.name,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=tuple(warnings),
            cut=found.truncated,
            incomplete=RowsOmitted(limit=MAX_ROWS) if found.truncated else None,
        )

    def _write_statement(self, tables: Sequence[Table], statement: str, problem: str) -> Generator[Progress, None, str]:
        """Yield progress; return the next statement. Raises the failure of the request."""
        request = self._request(tables, statement, problem)
        if self._constrained:
            constrained = replace(request, grammar=select_grammar(tables))
            answer = yield from self._generate(constrained)
            try:
                raise_request_error(require_finished(answer))
            except Unsupported:  # a server that knows no grammars
                self._constrained = False
            else:
                return extract_statement(answer.text)
        answer = yield from self._generate(request)
        raise_request_error(require_finished(answer))
        return extract_statement(answer.text)

    def _request(self, tables: Sequence[Table], statement: str, problem: str) -> Request:
        values: dict[str, object] = {
            "question": self._question,
            "schema": "\n".join(map(describe_table, tables)),
            "sample": "\n\n".join(map(_describe_rows, tables)),
            "query": statement,
            "problem": problem,
        }
        prompt = self._prompt
        return make_request(
            "sql",
            prompt.render(values),
            prompt,
            replace(self._options, reasoning=False),
            max_tokens=max_answer_tokens(prompt, self._options, MAX_STATEMENT_TOKENS),
            priority=Priority.INTERACTIVE,
        )

    def _generate(self, request: Request) -> Generator[Progress, None, ResponseBuffer]:
        answer = ResponseBuffer()
        with self._backend.open() as job:
            job.submit(request)
            job.close_input()
            for event in job:
                answer.add_event(event)
                if isinstance(event, RequestProgress):
                    yield progress_of_request(event)
                elif isinstance(event, Finished):
                    self._tally.add(event)
        return answer


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
