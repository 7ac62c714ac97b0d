"""``llm embed`` from the command line."""

from __future__ import annotations

import csv
import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llm_fixtures import write

from llmcli.errors import ContextOverflow

__all__ = ["write"]

VECTORS = {"one": (3.0, 4.0), "two": (0.0, -2.0)}


def states(request):
    """Return the states of a text; those of an unknown one are zeros."""
    return struct.pack("<2f", *VECTORS.get(request.prompt.strip(), (0.0, 0.0)))


@pytest.fixture
def embed(llm):
    """Run ``llm embed`` on a backend that knows two texts."""
    return lambda *argv, answer=states, **how: llm("embed", *argv, answer=answer, **how)


def test_the_layer_for_vectors_is_read(embed):
    """Of a model whose layers can be read; elsewhere none is named."""
    assert {each.state_layers for each in embed(stdin=b"one\ntwo\n", layers=10).backend.requests} == {(8,)}
    assert {each.state_layers for each in embed(stdin=b"one\ntwo\n").backend.requests} == {()}


def test_lines_become_json_lines(embed):
    """Vectors have length 1; a blank line has none."""
    run = embed(stdin=b"one\n\ntwo\n")
    assert [json.loads(line) for line in run.out.splitlines()] == [
        {"text": "one", "embedding": [0.6, 0.8]},
        {"text": "", "embedding": None},
        {"text": "two", "embedding": [0.0, -1.0]},
    ]
    assert (run.code, run.err) == (0, "")


def test_vectors_may_keep_their_length(embed):
    """As the model gives them; zeros stay zeros."""
    run = embed("--no-normalize", stdin=b"one\nzero\n")
    assert [json.loads(line)["embedding"] for line in run.out.splitlines()] == [[3.0, 4.0], [0.0, 0.0]]


def test_tables_get_a_column(embed, write):
    """CSV stays CSV, JSON Lines stay JSON Lines."""
    table = write("a.csv", "id,text\n7,one\n")
    (row,) = csv.DictReader(embed(table, "--column", "text").out.splitlines())
    assert row["id"] == "7" and json.loads(row["embedding"]) == [0.6, 0.8]
    records = write("a.jsonl", '{"id": 7, "text": "two"}\n')
    assert json.loads(embed(records).out) == {"id": 7, "text": "two", "embedding": [0.0, -1.0]}


def test_a_parquet_file_has_lists_of_floats(embed, tmp_path):
    """32-bit floats as in an array; a record without a vector has a null."""
    file = tmp_path / "a.parquet"
    run = embed("-o", str(file), stdin=b"one\n\ntwo\n")
    table = pq.read_table(file)
    assert (run.code, run.err) == (0, "")
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert table["text"].to_pylist() == ["one", "", "two"]
    vectors = table["embedding"].to_pylist()
    assert vectors[1] is None and np.allclose([vectors[0], vectors[2]], [[0.6, 0.8], [0, -1]])


def test_files_are_texts_with_names(embed, write):
    """``--files`` reads each file as one text."""
    files = [write("a.txt", "one\n"), write("b.txt", "two\n")]
    rows = [json.loads(line) for line in embed("--files", *files).out.splitlines()]
    assert [row["file"] for row in rows] == files
    assert [row["embedding"] for row in rows] == [[0.6, 0.8], [0.0, -1.0]]


def test_an_array_has_a_row_for_each_record(embed, tmp_path):
    """A record without a vector has one of NaN, also before the width is known."""

    def fail(request):
        return ContextOverflow(tokens=9, context=5) if "long" in request.prompt else states(request)

    file = tmp_path / "a.npy"
    run = embed("-o", str(file), stdin=b"\none\nlong\ntwo\n", answer=fail)
    found = np.load(file)
    assert (run.code, run.out, found.dtype, found.shape) == (3, "", np.float32, (4, 2))
    assert np.isnan(found[[0, 2]]).all()
    assert np.allclose(found[[1, 3]], [[0.6, 0.8], [0, -1]])


def test_an_empty_array_can_be_loaded(embed, tmp_path):
    """It has no rows."""
    file = tmp_path / "a.npy"
    assert embed("-o", str(file), stdin=b"").code == 0
    assert np.load(file).shape == (0, 0)


def test_json_has_the_vector_among_the_usual_fields(embed):
    """One object for each record."""
    found = json.loads(embed("--json", stdin=b"one\n").out)
    assert (found["line"], found["embedding"]) == (1, [0.6, 0.8]) and found["usage"]["prompt_tokens"] == 1


def test_requests_are_for_hidden_states_only(embed):
    """Nothing is generated."""
    run = embed(stdin=b"one\ntwo\n")
    assert all(each.hidden_states and each.max_tokens is None and not each.candidates for each in run.backend.requests)


def test_wrong_use_is_refused(embed, tmp_path):
    """What an array cannot be; a server without states."""
    array = str(tmp_path / "a.npy")
    for argv in (("--json",), ("--output-format", "csv"), ("--resume",)):
        assert embed("-o", array, *argv, stdin=b"one\n").code == 2, argv
    assert embed(str(tmp_path / "none.txt")).code == 66
    assert embed("https://example.org/a.txt").err.endswith("\nThis command reads files: download it first.\n")
    assert embed(stdin=b"one\n", answer=lambda _: "a text").code == 69


def test_a_blank_input_is_no_error(embed, write):
    """No line, no record; a blank file read as one text has no vector."""
    empty, blank = write("a.txt", ""), write("b.txt", " \n")
    assert (embed(empty).code, embed(empty).out) == (0, "")
    assert json.loads(embed(blank).out) == {"text": " ", "embedding": None}
    for file in (empty, blank):
        run = embed("--files", file)
        assert (run.code, run.err, json.loads(run.out)["embedding"]) == (0, "", None)
    rows = [json.loads(line) for line in embed("--files", empty, write("c.txt", "one")).out.splitlines()]
    assert [row["embedding"] for row in rows] == [None, [0.6, 0.8]]
