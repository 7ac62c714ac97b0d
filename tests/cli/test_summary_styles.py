"""``llm summarize`` with the styles and wishes, from the command line."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from scripted import all_messages

from llmcli.cli.small_model_notice import NOTICE_DIRECTORY

SMALL = 135_000_000
TEXT = "The roof leaks badly. We repair it on Monday. The workshop stays closed."
FIRST = "The roof leaks badly."


def give_states(request):
    """Return states for what is only read; else a summary."""
    if not request.hidden_states:
        return "A summary."
    return struct.pack("<3f", *(float(word in request.prompt) for word in ("roof", "Monday", "workshop")))


@pytest.fixture
def summarize(llm):
    """Run ``llm summarize`` on a text, with a small model."""
    return lambda *argv, **how: llm(
        "summarize", *argv, stdin=TEXT.encode(), answer=give_states, **{"parameters": SMALL, **how}
    )


def test_a_small_model_selects_sentences_and_nothing_is_on_stderr_in_a_pipe(summarize):
    """The default; one line for each sentence."""
    run = summarize("--words", "4")
    assert (run.code, run.out, run.err) == (0, f"{FIRST}\n", "")


def test_on_a_terminal_a_note_says_so(summarize, terminal):
    """One line, with the option that lets the model write; none if the user chose the style."""
    for argv, noted in (((), True), (("--style", "key-sentences"), False), (("-q",), False)):
        screen = terminal(columns=200)
        summarize("--words", "4", *argv, err=screen.slave)
        assert ("--style paragraph lets it write a summary" in screen.close()) == noted


def test_the_note_comes_once_a_day(summarize, terminal):
    """And again after a day."""
    marker = Path(os.environ["LLMCLI_CACHE_DIR"], NOTICE_DIRECTORY, "key-sentences")

    def is_noted():
        screen = terminal(columns=200)
        summarize("--words", "4", err=screen.slave)
        return "--style paragraph lets it write a summary" in screen.close()

    assert summarize("--words", "4").err == ""  # a pipe does not count
    assert is_noted() and not is_noted()
    yesterday = marker.stat().st_mtime - 86_500
    os.utime(marker, (yesterday, yesterday))
    assert is_noted()


def test_key_sentences_are_prose(llm):
    """No HTML, badges, bare links, table rows or code."""
    text = "<p>The roof is new.</p>\n\n[![roof](a.svg)](b)\n\n| The roof. It is new. | a |\n\n```\nThe roof is code.\n```\n\n"
    text += f"See https://example.org for the roof.\n\n{FIRST}\n"
    run = llm("summarize", stdin=text.encode(), answer=give_states, parameters=SMALL)
    assert (run.code, run.out) == (0, f"{FIRST}\n")


def test_json_has_the_method_and_the_sentences(summarize):
    """One object; the method of a text that the model wrote is another."""
    found = json.loads(summarize("--words", "4", "--json").out)
    assert found["method"] == "key-sentences"
    assert [(each["text"], each["start"], each["end"]) for each in found["sentences"]] == [(FIRST, 0, len(FIRST))]
    assert json.loads(summarize("--style", "paragraph", "--json").out)["method"] == "written"


def test_a_larger_model_writes(summarize):
    """So does one whose size is unknown."""
    assert summarize(parameters=500_000_000).out == summarize(parameters=None).out == "A summary.\n"


@pytest.mark.parametrize("style", ["abstract", "outline", "minutes"])
def test_styles_and_wishes_reach_the_model(llm, style):
    """Focus, audience and the name of the language."""
    wishes = ("--focus", "the roof", "--audience", "children", "--language", "de")
    run = llm("summarize", "--style", style, *wishes, stdin=TEXT.encode(), answer=lambda _: "Topics\n- The roof.")
    said = all_messages(run.backend.requests[-1])
    assert run.code == 0
    assert style in said.casefold()
    assert "the roof" in said
    assert "children" in said
    assert said.rstrip().endswith("Write in German.")


def test_a_missed_length_is_a_warning_of_the_result(summarize):
    """It is no failure, and a pipe has an empty stderr."""
    run = summarize("--style", "paragraph", "--words", "50", "--json")
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out)["warnings"] == ["the summary has 2 words, not about 50"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--style", "key-sentences", "--audience", "children"), "--audience needs a summary that the model writes"),
        (("--style", "key-sentences", "--language", "de"), "Leave out --language"),
        (("--style", "key-sentences", "--cite"), "key sentences are quotes themselves"),
        (("--language", "Elvish"), "unknown language 'Elvish'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(summarize, argv, said):
    """2, before a model is loaded."""
    run = summarize(*argv)
    assert run.code == 2
    assert said in run.err
    assert run.backend is None


def test_records_get_key_sentences_too(llm, tmp_path):
    """The column holds the sentences of each record's text."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"body": TEXT}) + "\n", encoding="utf-8")
    run = llm("summarize", "--column", "body", "--words", "4", str(path), answer=give_states, parameters=SMALL)
    assert (run.code, json.loads(run.out)["summary"]) == (0, FIRST)


@pytest.mark.parametrize(
    ("style", "answer", "said"),
    [
        ("bullets", "::", "the summary has no words"),
        ("bullets", '"""', "the summary has no words"),
        ("headline", "One.\nTwo.", "the summary is no headline: it has 2 lines"),
        ("minutes", "The roof leaks.", "the summary has no sections: headings with list items below them"),
    ],
)
def test_a_summary_in_the_wrong_form_ends_with_3(llm, style, answer, said):
    """It was asked for twice, and is printed with one line that says what is wrong, and one with advice."""
    argv = ("summarize", "--style", style, "--words", "60")
    run = llm(*argv, stdin=TEXT.encode(), answer=lambda _: answer)
    assert (run.code, run.out, len(run.backend.requests)) == (3, f"{answer}\n", 2)
    assert run.err.splitlines()[0] == f"llm: {said}"


def test_bullets_are_asked_for_again(llm):
    """The second answer has the form, so nothing is wrong."""
    answers = iter(["::", "Here are the main points:\n\n- The roof leaks.\n\n- The workshop stays closed."])
    run = llm("summarize", "--style", "bullets", stdin=TEXT.encode(), answer=lambda _: next(answers))
    assert (run.code, run.out, run.err) == (0, "- The roof leaks.\n- The workshop stays closed.\n", "")


AGAIN = "The summary is no list.\n"
QUESTION = "List its main points, at most 5:\n"
GOOD = "- The roof leaks.\n- The workshop stays closed.\n"


@pytest.mark.parametrize(
    ("answers", "out"),
    [
        ([FIRST, f"{AGAIN}{GOOD}"], GOOD),
        ([FIRST, "- The summary is no list. - The roof leaks."], "- The roof leaks.\n"),
        ([f"{QUESTION}{GOOD}", f"{AGAIN}{GOOD}"], GOOD),
        ([f"- What is this text about?\n{GOOD}", "::"], GOOD),
    ],
)
def test_bullets_do_not_repeat_their_request(llm, answers, out):
    """Neither the question nor the sentence with which they were asked for again."""
    left = iter(answers)
    run = llm("summarize", "--style", "bullets", stdin=TEXT.encode(), answer=lambda _: next(left))
    assert (run.code, run.out, run.err) == (0, out, "")


def test_bullets_that_are_only_the_request_end_with_3(llm):
    """None of it is printed."""
    answers = iter([QUESTION, AGAIN])
    run = llm("summarize", "--style", "bullets", stdin=TEXT.encode(), answer=lambda _: next(answers))
    assert (run.code, run.out.strip()) == (3, "")
    assert run.err.splitlines()[0] == "llm: the summary repeats the words of the request"
