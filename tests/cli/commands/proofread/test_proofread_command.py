"""``llm proofread`` from the command line."""

from __future__ import annotations

import json

import pytest
from llm_fixtures import write
from scripted import score_words

__all__ = ["write"]

TEXT = "It is fien.\nThe rooof is wett.\n"
BITS = {"fien": 30.0, "rooof": 40.0, "wett": 15.0}


@pytest.fixture
def proofread(llm):
    """Run ``llm proofread`` on a backend that finds three words surprising."""

    def run(*argv, bits=BITS, **how):
        def answer(request):
            return tuple(score_words(candidate, lambda token: bits.get(token, 3.0)) for candidate in request.candidates)

        return llm("proofread", *argv, answer=answer, **{"token_scores": True, **how})

    return run


def test_each_word_is_a_line_as_grep_prints_it(proofread, write):
    """File, line, column, word, score; by position; standard input too."""
    file = write("a.txt", TEXT)
    run = proofread(file)
    assert (run.code, run.out, run.err) == (0, f"{file}:1:7: fien 30.0\n{file}:2:5: rooof 40.0\n", "")
    assert proofread(stdin=TEXT.encode()).out.startswith("stdin:1:7: fien 30.0\n")


def test_top_and_threshold(proofread):
    """``--top`` alone has no threshold."""
    assert proofread("--top", "1", stdin=TEXT.encode()).out == "stdin:2:5: rooof 40.0\n"
    assert len(proofread("--top", "9", stdin=TEXT.encode()).out.splitlines()) == 7
    assert len(proofread("--threshold", "15", stdin=TEXT.encode()).out.splitlines()) == 3


def test_a_text_without_errors_prints_nothing(proofread, write):
    """An empty one neither."""
    run = proofread(write("a.txt", "It is so.\n"))
    assert (run.code, run.out, run.err) == (0, "", "")
    assert (proofread(stdin=b"").code, proofread(stdin=b"").out) == (0, "")


def test_json_is_one_object_for_each_document(proofread, write):
    """Several documents are named."""
    files = [write("a.txt", TEXT), write("b.txt", "It is so.\n")]
    first, second = map(json.loads, proofread("--json", *files).out.splitlines())
    assert [first["name"], second["name"]] == files
    assert first["words"][1] == {
        "word": "rooof", "score": 40.0, "suggestion": None, "line": 2, "column": 5, "start": 16, "end": 21, "page": None
    }  # fmt: skip
    assert (second["words"], second["scored"], "text" in second) == ([], 3, False)


def test_a_misspelling_that_hardly_surprises_is_listed_with_its_suggestion(proofread, write):
    """Its score has 10 bits more; --json and --sarif have the suggestion too, the latter as a fix."""
    file = write("a.txt", "You will recieve the letter on Monday.\nPlease answer it soon.\n")
    how = {"bits": {"recieve": 12.5}}
    assert proofread(file, **how).out == f"{file}:1:10: recieve 22.5 -> receive\n"
    (word,) = json.loads(proofread("--json", file, **how).out)["words"]
    assert (word["word"], word["score"], word["suggestion"]) == ("recieve", 22.5, "receive")
    (found,) = json.loads(proofread("--sarif", file, **how).out)["runs"][0]["results"]
    assert "misspelling of \u201creceive\u201d" in found["message"]["text"]
    (change,) = found["fixes"][0]["artifactChanges"]
    assert change["artifactLocation"] == found["locations"][0]["physicalLocation"]["artifactLocation"]
    (replacement,) = change["replacements"]
    assert replacement["insertedContent"] == {"text": "receive"}
    assert (replacement["deletedRegion"]["startColumn"], replacement["deletedRegion"]["endColumn"]) == (10, 17)


def test_help_names_the_suggestion(llm):
    """And by how much the score of a misspelling is higher."""
    text = " ".join(llm("proofread", "--help").out.split())
    assert "10 bits more, and -> SUGGESTION after its score" in text


def test_sarif_is_one_log_with_what_its_schema_requires(proofread, write, tmp_path):
    """Required: version and runs; tool.driver.name; message; the region counts from 1.

    Failed documents are reported.
    """
    file = write("a b.txt", TEXT)
    run = proofread("--sarif", file, str(tmp_path / "none.txt"), write("c.txt", "fien"))
    log = json.loads(run.out)
    assert run.code == 3 and "none.txt" in run.err
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    (only,) = log["runs"]
    driver = only["tool"]["driver"]
    assert driver["name"] == "llm proofread" and only["columnKind"] == "unicodeCodePoints"
    assert [each["id"] for each in driver["rules"]] == ["suspicious-word"]
    first, second, third = only["results"]
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("/a%20b.txt") and "c.txt" in json.dumps(third)
    assert place["region"] == {"startLine": 1, "startColumn": 7, "endColumn": 11, "snippet": {"text": "fien"}}
    assert (first["ruleId"], first["level"]) == ("suspicious-word", "note") and first["message"]["text"]
    assert second["rank"] == second["properties"]["bits"] == 40.0


def test_sarif_of_no_findings_is_a_log(proofread):
    """Programs that read it need one."""
    log = json.loads(proofread("--sarif", stdin=b"It is so.\n").out)
    assert log["runs"][0]["results"] == []


def test_wrong_use_is_refused(proofread, tmp_path):
    """Two forms of output; a missing file; a backend without log-probabilities of a text."""
    assert proofread("--sarif", "--json", stdin=b"It is so.").code == 2
    assert proofread(str(tmp_path / "none.txt")).code == 66
    refused = proofread(stdin=b"It is so.", token_scores=False)
    assert (refused.code, refused.out) == (69, "")
    assert "log-probabilities" in refused.err


def test_a_name_with_a_line_break_stays_on_its_line(proofread, write):
    """Each line begins with one name, as ls quotes it; --json has it as it is."""
    file = write("a\nb\x1b[1m.txt", "fien")
    head, _, tail = file.partition("\n")
    shown = rf"'{head}'$'\n''b'$'\033''[1m.txt'" if tail else ""
    assert proofread(file).out == f"{shown}:1:1: fien 30.0\n"
    named = [json.loads(line)["name"] for line in proofread("--json", file, write("c", "")).out.splitlines()]
    assert named[0] == file


def test_a_blank_document_has_no_suspicious_words(proofread, write):
    """Code 0, as for any text without findings."""
    for text in ("", " \n\n"):
        run = proofread(write("a.txt", text))
        assert (run.code, run.out, run.err) == (0, "", "")
        (words,) = (json.loads(line)["words"] for line in proofread("--json", write("a.txt", text)).out.splitlines())
        assert words == []
