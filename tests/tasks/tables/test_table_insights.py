"""summarize --insights: each figure of a sentence stands in the rows of its query, which can be run again."""

from __future__ import annotations

import re
import sqlite3

import pytest
from tasks.helpers import error, notices, of, result

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.passages import Section, number_passages
from llmcli.errors import BadDocument, EmptyInput, TimedOut
from llmcli.interrupt import Interrupt
from llmcli.tasks.tables import insight_queries
from llmcli.tasks.tables.insight_queries import show
from llmcli.tasks.tables.table_database import QueryError
from llmcli.tasks.tables.table_insights import MAX_INSIGHTS, summarize_tables
from llmcli.tasks.tables.table_loader import load_tables
from llmcli.types import ItemFailed, Result

SALES = "receipt,date,shop,price,pieces,note\n" + "".join(
    f"{number},2026-{1 + number // 20:02}-{1 + number % 20:02},{'North' if number % 4 else 'South'},"
    f"{5 + number // 20},{(5 + number // 20) * 2 + number % 2},{'' if number % 10 else 'late'}\n"
    for number in range(120)
)


def document(tmp_path, text, name="sales.csv"):
    file = tmp_path / name
    file.write_text(text)
    return Document(str(file), text, file)


def run(*documents):
    return list(summarize_tables(documents, Interrupt()))


def insights(events):
    return result(events).fields["insights"]


def text_of(events, kind):
    return [each["text"] for each in insights(events) if each["kind"] == kind]


def test_what_a_table_holds_is_said_in_sentences(tmp_path):
    """Trends first; the receipt is a number that identifies a row, so it has no mean."""
    events = run(document(tmp_path, SALES))
    price, pieces = text_of(events, "trend")
    assert price == (
        "price by month: from 100 in 2026-01 to 200 in 2026-06 (+100%); highest in 2026-06 (200), lowest in 2026-01 (100)."
    )
    assert pieces.startswith("pieces by month: from 210 in 2026-01 to 410 in 2026-06 (+95.2%); ")
    assert text_of(events, "measure")[0] == "price: mean 7.5, median 7.5, from 5 to 10; total 900 of 120 values."
    assert text_of(events, "shares") == ["Rows by shop: North 75%, South 25%."]
    assert text_of(events, "breakdown")[0] == (
        "price by shop: North has the highest total, 675 (75% of all); the mean is 7.5 for each."
    )
    assert text_of(events, "correlation") == ["pieces rises with price: correlation 0.99 over 120 rows."]
    assert text_of(events, "missing") == ["note is empty in 108 of 120 rows (90%)."]
    assert not any("receipt" in each["text"] for each in insights(events))


def test_years_and_temperatures_have_no_totals(tmp_path):
    """Years and truth values are categories; dates of one month are years."""
    rows = "".join(f"{2000 + n % 5}-01-01,{2000 + n % 5},{n % 2},{2 * n},{n * n}\n" for n in range(30))
    events = run(document(tmp_path, f"opened,year,is_old,temp_max,visits\n{rows}"))
    measures = text_of(events, "measure")
    assert [each.partition(":")[0] for each in measures] == ["temp_max", "visits"]
    assert "total" not in measures[0] and "total 8,555 of 30 values" in measures[1]
    assert [each.partition(":")[0] for each in text_of(events, "shares")] == ["Rows by year", "Rows by is_old"]
    assert text_of(events, "trend")[1].startswith("visits by year: from")


def test_dates_with_slashes_are_dates(tmp_path):
    """2026/01/31, as well."""
    events = run(document(tmp_path, re.sub(r"(\d{4})-(\d\d)-", r"\1/\2/", SALES)))
    assert text_of(events, "trend")[0].startswith("price by month: from 100 in 2026/01")


def test_dates_of_several_forms_have_no_trend(tmp_path):
    """As texts they are in no order."""
    rows = "".join(f"2026-03-{day:02},{day}\n" for day in range(1, 20))
    assert text_of(run(document(tmp_path, f"day,price\n{rows}")), "trend")
    assert not text_of(run(document(tmp_path, f"day,price\n{rows}15.03.2025,4\n")), "trend")


def test_each_figure_stands_in_the_rows_of_its_query(tmp_path):
    """The query of each sentence gives these rows in any SQLite, and no number comes from elsewhere."""
    sales = document(tmp_path, SALES)
    (table,) = load_tables([sales], Interrupt())
    database = sqlite3.connect(":memory:")
    database.execute(f"CREATE TABLE sales ({', '.join(table.columns)})")
    database.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?)", table.rows)
    for each in insights(run(sales)):
        assert [list(row) for row in database.execute(each["sql"])] == each["rows"]
        shown = {part for row in each["rows"] for value in row for part in re.findall(r"[\d.,]*\d", show(value))}
        assert set(re.findall(r"[\d.,]*\d", each["text"])) <= shown, each


def test_a_text_has_each_sentence(tmp_path):
    """In Markdown, under the size of the table, with its query if that is wanted."""
    sales = document(tmp_path, SALES)
    end, plain = (result(summarize_tables([sales], Interrupt(), queries=queries)) for queries in (True, False))
    assert end.text.startswith("sales: 120 rows, 6 columns\n\n- price by month: ")
    assert end.text.count("\n  `SELECT ") == len(end.fields["insights"]) <= MAX_INSIGHTS
    assert plain.text.count("\n- ") == len(end.fields["insights"]) and "SELECT" not in plain.text
    assert plain.fields == end.fields
    assert end.fields["tables"] == [{"name": "sales", "rows": 120, "columns": 6}] and end.fields["method"] == "sql"


def test_values_that_are_no_numbers_are_left_out(tmp_path):
    """A column of numbers with some words is still one of numbers; outliers are found."""
    rows = "".join(f"{value}\n" for value in ["n/a", *[1, 2, 3] * 10, 500])
    events = run(document(tmp_path, f"size\n{rows}"))
    assert text_of(events, "measure") == ["size: mean 18.06, median 2, from 1 to 500; total 560 of 31 values."]
    assert text_of(events, "outliers") == ["size: 1 value is more than three standard deviations from the mean: 500."]


def test_probabilities_and_shares_have_no_total(tmp_path):
    """By their values or their names; they have means, also by category and month."""
    rows = "".join(
        f"2026-0{n % 3 + 1}-01,{'good' if n % 2 else 'bad'},{0.5 + n % 5 / 10},{n % 7},{n % 11}\n" for n in range(60)
    )
    events = run(document(tmp_path, f"day,label,score,success rate,pieces\n{rows}"))
    assert text_of(events, "measure")[:2] == [
        "score: mean 0.7, median 0.7, from 0.5 to 0.9; 60 values.",
        "success rate: mean 2.9, median 3, from 0 to 6; 60 values.",
    ]
    assert "total" in text_of(events, "measure")[2]
    assert text_of(events, "trend")[0].startswith("score (mean) by month: from 0.7 in 2026-01 to 0.7 in 2026-03")
    assert text_of(events, "breakdown")[0] == "score by label: the mean is 0.7 for each."
    (shares,) = (each for each in insights(events) if each["text"].startswith("score by label"))
    assert shares["columns"] == ["label", "mean"]


def test_group_numbers_are_categories(tmp_path):
    """And numbers of rows are nothing to be added."""
    rows = "".join(f"{n % 3},{3 * n},{n * n}\n" for n in range(30))
    events = run(document(tmp_path, f"cluster,line,price\n{rows}"))
    assert text_of(events, "shares") == ["Rows by cluster: 0 33.3%, 1 33.3%, 2 33.3%."]
    assert [each.partition(":")[0] for each in text_of(events, "measure")] == ["price"]


def test_trends_without_measures_count_rows(tmp_path):
    """By day where all dates are of one or two months; a negative change is one."""
    rows = "".join(f"2026-01-0{day}\n" * (6 - day) for day in range(1, 5))
    assert text_of(run(document(tmp_path, f"day\n{rows}")), "trend") == [
        "Rows by day: from 5 in 2026-01-01 to 2 in 2026-01-04 (-60%); highest in 2026-01-01 (5), lowest in 2026-01-04 (2)."
    ]


REPORT = (
    "# Year\n\n| region | sales |\n|---|---:|\n| North | 1,200 |\n| South\\|East | 1,500.5 |\n\nText.\n\n| a |\n| - |\n"
)


def test_tables_in_a_report_are_found(tmp_path):
    """Rows between bars, numbers with separators of thousands; a header alone is no table."""
    events = run(document(tmp_path, REPORT, "report.md"))
    assert result(events).fields["tables"] == [{"name": "report", "rows": 2, "columns": 2}]
    assert text_of(events, "measure")[0].startswith("sales: mean 1,350.25, ")


def test_standard_input_is_a_table_or_has_one():
    """CSV, JSON or Markdown."""
    for text in ("a,b\n1,x\n3,y\n", '[{"a": 1}, {"a": 3}]', "| a |\n| 1 |\n| 3 |\n"):
        assert text_of(run(Document("-", text)), "measure")[0].startswith("a: mean 2, "), text


@pytest.mark.parametrize("name", ["notes.txt", "a.csv", "-"])
def test_a_document_without_a_table_fails(tmp_path, name):
    """Prose is no table, and one row is none either."""
    text = "Dear Ann\n" if name != "a.csv" else "a,b\n1,2\n"
    failed = Document(name, text) if name == "-" else document(tmp_path, text, name)
    assert isinstance(error(run(failed)), BadDocument)


def test_documents_fail_alone(tmp_path):
    """An empty one, one that could not be read, one that is no table."""
    empty = Document("a.csv", " ")
    events = run(empty, ItemFailed(0, "b", TimedOut()), document(tmp_path, SALES))
    assert [type(each.error) for each in of(ItemFailed, events)] == [EmptyInput, TimedOut]
    assert [each.item for each in of(Result, events)] == [2]


def test_an_overview_of_a_large_sheet_is_no_table():
    """Its figures would be those of a few sampled rows."""
    source = number_passages("a.xlsx", [Section("| a |\n| 1 |\n| 2 |\n"), "an overview"], "xlsx")
    assert isinstance(error(run(Document("a.xlsx", source.text, source=source))), BadDocument)


def test_a_query_that_is_given_up_is_reported(tmp_path, monkeypatch):
    """The others go on."""

    def fail(*_):
        raise QueryError("it took longer than 5 seconds")

    monkeypatch.setattr(insight_queries.InsightQueries, "correlation", fail)
    events = run(document(tmp_path, SALES))
    assert notices(events) == ["sales: 1 query gave no figures: it took longer than 5 seconds"]
    assert text_of(events, "measure") and not text_of(events, "correlation")


def test_columns_may_have_any_name(tmp_path):
    """Quotation marks, keywords, SQL."""
    text = 'sel"ect,"a; DROP TABLE x",group\n' + "1,2,x\n2,4,y\n" * 4
    assert len(text_of(run(document(tmp_path, text)), "measure")) == 2
