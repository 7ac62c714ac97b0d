"""``llm translate --qe surprisal``: segments are ranked by what their sources tell of the translations, lengths, numbers, copies."""

from __future__ import annotations

import json
import re

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
    """Give a right translation a bit a token, any other one and one without a source ten; translate by the table."""
    said = last_message(request)
    right = next((target for source, target in RIGHT.items() if source in said), None)
    if request.candidates:
        return {
            text: -(1 if right and text.startswith(right) else 10) * 0.6931471805599453 * len(text.split())
            for text in request.candidates
        }
    return f"{right} oui"


@pytest.fixture
def estimate(llm):
    """Run ``llm translate --to fr --qe surprisal``."""
    return lambda *argv, answer=judge, **how: llm(
        "translate",
        "--to",
        "fr",
        "--from",
        "en",
        "--no-tm",
        "--qe",
        "surprisal",
        *argv,
        answer=answer,
        **{"token_scores": True, **how},
    )


def test_wrong_translations_come_first(estimate, write):
    """Also those that the document already held: swapped ones rank above right ones.

    Standard output stays the document.
    """
    file = write("a.po", PO)
    run = estimate(file)
    head, *lines = run.err.splitlines()
    assert (run.code, run.out) == (0, PO) and "the most suspicious first" in head
    ranked = [re.fullmatch(r".*a\.po:(\d+): (0\.\d\d) (.*)", line).groups() for line in lines]
    assert {line for line, _, _ in ranked[:2]} == {"8", "11"} and "Le train est parti" in ranked[0] + ranked[1]
    assert [score for _, score, _ in ranked] == sorted((score for _, score, _ in ranked), reverse=True)


def test_what_was_not_translated_comes_first(estimate, write):
    """The model finds nothing more likely than the source text itself; another number is found as well."""
    pairs = [
        (f"Ship {n} sails to the far island", f"Le bateau {n} va vers une \u00eele lointaine") for n in range(10, 15)
    ]
    pairs += [("We close at 10 today, dear guests", "Nous fermons \u00e0 11 h aujourd'hui, chers clients")]
    pairs += [("The door is closed for the night", "The door is closed for the night")]
    text = PO.partition('\nmsgid "Good')[0] + "".join(f'\nmsgid "{one}"\nmsgstr "{two}"\n' for one, two in pairs)
    run = estimate("--json", write("a.po", text), answer=lambda request: {request.candidates[0]: -1.0})
    found = [each["translation"] for each in json.loads(run.out)["quality"]]
    assert {*found[:2]} == {pairs[-1][1], pairs[-2][1]}


def test_without_a_translation_there_is_no_ranking(estimate, write):
    """A heading without lines would look like an answer that got lost."""
    run = estimate(write("a.txt", "Good morning to you\n"), answer=lambda _: "word " * 400)
    assert run.code == 3 and "left untranslated" in run.err and "the most suspicious first" not in run.err


def test_json_and_report_have_each_segment(estimate, write, tmp_path):
    """``quality`` is ranked; the report keeps the order of the document."""
    report = tmp_path / "report.json"
    run = estimate("--json", "--report", str(report), write("a.po", PO))
    found = json.loads(run.out)["quality"]
    assert {each["line"]: each["surprisal"] for each in found} == {8: 10.0, 11: 10.0, 5: 1.0, 14: 1.0}
    assert {each["line"] for each in found[:2]} == {8, 11}
    assert [each["suspicion"] for each in found] == sorted((each["suspicion"] for each in found), reverse=True)
    assert ("The door is closed", "Le train est parti") in [(each["source"], each["translation"]) for each in found]
    rows = json.loads(report.read_text())["documents"][0]["segments"]
    assert [row["surprisal"] for row in rows] == [1.0, 10.0, 10.0, 1.0] and run.err == ""
    assert max(rows[0]["suspicion"], rows[3]["suspicion"]) < min(rows[1]["suspicion"], rows[2]["suspicion"])


def test_new_translations_are_estimated(estimate):
    """The translation is scored as the answer to its source."""
    run = estimate(stdin=b"Good morning to you\n")
    assert (run.code, run.out) == (0, "Bonjour oui\n") and re.search(r"stdin:1: 0\.\d\d Bonjour oui", run.err)
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
    assert run.code == 0 and {each["line"] for each in json.loads(run.out)["quality"]} == {11, 5, 14}
    assert estimate(write("a.po", PO), answer=lambda _: TimedOut()).code == 124


def test_an_estimate_that_fails_is_a_failure_of_its_document(estimate, write, tmp_path):
    """The other documents are translated, estimated and written."""

    def fail(request):
        return TimedOut() if request.candidates and "door" in last_message(request) else judge(request)

    bad, good = write("bad.txt", "The door is closed\n"), write("good.txt", "Good morning to you\n")
    run = estimate("-o", str(tmp_path / "out"), bad, good, answer=fail)
    assert run.code == 124 and "good.txt:1: 0." in run.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.txt"]


def test_wrong_use_is_refused(estimate, write):
    """A server without scores, no model, records."""
    file = write("a.po", PO)
    assert estimate(file, token_scores=False).code == 69
    assert estimate("--pseudo", "accents", file).code == 2
    assert estimate("--dry-run", file).code == 2
    assert estimate("--column", "a", write("a.csv", "a\nx\n")).code == 2
