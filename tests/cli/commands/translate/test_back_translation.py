"""``llm translate --qe back-translation``: what a translation says is compared with its source."""

from __future__ import annotations

import json

import pytest
from llm_fixtures import write
from scripted import last_message

from llmcli.errors.incomplete_results import AnswerRefused

__all__ = ["write"]

PAIRS = {
    "The door of the workshop is closed today.": "La porte de l'atelier est fermée.",
    "Please bring your own tools and a friend.": "Il pleut souvent en automne ici.",
    "OK": "D'accord",
}
TEXT = "\n\n".join(PAIRS) + "\n"
BACK = {
    "La porte de l'atelier est fermée.": "The door of the workshop is closed.",
    "Il pleut souvent en automne ici.": "It often rains here in autumn.",
    "D'accord": "Agreed",
}


def both_ways(request):
    """Translate by the tables, to French and back."""
    text = last_message(request).rpartition(":\n\n")[2]
    return BACK[text] if "into English" in last_message(request) else PAIRS[text]


@pytest.fixture
def estimate(llm):
    """Run ``llm translate --to fr --qe back-translation``; the backend scores nothing."""
    return lambda *argv, answer=both_ways, **how: llm(
        *("translate", "--to", "fr", "--no-tm", "--qe", "back-translation", *argv), answer=answer, **how
    )


def test_a_translation_that_says_something_else_is_doubtful(estimate, write):
    """It is written and named, and the exit code is 3; a word for another in a short text is no reason for doubt."""
    run = estimate("--from", "en", write("a.txt", TEXT))
    warning = run.err.splitlines()[0]
    assert (run.code, run.out) == (3, "\n\n".join(PAIRS.values()) + "\n")
    assert warning.startswith("llm: warning: line 3: doubtful (chrF ")
    assert warning.endswith("translated back, it says: It often rains here in autumn.")
    assert "the most suspicious first" in run.err and "1 of 3 translations are doubtful" in run.err
    assert len(run.backend.requests) == 6 and "Agreed" not in run.err


def test_json_and_report_have_what_the_translation_says(estimate, write, tmp_path):
    """With its chrF; ``quality`` is ranked."""
    report = tmp_path / "report.json"
    run = estimate("--from", "en", "--json", "--report", str(report), write("a.txt", TEXT))
    found = json.loads(run.out)["quality"]
    assert [(each["line"], each["back_translation"]) for each in found] == [
        (5, "Agreed"),
        (3, "It often rains here in autumn."),
        (1, "The door of the workshop is closed."),
    ]
    assert found[2]["chrf"] > 80 and found[1]["chrf"] < 30 and found[2]["suspicion"] < 0.2
    rows = json.loads(report.read_text())["documents"][0]["segments"]
    assert [row["back_translation"] for row in rows] == list(BACK.values()) and "surprisal" not in rows[0]


def test_the_instructions_are_for_the_way_there(estimate, write):
    """The glossary, the context and the style say how to translate, not what the translation says."""
    argv = ("--glossary", write("g.csv", "door,porte\n"), "--context", "A canary", "--style", "formal")
    run = estimate("--from", "en", *argv, write("a.txt", TEXT))
    back = [last_message(request) for request in run.backend.requests if "into English" in last_message(request)]
    assert len(back) == 3 and not any("canary" in text or "formally" in text or "porte\n" in text for text in back)


def test_translations_that_the_document_holds_are_estimated(estimate, write):
    """Without a new translation, too."""
    pairs = [f'msgid "{one}"\nmsgstr "{other}"\n' for one, other in PAIRS.items()]
    run = estimate("--from", "en", write("a.po", 'msgid ""\nmsgstr ""\n\n' + "\n".join(pairs)))
    assert run.code == 3 and "1 of 3 translations are doubtful" in run.err and len(run.backend.requests) == 3


def test_a_good_document_ends_with_0(estimate, write):
    """Its ranking stands on standard error."""
    run = estimate("--from", "en", write("a.txt", next(iter(PAIRS)) + "\n"))
    assert (run.code, run.err.count("warning")) == (0, 0) and "the most suspicious first" in run.err


def test_without_an_answer_there_is_no_estimate(estimate, write):
    """The model may refuse; and without the language of the source there is no way back."""

    def refuse(request):
        return (
            AnswerRefused("the model", detail="no") if "into English" in last_message(request) else both_ways(request)
        )

    assert estimate("--from", "en", write("a.txt", TEXT), answer=refuse).code == 0
    run = estimate("--json", write("b.txt", "OK\n"))
    assert run.code == 0 and "the language of the source is unknown" in json.loads(run.out)["warnings"][0]
