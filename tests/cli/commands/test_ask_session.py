"""``llm ask --session`` and ``--continue``: one question in a saved chat."""

from __future__ import annotations

import json

import pytest

CODE = "Here:\n\n```sh\nls -l\n```\n"


def texts(request):
    """Return the texts of a request after the instructions."""
    return [message.content for message in request.messages[1:]]


def saved(llm, name):
    """Return the texts of a saved chat."""
    return [each["content"] for each in json.loads(llm("sessions", "show", name, "--json").out)["messages"]]


def test_a_session_keeps_question_and_answer(llm):
    """The next question has them as context, and --continue takes the session used last."""
    assert llm("ask", "--session", "a", "one", answer=lambda _: "1").out == "1\n"
    run = llm("ask", "--session", "a", "two", answer=lambda _: "2")
    assert texts(run.backend.requests[0]) == ["one", "1", "two"]
    run = llm("ask", "--continue", "and", "three", answer=lambda _: "3")
    assert (run.code, run.out, run.err) == (0, "3\n", "")
    assert saved(llm, "a") == ["one", "1", "two", "2", "and three", "3"]


def test_documents_and_standard_input_stand_before_the_question(llm, write):
    """They are part of the message, so that later questions know them."""
    llm("ask", "--session", "a", "-f", write("a.txt", "alpha"), "what?", answer=lambda _: "1")
    assert saved(llm, "a")[0] == "alpha\n\nwhat?"
    llm("ask", "--session", "b", "what?", stdin=b"piped", answer=lambda _: "1")
    assert saved(llm, "b")[0] == "piped\n\nwhat?"


def test_instructions_stay_with_the_session(llm):
    """Until --system replaces them."""
    llm("ask", "--session", "a", "-s", "In French.", "one")
    assert "In French." in llm("ask", "--continue", "two").backend.requests[0].messages[0].content
    changed = llm("ask", "--continue", "-s", "In Latin.", "three").backend.requests[0].messages[0].content
    assert "In Latin." in changed and "French" not in changed


def test_a_question_that_gets_no_answer_is_not_saved(llm):
    """The session stays as it was."""
    llm("ask", "--session", "a", "one", answer=lambda _: "1")
    assert llm("ask", "--session", "a", "two", answer=lambda _: RuntimeError("broken")).code == 70
    assert saved(llm, "a") == ["one", "1"]


def test_the_policy_of_the_session_decides_about_its_beginning(llm):
    """As in a chat."""
    config = {"LLMCLI_CHAT_OVERFLOW": "slide"}
    for number in range(4):
        run = llm("ask", "--session", "a", f"{number} " + "word " * 40, answer=lambda _: "1", context=160, env=config)
        assert run.code == 0
    assert len(texts(run.backend.requests[0])) < 7 and len(saved(llm, "a")) == 8
    run = llm("ask", "--continue", "word " * 40, context=160, env={"LLMCLI_CHAT_OVERFLOW": "stop"})
    assert run.code == 65 and "leaves no room" in run.err and len(saved(llm, "a")) == 8


def test_the_whole_answer_is_saved(llm):
    """Although only its code is printed."""
    assert llm("ask", "--session", "a", "-x", "code", answer=lambda _: CODE).out == "ls -l\n"
    assert saved(llm, "a") == ["code", CODE]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--continue", "x"], 66, "no saved chat for --continue"),
        (["--session", "a b", "x"], 2, "cannot be the name"),
        (["--session", "a", "--continue", "x"], 2, "exclude each other"),
        (["--session", "a"], 2, "no question"),
    ],
)
def test_what_makes_no_sense_is_refused(llm, argv, code, said):
    """Before a model is loaded."""
    run = llm("ask", *argv, "--no-stdin")
    assert run.code == code and said in run.err and run.backend is None
