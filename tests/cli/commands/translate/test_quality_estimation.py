"""``llm translate --qe``: segments are ranked by the surprisal of their translations, given their sources."""

from __future__ import annotations

import json

import pytest
from llm_fixtures import write
from scripted import all_messages, last_message

from llmcli.errors import ContextOverflow, TimedOut

__all__ = ["write"]

PO = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n' + "".join(
    f'\nmsgid "{source}"\nmsgstr "{target}"\n'
    for source, target in [
        ("Good morning to you", "Bonjour \u00e0 vous"),
        ("The door is closed", "Le train est parti"),  # swapped with the next one
        ("The train has left", "La porte est ferm\u00e9e"),
        ("Thank you very much", "Merci beaucoup"),
    ]
)
RIGHT = {"Good morning": "Bonjour", "The door": "La porte", "The train": "Le train", "Thank you": "Merci"}


def judge(request):
    """Give a right translation a bit a token and a wrong one ten; translate everything else by its table."""
    said = last_message(request)
    right = next(target for source, target in RIGHT.items() if source in said)
    if request.candidates:
        return {
            text: -(1 if text.startswith(right) else 10) * 0.6931471805599453 * len(text.split())
            for text in request.candidates
        }
    return f"{right} oui"


@pytest.fixture
def estimate(llm):
    """Run ``llm translate --to fr --qe``."""
    return lambda *argv, answer=judge, **how: llm(
        "translate",
        "--to",
        "fr",
        "--from",
        "en",
        "--no-tm",
        "--qe",
        *argv,
        answer=answer,
        **{"token_scores": True, **how},
    )


def test_wrong_translations_come_first(estimate, write):
    """Also those that the document already held: swapped ones rank above right ones. Standard output stays the document."""
    file = write("a.po", PO)
    run = estimate(file)
    head, *lines = run.err.splitlines()
    assert (run.code, run.out) == (0, PO) and "the most suspicious first" in head
    assert [line.rpartition("a.po:")[2] for line in lines] == [
        "8: 10.00 Le train est parti", "11: 10.00 La porte est ferm\u00e9e", "5: 1.00 Bonjour \u00e0 vous",
        "14: 1.00 Merci beaucoup",
    ]  # fmt: skip


def test_without_a_translation_there_is_no_ranking(estimate, write):
    """A heading without lines would look like an answer that got lost."""
    run = estimate(write("a.txt", "Good morning to you\n"), answer=lambda _: "word " * 400)
    assert run.code == 3 and "left untranslated" in run.err and "the most suspicious first" not in run.err


def test_json_and_report_have_each_segment(estimate, write, tmp_path):
    """``quality`` is ranked; the report keeps the order of the document."""
    report = tmp_path / "report.json"
    run = estimate("--json", "--report", str(report), write("a.po", PO))
    found = json.loads(run.out)["quality"]
    assert [(each["line"], each["surprisal"]) for each in found] == [(8, 10.0), (11, 10.0), (5, 1.0), (14, 1.0)]
    assert found[0]["source"] == "The door is closed" and found[0]["translation"] == "Le train est parti"
    rows = json.loads(report.read_text())["documents"][0]["segments"]
    assert [row["surprisal"] for row in rows] == [1.0, 10.0, 10.0, 1.0] and run.err == ""


def test_new_translations_are_estimated(estimate):
    """The translation is scored as the answer to its source."""
    run = estimate(stdin=b"Good morning to you\n")
    assert (run.code, run.out) == (0, "Bonjour oui\n") and "stdin:1: 1.00 Bonjour oui" in run.err
    request = run.backend.requests[-1]
    assert request.candidates == ("Bonjour oui",) and "Good morning to you" in all_messages(request)


def test_without_the_option_nothing_is_scored(llm, write):
    """Reports have no such field."""
    run = llm("translate", "--to", "fr", "--no-tm", "--json", write("a.po", PO), answer=judge)
    assert run.backend is None or not any(request.candidates for request in run.backend.requests)
    assert "quality" not in json.loads(run.out)


def test_a_segment_that_does_not_fit_has_no_estimate(estimate, write):
    """Any other failure is one of the run."""

    def overflow(request):
        return ContextOverflow(tokens=9, context=5) if "door" in last_message(request) else judge(request)

    run = estimate("--json", write("a.po", PO), answer=overflow)
    assert run.code == 0 and [each["line"] for each in json.loads(run.out)["quality"]] == [11, 5, 14]
    assert estimate(write("a.po", PO), answer=lambda _: TimedOut()).code == 124


def test_wrong_use_is_refused(estimate, write):
    """A server without scores, no model, records."""
    file = write("a.po", PO)
    assert estimate(file, token_scores=False).code == 69
    assert estimate("--pseudo", "accents", file).code == 2
    assert estimate("--dry-run", file).code == 2
    assert estimate("--column", "a", write("a.csv", "a\nx\n")).code == 2
