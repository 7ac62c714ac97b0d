"""The rest of a record stays as it was: numbers as they were spelled, keys that occur twice, quotes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from scripted import last_message

LONG = "0.12345678901234567890123"
ODD = f'{{"id":-0, "n":1e400,  "x": {LONG}, "text": "a\\u0041\\/", "in": {{"b":1.50, "b": 2}} , "id": 1E5 }}'
"""An object that Python's json module cannot repeat: numbers, escapes, blanks, and keys that occur twice."""
VERBS = {
    "sentiment": ["sentiment"],
    "classify": ["classify", "--labels", "a,b"],
    "multi": ["classify", "--labels", "a,b", "--multi"],
    "ask": ["ask", "What?", "--column", "text", "-f"],
    "generate": ["generate", "poem", "--var", "topic=t", "-f"],
    "summarize": ["summarize", "--column", "text"],
    "translate": ["translate", "--to", "fr", "--column", "text"],
    "embed": ["embed"],
    "tokens": ["tokens", "--column", "text"],
}


@pytest.fixture
def answer(scores):
    """Return the answers to requests of all kinds."""

    def answer(request):
        if request.hidden_states and not request.candidates:
            return struct.pack("<2f", 3.0, 4.0)
        return scores(request) if request.candidates else "Text."

    return answer


@pytest.mark.parametrize("verb", VERBS)
def test_the_fields_of_json_lines_keep_their_bytes(llm, answer, write, verb):
    """New fields follow those of the input, whose bytes stay."""
    run = llm(*VERBS[verb], write("in.jsonl", f"{ODD}\r\n"), answer=answer)
    kept = ODD.removesuffix(" }")
    assert run.code == 0, run.err
    assert run.out.startswith(f"{kept}, ") and run.out.endswith(" }\n") and run.out.count("\n") == 1
    assert len(json.loads(run.out)) > len(json.loads(ODD))


def test_a_match_keeps_its_bytes(llm, write):
    """Filter prints the records that match as they are, in JSON Lines and in CSV."""
    path = write("in.jsonl", f"{ODD}\n{{}}\n")
    run = llm("filter", "it fits", path, answer=lambda r: dict(zip(r.candidates, [-0.1, -3.0], strict=True)))
    assert (run.code, run.out) == (0, f"{ODD}\n"), run.err
    rows = '"id" ,text\n"1","a ""b"""\n 2,c\n'
    run = llm(
        "filter", "it fits", write("in.csv", rows), answer=lambda r: dict(zip(r.candidates, [-0.1, -3.0], strict=True))
    )
    assert run.out.split("\n", 1)[1] == rows.split("\n", 1)[1], run.err


def test_json_results_have_the_bytes_of_the_input(llm, scores, write):
    """The field row of --json is the object of the input; that of a record that failed too."""
    lines = f'{ODD}\n{{"text": "boom", "n": 1.10}}\n'
    run = llm("sentiment", "--json", write("in.jsonl", lines), answer=scores)
    first, second = run.out.splitlines()
    assert run.code == 3 and f'"row": {ODD}, ' in first and '"row": {"text": "boom", "n": 1.10}, "error"' in second
    assert json.loads(first)["label"] and json.loads(second)["line"] == 2


def test_a_record_that_failed_keeps_its_bytes(llm, scores, write):
    """Its error follows them."""
    run = llm("sentiment", write("in.jsonl", '{"text":"boom","n":1.10}\n{"text":"a"}\n'), answer=scores)
    assert run.code == 3 and run.out.startswith('{"text":"boom","n":1.10, "label": null, ')
    assert json.loads(run.out.splitlines()[0])["error"]


def test_a_field_is_replaced_in_its_place(llm, scores, write):
    """Only its value changes. A later record with a field of a new one's name fails, unless --overwrite is given."""
    line = '{"n": 1.10, "label" : "old", "text": "a", "error": "old"}\n'
    path = write("in.jsonl", f'{{"text": "b"}}\n{line}')
    run = llm("sentiment", path, answer=scores)
    kept = json.loads(run.out.splitlines()[1])
    assert run.code == 3 and "--overwrite" in run.err and "label" in run.err
    assert json.loads(kept["raw"])["label"] == "old" and kept["error"] != "old"
    run = llm("sentiment", "--overwrite", path, answer=scores)
    assert run.code == 0 and json.loads(run.out.splitlines()[1])["error"] is None
    label = json.loads(run.out.splitlines()[1])["label"]
    assert run.out.splitlines()[1].startswith(f'{{"n": 1.10, "label" : "{label}", "text": "a", "error": null, ')


def test_other_formats_have_numbers_as_they_were_spelled(llm, scores, write, tmp_path):
    """Also inside of a field; a record with a key that occurs twice fails where one of them would be lost."""
    out = tmp_path / "out.csv"
    lines = f'{{"text": "a", "n": 1e400, "x": {LONG}, "in": {{"y": [1.50]}}}}\n{{"text": "b", "n": 1, "n": 2}}\n'
    run = llm("sentiment", write("in.jsonl", lines), "-o", str(out), answer=scores)
    rows = out.read_text().splitlines()
    assert run.code == 3 and "n occurs more than once" in run.err and "line 2" in run.err
    assert rows[1].startswith(f'a,1e400,{LONG},"{{""y"": [1.50]}}",') and rows[2].startswith("b,2,,,,")


def test_parquet_refuses_numbers_that_it_cannot_hold(llm, scores, write, tmp_path):
    """Such a record fails and names the number; a number that is only spelled in another way is the same."""
    out = tmp_path / "out.parquet"
    lines = f'{{"text": "a", "x": 1.50}}\n{{"text": "b", "x": {LONG}}}\n{{"text": "c", "x": 1e400}}\n'
    run = llm("sentiment", write("in.jsonl", lines), "-o", str(out), answer=scores)
    assert run.code == 3 and LONG in run.err and "1e400" in run.err and "line 1" not in run.err


def test_parquet_keeps_a_record_that_it_cannot_hold_with_its_error(llm, scores, write, tmp_path):
    """A lone surrogate, a number beyond 64 bits and a value of another type fail one record each."""
    out = tmp_path / "out.parquet"
    values = ["1", '"b"', str(2**70), "2"]
    lines = (
        "".join(f'{{"text": "t", "x": {value}, "y": "b"}}\n' for value in values) + '{"text": "t", "y": "\\ud800"}\n'
    )
    run = llm("sentiment", write("in.jsonl", lines), "-o", str(out), answer=scores)
    rows = pq.read_table(out).to_pylist()
    assert run.code == 3, run.err
    assert [row["x"] for row in rows] == [1, None, None, 2, None]
    assert [row["error"] is None for row in rows] == [True, False, False, True, False]
    assert all(word in run.err for word in ("line 2", "line 3", "64 bits", "line 5", "lone surrogate"))


def test_a_number_is_shown_to_the_model_as_it_was_spelled(llm, scores, write):
    """As the text of a record, and in a template."""
    path = write("in.jsonl", f'{{"n": {LONG}, "in": {{"p": 1.50}}}}\n')
    for options in (["--column", "n"], ["--template", "{{ row.n }}"]):
        assert LONG in llm("sentiment", path, *options, answer=scores).backend.requests[-1].messages[-1].content
    run = llm("sentiment", path, "--column", "in", answer=scores)
    assert '{"p": 1.50}' in run.backend.requests[-1].messages[-1].content


def test_the_rows_of_a_table_keep_their_quotes(llm, scores, write):
    """New columns follow the bytes of a row, also of one with line breaks."""
    rows = ['"1", "a"', '2,"b\nc"', '3,""""']
    run = llm("sentiment", write("in.csv", "id,text\r\n" + "\r\n".join(rows)), answer=scores)
    assert run.code == 0, run.err
    shown = run.out.split("\r\n")
    assert all(line.startswith(f"{row},") for line, row in zip(shown[1:], rows, strict=False)) and len(shown) == 5


@pytest.mark.parametrize("name", ["long.jsonl", "long.csv", "long.txt"])
def test_a_line_above_64_mib_is_one_failed_record(llm, scores, name, tmp_path):
    """The others are processed, and the result says which one failed."""
    path = tmp_path / name
    rows = {"jsonl": '{"text": "%s"}', "csv": "1,%s", "txt": "%s"}[name.partition(".")[2]]
    with path.open("w") as file:
        file.write("id,text\n" if name.endswith("csv") else "")
        for text in ("a", "x" * (65 << 20), "b"):
            file.write(rows % text + "\n")
    out = tmp_path / f"out-{name}"
    run = llm("sentiment", str(path), "-o", str(out), answer=scores)
    assert run.code == 3 and "longer than 64 MiB" in run.err and f"line {3 if name.endswith('csv') else 2}" in run.err
    shown = out.read_text().splitlines()[1 if name.endswith("csv") else 0 :]
    assert len(shown) == 3 and out.stat().st_size < 1000
    assert shown[0] and shown[2] and shown[0] != shown[2]


@pytest.mark.slow
def test_a_paragraph_above_64_mib_is_one_failed_record(llm, scores, tmp_path):
    """Whether it is one line or many."""
    path = tmp_path / "in.txt"
    line = "x" * 999 + "\n"
    path.write_text("a\n\n" + "x" * (65 << 20) + "\n\n" + line * (66 << 10) + "\nb\n")
    run = llm("sentiment", "--by", "paragraph", str(path), answer=scores)
    assert run.code == 3 and run.err.count("64 MiB") == 2 and len(run.out.splitlines()) == 4


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n", b"sep=;\n"], ids=["empty", "BOM", "newline", "sep"])
@pytest.mark.parametrize("name", ["in.csv", "in.tsv"])
def test_an_empty_table_has_an_empty_output(llm, scores, write, content, name):
    """As an empty text file: exit code 0, and 1 of filter, which has no match; also with a column and with -o."""
    path, out = write(name, content), write("out.csv", "")
    for options in ([], ["--column", "words"], ["-o", out]):
        for verb, code in ((["sentiment"], 0), (["classify", "--labels", "a,b"], 0), (["filter", "x"], 1)):
            run = llm(*verb, path, *options, answer=scores)
            assert (run.code, run.out, run.err) == (code, "", "")
    assert Path(out).read_bytes() == b""


def test_an_empty_table_beside_others(llm, scores, write):
    """It has no records, and is no error."""
    run = llm("sentiment", write("a.csv", "text\na\n"), write("b.csv", ""), write("c.csv", "text\nc\n"), answer=scores)
    assert run.code == 0 and len(run.out.splitlines()) == 3, run.err


def test_numbers_of_any_length_are_kept(llm, scores, write):
    """Python converts integers of at most 4,300 digits; longer ones are kept as they were spelled."""
    digits = "9" * 5000
    line = f'{{"text": "a", "n": {digits}, "in": [{digits}.5]}}'
    run = llm("sentiment", write("in.jsonl", f"{line}\n"), answer=scores)
    assert run.code == 0 and run.out.startswith(line[:-1])
    run = llm("sentiment", "--column", "in", write("in.jsonl", f"{line}\n"), answer=scores)
    assert run.code == 0 and f"[{digits}.5]" in last_message(run.backend.requests[-1])


def test_a_value_nested_as_deep_as_the_parser_allows_is_a_text(llm, scores, write):
    """It is written without recursion."""
    nested = '{"a":' * 800 + "1.50" + "}" * 800
    run = llm("sentiment", "--column", "v", write("in.jsonl", f'{{"v": {nested}}}\n'), answer=scores)
    assert run.code == 0 and "1.50" in last_message(run.backend.requests[-1])
