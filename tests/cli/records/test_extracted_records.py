"""``llm extract --column``: values of each record as columns, in each format; --many with a row for each object."""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scripted import last_message

SHORT = "name, amount (number), tags list"
HEAD = "id,text\n"
TEXTS = {"1": "Acme owes 12.50 EUR.", "2": "nothing here", "3": "", "4": "Bolt owes 7.25 EUR or 8.50 USD."}
ROWS = HEAD + "".join(f"{number},{text}\n" for number, text in TEXTS.items())
COLUMNS = ("extract", "--column", "text", "--schema", SHORT)


def answer(request):
    """Copy the first name, the amounts and the currencies; a text with "boom" fails."""
    text = re.search(r'Text:\n("{3,})\n(.*)\n\1\n', last_message(request), re.DOTALL)[2]
    if "boom" in text:
        return ValueError("boom")
    names, amounts, tags = (re.findall(each, text) for each in (r"[A-Z][a-z]+", r"\d+\.\d+", r"[A-Z]{3}"))
    if "JSON list" in last_message(request):
        return json.dumps(
            [
                {"name": names[0], "amount": float(amount), "tags": [tag]}
                for amount, tag in zip(amounts, tags, strict=True)
            ]
        )
    return json.dumps(
        {"name": names[0] if names else None, "amount": float(amounts[0]) if amounts else None, "tags": tags}
    )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_values_of_a_table_are_columns(llm, write):
    """Lists are JSON; a record without values, or without text, has empty cells."""
    run = llm(*COLUMNS, write("in.csv", ROWS), answer=answer)
    assert run.code == 0 and run.out.splitlines() == [
        "id,text,name,amount,tags,error",
        '1,Acme owes 12.50 EUR.,Acme,12.5,"[""EUR""]",',
        "2,nothing here,,,[],",
        "3,,,,,",
        '4,Bolt owes 7.25 EUR or 8.50 USD.,Bolt,7.25,"[""EUR"", ""USD""]",',
    ]


def test_the_values_of_json_lines_follow_the_bytes_of_the_object(llm, write, tmp_path):
    """Lists stay lists; --format is that of the output."""
    source = write("in.jsonl", '{"n":1e400, "text": "Acme owes 12.50 EUR."}\n{"text": ""}\n')
    run = llm(*COLUMNS, source, answer=answer)
    assert run.code == 0 and run.out.splitlines() == [
        '{"n":1e400, "text": "Acme owes 12.50 EUR.", "name": "Acme", "amount": 12.5, "tags": ["EUR"]}',
        '{"text": "", "name": null, "amount": null, "tags": null}',
    ]
    table = llm(*COLUMNS, "--format", "tsv", source, answer=answer)
    assert table.out.splitlines()[0] == "n\ttext\tname\tamount\ttags\terror"
    piped = llm(*COLUMNS, "--format", "jsonl", stdin=ROWS.encode(), answer=answer)
    assert json.loads(piped.out.splitlines()[0])["tags"] == ["EUR"]


def test_the_values_of_parquet_have_the_types_of_the_schema(llm, write, tmp_path):
    """Objects and lists too, even where no record has a value."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "parts": {"type": "array", "items": {"type": "object", "properties": {"size": {"type": "integer"}}}},
            "kind": {"enum": ["a", 1]},
        },
    }
    pq.write_table(pa.table({"text": ["Acme owes 12.50 EUR."]}), tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    argv = ("extract", "--column", "text", str(tmp_path / "in.parquet"), "-o", str(out), "--schema")
    run = llm(*argv, SHORT, answer=answer)
    assert run.code == 0 and pq.read_table(out).to_pylist() == [
        {"text": "Acme owes 12.50 EUR.", "name": "Acme", "amount": 12.5, "tags": ["EUR"], "error": None}
    ]
    nothing = '{"name": "Acme", "parts": [], "kind": 1}'
    run = llm(*argv, json.dumps(schema), "--force", answer=lambda _: nothing)
    table = pq.read_table(out)
    assert run.code == 0 and table.schema.field("parts").type == pa.list_(pa.struct([("size", pa.int64())]))
    assert table.schema.field("kind").type == pa.int64() and table["kind"].to_pylist() == [1]
    assert llm(*COLUMNS, "--format", "parquet", write("in.csv", ROWS), answer=answer).code == 2


def test_an_interrupted_job_is_resumed(llm, often, write, tmp_path):
    """The output is that of one run, also with several rows for a record; no record is asked about twice."""
    texts = [f"Acme owes {n}.50 EUR or {n}.75 USD." if n % 3 else "nothing" for n in range(9)]
    source = write("in.csv", HEAD + "".join(f"{n},{text}\n" for n, text in enumerate(texts)))

    def broken(request):
        return ValueError("stop") if "5.50" in last_message(request) else answer(request)

    for many in ((), ("--many",)):
        for suffix in ("csv", "jsonl"):
            whole, out = tmp_path / f"whole{many}.{suffix}", tmp_path / f"out{many}.{suffix}"
            argv = (*COLUMNS, *many, source, "--on-error", "fail", "-o")
            assert llm(*argv, str(whole), answer=answer).code == 0
            assert llm(*argv, str(out), answer=broken).code == 3 and not out.exists()
            run = llm(*argv, str(out), "--resume", answer=answer)
            assert run.code == 0 and out.read_bytes() == whole.read_bytes()
            assert len(run.backend.requests) == 4


def test_a_job_with_another_schema_is_not_resumed(llm, often, write, tmp_path):
    """The manifest names what differs."""
    source = write("in.csv", ROWS + "5,boom\n")
    out = str(tmp_path / "out.csv")
    assert llm(*COLUMNS, source, "--on-error", "fail", "-o", out, answer=answer).code == 3
    other = ("extract", "--column", "text", "--schema", "name", source, "--on-error", "fail", "-o", out, "--resume")
    run = llm(*other, answer=answer)
    assert run.code == 2 and "--schema" in run.err


def test_many_gives_a_row_for_each_object(llm, write):
    """None for a record without objects or text; the columns of the record are repeated."""
    run = llm(*COLUMNS, "--many", write("in.csv", ROWS), answer=answer)
    assert run.code == 0 and run.out.splitlines() == [
        "id,text,name,amount,tags,error",
        '1,Acme owes 12.50 EUR.,Acme,12.5,"[""EUR""]",',
        '4,Bolt owes 7.25 EUR or 8.50 USD.,Bolt,7.25,"[""EUR""]",',
        '4,Bolt owes 7.25 EUR or 8.50 USD.,Bolt,8.5,"[""USD""]",',
    ]
    shown = llm(*COLUMNS, "--many", "--json", write("in.csv", ROWS), answer=answer)
    values = [json.loads(line)["values"] for line in shown.out.splitlines()]
    assert [len(each) for each in values] == [1, 0, 0, 2]


def test_many_rows_of_parquet(llm, write, tmp_path):
    """All rows of a record or, for a number that a column cannot hold, one with the error; shards are refused."""
    source, out = write("in.csv", ROWS + "5,Cole owes 1.50 EUR or 2.50 USD.\n"), tmp_path / "out.parquet"
    given = [{"name": "Cole", "number": 1}, {"name": "Cole", "number": 12345678901234567890}]

    def numbered(request):
        return json.dumps(given if "Cole" in last_message(request) else [])

    run = llm(*COLUMNS, "--many", source, "-o", str(out), answer=answer)
    rows = pq.read_table(out).select(["id", "amount", "tags"]).to_pylist()
    assert run.code == 0 and [(row["id"], row["amount"]) for row in rows] == [
        ("1", 12.5), ("4", 7.25), ("4", 8.5), ("5", 1.5), ("5", 2.5),
    ]  # fmt: skip
    assert rows[2]["tags"] == ["USD"]
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "number": {"type": "integer"}}}
    free = ("extract", "--free", "--many", "--column", "text", "--schema", json.dumps(schema), source)
    run = llm(*free, "-o", str(out), "--force", answer=numbered)
    kept = pq.read_table(out).select(["id", "name"]).to_pylist()
    assert run.code == 3 and kept == [{"id": "5", "name": None}] and "64 bits" in run.err
    run = llm(*COLUMNS, "--many", source, "-o", str(tmp_path / "part.parquet"), "--shard", "1/2", answer=answer)
    assert run.code == 2 and "shard" in run.err and "-o FILE.jsonl" in run.err


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_shards_of_many_rows_are_merged(llm, write, tmp_path, suffix):
    """The merged output is that of one run."""
    source, whole, merged = write("in.csv", ROWS), tmp_path / f"whole.{suffix}", tmp_path / f"merged.{suffix}"
    parts = [str(tmp_path / f"part{number}.{suffix}") for number in (1, 2)]
    assert llm(*COLUMNS, "--many", source, "-o", str(whole), answer=answer).code == 0
    for number, part in enumerate(parts, 1):
        run = llm(*COLUMNS, "--many", source, "--shard", f"{number}/2", "-o", part, answer=answer)
        assert run.code == 0, run.err
    run = llm("merge", *parts, "-o", str(merged))
    assert run.code == 0 and merged.read_bytes() == whole.read_bytes()
    refused = llm("merge", *parts, "-o", str(merged), "--force", "--summary", str(tmp_path / "s.json"))
    assert refused.code == 2 and "no summary" in refused.err


def test_failed_records_are_retried(llm, write, tmp_path):
    """With one row for each record; --many is refused."""
    out = tmp_path / "out.jsonl"
    source = write("in.csv", ROWS + "5,boom Acme 3.50 EUR\n")
    assert llm(*COLUMNS, source, "-o", str(out), answer=answer).code == 3
    assert lines(out)[4]["error"] and lines(out)[4]["name"] is None
    text = "Acme 3.50 EUR"

    def fixed(_request):
        return '{"name": "Acme", "amount": 3.5, "tags": ["EUR"]}'

    run = llm(*COLUMNS, source, "-o", str(out), "--retry-failed", answer=fixed)
    assert run.code == 0 and lines(out)[4]["name"] == "Acme" and text in lines(out)[4]["text"]
    assert len(run.backend.requests) == 1
    many = llm(*COLUMNS, "--many", source, "-o", str(out), "--retry-failed", answer=answer)
    assert (many.code, many.backend) == (2, None) and "--many" in many.err


def test_a_value_with_the_name_of_a_column_needs_overwrite(llm, write):
    """Refused before a record is read; in --json there are no columns."""
    argv = ("extract", "--column", "text", "--schema", "id, name", write("in.csv", "id,text\n1,Acme\n"))
    given = '{"id": null, "name": "Acme"}'
    run = llm(*argv, answer=lambda _: given)
    assert run.code == 2 and "already has the column id" in run.err and "--overwrite" in run.err
    run = llm(*argv, "--overwrite", answer=lambda _: given)
    assert run.code == 0 and run.out == "id,text,name,error\n,Acme,Acme,\n"
    assert llm(*argv, "--json", answer=lambda _: given).code == 0


def test_a_value_called_error_is_refused(llm, write):
    """Unless records that fail are left out."""
    argv = ("extract", "--column", "text", "--schema", "error", write("in.csv", "text\nfull disk\n"))
    run = llm(*argv, answer=lambda _: '{"error": "full disk"}')
    assert (run.code, run.backend) == (2, None) and "the field error" in run.err
    run = llm(*argv, "--on-error", "skip", answer=lambda _: '{"error": "full disk"}')
    assert run.code == 0 and run.out == "text,error\nfull disk,full disk\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--html", "x.html"), "--html is for documents"),
        (("--format", "json"), "--format jsonl"),
        (("--format", "csv", "--json"), "two formats"),
        (("--column", "none"), "no column none"),
    ],
)
def test_options_that_records_do_not_have(llm, write, tmp_path, monkeypatch, options, words):
    """One line, and a next step."""
    monkeypatch.chdir(tmp_path)
    run = llm(*COLUMNS, *options, write("in.csv", ROWS), answer=answer)
    assert (run.code, run.backend) == (2, None) and words in run.err and len(run.err.splitlines()) <= 2, run.err


def test_a_schema_without_properties_has_no_columns(llm, write):
    """Free values may have any schema, but columns need names."""
    argv = ("extract", "--free", "--column", "text", "--schema", '{"type": "object"}', write("in.csv", ROWS))
    run = llm(*argv, answer=answer)
    assert (run.code, run.backend) == (2, None) and "properties" in run.err


def test_lines_become_json_lines(llm, write):
    """A text has no columns to which values could be added."""
    run = llm(
        "extract", "--limit", "1", "--schema", SHORT, write("in.txt", "Acme owes 12.50 EUR.\nmore\n"), answer=answer
    )
    assert json.loads(run.out) == {"text": "Acme owes 12.50 EUR.", "name": "Acme", "amount": 12.5, "tags": ["EUR"]}


def test_the_summary_counts_records_without_values(llm, terminal, write, tmp_path):
    """On a terminal, also of a resumed job."""
    for many, said in (((), "without a value"), (("--many",), "without a value, 3 rows")):
        screen = terminal()
        argv = (*COLUMNS, *many, write("in.csv", ROWS), "-o", str(tmp_path / f"out{len(many)}.csv"))
        assert llm(*argv, answer=answer, err=screen.slave).code == 0
        assert f"llm: 4 records, 1 blank, 1 {said}" in screen.close()


def test_warnings_name_the_record(llm, write):
    """A date that may be two days; -v says where a value stands."""
    source = write("in.csv", "text\nDue 03/04/2024.\nAcme\n")
    argv = ("extract", "--column", "text", "--schema", "due (date)", source)
    run = llm(*argv, "-v", answer=lambda _: '{"due": "2024-04-03"}' if "Due" in last_message(_) else '{"due": null}')
    assert (
        "line 2: due: '03/04/2024' may also mean another day" in " ".join(run.err.split())
        and "due = '2024-04-03' (line 1" in run.err
    )
