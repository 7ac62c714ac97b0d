"""``llm extract``: inputs, formats, the page, errors."""

from __future__ import annotations

import json
import re
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scripted import last_message

from llmcli.documents.reading import file_reader, streamed_file

TEXT = "Acme Corp. owes 12.50 EUR."
SHORT = "name, amount (number)"


def answer(request):
    """Copy the first word and the first number of the text."""
    text = re.search(r'Text:\n("{3,})\n(.*)\n\1\n', last_message(request), re.DOTALL)[2]
    number = re.search(r"\d+\.\d+", text)
    one = {"name": text.split()[0], "amount": None if number is None else float(number[0])}
    return json.dumps([one] if "JSON list" in last_message(request) else one)


@pytest.fixture
def invoices(tmp_path, monkeypatch):
    """Write two documents into the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text("Bolt =1+1 owes <b>7.25</b> EUR.")
    return tmp_path


def test_one_document_is_an_object(llm, invoices):
    """Standard output has the values alone, standard error nothing."""
    done = llm("extract", "--schema", SHORT, "a.txt", answer=answer)
    assert (done.code, done.err) == (0, "") and json.loads(done.out) == {"name": "Acme", "amount": 12.5}
    assert done.out.startswith('{\n  "name"')
    piped = llm("extract", "--schema", SHORT, stdin=TEXT.encode(), answer=answer)
    assert piped.out == done.out


def test_a_dry_run_shows_the_work_of_each_document(llm, invoices):
    """As many passages and calls as the run makes, with the tokens of their prompts; the model is not asked."""
    (invoices / "c.txt").write_text("\n\n".join(f"Acme{n} Corp. owes {n}.50 EUR." for n in range(300)))
    files = ["a.txt", "c.txt"]
    shown = llm("extract", "--dry-run", "--json", "--schema", SHORT, *files, context=600)
    rows = [json.loads(line) for line in shown.out.splitlines()]
    done = llm("extract", "--json", "--schema", SHORT, *files, answer=answer, context=600)
    found = [json.loads(line) for line in done.out.splitlines()]
    assert (shown.code, shown.backend.requests) == (0, []) and rows[1]["passages"] > 1
    for row, each in zip(rows, found, strict=True):
        assert row["passages"] == row["calls"] == each["passages"]["all"] and row["method"] == each["method"]
        assert row["tokens"] == each["usage"]["prompt_tokens"]
    missing = llm("extract", "--dry-run", "--schema", SHORT, "a.txt", "none.txt")
    assert missing.code == 3 and "none.txt" in missing.err


def test_several_documents_are_lines(llm, invoices):
    """One each, in their order."""
    done = llm("extract", "--schema", SHORT, "b.txt", "a.txt", answer=answer)
    assert [json.loads(line)["name"] for line in done.out.splitlines()] == ["Bolt", "Acme"]


def test_a_table_names_the_documents(llm, invoices):
    """Its format follows from the name of the file."""
    done = llm("extract", "--schema", f"{SHORT}, tags list", "a.txt", "b.txt", "-o", "x.csv", answer=with_tags)
    assert done.code == 0 and done.out == ""
    rows = (invoices / "x.csv").read_text().splitlines()
    assert rows == ["file,name,amount,tags", 'a.txt,Acme,12.5,"[""EUR""]"', 'b.txt,Bolt,7.25,"[""EUR""]"']


def with_tags(request):
    return json.dumps({**json.loads(answer(request)), "tags": ["EUR"]})


def test_the_name_of_the_file_chooses_the_format(llm, invoices):
    """TSV and Parquet too, whose columns have the types of the schema."""
    short = "name, amount (number), tags list"
    tsv = llm("extract", "--schema", short, "a.txt", "-o", "x.tsv", answer=with_tags)
    assert tsv.code == 0 and (invoices / "x.tsv").read_text().splitlines()[1].startswith("Acme\t12.5\t")
    done = llm("extract", "--schema", short, "b.txt", "a.txt", "-o", "x.parquet", answer=with_tags)
    assert (done.code, done.out, done.err) == (0, "", "")
    table = pq.read_table(invoices / "x.parquet")
    assert table.schema.field("amount").type == pa.float64() and table.column_names == ["file", *short_names(short)]
    assert table.to_pylist() == [
        {"file": "b.txt", "name": "Bolt", "amount": 7.25, "tags": ["EUR"]},
        {"file": "a.txt", "name": "Acme", "amount": 12.5, "tags": ["EUR"]},
    ]
    many = llm("extract", "--many", "--schema", SHORT, "a.txt", "--format", "parquet", "-o", "many", answer=answer)
    assert many.code == 0 and pq.read_table(invoices / "many").to_pylist() == [{"name": "Acme", "amount": 12.5}]


def test_a_table_with_two_columns_of_one_name_is_refused(llm, invoices):
    """The column ``file`` names the document; of one document there is none, and JSON Lines hold the values alone."""
    schema = ("extract", "--schema", "file, amount (number)")
    for name in ("x.csv", "x.parquet"):
        run = llm(*schema, "a.txt", "b.txt", "-o", name, answer=answer)
        assert (run.code, run.backend) == (2, None) and "the field file" in run.err
        assert not (invoices / name).exists()
    assert llm(*schema, "a.txt", "-o", "x.csv", answer=lambda _: '{"file": null, "amount": 12.5}').code == 0


def test_the_name_of_a_spreadsheet_is_refused(llm, invoices):
    """A program would not open it; JSON may have any other name."""
    run = llm("extract", "--schema", SHORT, "a.txt", "-o", "x.xlsx", answer=answer)
    assert (run.code, run.backend) == (2, None) and "not written as .xlsx" in run.err
    assert not (invoices / "x.xlsx").exists()


def test_an_option_that_reads_only_files_says_so(llm, invoices):
    """It said that standard input does not exist."""
    run = llm("extract", "--schema", "@-", "a.txt", stdin=b"{}", answer=answer)
    assert (run.code, run.err) == (66, "llm: there is no file called -\nFor standard input: /dev/stdin\n")


def short_names(short: str) -> list[str]:
    return [each.split()[0] for each in short.split(",")]


def test_parquet_needs_a_file_and_its_library(llm, invoices, monkeypatch):
    """One line names the next step, before the model runs; a file without a result stays as it was."""
    run = llm("extract", "--schema", SHORT, "a.txt", "--format", "parquet", answer=answer)
    assert run.code == 2 and "-o FILE.parquet" in run.err
    (invoices / "x.parquet").write_text("earlier")
    failed = llm("extract", "--schema", SHORT, "a.txt", "-o", "x.parquet", answer=lambda _: "no JSON")
    assert failed.code != 0 and (invoices / "x.parquet").read_text() == "earlier"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    missing = llm("extract", "--schema", SHORT, "a.txt", "-o", "x.parquet", answer=answer)
    assert missing.code == 69 and "[parquet]" in missing.err and missing.backend is None
    assert (invoices / "x.parquet").read_text() == "earlier"


def test_a_text_that_is_too_large_to_be_kept_is_read_in_blocks(llm, invoices, monkeypatch):
    """Its values are those of the whole; a page of it cannot be made beyond the limit."""
    monkeypatch.setattr(file_reader, "MIN_LARGE_BYTES", 100)
    monkeypatch.setattr(streamed_file, "BLOCK_CHARS", 1000)
    (invoices / "long.txt").write_text("".join(f"Firm{n} owes {n}.50 EUR.\n\n" for n in range(200)))
    done = llm("extract", "--many", "--schema", SHORT, "long.txt", "--format", "jsonl", answer=answer)
    found = [json.loads(line)["name"] for line in done.out.splitlines()]
    assert done.code == 0 and found[0] == "Firm0" and len(found) > 2
    monkeypatch.setattr(streamed_file, "MAX_TEXT_BYTES", 1000)
    refused = llm("extract", "--schema", SHORT, "long.txt", "--html", "x.html", answer=answer)
    assert refused.code == 65 and len(refused.err.splitlines()) == 1 and "larger than" in refused.err


def test_many_objects_are_a_list_or_lines(llm, invoices):
    """No object is no line."""
    shown = llm("extract", "--many", "--schema", SHORT, "a.txt", answer=answer)
    assert json.loads(shown.out) == [{"name": "Acme", "amount": 12.5}]
    lines = llm("extract", "--many", "--schema", SHORT, "--format", "jsonl", "a.txt", answer=answer)
    assert lines.out == '{"name": "Acme", "amount": 12.5}\n'
    none = llm("extract", "--many", "--schema", SHORT, "--format", "jsonl", "a.txt", answer=lambda _: "[]")
    assert (none.code, none.out) == (0, "")
    table = llm("extract", "--many", "--schema", SHORT, "--format", "csv", "a.txt", answer=lambda _: "[]")
    assert table.out == "name,amount\n"


def test_json_has_the_places(llm, invoices):
    """With the usual fields of a result; -v says them on standard error."""
    done = llm("extract", "--json", "--schema", SHORT, "a.txt", answer=answer)
    shown = json.loads(done.out)
    assert shown["values"] == {"name": "Acme", "amount": 12.5} and shown["coverage"] == 1.0
    assert [each["quote"]["text"] for each in shown["found"]] == ["Acme", "12.50"]
    assert shown["prompt"] == "extract" and shown["usage"]["prompt_tokens"] > 0
    told = llm("extract", "-v", "--schema", SHORT, "a.txt", answer=answer)
    assert "name = 'Acme' (line 1" in told.err


def test_the_page_marks_the_finds(llm, invoices):
    """It is escaped, and has no scripts and no addresses."""
    done = llm("extract", "--schema", SHORT, "a.txt", "b.txt", "--html", "found.html", answer=answer)
    page = (invoices / "found.html").read_text()
    assert done.code == 0 and '<mark title="name">Acme</mark> Corp.' in page
    assert "&lt;b&gt;<mark" in page and "7.25</mark>&lt;/b&gt;" in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")


def test_a_page_stays_if_nothing_was_found(llm, invoices):
    """The failure has exit code 3, and says what to do."""
    (invoices / "found.html").write_text("old")
    done = llm("extract", "--schema", SHORT, "a.txt", "--html", "found.html", answer=lambda _: "no")
    assert (done.code, done.out) == (3, "") and (invoices / "found.html").read_text() == "old"
    assert "no values that fit the schema were found in a.txt" in done.err and "null" in done.err


def test_values_that_are_not_in_the_text_are_exit_code_3(llm, invoices):
    """The others are delivered."""
    lie = json.dumps({"name": "Evil", "amount": 12.5})
    done = llm("extract", "--schema", SHORT, "a.txt", answer=lambda _: lie)
    assert done.code == 3 and json.loads(done.out) == {"name": None, "amount": 12.5}
    assert 'name "Evil" does not stand in the text' in done.err and "line 1 of a.txt may be missing" in done.err


def test_a_large_table_is_read_as_it_is(llm, invoices):
    """Not as an overview, which would leave out rows."""
    rows = "".join(f"row{n};{n}.5\n" for n in range(6000))
    (invoices / "t.csv").write_text(rows)
    seen = []

    def copy(request):
        seen.append(last_message(request))
        return "[]"

    done = llm("extract", "--many", "--schema", SHORT, "t.csv", answer=copy, context=8000)
    assert done.code == 0 and any("row5999;" in text for text in seen)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--schema", "a strng"], 2, "unknown type 'strng'"),
        (["--schema", ""], 2, "names no field"),
        (["--schema", "order number"], 2, "Write order_number (a name), or order (number)"),
        (["--schema", "due (date): when to pay, at the latest"], 2, "\n  due (date): when to pay, at the latest\n"),
        (["--schema", "@none.json"], 66, "none.json"),
        (["--schema", '{"type": "object"'], 65, "not valid JSON"),
        (["--schema", '{"type": "object", "properties": {"x": {}}}'], 2, "--free"),
        (["--schema", "a", "--examples", "bad.jsonl"], 65, '"text"'),
        (["--schema", "a", "--examples", "none.jsonl"], 66, "none.jsonl"),
        (["--schema", "a", "--html", "a.txt"], 2, "overwrite"),
        (["--schema", "a", "--html", "x.json", "-o", "x.json"], 2, "overwrite"),
        (["--schema", "a", "--html", "none/x.html"], 73, "none"),
        (["--schema", "a", "--json", "--format", "csv"], 2, "two formats"),
        (["--schema", "a", "--format", "xml"], 2, "xml"),
        ([], 2, "--schema"),
    ],
)
def test_bad_arguments_are_one_line_and_a_next_step(llm, invoices, arguments, code, message):
    """Before a model is loaded."""
    (invoices / "bad.jsonl").write_text('{"text": 1}\n')
    done = llm("extract", "a.txt", *arguments, answer=answer)
    assert done.code == code and message in done.err and "Traceback" not in done.err and done.backend is None


def test_examples_are_shown_to_the_model(llm, invoices):
    """Before the text; their values have to fit the schema."""
    (invoices / "e.jsonl").write_text('{"text": "Zed owes 5.", "values": {"name": "Zed", "amount": 5}}\n')
    done = llm("extract", "--schema", SHORT, "--examples", "e.jsonl", "a.txt", answer=answer)
    contents = [message.content for message in done.backend.requests[0].messages]
    assert done.code == 0 and '{"name": "Zed", "amount": 5}' in contents and "Zed" not in done.out
    (invoices / "e.jsonl").write_text('{"text": "Zed owes 5.", "values": {"name": "Zed"}}\n')
    bad = llm("extract", "--schema", SHORT, "--examples", "e.jsonl", "a.txt", answer=answer)
    assert bad.code == 65 and "e.jsonl, line 1" in bad.err


def test_an_unreadable_document_does_not_stop_the_others(llm, invoices):
    """The exit code is 3."""
    done = llm("extract", "--schema", SHORT, "none.txt", "a.txt", answer=answer)
    assert done.code == 3 and json.loads(done.out)["name"] == "Acme" and "none.txt" in done.err
