"""Questions about tables: the model's SQL, its mistakes, and the rows."""

import sqlite3

import llguidance
import pytest
from scripted import Reply, ScriptedBackend, all_messages
from tasks.helpers import error, result

from llmcli.errors import Unsupported
from llmcli.errors.incomplete_results import QueryFailed, RowsOmitted
from llmcli.interrupt import Interrupt
from llmcli.tasks.ask.table_question import (
    MAX_ATTEMPTS,
    MAX_CONSTRAINED_COLUMNS,
    answer_from_tables,
    extract_statement,
    select_grammar,
)
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import run_task
from llmcli.tasks.tables.table_loader import Table

SALES = Table("sales", ("shop", "price in €", "order"), [["North", 3.5, 1], ["South", 4, 2]])


@pytest.fixture
def answer(prompts):
    """Return a function that asks about a table with a backend that gives one answer after the other."""

    def run(*answers, table=SALES):
        given = iter(answers)
        backend = ScriptedBackend(lambda _: next(given))
        asked = (prompts, "How many?", [table], GenerationOptions(), Interrupt())
        return backend, list(run_task(backend, lambda run: answer_from_tables(run, *asked)))

    return run


def test_the_rows_are_the_answer(answer):
    """With the query, and without words of the model."""
    backend, events = answer("SELECT count(*) AS n FROM sales;")
    found = result(events)
    assert found.text is None and found.fields["sql"] == "SELECT count(*) AS n FROM sales"
    assert (found.fields["columns"], found.fields["rows"]) == (["n"], [[2]])
    assert (found.fields["method"], found.fields["coverage"], found.fields["answered"]) == ("sql", 1.0, True)
    sent = all_messages(backend.requests[0])
    assert 'CREATE TABLE "sales" ("shop" TEXT, "price in €" REAL, "order" INTEGER); -- 2 rows' in sent
    assert "North|3.5|1" in sent and backend.requests[0].grammar == select_grammar([SALES])


@pytest.mark.parametrize("wrong", ["DELETE FROM sales", "SELECT x FROM sales", "I do not know.", ""])
def test_a_wrong_query_is_tried_again_with_the_error(answer, wrong):
    """The model sees its statement and what is wrong with it."""
    backend, events = answer(wrong, 'SELECT max(price) FROM (SELECT "price in €" AS price FROM sales)')
    assert result(events).fields["rows"] == [[4]]
    assert f"This statement is wrong: {wrong}" in all_messages(backend.requests[1])
    assert result(events).usage.prompt_tokens == sum(map(backend.prompt_tokens, backend.requests))


def test_attempts_are_bounded(answer):
    """Then the item fails, with exit code 3."""
    backend, events = answer(*["DROP TABLE sales"] * MAX_ATTEMPTS)
    failed = error(events)
    assert isinstance(failed, QueryFailed) and failed.exit_code == 3 and len(backend.requests) == MAX_ATTEMPTS
    assert (failed.subject, failed.detail) == ("DROP TABLE sales", "only SELECT is allowed")


def test_nothing_found_is_an_answer(answer):
    """No rows, or only empty values."""
    for statement in (
        "SELECT shop FROM sales WHERE 0",
        "SELECT sum(order) FROM (SELECT 1 AS x) WHERE 0".replace("order", "x"),
    ):
        found = result(answer(statement)[1])
        assert found.fields["answered"] is False and found.warnings == ("the query found nothing",)


def test_omitted_rows_are_a_failure(answer):
    """The result is incomplete."""
    _, events = answer("SELECT x FROM t", table=Table("t", ("x",), [[n] for n in range(2000)]))
    found = result(events)
    assert found.cut and isinstance(found.incomplete, RowsOmitted) and len(found.fields["rows"]) == 1000


def test_a_server_without_grammars_is_asked_without_one(answer):
    """The attempt does not count."""
    backend, events = answer(Reply(error=Unsupported("a grammar")), "```sql\nSELECT 1\n```")
    assert result(events).fields["rows"] == [[1]] and backend.requests[1].grammar is None


@pytest.mark.parametrize(
    ("text", "statement"),
    [("SELECT 1;", "SELECT 1"), ("Here:\n```sqlite\nSELECT 1;\n```\nIt counts.", "SELECT 1"), ("  \n", "")],
)
def test_the_statement_of_an_answer(text, statement):
    """Fences and semicolons are no part of it."""
    assert extract_statement(text) == statement


STATEMENTS = [
    "SELECT shop, SUM(\"price in €\") AS total FROM sales WHERE shop = 'North' GROUP BY shop ORDER BY shop DESC LIMIT 3",
    'SELECT COUNT(DISTINCT shop) FROM "sales" WHERE ("order" > 1 OR shop LIKE \'N%\') AND NOT shop IS NULL',
    'SELECT AVG("order") - MIN("order") * 2 FROM sales WHERE "order" IN (SELECT "order" FROM sales)',
    "SELECT * FROM sales WHERE shop BETWEEN 'A' AND 'O''Neil'",
]


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        *((each, True) for each in STATEMENTS),
        ("SELECT nope FROM sales", False),
        ("DELETE FROM sales", False),
        ("SELECT order FROM sales", False),
        ("SELECT 1; SELECT 2", False),
    ],
)
def test_the_grammar_admits_queries_of_the_table_only(statement, allowed):
    """What it admits is valid SQL."""
    grammar = llguidance.LLMatcher.grammar_from_lark(select_grammar([SALES]))
    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, grammar)
    tokens = tokenizer.tokenize_str(statement)
    assert (matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()) is allowed
    if allowed:
        with sqlite3.connect(":memory:") as database:
            database.execute('CREATE TABLE sales ("shop", "price in €", "order")')
            database.execute(statement)


def test_very_wide_tables_are_not_constrained():
    """Their grammar would be too large."""
    names = tuple(f"c{number}" for number in range(MAX_CONSTRAINED_COLUMNS + 1))
    assert select_grammar([Table("t", names, [])]) is None
