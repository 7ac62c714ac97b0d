"""Questions about tables: the model's SQL, its mistakes, and the rows."""

import sqlite3
from pathlib import Path

import llguidance
import pytest
from scripted import Reply, ScriptedBackend, all_messages
from tasks.helpers import error, notices, result

from llmcli.cli.console.error_messages import describe
from llmcli.documents.reading.document import Document
from llmcli.errors import BadDocument, Unsupported
from llmcli.fast_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.tasks.ask.table_question import (
    MAX_ATTEMPTS,
    MAX_CONSTRAINED_COLUMNS,
    answer_from_tables,
    asks_how_many,
    describe_values,
    extract_statement,
    select_grammar,
)
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import run_task
from llmcli.tasks.tables.table_database import TableDatabase
from llmcli.tasks.tables.table_loader import Table, load_tables

SALES = Table("sales", ("shop", "price in €", "order"), [["North", 3.5, 1], ["South", 4, 2]])


@pytest.fixture
def answer(prompts):
    """Return a function that asks about a table with a backend that gives one answer after the other."""

    def run(*answers, table=SALES, question="What is there?"):
        given = iter(answers)
        backend = ScriptedBackend(lambda _: next(given))
        asked = (prompts, question, [table], GenerationOptions(), Interrupt())
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
    assert failed.type_name == "QueryFailed" and failed.exit_code == 3 and len(backend.requests) == MAX_ATTEMPTS
    assert (failed.subject, failed.detail) == ("DROP TABLE sales", "only SELECT is allowed")


NOTHING = ["SELECT shop FROM sales WHERE 0", "SELECT sum(\"order\") FROM sales WHERE shop = 'north'"]


@pytest.mark.parametrize("statements", [NOTHING, NOTHING[::-1]])
def test_two_queries_that_find_nothing_are_an_answer(answer, statements):
    """No rows, or only empty values; the second request has the texts that stand in the table."""
    backend, events = answer(*statements)
    found = result(events)
    assert (found.fields["answered"], found.text, found.fields["sql"]) == (False, None, statements[1])
    assert found.warnings == ("two queries found nothing",)
    assert notices(events)[0] == "the query found nothing, so the model is asked for another one"
    first, second = map(all_messages, backend.requests)
    help_ = "All texts in \"sales\".\"shop\": 'North', 'South'"
    assert help_ not in first and help_ in second and f"wrong: {statements[0]}\nThe reason: it finds nothing" in second


def test_a_query_after_one_that_found_nothing_is_the_answer(answer):
    """Also if SQLite refuses one between them."""
    backend, events = answer(NOTHING[0], "SELECT x FROM sales", "SELECT shop FROM sales LIMIT 1")
    assert result(events).fields["rows"] == [["North"]] and result(events).warnings == ()
    assert all("All texts in" in all_messages(each) for each in backend.requests[1:])


def test_one_query_that_finds_nothing_is_no_answer(answer):
    """If no other one works."""
    _, events = answer(NOTHING[0], *["SELECT x FROM sales"] * MAX_ATTEMPTS)
    assert error(events).type_name == "QueryFailed"


def test_a_count_of_zero_is_asked_for_again(answer):
    """A text may have been spelled otherwise; two zeros are a number like any other."""
    zero, two = "SELECT COUNT(*) FROM sales WHERE shop = 'north'", "SELECT COUNT(*) FROM sales WHERE shop <> 'x'"
    backend, events = answer(zero, two, question="How many, or not?")
    assert result(events).fields["rows"] == [[2]] and "All texts in" in all_messages(backend.requests[1])
    found = result(answer(zero, zero, question="How many, or not?")[1])
    assert (found.fields["rows"], found.fields["answered"], found.warnings) == ([[0]], True, ())


@pytest.mark.parametrize(
    "wrong", ["SELECT SUM(weight) FROM t", "SELECT name FROM t WHERE weight > 3", "SELECT MAX(size) FROM t"]
)
def test_texts_are_not_computed_with(answer, wrong):
    """SQLite takes a text for 0, or for more than any number."""
    rows = [["a", "5 kg", 1], ["b", "12 kg", 2], ["c", "900 g", "1,234"], ["d", "x", 3]]
    right = "SELECT name FROM t WHERE weight = '5 kg'"
    backend, events = answer(wrong, right, table=Table("t", ("name", "weight", "size"), rows))
    assert result(events).fields["rows"] == [["a"]]
    assert "which are no numbers" in all_messages(backend.requests[1])


def test_a_table_without_rows_is_not_asked_about(answer):
    """The model would invent them; their number is known."""
    table = Table("t", ("name", "price"), [])
    backend, events = answer(table=table, question="What is the average price?")
    assert isinstance(error(events), BadDocument) and not backend.requests
    assert result(answer(table=table, question="How many rows?")[1]).fields["rows"] == [[0]]


def test_values_without_a_column_are_said(answer):
    """An unquoted separator moves the values behind it."""
    (table,) = load_tables([Document("a.csv", "city,pop\nBonn,3,600\nRome,28\n", Path("a.csv"))], Interrupt())
    (warning,) = result(answer(table=table, question="Which city has the highest pop?")[1]).warnings
    assert "more values than the header has names" in warning and "row 1" in warning


def test_only_short_columns_are_listed():
    """Of few values, all of them short; numbers are not."""
    rows = [[f"name {n}", n, "x" * 50 * (n % 2), "it's" if n % 2 else "B", None] for n in range(30)]
    table = Table("t", ("name", "number", "long", "kind", "empty"), rows)
    with TableDatabase([table], Interrupt()) as database:
        assert describe_values(database, [table]) == "All texts in \"t\".\"kind\": 'B', 'it''s'"


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("How many are there?", True),
        ("how many?", True),
        ("And HOW MANY in the North?", True),
        ("so, how many?", True),
        ("How many were sold by Anna?", True),
        ("How many by shop?", False),
        ("How many by the shop?", False),
        ("How many in each shop?", False),
        ("How many per day?", False),
        ("How many on average?", False),
        ("Which shop has how many?", False),
        ("How much is it?", False),
    ],
)
def test_a_question_for_a_count_is_known(question, asks):
    """By its beginning, unless it asks for groups."""
    assert asks_how_many(question, [SALES]) is asks


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('SELECT "price in €" FROM sales', "2 rows of 1 column"),
        ("SELECT shop, 1 FROM sales LIMIT 1", "1 row of 2 columns"),
        ("SELECT shop FROM sales LIMIT 1", "a text"),
    ],
)
def test_how_many_is_one_number(answer, wrong, said):
    """The grammar has nothing else; where a server does without one, another result is asked for again."""
    backend, events = answer(wrong, "SELECT COUNT(*) FROM sales", question="How many, or not?")
    assert result(events).fields["rows"] == [[2]]
    assert f"the question asks for one number, but it returns {said}" in all_messages(backend.requests[1])
    assert {each.grammar for each in backend.requests} == {select_grammar([SALES], one_number=True)}
    failed = error(answer(*[wrong] * MAX_ATTEMPTS, question="How many, or not?")[1])
    assert failed.type_name == "QueryFailed" and failed.detail.endswith(said)


def test_a_template_answers_without_a_model(answer):
    """A question whose words all name something in the table; a number of 0 is an answer like another one."""
    backend, events = answer(question="How many are in the North?")
    found = result(events)
    assert (backend.requests, found.fields["template"], found.fields["rows"]) == ([], "count", [[1]])
    assert found.fields["sql"] == """SELECT COUNT(*) FROM "sales" WHERE "shop" = 'North'"""
    assert (found.fields["unexplained"], found.warnings, found.model) == ([], (), "")
    assert result(answer(question="How many orders are over 7?")[1]).fields["rows"] == [[0]]


def test_nothing_that_a_template_finds_is_said(answer):
    """In words of its own: no model has agreed."""
    found = result(answer(question="Which shop has an order over 7?")[1])
    assert (found.fields["answered"], found.warnings) == (False, ("no row meets the conditions of the query",))
    table = Table("t", ("name", "size"), [["Ann", None], ["Ben", 2]])
    found = result(answer(question="What is the size of Ann?", table=table)[1])
    assert (found.fields["answered"], found.fields["rows"]) == (False, [[None]])
    assert found.warnings == ("the query finds nothing but empty cells",)


def test_a_query_that_ignores_the_question_is_asked_for_again(answer):
    """A value, a number or a column of the question has to stand in it; the texts of the columns help."""
    all_, north = "SELECT COUNT(*) FROM sales", "SELECT COUNT(*) FROM sales WHERE shop = 'North'"
    question = "How many in the North, or not?"
    backend, events = answer(all_, north, question=question)
    assert result(events).fields["rows"] == [[1]] and result(events).fields["template"] is None
    second = all_messages(backend.requests[1])
    assert 'it does not use "North", which the question names' in second and "All texts in" in second
    failed = error(answer(*[all_] * MAX_ATTEMPTS, question=question)[1])
    assert failed.type_name == "QueryFailed" and failed.exit_code == 3 and failed.detail.startswith("it does not use")


def test_a_query_that_invents_a_condition_is_asked_for_again(answer):
    """A question that names no value has no condition with one: it would be a number that looks certain."""
    counts = Table("t", ("name", "n"), [["Ann", 1], ["Bob", 2]])
    wrong, right = "SELECT COUNT(*) FROM t WHERE name = 'Bob'", "SELECT SUM(n) FROM t"
    backend, events = answer(wrong, right, question="How many are there?", table=counts)
    assert result(events).fields["rows"] == [[3]]
    assert "it looks for 'Bob', which the question does not name" in all_messages(backend.requests[1])
    failed = error(answer(*[wrong] * MAX_ATTEMPTS, question="How many are there?", table=counts)[1])
    assert failed.type_name == "QueryFailed" and failed.exit_code == 3


def test_words_that_name_nothing_are_said(answer):
    """A query may be right, but nothing in the table says so."""
    found = result(answer("SELECT COUNT(*) FROM sales", question="How many widows?")[1])
    assert (found.fields["unexplained"], found.fields["rows"]) == (["widows"], [[2]])
    assert found.warnings == ("check the query, since the table has nothing called: widows",)


def test_a_question_about_two_tables_is_the_models(prompts):
    """If a template fits both of them."""
    tables = [replace(SALES, name="one"), replace(SALES, name="two")]
    backend = ScriptedBackend(lambda _: "SELECT COUNT(*) FROM two WHERE shop = 'North'")
    asked = (prompts, "How many in the North?", tables, GenerationOptions(), Interrupt())
    found = result(list(run_task(backend, lambda run: answer_from_tables(run, *asked))))
    assert len(backend.requests) == 1 and found.fields["template"] is None


def test_omitted_rows_are_a_failure(answer):
    """The result is incomplete."""
    _, events = answer("SELECT x FROM t", table=Table("t", ("x",), [[n] for n in range(2000)]))
    found = result(events)
    assert (
        found.cut
        and describe(found.incomplete)[0] == "the query has more rows than are printed (at most 1,000)"
        and len(found.fields["rows"]) == 1000
    )


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


def admits(grammar, statement):
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), llguidance.LLMatcher.grammar_from_lark(grammar))
    tokens = llguidance.LLTokenizer("byte").tokenize_str(statement)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        *((each, True) for each in STATEMENTS),
        ("SELECT shop FROM sales;", True),
        ("SELECT nope FROM sales", False),
        ("DELETE FROM sales", False),
        ("SELECT order FROM sales", False),
        ("SELECT 1; SELECT 2", False),
    ],
)
def test_the_grammar_admits_queries_of_the_table_only(statement, allowed):
    """What it admits is valid SQL."""
    assert admits(select_grammar([SALES]), statement) is allowed
    if allowed:
        with sqlite3.connect(":memory:") as database:
            database.execute('CREATE TABLE sales ("shop", "price in €", "order")')
            database.execute(statement)


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("SELECT COUNT(*) FROM sales WHERE shop = 'North'", True),
        ('SELECT SUM("order") AS total FROM sales', True),
        ("SELECT COUNT(DISTINCT shop) FROM sales WHERE shop IN (SELECT shop FROM sales)", True),
        ("SELECT COUNT(*) - (SELECT COUNT(*) FROM sales WHERE shop = 'North') FROM sales", True),
        ('SELECT AVG("order") FROM sales', False),
        ("SELECT shop FROM sales", False),
        ("SELECT COUNT(*), shop FROM sales", False),
        ("SELECT COUNT(*) FROM sales GROUP BY shop", False),
    ],
)
def test_the_grammar_of_a_number(statement, allowed):
    """Nothing but counts and sums of all rows."""
    assert admits(select_grammar([SALES], one_number=True), statement) is allowed


def test_very_wide_tables_are_not_constrained():
    """Their grammar would be too large."""
    names = tuple(f"c{number}" for number in range(MAX_CONSTRAINED_COLUMNS + 1))
    assert select_grammar([Table("t", names, [])]) is None
