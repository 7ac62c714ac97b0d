"""Each verb that writes text stops an answer that repeats itself, and says so."""

from __future__ import annotations

import json

import pytest

LINE = "The mayor was absent from the meeting.\n"
LOOP = f"It rained.\n{LINE * 60}"
SHOWN = f"It rained.\n{LINE * 2}"
REASON = "the answer repeated itself and was stopped"
VERBS = {
    "ask": ("ask", "Why?"),
    "ask about a document": ("ask", "-f", "notes.txt", "Why?"),
    "chat": ("chat", "--no-save"),
    "generate": ("generate", "poem", "--var", "topic=rain"),
    "summarize": ("summarize", "--style", "paragraph", "notes.txt"),
}


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """Work in a directory with a file of notes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("The workshop is closed on Monday. It opens on Tuesday.\n")


@pytest.mark.parametrize("argv", VERBS.values(), ids=VERBS)
def test_a_text_that_repeats_itself_is_stopped(llm, notes, argv):
    """What came before is on standard output, the reason on standard error, and the code is 3."""
    run = llm(*argv, stdin=b"Why?\n" if "chat" in argv else b"", answer=lambda _: LOOP, stops_repetition=True)
    assert (run.code, run.out) == (3, SHOWN)
    assert REASON in run.err and "--set stop_repetition=off" in run.err


def test_lines_that_vary_are_stopped_after_the_third_round(llm):
    """A reader of the answer sees each of the two sentences three times, not seventy."""
    lines = "- Fix the bug in the report of the month.\n", "- Add a test for the report of the year.\n"
    order = [0, 1, 1, 0, 0, 1, *([0, 0, 1, 0, 1, 1, 1, 0] * 8)]
    run = llm("ask", "Why?", answer=lambda _: "".join(lines[n] for n in order), stops_repetition=True)
    assert (run.code, run.out) == (3, "".join(lines[n] for n in order[:6]))
    assert REASON in run.err


@pytest.mark.parametrize("argv", VERBS.values(), ids=VERBS)
@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_user_may_let_it_go_on(llm, notes, argv, how):
    """With the option, or the setting of the same name; the limit of the verb still holds."""
    more, env = (("--set", "stop_repetition=off"), None) if how == "option" else ((), {"LLMCLI_STOP_REPETITION": "off"})
    run = llm(
        *argv, *more, stdin=b"Why?\n" if "chat" in argv else b"", answer=lambda _: LOOP, stops_repetition=True, env=env
    )
    assert run.out == LOOP and REASON not in run.err


def test_a_value_that_is_no_switch_is_refused(llm):
    """It is named."""
    run = llm("ask", "Why?", "--set", "stop_repetition=maybe")
    assert run.code == 2 and "expected on or off" in run.err


@pytest.mark.parametrize(
    "argv", [("ask", "Why?", "--column", "topic", "-f"), ("generate", "poem", "-f")], ids=["ask", "generate"]
)
def test_a_record_whose_answer_repeats_itself_is_partial(llm, write, argv):
    """The others are answered as usual."""
    run = llm(
        *argv,
        write("a.csv", "topic\nquokkas\nsnow\n"),
        "--json",
        answer=lambda request: LOOP if "quokkas" in request.messages[-1].content else "Yes.",
        stops_repetition=True,
    )
    first, second = map(json.loads, run.out.splitlines())
    assert run.code == 3 and REASON in run.err
    assert (first["finish_reason"], second["finish_reason"]) == ("length", "stop")


def test_a_command_that_repeats_itself_is_not_printed(llm):
    """JSON that is cut is no command."""
    loop = '{"command": "ls' + " -name '*.jpeg'" * 100
    run = llm("command", "list all pictures", answer=lambda _: loop, stops_repetition=True)
    assert run.code != 0 and run.out == ""


def test_a_translation_that_repeats_itself_is_left_out(llm, write):
    """The segment keeps its text; the warning says why."""
    run = llm(
        "translate", "--to", "de", write("a.txt", "Bring your bicycle.\n"), answer=lambda _: LOOP, stops_repetition=True
    )
    assert (run.code, run.out) == (3, "Bring your bicycle.\n")
    assert "left untranslated" in run.err


def test_an_answer_without_a_limit_ends_with_the_context(llm):
    """The code is 3, and the reason is the context."""
    run = llm("ask", "Why?", answer=lambda _: " ".join(map(str, range(3000))), context=500)
    assert run.code == 3 and "the answer was cut at a limit" in run.err
    assert 400 < len(run.out.split()) < 500
