"""The slash commands, on a real terminal with a tiny model of random weights."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import sqlite3
from pathlib import Path

import pytest
from terminal import PROMPT, ended
from waiting import wait_until

from llmcli.cli.commands.chat import chat_commands

SHORT = ["--max-tokens", "5", "--seed", "1"]


class Talk:
    """A chat on a terminal; each typed line gets what was shown up to the next prompt."""

    def __init__(self, child):
        self.child = child
        child.expect(PROMPT)
        self.greeting = self._plain(child.before)

    @staticmethod
    def _plain(text):
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)

    def __call__(self, typed):
        self.child.sendline(typed)
        self.child.expect(PROMPT)
        return " ".join(self._plain(self.child.before).split())

    def leave(self):
        self.child.sendline("/exit")
        assert ended(self.child) == 0
        return self._plain(self.child.before)


@pytest.fixture
def talk(person):
    """Begin a chat on a terminal."""
    return lambda *argv, **more: Talk(person("chat", *SHORT, *argv, **more))


@pytest.fixture
def tree(llm):
    """Return the rows of a session's tree."""

    def rows(name):
        return [json.loads(line) for line in llm("sessions", "tree", name, "--json").out.splitlines()]

    return rows


def questions(rows, *, current=None):
    return [row["content"] for row in rows if row["role"] == "user" and current in {None, row["current"]}]


def test_help_lists_every_command(talk):
    """From the one table; each with one line."""
    chat = talk("--no-save")
    shown = chat("/help")
    for name, command in chat_commands.slash_commands().items():
        assert name in {"/quit", "/bye"} or f"{command.usage} {command.help}" in shown
    chat.leave()


@pytest.mark.slow
def test_turns_are_taken_back_asked_again_and_edited(talk, tree):
    """/undo, /retry and /edit branch; nothing is lost."""
    chat = talk("--session", "work")
    assert "there is no message yet" in chat("/undo") and "there is no message yet" in chat("/retry")
    for text in ("one", "two", "three"):
        chat(text)
    assert "Took back 1 question with the answer, from: three; they stay in the /tree" in chat("/undo")
    assert questions(tree("work"), current=True) == ["one", "two"] and len(tree("work")) == 6
    chat("/retry")
    rows = tree("work")
    assert len(rows) == 7 and rows[6]["parent"] == 3 and rows[6]["current"] and not rows[3]["current"]
    assert "message 7 is an answer Edit its question: /edit 3" in chat("/edit 7 due")
    chat("/edit 1 uno")
    assert questions(tree("work"), current=True) == ["uno"] and tree("work")[7]["parent"] is None
    assert "message 3 is in another branch" in chat("/edit 3 due")
    assert "/tree shows the numbers" in chat("/edit x")
    assert "there is no message 99" in chat("/edit 99 x")
    assert "/undo takes a number" in chat("/undo -1")
    assert "7 assistant" in (shown := chat("/tree")) and "* 8 user: uno" in shown
    chat.leave()
    assert questions(tree("work")) == ["one", "two", "three", "uno"]


@pytest.mark.slow
def test_the_last_question_can_be_edited_in_the_line(talk, tree):
    """/edit without a text fills the prompt with the question; an empty line leaves it as it was."""
    chat = talk("--session", "work")
    chat("first")
    chat.child.sendline("/edit")
    chat.child.expect("Change the message and press Enter.*> first")
    chat(" and more")
    assert questions(tree("work"), current=True) == ["first and more"]
    chat.child.sendline("/edit")
    chat.child.expect("Change the message and press Enter.*> first and more")
    chat("\x15")
    chat("next")
    assert questions(tree("work"), current=True) == ["first and more", "next"]
    chat.leave()


def test_a_line_break_in_an_argument_does_not_look_typed(talk):
    """It ends a word as a space does; in a message it is shown, since a space there would read like input that is right."""
    chat = talk("--no-save")
    assert "seed 5" in chat("/set seed\x1b\r5")
    assert "no model called no ⏎ such" in chat("/model no\x1b\rsuch")
    chat.leave()


@pytest.mark.slow
def test_forks_and_branches(talk, tree):
    """/fork goes on in a new session; /branches lists the ends and goes to one."""
    chat = talk("--session", "work")
    for text in ("one", "two", "/edit 3 other"):
        chat(text)
    shown = chat("/branches")
    assert "4: two (4 messages)" in shown and "* 6: other (4 messages)" in shown
    assert "> two" in chat("/branches 4")
    assert questions(tree("work"), current=True) == ["one", "two"]
    assert "This chat goes on as twin; work stays as it is." in chat("/fork twin 2")
    chat("three")
    assert questions(tree("twin")) == ["one", "three"] and len(tree("work")) == 6
    assert "already exists" in chat("/fork work") and "/help lists the commands" in chat("/fork a/b")
    assert "This chat goes on as twin-fork" in chat("/fork")
    assert "Saved as twin-fork" in chat.leave()


@pytest.mark.slow
def test_options_of_a_chat(talk, llm, tree):
    """/model, /system and /set show and change; wrong values are explained."""
    chat = talk("--session", "work")
    assert "llama.gguf answers, with a context of" in chat("/model").replace("\n", "")
    assert "no model called nothing-like-it" in chat("/model nothing-like-it")
    assert "There are no instructions" in chat("/system")
    assert "hold from the next message on" in chat("/system Be kind.") and "Be kind." in chat("/system")
    chat("hello")
    assert json.loads(llm("sessions", "show", "work", "--json").out)["system"] == "Be kind."
    assert "Removed the instructions" in chat("/system -")
    shown = chat("/set")
    assert "temperature auto" in shown and "seed 1" in shown and "overflow summarize" in shown
    assert "temperature 0.5" in chat("/set temperature 0.5") and "temperature auto" in chat("/set temperature auto")
    assert "temperature: expected a number of at least 0, not hot" in chat("/set temperature hot")
    assert "overflow slide" in chat("/set overflow slide")
    assert "overflow: expected summarize, slide, stop, not x" in chat("/set overflow x")
    assert "reasoning on" in chat("/set reasoning on") and "stop_repetition off" in chat("/set stop_repetition off")
    assert "x is not an option of a chat" in chat("/set x 1")
    chat.leave()
    again = talk("--session", "work")
    assert "overflow slide" in again("/set")
    again.leave()


@pytest.mark.slow
def test_another_model_answers(talk, tiny, llm):
    """From the next message on; the session knows which model answered last."""
    chat = talk("--session", "work")
    chat("one")
    assert "chatml.gguf answers" in chat(f"/model {tiny('chatml')}")
    assert "answered in this conversation so far" not in chat("two")
    chat.leave()
    assert "chatml.gguf" in json.loads(llm("sessions", "show", "work", "--json").out)["model"]


@pytest.mark.slow
def test_files_go_with_the_next_message(talk, tree, tmp_path):
    """Their whole text, once; a missing or empty file is an error."""
    (tmp_path / "notes.txt").write_text("apples and pears")
    (tmp_path / "empty.txt").touch()
    chat = talk("--session", "work")
    assert "goes with your next message (16 characters)" in chat("/file notes.txt")
    assert "cannot read" in chat("/file nothing.txt") and "is empty" in chat("/file empty.txt")
    assert "/file needs an argument" in chat("/file")
    assert "is no web address" in chat("/url notes.txt") and "not a public address" in chat("/url http://127.0.0.1/")
    (tmp_path / "more").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "more" / name).write_text("plums")
    assert "2 files go with your next message (10 characters)" in chat("/file more")
    assert "No file goes with" in chat("/file -")
    chat("/file notes.txt")
    (tmp_path / "more" / "b.txt").write_text(" ")
    assert "b.txt is empty" in chat("/file more").replace("\n", "")
    chat("What fruit?")
    chat("And?")
    asked = questions(tree("work"))
    assert asked[0].startswith('File "notes.txt":\n"""\napples and pears\n"""\n\nWhat fruit?') and asked[1] == "And?"
    chat.leave()


@pytest.mark.slow
def test_copy_pin_and_tokens(talk, tree, llm):
    """/copy sends OSC 52; /pin marks a message of the session; /tokens and /stats give figures."""
    chat = talk("--session", "work")
    assert "there is no answer yet" in chat("/copy") and "No answer yet" in chat("/stats")
    chat("one")
    chat.child.sendline("/copy")
    chat.child.expect(r"\x1b\]52;c;([^\x07]*)\x07")
    copied = base64.b64decode(chat.child.match[1]).decode()
    chat.child.expect(PROMPT)
    assert copied == tree("work")[1]["content"]
    assert "Pinned: one" in chat("/pin 1")
    assert [row["pinned"] for row in tree("work")] == [True, False]
    assert re.search(
        r"\d+ of \d+ tokens of the context \(\d+%\), 2 messages; 1 pinned; when it is full", chat("/tokens")
    )
    assert "message 2 is not pinned" in chat("/unpin")
    assert "No longer pinned: one" in chat("/unpin 1") and not tree("work")[0]["pinned"]
    assert "1 answer;" in chat("/stats")
    assert "there is nothing to summarize" in chat("/compact")
    chat("two " * 20)
    assert chat("/pin 3").endswith("two two…")
    assert "a summary replaces the first 2 messages" in chat("/compact")
    chat.leave()


@pytest.mark.slow
def test_sessions_from_inside_a_chat(talk, llm, tmp_path, tree):
    """/load, /rename, /search and /export; the conversation that is left stays saved."""
    llm("chat", "--session", "other", stdin=b"apples\n")
    chat = talk("--session", "work")
    chat("pears")
    assert "other 1 user: apples" in chat("/search apples") and "no saved chat mentions plums" in chat("/search plums")
    assert "Wrote 2 messages to out.md" in chat("/export out.md") and "out.md exists" in chat("/export out.md")
    assert (tmp_path / "out.md").read_text().startswith("# work\n")
    assert "> apples" in (shown := chat("/load other")) and "Continuing other: 2 messages." in shown
    assert "no session called nothing" in chat("/load nothing")
    assert "is saved as fruit" in chat("/rename fruit")
    chat("plums")
    chat("/continue")
    chat.leave()
    assert questions(tree("fruit"))[:2] == ["apples", "plums"] and questions(tree("work")) == ["pears"]


@pytest.mark.slow
def test_other_verbs_take_the_last_answer(talk, tmp_path):
    """Their output is not part of the chat; a wrong option is an error of the verb."""
    chat = talk("--no-save")
    chat("one")
    assert "two slashes" not in chat("/summarize --words 5")
    assert "--to" in chat("/translate")
    assert "no such option" in chat("/summarize --nonsense").lower()
    assert "No closing quotation" in chat('/summarize "x')
    assert "--against" in chat("/check") and "--labels" in chat("/classify")
    (tmp_path / "notes.txt").write_text("apples and pears")
    assert re.search("positive|neutral|negative", chat("/sentiment"))
    assert re.search(r"good=0\.\d+ bad=0\.\d+|bad=0\.\d+ good=0\.\d+", chat("/classify --labels good,bad"))
    assert "no match" in chat("/filter 'it is short'")
    assert '"name"' in chat("/extract --schema name")
    for command in ("/check --against notes.txt", "/proofread"):
        assert "internal error" not in chat(command)
    assert "STATEMENT" in chat("/filter") and "--schema" in chat("/extract")
    assert "no such option" in chat("/proofread --nonsense").lower()
    assert "no such option" in chat("/redact --nonsense").lower()
    assert "1 answer;" in chat("/stats")
    chat.leave()


def test_other_verbs_run_on_the_last_answer(chat_on_terminal, llm):
    """With what they print; the messages of the chat stay as they were."""
    chat = chat_on_terminal("--session", "work")
    chat.prompt()
    chat.say("Write to bob@example.com on Monday.")
    for command, shown in (
        ("/translate --to French", "to French, 1 segment"),
        ("/summarize --style paragraph", "bob@example.com"),
        ("/redact", "PII_EMAIL_1"),
    ):
        assert shown in chat.say(command), command
    chat.type("/exit\r")
    assert chat.wait() == 0
    assert len(json.loads(llm("sessions", "show", "work", "--json").out)["messages"]) == 2


def test_a_resumed_chat_shows_its_last_exchange(talk, llm):
    """Shortened, and without control sequences."""
    llm("chat", "--session", "work", stdin=b"hel\x1b]0;evil\x07lo\n")
    chat = talk("--session", "work")
    assert "> hello" in chat.greeting and "evil" not in chat.greeting
    chat.leave()


@pytest.mark.slow
def test_many_lines_are_one_message(talk, tree):
    """A paste with newlines, by bracketed paste and by /paste; a slash in it is no command."""
    chat = talk("--session", "work")
    text = "\n".join(f"line {number}" for number in range(50))
    chat(f"\x1b[200~{text}\x1b[201~")
    chat.child.sendline("/paste")
    chat.child.expect(PROMPT)
    chat.child.send("/one\rtwo\r\x04")
    chat.child.expect(PROMPT)
    chat.leave()
    assert questions(tree("work")) == [text, "/one\ntwo"]


def test_tab_completes(talk, llm):
    """Commands, options and saved chats."""
    llm("chat", "--session", "invoices", stdin=b"x\n")
    chat = talk("--session", "work")
    chat.child.send("/load inv\t\r")
    chat.child.expect("Continuing invoices")
    chat.child.expect(PROMPT)
    chat.child.send("/tok\t\r")
    chat.child.expect("tokens of the context")
    chat.child.expect(PROMPT)
    assert "repeat_penalty" in chat("/set repeat_p\t")
    chat.leave()


@pytest.mark.slow
def test_what_was_typed_is_there_in_the_next_chat(talk):
    """By the arrow key and Ctrl-R; the file is private; a chat that is not saved leaves nothing in it."""
    file = Path(os.environ["LLMCLI_DATA_DIR"], "chat_history")
    chat = talk("--no-save")
    chat("secret words")
    chat.leave()
    assert not file.exists()
    chat = talk()
    chat("/set seed 77")
    chat.leave()
    assert file.stat().st_mode & 0o777 == 0o600
    chat = talk()
    chat.child.send("\x12seed\r\r")
    chat.child.expect("seed 77")
    chat.child.expect(PROMPT)
    chat.leave()


@pytest.mark.slow
def test_a_killed_chat_keeps_what_was_said(person, tree, tiny):
    """After each turn, and in the middle of an answer: the question, and the part of the answer, marked."""
    for number in range(3):
        child = person("chat", *SHORT, "--session", "work")
        child.expect(PROMPT)
        child.sendline(f"turn {number}")
        child.expect(PROMPT)
        child.kill(signal.SIGKILL)
        child.wait()
        assert questions(tree("work")) == [f"turn {each}" for each in range(number + 1)]
    endless = {"LLMCLI_MODEL": str(tiny("endless"))}
    child = person("chat", "--seed", "1", "--session", "work", "--ctx", "8192", env=endless)
    child.expect(PROMPT)
    child.sendline("long")
    wait_until(lambda: len(tree("work")) >= 8)
    child.kill(signal.SIGKILL)
    child.wait()
    (*_, question, answer) = tree("work")
    assert question["content"] == "long" and answer["interrupted"] is True and answer["content"]
    connection = sqlite3.connect(Path(os.environ["LLMCLI_DATA_DIR"], "sessions.db"))
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
