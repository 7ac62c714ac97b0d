"""``llm similar`` from the command line."""

from __future__ import annotations

import json
import struct

import pytest
from llm_fixtures import write

__all__ = ["write"]

VECTORS = {"disk": (1.0, 0.0), "the disk fails": (1.0, 0.1), "a cat": (-1.0, 0.2), "it rains": (0.0, 1.0)}
TEXT = "a cat\n\nthe disk fails\nit rains\n"


@pytest.fixture
def similar(llm):
    """Run ``llm similar`` on a backend that knows some texts."""

    def states(request):
        return struct.pack("<2f", *VECTORS.get(request.prompt.strip(), (-0.5, -0.5)))

    return lambda *argv, **how: llm("similar", *argv, answer=states, **how)


def test_the_nearest_lines_come_first(similar, write):
    """File, line, similarity and text, as grep prints them; blank lines are left out."""
    file = write("log.txt", TEXT)
    run = similar("disk", file)
    lines = run.out.splitlines()
    assert (run.code, run.err, len(lines)) == (0, "", 3)
    assert lines[0].startswith(f"{file}:3: 0.") and lines[0].endswith(" the disk fails")
    assert lines[-1].startswith(f"{file}:1: -") and lines[-1].endswith(" a cat")


def test_query_and_texts_are_read_after_the_same_layer(similar):
    """That of vectors; where only the last one can be read, none is named."""
    for layers, read in ((10, (8,)), (None, ())):
        run = similar("disk", stdin=TEXT.encode(), layers=layers)
        assert run.code == 0 and [each.state_layers for each in run.backend.requests] == [read] * 4


def test_top_and_threshold(similar):
    """Both together hold."""
    assert similar("disk", "--top", "1", stdin=TEXT.encode()).out.startswith("stdin:3: ")
    assert len(similar("disk", "--threshold", "0.5", stdin=TEXT.encode()).out.splitlines()) == 1


def test_several_files_are_named(similar, write):
    """Each line with its own file."""
    files = [write("a.txt", "a cat\nit rains\n"), write("b.txt", "the disk fails\n")]
    assert similar("disk", *files).out.startswith(f"{files[1]}:1: ")


def test_whole_files(similar, write):
    """Names and similarities only."""
    files = [write("a.txt", "a cat\n"), write("b.txt", "the disk fails\n"), write("c.txt", "it rains\n")]
    first = similar("--files", "disk", *files).out.splitlines()[0]
    assert first.startswith(f"{files[1]}: 0.") and "disk fails" not in first


def test_json_and_records(similar, write):
    """One object for each result; records are compared by a column."""
    found = json.loads(similar("disk", "--json", "--top", "1", stdin=TEXT.encode()).out)
    assert (found["file"], found["line"], found["text"]) == ("-", 3, "the disk fails") and 0 < found["score"] <= 1
    table = write("a.csv", "id,text\n1,a cat\n2,the disk fails\n3,it rains\n")
    assert json.loads(similar("disk", "--json", "--column", "text", "--top", "1", table).out)["line"] == 3


def test_the_output_may_be_a_file(similar, tmp_path):
    """Complete or untouched."""
    file = tmp_path / "out.txt"
    assert similar("disk", "-o", str(file), "--top", "1", stdin=TEXT.encode()).out == ""
    assert file.read_text().startswith("stdin:3: ")


def test_wrong_use_is_refused(similar, tmp_path):
    """A blank query, a missing file; an empty input has no results."""
    assert similar(" ", stdin=b"a cat").code == 65
    assert similar("disk", str(tmp_path / "none.txt")).code == 66
    assert (similar("disk", stdin=b"").code, similar("disk", stdin=b"").out) == (0, "")


def test_a_name_with_a_line_break_stays_on_its_line(similar, write):
    """Also of whole files, as ls quotes it; --json has it as it is."""
    file = write("a\nb.txt", "the disk fails\n")
    head, _, tail = file.partition("\n")
    shown = rf"'{head}'$'\n''{tail}'"
    assert similar("disk", file).out.startswith(f"{shown}:1: ")
    assert similar("--files", "disk", file).out.startswith(f"{shown}: ")
    assert json.loads(similar("disk", "--json", file).out)["file"] == file


@pytest.mark.parametrize("argv", [(), ("--files",), ("--json",)])
def test_a_blank_file_has_no_text_to_find(similar, write, argv):
    """Code 0, and nothing is printed."""
    for text in ("", " \n"):
        run = similar("disk", *argv, write("a.txt", text))
        assert (run.code, run.out, run.err) == (0, "", "")
