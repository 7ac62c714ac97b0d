"""``llm ask``: words without quotes, instructions, own prompts, the editor, code blocks, the clipboard."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

import pytest
from scripted import Reply, last_message

from llmcli.cli.render import clipboard
from llmcli.types import FinishReason

CODE = "Here it is:\n\n```sh\nls -l\n```\n\nAnd another:\n\n```sh\nrm x\n```\n"


def roles(request):
    """Return the roles and texts of a request."""
    return [(str(message.role), message.content) for message in request.messages]


@pytest.fixture
def own():
    """Return a function that writes a prompt of the user."""

    def write(name, text):
        file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "prompts" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


REVIEW = """\
description: d
system: Be strict.
user: "Review: {{ text }} Asked: {{ question }}"
variables:
  text: {description: the text}
  question: {default: nothing}
"""


def test_several_words_are_one_question(llm):
    """Without quotes, with options before or after them; a dash among them is a word."""
    for argv in (["what", "is", "3", "-", "2"], ["--seed", "1", "what", "is", "3", "-", "2", "--json"]):
        run = llm("ask", *argv, "--no-stdin")
        assert (run.code, last_message(run.backend.requests[0])) == (0, "what is 3 - 2")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["what", "does", "ls", "-la", "do"], "put the text in quotes"),
        (["what", "does", "--timeout", "x", "mean?"], "put the text in quotes"),
        (["--timeout", "0", "What is it?"], "Try: llm ask --help"),
        (["what", "does", "gcc", "-o", "x", "do"], "options stand between the words"),
        (["what", "--max-tokens"], "--max-tokens"),
    ],
)
def test_a_word_that_looks_like_an_option_is_refused(llm, argv, said, tmp_path, monkeypatch):
    """Before anything is written or a model is loaded."""
    monkeypatch.chdir(tmp_path)
    run = llm("ask", *argv, "--no-stdin")
    assert run.code == 2 and said in run.err and run.backend is None and not (tmp_path / "x").exists()


def test_a_file_beside_a_question_in_quotes_is_refused(llm, write):
    """It would be a word of the question, and not be read; in a question without quotes, a name is a word."""
    file = write("a.txt", "x")
    question = "What does it say?"
    for argv in ([question, file], [file, question], [question, "--seed", "1", file]):
        run = llm("ask", *argv, "--no-stdin")
        assert (run.code, run.out, run.backend) == (2, "", None)
        assert f"{file} is a file, but stands in your text" in run.err and f"-f {file}" in run.err
    assert llm("ask", "what", "is", file, "--no-stdin").code == 0
    assert llm("ask", "What is", "no.txt", "--no-stdin").code == 0


def test_files_of_an_unquoted_pattern_are_no_question(llm, write):
    """The shell makes one file and a question of several files."""
    files = [write(name, "x") for name in ("a.txt", "b.txt", "c.txt")]
    run = llm("ask", "-f", *files, "--no-stdin")
    assert run.code == 2 and "b.txt is a file" in run.err
    assert llm("ask", "-f", files[0], "what", "is", "it", "--no-stdin").code == 0


def test_instructions_follow_those_of_the_prompt(llm, write):
    """As text or from a file; the evaluated prompt is then not kept on disk as public."""
    for value in ("Answer in French.", f"@{write('system.txt', 'Answer in French.' + chr(10))}"):
        (request,) = llm("ask", "-s", value, "hi").backend.requests
        (_, system), _ = roles(request)
        assert system.startswith("You are") and system.endswith("\n\nAnswer in French.") and not request.public_prefix
    assert llm("ask", "hi").backend.requests[0].public_prefix


def test_instructions_reach_documents_and_records(llm, write):
    """Every way of asking has them."""
    file = write("a.txt", "alpha")
    assert "French" in roles(llm("ask", "-s", "French", "-f", file, "?").backend.requests[0])[0][1]
    rows = llm("ask", "-s", "French", "-f", write("a.csv", "text\nalpha\n"), "--column", "text", "?")
    assert rows.code == 0 and "French" in roles(rows.backend.requests[0])[0][1]


def test_a_prompt_of_ones_own(llm, own, write):
    """Standard input and files fill its text, words its question; it is named or lies in a file."""
    file = own("review", REVIEW)
    run = llm("ask", "-p", "review", "the", "style", stdin=b"code")
    assert roles(run.backend.requests[0]) == [("system", "Be strict."), ("user", "Review: code Asked: the style")]
    run = llm("ask", "-p", str(file), "-f", write("a.txt", "alpha"), "--json", "--no-stdin")
    assert last_message(run.backend.requests[0]) == "Review: alpha Asked: nothing"
    run = llm("ask", "-p", "review", "--var", "question=x", stdin=b"code", answer=lambda _: "y")
    assert (run.code, run.out) == (0, "y\n")
    assert llm("generate", "review", "--var", "text=code").code == 0
    assert "review" in llm("generate", "--list").out


def test_a_prompt_may_use_text_and_question_without_declaring_them(llm, own):
    """They are required, as declared variables without a default are."""
    own("mine", 'description: d\nuser: "{{ question }}: {{ text }}"\n')
    own("short", 'description: d\nuser: "Shorten: {{ text }}"\n')
    assert last_message(llm("ask", "-p", "mine", "Why", stdin=b"code").backend.requests[0]) == "Why: code"
    assert last_message(llm("generate", "short", stdin=b"code").backend.requests[0]) == "Shorten: code"
    assert last_message(llm("ask", "-p", "short", "code", "--no-stdin").backend.requests[0]) == "Shorten: code"
    run = llm("ask", "-p", "mine", stdin=b"code")
    assert run.code == 2 and "missing variables: question" in run.err and 'llm ask -p NAME "QUESTION" <' in run.err
    assert "text\t(required)" in llm("generate", "short", "--list").out
    assert llm("prompts", "check").code == 0


def test_several_files_are_named_in_the_text(llm, own, write):
    """So that the model can tell them apart."""
    own("review", REVIEW)
    run = llm("ask", "-p", "review", "-f", write("a.txt", "1"), "-f", write("b.txt", "2"), "--no-stdin")
    assert 'a.txt":\n"""\n1\n"""\n\nDocument "' in last_message(run.backend.requests[0])


def test_a_prompt_for_records(llm, own, write):
    """Each record fills the text."""
    own("review", REVIEW)
    run = llm("ask", "-p", "review", "-f", write("a.csv", "text\nalpha\nbeta\n"), "--column", "text", "why")
    assert [last_message(each) for each in run.backend.requests] == [
        "Review: alpha Asked: why",
        "Review: beta Asked: why",
    ]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["-p", "review"], 2, "missing variables: text"),
        (["-p", "reviwe", "x"], 66, "Did you mean review?"),
        (["-p", "./none.yaml", "x"], 66, "cannot read the prompt ./none.yaml"),
        (["-p", "summarize", "x"], 2, "is that of llm summarize"),
        (["-p", "plain", "x"], 2, "no variable for the question"),
        (["--var", "a=b", "x"], 2, "--var needs a prompt"),
        (["-p", "review", "--cite", "x"], 2, "exclude each other"),
        (["--session", "a", "--sql", "x"], 2, "exclude each other"),
        (["-x", "--column", "text", "x"], 2, "not for records"),
        (["--copy", "x"], 2, "needs a terminal"),
        (["--editor", "-"], 2, "exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(llm, own, argv, code, said):
    """With a clear line, before a model is loaded."""
    own("review", REVIEW)
    own("plain", "description: d\nuser: Hello.\n")
    run = llm("ask", *argv, "--no-stdin")
    assert run.code == code and said in run.err and run.backend is None


def test_a_text_file_is_no_prompt(llm, tmp_path, monkeypatch):
    """Its text can be the instructions."""
    (tmp_path / "bullets.md").write_text("Write bullets about {{ text }}")
    monkeypatch.chdir(tmp_path)
    run = llm("ask", "-p", "bullets.md", stdin=b"code")
    assert (run.code, run.backend) == (2, None)
    assert "bullets.md is no prompt file" in run.err and "llm ask -s @bullets.md" in run.err


def test_only_the_first_code_block_is_printed(llm):
    """With --json the answer up to there is a field."""
    assert llm("ask", "-x", "hi", answer=lambda _: CODE).out == "ls -l\n"
    found = json.loads(llm("ask", "-x", "--json", "hi", answer=lambda _: CODE).out)
    assert (found["text"], found["language"]) == ("ls -l", "sh")
    assert CODE.startswith(found["answer"]) and found["answer"].endswith("```\n\nAnd")


def test_an_answer_without_a_code_block_fails(llm):
    """With nothing on stdout, one line on stderr, and code 3."""
    run = llm("ask", "-x", "hi", answer=lambda _: "no code")
    assert (run.code, run.out, run.err.count("\n")) == (3, "", 1) and "no code block" in run.err


def test_a_code_block_that_is_cut_is_partial(llm):
    """Code 3, although something is printed."""
    cut = Reply("```\nls\nfoo", reason=FinishReason.LENGTH)
    run = llm("ask", "-x", "hi", answer=lambda _: cut)
    assert (run.code, run.out) == (3, "ls\nfoo\n")


def test_the_answer_is_copied_to_the_terminal(llm, terminal):
    """Without control characters, and never into a pipe."""
    screen = terminal()
    run = llm("ask", "--copy", "hi", answer=lambda _: "a\x1b[31mb\n", out=screen.slave)
    screen.close()
    sent = b"\x1b]52;c;" + base64.b64encode(b"ab") + b"\x07"
    assert run.code == 0 and screen.raw.count(sent) == 1
    screen = terminal()
    run = llm("ask", "--copy", "hi", answer=lambda _: "a", err=screen.slave)
    screen.close()
    assert (run.code, run.out) == (0, "a\n") and b"\x1b]52;c;" in screen.raw


def test_an_answer_that_is_too_long_is_not_copied(llm, terminal, monkeypatch):
    """It is printed, and the code is 3."""
    monkeypatch.setattr(clipboard, "MAX_CLIPBOARD_BYTES", 3)
    screen = terminal()
    run = llm("ask", "--copy", "hi", answer=lambda _: "long answer", out=screen.slave)
    assert "long answer" in screen.close() and b"]52;" not in screen.raw
    assert run.code == 3 and "too long for the terminal's clipboard" in run.err


def editor(tmp_path, body):
    """Return the environment with an editor that runs ``body`` on the path ``file``."""
    script = tmp_path / "editor.py"
    script.write_text(f"import sys\nfrom pathlib import Path\nfile = Path(sys.argv[-1])\n{body}\n")
    return {"EDITOR": f"{sys.executable} {script}", "VISUAL": None}


def test_the_question_is_written_in_the_editor(llm, tmp_path):
    """It begins with the words of the command line; the file is private and removed."""
    body = (
        f"Path({str(tmp_path / 'seen')!r}).write_text(f'{{oct(file.stat().st_mode)[-3:]}} {{file}}')\n"
        "file.write_text(file.read_text() + 'two\\nthree\\n')"
    )
    run = llm("ask", "--editor", "one", env=editor(tmp_path, body), stdin=b"input")
    mode, name = (tmp_path / "seen").read_text().split()
    assert run.code == 0 and "one\ntwo\nthree" in last_message(run.backend.requests[0])
    assert "input" in last_message(run.backend.requests[0])
    assert mode == "600" and not Path(name).exists()


@pytest.mark.parametrize("body", ["", "file.write_text('  \\n')", "file.unlink()"])
def test_an_empty_text_ends_the_command(llm, tmp_path, body):
    """With a clear line and code 65."""
    run = llm("ask", "--editor", env=editor(tmp_path, body))
    assert run.code == 65 and run.err == "llm: the text from the editor is empty\n" and run.backend is None


def test_an_answer_ends_with_its_first_block(llm, write):
    """The rest is not waited for: the request is cancelled, and the result is complete."""
    for argv in ([], ["--session", "code"]):
        run = llm("ask", "Q", "-x", "--json", *argv, answer=lambda _: Reply(CODE[: CODE.index("And")], stalls=True))
        found = json.loads(run.out)
        assert (run.code, run.err, found["text"], found["finish_reason"]) == (0, "", "ls -l", "stop")
        assert found["answer"] == CODE[: CODE.index("And")] and len(run.backend.cancelled) == 1
    saved = json.loads(llm("sessions", "show", "code", "--json").out)["messages"]
    assert [(each["content"], each["interrupted"]) for each in saved] == [("Q", False), (found["answer"], False)]
    again = llm("ask", "Q", "-x", "-f", write("a.txt", "text"), answer=lambda _: Reply(CODE, stalls=True))
    assert (again.code, again.out) == (0, "ls -l\n")


LONG = "The tide follows the moon.\n" * 50


@pytest.mark.parametrize(
    ("text", "is_document"),
    [
        (LONG, True),
        (f"\n\n{LONG}\n\n", True),
        ("Short text.", False),
        (f"Summarize this:\n{LONG}", False),
        (f"{LONG}\nWhat does it say about the moon?", False),
        (f"{LONG}\n何と言っていますか？", False),
    ],
)
def test_a_long_text_without_a_question_gets_a_hint_on_a_terminal(llm, terminal, text, is_document):
    """One line names the command that asks about it; the answer stays what it was."""
    screen = terminal(columns=120)
    run = llm("ask", stdin=text.encode(), answer=lambda _: "An answer.", err=screen.slave)
    assert (run.code, run.out) == (0, "An answer.\n") and last_message(run.backend.requests[0]) == text
    hint = 'llm: the whole text is the question; to ask about it: llm ask "QUESTION" < FILE'
    assert (hint in screen.close()) is is_document


@pytest.mark.parametrize("options", [["-q"], ["-s", "Shorten it."], ["Why?"], ["--json"]])
def test_a_hint_is_left_out_where_the_user_said_what_to_do(llm, terminal, options):
    """Instructions, a question, and options for scripts."""
    screen = terminal(columns=120)
    assert llm("ask", *options, stdin=LONG.encode(), err=screen.slave).code == 0
    assert "whole text" not in screen.close() and llm("ask", stdin=LONG.encode()).err == ""
