"""Verbs over records: formats of inputs and outputs, columns, templates, and records that fail."""

from __future__ import annotations

import csv
import io
import itertools
import json
import struct
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from grid import grid
from scripted import last_message
from source_files import make_pdf, make_report_docx, make_xlsx

ROWS = [{"id": "1", "text": 'good, "very"'}, {"id": "2", "text": ""}, {"id": "3", "text": "two\nlines"}]
FORMATS = ("csv", "tsv", "jsonl", "parquet")


def encode(name, rows):
    """Return rows as a file of a format."""
    if name == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    buffer = io.BytesIO()
    if name == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        return buffer.getvalue()
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), delimiter="\t" if name == "tsv" else ",", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def decode(name, data):
    """Return the rows of a file, numbers and missing values as texts."""
    if name == "jsonl":
        rows = [json.loads(line) for line in data.decode().splitlines()]
    elif name == "parquet":
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    else:
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline=""), delimiter="\t" if name == "tsv" else ","))
    return [{key: "" if value is None else str(value) for key, value in row.items() if key != "error"} for row in rows]


@pytest.mark.parametrize("formats", list(itertools.permutations(FORMATS, 2)) + [(name, name) for name in FORMATS])
def test_every_format_becomes_every_other(llm, scores, write, tmp_path, formats):
    """Columns, their order and the rows are the same in all outputs; the verb's columns follow."""
    source, target = formats
    path, out = write(f"in.{source}", encode(source, ROWS)), tmp_path / f"out.{target}"
    run = llm("sentiment", path, "-o", str(out), answer=scores)
    assert (run.code, run.out, run.err) == (0, "", "")
    rows = decode(target, out.read_bytes())
    assert [{"id": row["id"], "text": row["text"]} for row in rows] == ROWS
    assert list(rows[0]) == ["id", "text", "label", "p_positive", "p_neutral", "p_negative", "margin", "score"]
    assert [bool(row["label"]) for row in rows] == [True, False, True]
    assert sum(float(rows[0][f"p_{label}"]) for label in ("positive", "neutral", "negative")) == pytest.approx(1)
    assert list(tmp_path.glob("*.partial")) == list(tmp_path.glob("*.job.json")) == []


@pytest.mark.parametrize("name", ["out.xlsx", "out.csv.gz", "OUT.NPY", "out.json"])
def test_the_name_of_another_format_is_refused(llm, scores, write, tmp_path, name):
    """A spreadsheet or a compressed file with rows of CSV could not be opened; a format that is named counts."""
    path, out = write("in.csv", "text\ngood\n"), tmp_path / name
    run = llm("sentiment", path, "-o", str(out), answer=scores)
    assert run.code == 2 and f"cannot write {out}" in run.err
    assert run.backend is None or not run.backend.requests
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["in.csv"]
    named = llm("sentiment", path, "-o", str(out), "--output-format", "csv", answer=scores)
    assert named.code == 0 and out.read_text().startswith("text,label,")


def test_an_array_of_json_in_a_pipe_is_refused(llm, scores):
    """It was one record, or a table with strange columns; ``jq`` makes JSON Lines of it."""
    for argv in ((), ("--column", "text")):
        run = llm("sentiment", *argv, stdin=b'[\n  {"text": "good"},\n  {"text": "bad"}\n]\n', answer=scores)
        assert (run.code, run.out) == (65, "") and "jq -c" in run.err


@pytest.mark.parametrize("name", ["out.csv", "/dev/fd/{}"])
def test_an_open_descriptor_is_written_and_not_replaced(llm, scores, write, tmp_path, name):
    """``{ date; llm sentiment a.csv -o /dev/stdout; date; } >> log``: what others have written to the file stays."""
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as shared:
        shared.write(b"before\n")
        output = tmp_path / "out.csv"
        output.symlink_to(f"/dev/fd/{shared.fileno()}")
        path = str(output) if name == "out.csv" else name.format(shared.fileno())
        run = llm("sentiment", write("in.csv", "text\ngood\n"), "-o", path, "--on-error", "skip", answer=scores)
        shared.write(b"after\n")
    assert (run.code, run.out, run.err) == (0, "", "")
    lines = log.read_text().splitlines()
    assert [lines[0], lines[-1]] == ["before", "after"] and lines[1].startswith("text,label,") and len(lines) == 4


def test_values_of_parquet_become_json(llm, scores, write):
    """Dates are texts; NaN and infinities, which JSON does not have, are null, in JSON Lines and in --json."""
    buffer = io.BytesIO()
    rows = {"text": ["good"] * 3, "day": [date(2026, 12, 1)] * 3, "number": [float("nan"), float("-inf"), 1.5]}
    pq.write_table(pa.table(rows), buffer)
    path = write("in.parquet", buffer.getvalue())

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    for argv in (("--output-format", "jsonl"), ("--json",)):
        run = llm("sentiment", path, *argv, answer=scores)
        found = [json.loads(line, parse_constant=refuse) for line in run.out.splitlines()]
        columns = [each.get("row", each) for each in found]
        assert run.code == 0 and [each["number"] for each in columns] == [None, None, 1.5], argv
        assert {each["day"] for each in columns} == {"2026-12-01"} and found[0]["label"]


def test_json_lines_may_be_in_a_json_file(llm, scores, write, tmp_path):
    """As many programs write them."""
    out = tmp_path / "out.json"
    run = llm("sentiment", write("in.jsonl", '{"text": "good"}\n'), "-o", str(out), answer=scores)
    assert run.code == 0 and json.loads(out.read_text())["text"] == "good"


VERBS = {
    "classify": ("classify", "--labels", "a,b"),
    "filter": ("filter", "it is good", "--threshold", "0"),
    "ask": ("ask", "Why?", "--column", "text", "-f"),
    "summarize": ("summarize", "--column", "text"),
    "generate": ("generate", "story", "--var", "topic=tea", "-f"),
    "translate": ("translate", "--to", "fr", "--from", "en", "--no-tm", "--column", "text"),
}
"""The other verbs; the name of the input follows."""


@grid("verb", VERBS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_verb_writes_every_format(llm, scores, write, tmp_path, *, verb, source):
    """The columns of the input stay in front and in order, whatever the verb adds; filter adds none."""
    path = write(f"in.{source}", encode(source, ROWS[:1]))
    for target in FORMATS:
        out = tmp_path / f"out.{target}"
        run = llm(*VERBS[verb], path, "-o", str(out), answer=lambda r: scores(r) if r.candidates else "Une réponse")
        assert (run.code, run.out) == (0, ""), run.err
        (row,) = decode(target, out.read_bytes())
        assert {name: row.pop(name) for name in [*row][:2]} == ROWS[0]
        assert all(row.values()) and bool(row) == (verb != "filter")


@pytest.mark.parametrize("source", ["csv", "tsv", "jsonl"])
def test_standard_output_has_the_format_of_the_input(llm, scores, write, source):
    """From a file and from a pipe, with --format where no name shows it."""
    data = encode(source, ROWS)
    run = llm("sentiment", write(f"in.{source}", data), answer=scores)
    piped = llm("sentiment", "--format", source, stdin=data, answer=scores)
    assert run.out == piped.out and decode(source, run.out.encode())[0]["id"] == "1"
    lines = llm("sentiment", "--output-format", "lines", "--format", source, stdin=data, answer=scores).out
    assert [bool(line) for line in lines.split("\n")] == [True, False, True, False]


def test_lines_become_a_table(llm, scores, write, tmp_path):
    """The name of -o says so; the column of the lines is called text."""
    out = tmp_path / "out.csv"
    assert llm("sentiment", write("in.txt", "good\n\nbad\n"), "-o", str(out), answer=scores).code == 0
    assert [row["text"] for row in decode("csv", out.read_bytes())] == ["good", "", "bad"]


def test_json_results_hold_the_row(llm, scores, write):
    """--json prints the objects of the pipe contract; columns of any name do not clash with them."""
    run = llm("sentiment", "--json", "--column", "model", write("in.csv", "model,label\ngood,x\n"), answer=scores)
    (found,) = [json.loads(line) for line in run.out.splitlines()]
    assert found["row"] == {"model": "good", "label": "x"} and found["line"] == 2
    assert {"label", "probabilities", "model", "usage", "timings"} <= set(found) and found["model"] != "good"


def test_a_column_with_the_name_of_a_new_one(llm, scores, write):
    """It is refused before anything runs; --overwrite replaces it in its place."""
    path = write("in.csv", "label,text\nold,good\n")
    run = llm("sentiment", path, answer=scores)
    assert (run.code, run.out) == (2, "") and "label" in run.err and "--overwrite" in run.err
    replaced = llm("sentiment", "--overwrite", path, answer=scores)
    assert replaced.code == 0 and replaced.out.startswith("label,text,p_positive") and ",good," in replaced.out
    assert "old" not in replaced.out


def test_the_text_column_is_named(llm, scores, write):
    """A table without a text column says which columns it has; nothing is sent."""
    path = write("in.csv", "title,body\na,b\n")
    run = llm("sentiment", path, answer=scores)
    assert (run.code, run.backend) == (2, None) and "title, body" in run.err
    assert llm("sentiment", path, "--column", "nope", answer=scores).code == 2
    named = llm("sentiment", path, "--field", "body", answer=scores)
    assert "Text: b\n" in last_message(named.backend.requests[-1])


def test_a_field_inside_a_field(llm, scores):
    """A path leads into the objects of JSON Lines."""
    run = llm("sentiment", "--field", "a.b", stdin=b'{"a": {"b": "deep"}}\n{"a": {}}\n', answer=scores)
    assert run.code == 3 and "Text: deep\n" in last_message(run.backend.requests[-1])
    assert "no field a.b" in json.loads(run.out.splitlines()[1])["error"]


def test_a_template_uses_columns(llm, scores, write):
    """It makes the text of each record; values are never templates themselves."""
    path = write("in.csv", "title,body\n{{ 1 }},b\n")
    run = llm("sentiment", "--template", "{{ row.title }}: {{ row.body }}", path, answer=scores)
    assert run.code == 0 and "Text: {{ 1 }}: b\n" in last_message(run.backend.requests[-1])
    template = write("t.txt", "{{ row.body }}\n")
    assert llm("sentiment", "--template", f"@{template}", path, answer=scores).code == 0
    for bad, what in (("{{ row.titel }}", "titel"), ("{{ title }}", "row.NAME"), ("{% if %}", "--template")):
        failed = llm("sentiment", "--template", bad, path, answer=scores)
        assert failed.code == 2 and what in failed.err


def test_a_prompt_file_uses_columns(llm, scores, write, tmp_path):
    """Any prompt may use ``row``; without records it is empty."""
    prompts = tmp_path / "home" / "config" / "prompts"
    prompts.mkdir(parents=True)
    (prompts / "sentiment.yaml").write_text(
        'description: d\nuser: "{{ row.title }}/{{ text }}"\noutput: {labels: [a, b]}\n'
    )
    run = llm("sentiment", "--column", "text", write("in.csv", "title,text\nT,x\n"), answer=scores)
    assert last_message(run.backend.requests[0]) == "T/x" and ",p_a,p_b" in run.out


@pytest.mark.parametrize("choice", ["keep", "skip", "fail"])
def test_a_record_that_fails(llm, scores, write, tmp_path, choice):
    """It is kept with its error, left out, or ends the job; the exit code is 3 as others were delivered."""
    out = tmp_path / "out.csv"
    path = write("in.csv", "id,text\n1,good\n2,boom\n3,bad,extra\n4,end\n")
    run = llm("sentiment", path, "-o", str(out), "--on-error", choice, answer=scores)
    assert run.code == 3 and "line 3" in run.err
    if choice == "fail":
        assert not out.exists() and "--resume" in run.err and "line 4" not in run.err
        return
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == (["1", "2", "3", "4"] if choice == "keep" else ["1", "4"])
    assert "3 fields" in run.err
    if choice == "keep":
        assert [bool(row["error"]) for row in rows] == [False, True, True, False] and rows[1]["label"] == ""
    else:
        assert "error" not in rows[0]


def test_json_lines_with_other_fields_in_a_table(llm, scores, write, tmp_path):
    """A field that the first record lacks has no column: the record is an error record with the fields that have one."""
    out = tmp_path / "out.csv"
    path = write("in.jsonl", '{"id": 1, "text": "a"}\n{"id": 2, "text": "b", "new": 3}\n{"text": "c"}\n')
    run = llm("sentiment", path, "-o", str(out), answer=scores)
    assert run.code == 3 and "new" in run.err
    rows = decode("csv", out.read_bytes())
    assert [(row["id"], bool(row["label"])) for row in rows] == [("1", True), ("2", False), ("", True)]
    stopped = llm("sentiment", path, "-o", str(tmp_path / "other.csv"), "--on-error", "fail", answer=scores)
    assert stopped.code == 3 and "1 record is done" in stopped.err and not (tmp_path / "other.csv").exists()


def test_nothing_delivered_leaves_the_output(llm, scores, write, tmp_path):
    """If every record fails, the code is that of the first failure, and no file changes or remains."""
    out = tmp_path / "out.csv"
    out.write_text("before")
    run = llm("sentiment", write("in.csv", "id,text\n1,boom\n2,boom\n"), "-o", str(out), answer=scores)
    assert (run.code, out.read_text()) == (70, "before")
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.csv"]


def test_records_of_several_files(llm, scores, write):
    """They are one table; a file that is missing is reported at the end."""
    one, two = write("1.csv", "text\ngood\n"), write("2.csv", "text\nbad\n")
    run = llm("sentiment", one, two, one + "x", answer=scores)
    assert run.code == 3 and run.out.count("\n") == 3 and "1.csvx" in run.err
    assert llm("sentiment", one, write("3.csv", "other\nx\n"), answer=scores).code == 3


def test_equal_texts_are_answered_once(llm, scores, write):
    """Each row has the answer, and --stats counts one request."""
    path = write("in.csv", "id,text\n" + "".join(f"{n},{'good' if n % 2 else 'bad'}\n" for n in range(20)))
    once, each = llm("sentiment", "--dedupe", path, answer=scores), llm("sentiment", path, answer=scores)
    assert len(each.backend.requests) == 20 and once.out == each.out
    once = llm("sentiment", "--dedupe", path, answer=scores)
    assert len(once.backend.requests) == 2


def test_some_of_the_records(llm, scores, write):
    """--limit takes the first ones, --sample random ones in their order."""
    path = write("in.csv", "text\n" + "".join(f"t{n}\n" for n in range(50)))
    assert llm("sentiment", "--limit", "2", path, answer=scores).out.count("\n") == 3
    found = [llm("sentiment", "--sample", "5", "--seed", "3", path, answer=scores).out for _ in range(2)]
    numbers = [int(line.partition(",")[0][1:]) for line in found[0].splitlines()[1:]]
    assert found[0] == found[1] and len(numbers) == 5 and numbers == sorted(numbers)


def test_duplicate_names_are_reported(llm, scores, write):
    """The second column gets another name, also in the output."""
    run = llm("sentiment", "-v", "--column", "text", write("in.csv", "text,text\na,b\n"), answer=scores)
    assert run.out.startswith("text,text_2,label") and "text_2" in run.err


# ---- the other verbs ------------------------------------------------------------------------------------------------


def test_ask_about_each_record(llm, write):
    """The question is the argument, and each record a document; the answer is a column."""
    path = write("in.csv", "id,text\n1,first\n2,\n3,third\n")
    run = llm("ask", "Which one?", "-f", path, "--column", "text", answer=lambda r: f" {'third' in last_message(r)}\n")
    assert run.code == 0
    assert run.out == "id,text,answer,error\n1,first,False,\n2,,,\n3,third,True,\n"
    assert all("Which one?" in last_message(request) for request in run.backend.requests)


def test_ask_each_record(llm, write):
    """Without a question, the text of a record is the question."""
    path = write("in.jsonl", '{"word": "house"}\n')
    run = llm("ask", "--template", "What rhymes with {{ row.word }}?", "-f", path)
    assert json.loads(run.out) == {"word": "house", "answer": "What rhymes with house?"}


def test_an_empty_answer_is_an_error_record(llm, write):
    """It is requested once more; an answer that is cut is reported, and kept."""
    path = write("in.csv", "text\na\nb\n")
    run = llm("ask", "-f", path, "--column", "text", answer=lambda r: "" if last_message(r) == "a" else "yes")
    assert run.code == 3 and len(run.backend.requests) == 3
    rows = list(csv.DictReader(io.StringIO(run.out)))
    assert [(row["answer"], "empty" in row["error"]) for row in rows] == [("", True), ("yes", False)]
    long = llm("ask", "-f", path, "--column", "text", answer=lambda _: "w " * 3000)
    assert long.code == 3 and "cut at a limit" in long.err


def test_summarize_each_record(llm, write):
    """A record that does not fit the context is summarized in parts."""
    path = write("in.csv", f'text\nshort\n"{"long words. " * 400}"\n')
    run = llm(
        "summarize", "--column", "text", path, context=400, answer=lambda _: "S.", tokens=lambda t: len(t.split())
    )
    assert run.code == 0 and len(run.backend.requests) > 3
    assert [row["summary"] for row in csv.DictReader(io.StringIO(run.out))] == ["S.", "S."]


def test_generate_for_each_record(llm, write):
    """Columns are variables; --var overrides them; a bad value is an error record."""
    path = write("in.csv", "topic,tone,to\nlunch,formal,Ann\ntea,nice,Bo\n")
    run = llm("generate", "email", "-f", path, answer=lambda r: "Dear" if "lunch" in last_message(r) else "?")
    rows = list(csv.DictReader(io.StringIO(run.out)))
    assert rows[0]["generated"] == "Dear" and rows[0]["to"] == "Ann"
    assert [request for request in run.backend.requests if "lunch" in last_message(request)]
    assert (run.code, "tone" in rows[1]["error"]) == (3, True)
    assert llm("generate", "email", "-f", path, "--var", "tone=formal", answer=lambda _: "x").code == 0


def test_translate_columns(llm, write):
    """Each column and language is a new column; numbers and codes are checked as in documents."""
    path = write("in.csv", "id,title,body\n1,One house,Two doors\n2,,\n")
    words = {"One house": "Une maison", "Two doors": "Deux portes"}
    run = llm(
        "translate",
        *("--to", "fr", "--from", "en", "--column", "title", "--column", "body", path),
        answer=lambda r: next(found for text, found in words.items() if text in last_message(r)),
    )
    assert run.out == "id,title,body,title_fr,body_fr,error\n1,One house,Two doors,Une maison,Deux portes,\n2,,,,,\n"
    assert run.code == 0
    again = llm("translate", "--to", "fr", "--from", "en", "--column", "title", "--column", "body", path)
    assert again.out == run.out and again.backend.requests == []  # from the translation memory


def test_translate_refuses_options_of_documents(llm, write):
    """They have no meaning for rows."""
    path = write("in.csv", "text\nx\n")
    for option in (["--bilingual", "interleaved"], ["--report", "r.json"]):
        assert llm("translate", "--to", "fr", "--format", "csv", *option, path).code == 2


def test_an_untranslated_text_is_reported(llm, write):
    """The source stays in its place, and the exit code is 3."""
    path = write("in.csv", "text\nHello 5\n")
    run = llm("translate", "--to", "fr", "--from", "en", "--column", "text", path, answer=lambda _: "")
    assert run.code == 3 and ",Hello 5," in run.out and "untranslated" in run.err


def test_two_formats_of_the_output_are_refused(llm, scores, write):
    """--json prints objects; --output-format beside it would be ignored."""
    run = llm("sentiment", "--json", "--output-format", "csv", write("in.txt", "good\n"), answer=scores)
    assert (run.code, run.out) == (2, "") and "--json and --output-format are two formats" in run.err


def test_on_error_is_an_option_of_records(llm, write):
    """As the others are: without it in effect, the lines would be read as one document."""
    run = llm("tokens", "--on-error", "skip", write("in.csv", "text\none\ntwo\n"))
    assert (run.code, run.out.splitlines()[0]) == (0, "text,tokens") and len(run.out.splitlines()) == 3


@pytest.mark.parametrize(
    "argv", [("filter", "it is about ships", "--files"), ("embed", "--files"), ("similar", "ships", "--files")]
)
def test_whole_files_are_read_as_ask_reads_them(llm, write, tmp_path, argv):
    """Word, PDF and HTML by their readers, a table as it is; a damaged one fails alone. A directory stands for its files."""
    (tmp_path / "docs").mkdir()
    names = [
        write("a.docx", make_report_docx()),
        write("b.pdf", make_pdf("Ships sail to the island.", "")),
        write("c.html", "<html><head><title>t</title></head><body><p>Ships sail.</p></body></html>"),
        write("d.csv", "ship,port\n" + "Anna,Kiel\n" * 5000),
        write("e.docx", b"PK\x03\x04damaged"),
    ]
    texts = []

    def answer(request):
        texts.append(request.prompt or last_message(request))
        return dict.fromkeys(request.candidates, -1.0) if request.candidates else struct.pack("<2f", 3, 4)

    (tmp_path / "docs" / "f.txt").write_text("Boats drift.")
    run = llm(*argv, *names, str(tmp_path / "docs"), answer=answer, context=1 << 20)
    assert run.code == 3 and "e.docx: the file is damaged" in run.err
    assert "1 of 2 pages have no text" in run.err
    whole = "\n".join(texts)
    assert "Costs rose by 12 percent." in whole and "Ships sail to the island." in whole
    assert "<p>" not in whole and "Boats drift." in whole and "Ships sail." in whole
    assert whole.count("Anna,Kiel") == 5000


def test_a_workbook_has_no_records(llm, write):
    """The next step says in which form it would have."""
    run = llm("classify", "--labels", "a,b", write("a.xlsx", make_xlsx(Sheet1=[["text"], ["good"]])))
    assert (run.code, run.out) == (65, "") and "Save a table as CSV" in run.err
