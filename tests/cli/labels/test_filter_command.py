"""``llm filter``: what is printed, in which form, and the exit codes of grep."""

from __future__ import annotations

import json
import os
import threading

import pytest
from waiting import wait_until

LINES = "the disk fails\nall is well\n\nthe disk is full\n"


def test_lines_that_match(llm, statement_scores):
    """They are printed as they were; the exit code is 0."""
    run = llm("filter", "about a disk", stdin=LINES.encode(), answer=statement_scores)
    assert (run.code, run.out, run.err) == (0, "the disk fails\nthe disk is full\n", "")


def test_nothing_matches(llm, statement_scores):
    """Exit code 1, and nothing on standard error."""
    run = llm("filter", "about a cat", stdin=LINES.encode(), answer=statement_scores)
    assert (run.code, run.out, run.err) == (1, "", "")
    assert llm("filter", "about a cat", stdin=b"", answer=statement_scores).code == 1


def test_inverted(llm, statement_scores):
    """Each line is printed by either the plain or the inverted command, blank ones by the inverted."""
    run = llm("filter", "--invert", "about a disk", stdin=LINES.encode(), answer=statement_scores)
    assert (run.code, run.out) == (0, "all is well\n\n")


def test_a_last_line_without_an_end_gets_one(llm, statement_scores):
    """And other bytes of a line, such as CRLF, stay."""
    run = llm("filter", "a disk", stdin=b"disk 1\r\ndisk 2", answer=statement_scores)
    assert run.out == "disk 1\r\ndisk 2\n"


def test_counts_and_numbers(llm, statement_scores, write):
    """-c prints the number of matches, -n the number of each line; several files are named, as by grep."""
    assert llm("filter", "-c", "a disk", stdin=LINES.encode(), answer=statement_scores).out == "2\n"
    none = llm("filter", "-c", "a cat", stdin=LINES.encode(), answer=statement_scores)
    assert (none.code, none.out) == (1, "0\n")
    numbered = llm("filter", "-n", "a disk", stdin=LINES.encode(), answer=statement_scores)
    assert numbered.out == "1:the disk fails\n4:the disk is full\n"
    a, b = write("a.txt", "one disk\n"), write("b.txt", "no\ntwo disk\n")
    assert llm("filter", "-n", "a disk", a, b, answer=statement_scores).out == f"{a}:1:one disk\n{b}:2:two disk\n"


def test_statements_combine(llm, statement_scores):
    """All of --and, none of --not; or one of --or alone."""
    text = b"disk full\ndisk cat\nonly dog\nonly bird\n"
    run = llm("filter", "a disk", "--and", "is full", "--or", "a dog", stdin=text, answer=statement_scores)
    assert run.out == "disk full\nonly dog\n"
    run = llm("filter", "a disk", "--not", "a cat", stdin=text, answer=statement_scores)
    assert run.out == "disk full\n"


def test_json_has_the_probability(llm, statement_scores):
    """One object for each match, with the probability of each statement if there are several."""
    run = llm("filter", "--json", "a disk", "--or", "a dog", stdin=b"disk\nx\n", answer=statement_scores)
    (found,) = [json.loads(line) for line in run.out.splitlines()]
    assert found["match"] is True and found["line"] == 1 and found["probability"] == pytest.approx(0.9)
    assert found["statements"] == pytest.approx({"a disk": 0.9, "a dog": 0.1})


def test_rows_of_a_table(llm, statement_scores, write):
    """The header stays; rows keep their columns, and no column is added."""
    path = write("in.csv", 'id,text\n1,"a ""disk"""\n2,none\n')
    run = llm("filter", "a disk", path, answer=statement_scores)
    assert (run.code, run.out) == (0, 'id,text\n1,"a ""disk"""\n')


def test_a_count_of_a_table_is_only_a_number(llm, statement_scores, write):
    """Without the header, so that a script can compare it; an object for each match beside it is refused."""
    path = write("in.csv", "id,text\n1,disk\n2,none\n")
    assert llm("filter", "-c", "a disk", path, answer=statement_scores).out == "1\n"
    run = llm("filter", "-c", "a disk", path, "--json", answer=statement_scores)
    assert (run.code, run.out) == (2, "") and "--json" in run.err


def test_rows_of_a_table_have_no_line_numbers(llm, statement_scores, write):
    """-n is refused, not ignored; the objects of --json have the line."""
    path = write("in.csv", "id,text\n1,disk\n")
    run = llm("filter", "-n", "a disk", path, answer=statement_scores)
    assert (run.code, run.out) == (2, "") and "-n numbers matches" in run.err
    assert json.loads(llm("filter", "-n", "--json", "a disk", path, answer=statement_scores).out)["line"] == 2


def test_files_that_match(llm, statement_scores, write):
    """--files reads each as one document and prints names; a statement holds across lines."""
    a, b = write("a.txt", "one\n\ndisk\n"), write("b.txt", "two\n")
    run = llm("filter", "--files", "a disk", a, b, answer=statement_scores)
    assert (run.code, run.out) == (0, f"{a}\n")
    assert llm("filter", "--files", "a disk", a, answer=statement_scores).out == f"{a}\n"
    assert llm("filter", "--files", "a cat", a, b, answer=statement_scores).code == 1


def test_names_for_a_program_are_the_paths(llm, statement_scores, write):
    """-0 ends each with a null character; without it, a line feed in a name stays one."""
    odd, plain = write("a\nb\x1b[1m.txt", "disk\n"), write("c d.txt", "disk\n")
    run = llm("filter", "--files", "-0", "a disk", odd, plain, answer=statement_scores)
    assert (run.code, run.out) == (0, f"{odd}\0{plain}\0")
    assert llm("filter", "--files", "a disk", odd, plain, answer=statement_scores).out == f"{odd}\n{plain}\n"


def test_an_error_shows_a_name_of_escapes(llm, statement_scores, write):
    """A name of a message is on its line, quoted as ls does."""
    run = llm("filter", "--files", "a disk", write("\x1b[31m.txt", b"\0\1\2"), answer=statement_scores)
    assert run.code == 65 and r"'$'\033''[31m.txt' is not text" in run.err


def test_a_threshold(llm, statement_scores):
    """A match needs at least this probability."""
    assert llm("filter", "--threshold", "0.95", "a disk", stdin=b"disk\n", answer=statement_scores).code == 1
    assert llm("filter", "--threshold", "0.05", "a disk", stdin=b"none\n", answer=statement_scores).code == 0


def test_failures_have_their_own_codes(llm, statement_scores, write):
    """A record that fails beside matches: 3; nothing but failures: that of the failure; a missing file: 66."""
    run = llm("filter", "a disk", stdin=b"disk\nboom\n", answer=statement_scores)
    assert (run.code, run.out) == (3, "disk\n") and "line 2" in run.err
    assert llm("filter", "a disk", stdin=b"boom\n", answer=statement_scores).code == 70
    assert llm("filter", "a disk", "/nonexistent", answer=statement_scores).code == 66
    assert llm("filter", "a disk", write("b", b"\0\1\2"), answer=statement_scores).code == 65
    unmatched = llm("filter", "a cat", stdin=b"disk\nboom\n", answer=statement_scores)
    assert unmatched.code == 3 and unmatched.out == ""


@pytest.mark.parametrize(
    "argv", [("",), (" ",), ("a", "--and", ""), ("--files", "-n", "a"), ("-0", "a"), ("--threshold", "7", "a")]
)
def test_bad_usage(llm, statement_scores, argv):
    """Exit code 2, never 1."""
    assert llm("filter", *argv, stdin=b"disk\n", answer=statement_scores).code == 2


def test_a_line_comes_out_before_the_next_arrives(llm, statement_scores, tmp_path):
    """As ``tail -f`` needs it: the writer waits for the match before it writes the next line."""
    pipe, out = tmp_path / "pipe", tmp_path / "out"
    os.mkfifo(pipe)
    seen = []

    def write():
        with pipe.open("wb", buffering=0) as stream:
            for number in range(3):
                stream.write(f"disk {number}\n".encode())
                wait_until(lambda number=number: out.exists() and out.read_bytes().count(b"\n") > number)
                seen.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    descriptor = os.open(out, os.O_CREAT | os.O_WRONLY)
    run = llm("filter", "a disk", str(pipe), answer=statement_scores, out=descriptor)
    writer.join(30)
    os.close(descriptor)
    assert run.code == 0 and seen == [0, 1, 2]
