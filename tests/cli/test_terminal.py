"""The screen of a person: real pseudo-terminals."""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path

import pexpect
import pytest
from scripted import Reply, last_message
from terminal import PROMPT, ROOT, ended

from llmcli.documents.reading import file_reader


def test_markdown_is_rendered_on_a_terminal(llm, terminal):
    """Prose of an answer is rendered on a terminal."""
    screen = terminal()
    run = llm("ask", "Q", out=screen.slave, answer=lambda _: "# Head\n\nSome **bold** text.\n\n- one\n- two\n")
    assert run.code == 0 and screen.close() == "Head\n\nSome bold text.\n\n • one\n • two"


def test_code_has_no_background(llm, terminal):
    """It is readable on light and on dark terminals."""
    screen = terminal()
    llm("ask", "Q", out=screen.slave, answer=lambda _: "Run `ls` now.")
    assert screen.close() == "Run ls now." and not re.search(rb"\x1b\[[0-9;]*4[0-9][;m]", bytes(screen.raw))


def test_markdown_can_be_switched_off(llm, terminal):
    """The setting shows the model's own text."""
    screen = terminal()
    llm("ask", "Q", out=screen.slave, answer=lambda _: "**bold**", env={"LLMCLI_MARKDOWN": "off"})
    assert screen.close() == "**bold**" and b"\x1b" not in screen.raw


def test_a_dumb_terminal_gets_plain_text(llm, terminal, tiny):
    """TERM=dumb supports no sequences and gets none."""
    screen = terminal()
    llm(
        "ask",
        "Q",
        out=screen.slave,
        err=screen.slave,
        answer=lambda _: "**bold**",
        env={"TERM": "dumb", "LLMCLI_MODEL": str(tiny("chatml"))},
    )
    assert screen.close() == "**bold**" and b"\x1b" not in screen.raw


def test_a_pipe_gets_the_model_s_own_bytes(llm):
    """In a pipe nothing is rendered and nothing is removed."""
    assert llm("ask", "Q", answer=lambda _: "**bold** \x1b[31m").out == "**bold** \x1b[31m\n"


def test_force_color_renders_into_a_pipe(llm):
    """FORCE_COLOR requests styles without a terminal."""
    run = llm("ask", "Q", answer=lambda _: "**bold**", env={"FORCE_COLOR": "1"})
    assert "\x1b[1m" in run.out and "**" not in run.out


def test_documents_on_a_terminal_lose_control_sequences(llm, terminal):
    """A translation is shown unchanged except for control sequences."""
    screen = terminal()
    llm("translate", "--to", "fr", out=screen.slave, stdin=b"x\n", answer=lambda _: "a\x1b]0;evil\x07b")
    assert screen.close() == "ab" and b"evil" not in screen.raw


def test_the_width_is_the_terminal_s(llm, terminal):
    """No row is wider than the terminal, and COLUMNS overrides it."""
    for columns, env in ((40, {}), (80, {"COLUMNS": "40"})):
        screen = terminal(columns=columns)
        llm("ask", "Q", out=screen.slave, answer=lambda _: "word " * 60, env=env)
        lines = screen.close().splitlines()
        assert 30 < max(map(len, lines)) < 40


def test_an_interrupted_answer_leaves_the_cursor_at_the_start_of_a_line(llm, terminal):
    """The shell's next prompt does not follow half an answer on its line."""
    screen = terminal()
    run = llm("ask", "Q", "--timeout", "0.2", out=screen.slave, answer=lambda _: Reply("so far", stalls=True))
    assert run.code == 124 and screen.close() == "so far" and bytes(screen.raw).endswith(b"\n")


def test_no_bar_without_a_terminal(llm, tmp_path):
    """Without a terminal, stderr stays empty on success."""
    (tmp_path / "long").write_text("A sentence of words.\n\n" * 200)
    run = llm("summarize", str(tmp_path / "long"), context=300, answer=lambda _: "S")
    assert (run.code, run.out, run.err) == (0, "S\n", "")


def test_nothing_to_read_on_a_terminal_is_usage(person):
    """A verb that would wait for a terminal's input says what to give it."""
    child = person("summarize")
    child.expect("llm: no input")
    assert ended(child) == 2


@pytest.mark.slow
def test_waiting_for_a_silent_stdin_is_announced(person):
    """After two seconds without data, a person learns what is awaited."""
    assert inspect.signature(file_reader.read_stdin).parameters["patience"].default == 2
    soon = "from functools import partial; from llmcli.documents.reading import file_reader as r; "
    soon += "r.read_stdin = partial(r.read_stdin, patience=0.05)"
    child = person("ask", "-f", "-", "Q", code=soon)
    child.expect("llm: waiting for standard input")
    child.sendintr()
    assert ended(child) == -2


@pytest.mark.parametrize(("name", "size"), [("smollm2-135m", "98.4 MB"), ("qwen3-4b", "about 2.5 GB")])
def test_downloading_a_missing_model_asks_for_confirmation(person, name, size):
    """On a terminal the tool asks before it downloads, with the size; no means 69 and the command to type."""
    child = person("ask", "Q", "-m", name)
    asked = rf"{name} \({size}\) is not on this machine. Download it\? \[Y/n\]"
    child.expect(asked.replace(" ", r"\s+"))  # on two lines
    child.sendline("n")
    child.expect(f"llm models pull {name}")
    assert ended(child) == 69


@pytest.mark.slow
def test_chat_answers_and_leaves_on_the_end_of_input(person):
    """A message is answered; Ctrl-D leaves with 0."""
    child = person("chat", "--max-tokens", "5", "--seed", "1")
    child.expect(PROMPT)
    child.sendline("hello")
    child.expect(PROMPT)
    child.sendeof()
    assert ended(child) == 0


def test_chat_has_commands(person):
    """/help lists the commands, /reset forgets, an unknown one is not sent to the model, /exit leaves."""
    child = person("chat")
    for typed, shown in (
        ("/help", "/reset"),
        ("/reset", "A new chat begins"),
        ("/nonsense", "/nonsense is not a command"),
    ):
        child.expect(PROMPT)
        child.sendline(typed)
        child.expect(shown)
    child.expect(PROMPT)
    child.sendline("/exit")
    assert ended(child) == 0


@pytest.mark.parametrize("sequence", ["\x1b[31m", "\x1b[1;31m", "\x1b[<9;9M", "\x1b[<99;1;1M", "\x1b[M~~~"])
def test_chat_ignores_sequences_that_look_like_the_mouse(person, sequence):
    """They arrive where a terminal pastes a text unmarked; the rest of the line is kept."""
    child = person("chat")
    child.expect(PROMPT)
    child.sendline(f"/non{sequence}sense")
    child.expect("/nonsense is not a command")
    child.expect(PROMPT)
    child.sendline("/exit")
    assert ended(child) == 0


def test_ctrl_c_stops_the_answer_and_not_the_chat(person, tiny):
    """Ctrl-C ends an answer; the conversation continues, and Ctrl-C at the prompt does not end it either."""
    env = {"LLMCLI_MODEL": str(tiny("endless")), "LLMCLI_MARKDOWN": "off"}
    child = person("chat", "--seed", "1", "--ctx", "8192", env=env)
    child.expect(PROMPT)
    child.sendline("tell me everything")
    child.expect(r"\x1b\[\?2004l[^\x1b]*[a-z]{2}")  # the line editor has ended and the answer has begun
    child.sendintr()
    child.expect(PROMPT)
    child.sendintr()
    child.expect(PROMPT)
    child.sendline("/exit")
    assert ended(child) == 0


def test_a_termination_ends_a_waiting_chat(person):
    """SIGTERM ends the program while it waits for a message."""
    child = person("chat")
    child.expect(PROMPT)
    child.kill(15)
    assert ended(child) == -15


def test_names_on_headers_are_harmless(llm, terminal, tmp_path):
    """A file name with control characters does not control the terminal."""
    screen = terminal()
    names = [str(tmp_path / "a\x1b]0;evil\x07"), str(tmp_path / "b")]
    for name in names:
        Path(name).write_text("Text.")
    llm("summarize", *names, out=screen.slave, answer=last_message)
    screen.close()
    assert not re.search(rb"\x1b\]", bytes(screen.raw))


@pytest.mark.slow
def test_ctrl_z_stops_a_chat_at_its_prompt(tiny, tmp_path):
    """The shell continues, and fg shows the prompt with what was typed."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "LLMCLI_MODEL": str(tiny("llama")), "TERM": "xterm-256color"}
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], env=environ, cwd=str(tmp_path), encoding="utf-8", timeout=20
    )
    shell.sendline(f"{sys.executable} -m llmcli chat --no-save")
    shell.expect(PROMPT)
    shell.send("half a line\x1a")
    shell.expect("Stopped")
    shell.sendline("fg")
    shell.expect("half a line")
    shell.send("\x15\x04")
    shell.sendline("echo code $?")
    shell.expect("code 0")
    shell.close(force=True)
