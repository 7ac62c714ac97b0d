"""Chats on real pseudo-terminals: keys at each stage, the terminal's settings, resizing, large pastes."""

from __future__ import annotations

import json
import os
import re
import signal
import termios

import pytest
from chat_server import STALLED
from waiting import wait_until


@pytest.fixture
def saved(llm):
    """Return the messages of a saved chat, as pairs of text and whether it was interrupted."""

    def messages(name):
        shown = json.loads(llm("sessions", "show", name, "--json").out)["messages"]
        return [(message["content"], message["interrupted"]) for message in shown]

    return messages


def begin(chat, message, shown):
    """Send a message and wait until its answer shows a text."""
    chat.prompt()
    chat.type(f"{message}\r")
    chat.child.expect(shown)


def send(chat, shown):
    """Press Enter on a line that the chat has painted, and wait until the answer shows a text."""
    chat.type("\r")
    chat.child.expect(shown)
    chat.prompt()


STAGES = {
    "at the prompt": lambda chat: chat.prompt(),
    "while a line is typed": lambda chat: (chat.prompt(), chat.type("hello"), chat.child.expect("hello")),
    "before an answer": lambda chat: (begin(chat, "silence", r"\x1b\[\?2004l"), chat.until_answering()),
    "during an answer": lambda chat: begin(chat, "stall", "so far"),
    "in a paste": lambda chat: (chat.prompt(), chat.say("/paste"), chat.type("one\rtwo"), chat.child.expect("two")),
    "while the model is loaded": lambda chat: (chat.prompt(), chat.type("hello\r"), chat.child.expect("loading")),
    "in /compact": lambda chat: (converse(chat, STALLED, "more"), chat.type("/compact\r"), chat.until_answering()),
    "in a verb": lambda chat: (converse(chat, STALLED), chat.type("/summarize\r"), chat.until_answering()),
    "in a question": lambda chat: (chat.prompt(), chat.type("/model smollm2-135m\r"), chat.child.expect("Download it")),
    "in the editor": lambda chat: (chat.prompt(), chat.type("hello\x18\x05"), chat.child.expect("editing")),
}
ASKING = ("in a question", "in the editor")
WORKING = [stage for stage in STAGES if stage not in {"at the prompt", "while a line is typed", "in a paste"}]


def converse(chat, *messages):
    """Say messages."""
    chat.prompt()
    for message in messages:
        chat.say(message)


@pytest.fixture
def chat_at(chat_on_terminal, tmp_path):
    """Begin a chat and bring it to a stage; the editor waits for a line, and a model loads when it is needed."""
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\ntrap "" INT\necho editing\nread line || line=end\necho "$line" > "$1"\n')
    editor.chmod(0o755)

    def start(stage, *argv):
        loading = {"SCRIPTED_LOADING": "stalls"} if stage == "while the model is loaded" else {}
        chat = chat_on_terminal(*argv, env={"EDITOR": str(editor), "VISUAL": "", **loading})
        STAGES[stage](chat)
        return chat

    return start


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "in the editor"])
def test_ctrl_c_gives_the_prompt_back(chat_at, stage):
    """At each stage; the chat goes on, and afterwards the terminal has the settings that it had."""
    chat = chat_at(stage)
    chat.type("\x03")
    chat.prompt()
    assert "You said: still here" in chat.say("still here")
    chat.type("/exit\r")
    assert chat.wait() == 0 and chat.settings_now() == chat.settings


def test_the_editor_gets_its_own_ctrl_c(chat_at):
    """The line and the chat are there after it."""
    chat = chat_at("in the editor")
    chat.type("\x03")
    chat.type("from the editor\r")
    chat.child.expect("> from the editor")
    send(chat, "You said: from the editor")
    chat.type("/exit\r")
    assert chat.wait() == 0 and chat.settings_now() == chat.settings


def test_ctrl_c_keeps_what_is_there(chat_on_terminal, saved):
    """The part of the answer that came is on the screen and saved, marked as interrupted."""
    chat = chat_on_terminal("--session", "work")
    begin(chat, "stall", "so far")
    chat.type("\x03")
    chat.prompt()
    chat.type("\x04")
    assert chat.wait() == 0 and "so far" in chat.screen()
    assert saved("work") == [("stall", False), ("so far", True)]


@pytest.mark.parametrize("stage", ["at the prompt", *(each for each in WORKING if each not in ASKING)])
def test_ctrl_d_leaves(chat_at, stage):
    """At the prompt at once; while the chat works after that, here because Ctrl-C ends the work."""
    chat = chat_at(stage)
    chat.type("\x04")
    if stage != "at the prompt":
        chat.type("\x03")  # the end of the input stays typed
    assert chat.wait() == 0 and chat.settings_now() == chat.settings


def test_ctrl_d_in_a_question_means_no(chat_at):
    """The chat goes on."""
    chat = chat_at("in a question")
    chat.type("\x04")
    assert "llm models pull smollm2-135m" in chat.prompt()
    chat.type("\x04")
    assert chat.wait() == 0 and chat.settings_now() == chat.settings


def test_ctrl_d_in_the_editor_is_for_the_editor(chat_at):
    """The chat goes on."""
    chat = chat_at("in the editor")
    chat.type("\x04")
    chat.child.expect("> end")
    send(chat, "You said: end")
    chat.type("\x04")
    assert chat.wait() == 0 and chat.settings_now() == chat.settings


def test_keys_typed_during_a_command_are_for_the_next_prompt(chat_at):
    """They are not echoed into the output of the command."""
    chat = chat_at("in a verb")
    chat.type("next\r\x03")
    assert "next" not in chat.prompt()
    assert "You said: next" in chat.prompt()


def test_typed_keys_do_not_answer_a_question(chat_on_terminal):
    """They were typed before it was asked."""
    chat = chat_on_terminal()
    chat.prompt()
    chat.type("/model smollm2-135m\ry")
    chat.child.expect("Download it")
    chat.type("n\r")
    assert "llm models pull smollm2-135m" in chat.prompt()


def test_ctrl_d_during_an_answer_leaves_after_it(chat_on_terminal, saved):
    """Also after other keys; the whole answer is shown and saved."""
    chat = chat_on_terminal("--session", "work")
    chat.prompt()
    chat.type("long\r")
    chat.child.expect("quick brown fox")
    chat.type("more words\x04")
    chat.child.expect("The end.")
    assert chat.wait() == 0 and chat.settings_now() == chat.settings
    (_, (answer, interrupted)) = saved("work")
    assert answer.endswith("The end.") and not interrupted


def test_ctrl_d_in_a_line_does_not_leave(chat_on_terminal):
    """It deletes a character, as in a shell."""
    chat = chat_on_terminal()
    chat.prompt()
    chat.type("hello\x04\x01\x04")
    chat.child.expect("ello")
    assert "You said: ello" in chat.say("")
    chat.type("\x04")
    assert chat.wait() == 0


@pytest.mark.slow
def test_keys_typed_during_an_answer_are_for_the_next_prompt(chat_on_terminal):
    """One line is sent; several lines are a paste, which waits for Enter; the keys are not echoed into the answer."""
    chat = chat_on_terminal()
    begin(chat, "long", "quick brown fox")
    chat.type("next\r")
    assert "next" not in chat.prompt()
    assert "You said: next" in chat.prompt()
    chat.type("long\r")
    chat.child.expect("quick brown fox")
    chat.type("one\rtwo\rthree")
    chat.prompt()
    assert "You said: one two three" in " ".join(chat.say("").split())
    chat.type("/exit\r")
    assert chat.wait() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_ends_the_chat_and_restores_the_terminal(chat_at, stage, signum):
    """At each stage; in the editor after it."""
    chat = chat_at(stage)
    chat.kill(signum)
    if stage == "in the editor":
        chat.type("\r")
    assert chat.wait() == -signum and chat.settings_now() == chat.settings


def test_an_interrupt_at_the_prompt_does_not_end_the_chat(chat_on_terminal):
    """Where Ctrl-C comes between an answer and the prompt, it arrives as a signal."""
    chat = chat_on_terminal()
    chat.prompt()
    chat.kill(signal.SIGINT)
    chat.prompt()
    assert "You said: still here" in chat.say("still here")


def test_a_second_signal_restores_the_terminal_too(chat_on_terminal):
    """It ends the process at once, wherever it is."""
    chat = chat_on_terminal()
    chat.prompt()
    assert chat.settings_now() != chat.settings
    chat.kill(signal.SIGSTOP)
    chat.kill(signal.SIGTERM)
    chat.kill(signal.SIGHUP)
    chat.kill(signal.SIGCONT)
    assert chat.wait() < 0 and chat.settings_now() == chat.settings


def test_keys_are_collected_after_the_shell_had_the_terminal(chat_at):
    """After Ctrl-Z, the shell sets the terminal for itself; fg lets the chat set it again, so that no key is echoed."""
    chat = chat_at("during an answer")
    during = chat.settings_now()
    chat.kill(signal.SIGSTOP)
    termios.tcsetattr(chat.slave, termios.TCSANOW, chat.settings)
    chat.kill(signal.SIGCONT)
    wait_until(lambda: chat.settings_now() == during)


@pytest.mark.parametrize(("before", "after"), [(80, 40), (40, 120)])
def test_the_terminal_is_resized_during_an_answer(chat_on_terminal, before, after):
    """The rest of the answer has the new width, and none of it is lost."""
    chat = chat_on_terminal(columns=before)
    begin(chat, "long", "3 The quick")  # the rest waits for this test to read it
    chat.resize(after, 24)
    chat.child.expect("The end.")
    chat.prompt()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", chat.raw.decode())
    assert set(range(40)) <= {int(number) for number in re.findall(r"\b(\d+) The", text)}
    rows = text[text.index("36 The") :].splitlines()
    assert after * 0.7 < max(len(row) for row in rows if "fox" in row) < after
    chat.type("/exit\r")
    assert chat.wait() == 0


def test_ten_thousand_pasted_lines_are_one_message(chat_on_terminal, saved):
    """By bracketed paste; they come to the model and into the saved chat as they were."""
    chat = chat_on_terminal("--session", "work")
    chat.prompt()
    text = "\n".join(f"line {number}" for number in range(10_000))
    assert "10000 lines" in chat.say(f"\x1b[200~{text}\x1b[201~")
    chat.type("/exit\r")
    assert chat.wait() == 0
    assert saved("work") == [(text, False), ("10000 lines", False)]


def test_control_sequences_do_not_reach_the_terminal(chat_on_terminal, llm, tmp_path):
    """Of answers, of names, and of old sessions."""
    llm("chat", "--session", "old", stdin=b"question\x1b]0;evil\x07\n", answer=lambda _: "old\x1b]52;c;evil\x07")
    evil = "no\x1b]0;evil\x07te.txt"
    (tmp_path / evil).write_text("apples")
    chat = chat_on_terminal("--session", "old")
    assert "> question" in (greeting := chat.prompt()) and "old" in greeting
    assert "leftright" in chat.say("controls")
    assert "note.txt goes with your next message" in chat.say("/file no*")
    for command in ("/tree", "/branches", "/search evil", "/load old", "/system \x1b]0;evil\x07", "/system"):
        chat.say(command)
    chat.say("/prompt \x1b]0;evil\x07")
    chat.type("/exit\r")
    assert chat.wait() == 0
    raw = bytes(chat.raw)
    assert b"\x1b]" not in raw and "\x9b".encode() not in raw and "\u202e".encode() not in raw
    assert b"\x1b[31mred" not in raw


def test_control_sequences_in_names_and_lines_do_not_reach_the_terminal(chat_on_terminal, tmp_path):
    """Of files that Tab lists, and of a message that is edited; the message stays as it was."""
    for name in ("no\x9b2Ja.txt", "no\u202eb.txt", "no\x1b]0;evil\x07c.txt"):
        (tmp_path / name).write_text("apples")
    (tmp_path / "evil.txt").write_text("left\x9b2J\u202eright\x1b]0;evil\x07")
    chat = chat_on_terminal("--session", "work")
    chat.prompt()
    chat.type("/file no\t")
    chat.child.expect("b.txt")
    chat.child.expect("> .*/file no")  # until the line is shown again, the terminal itself handles Ctrl-U
    chat.type("\x15")
    for line, shown in (("/file evil.txt", "next message"), ("What is it?", "You said")):
        chat.type(f"{line}\r")
        chat.child.expect(shown)
        chat.prompt()
    chat.type("/edit\r")
    chat.child.expect("> File")
    send(chat, "You said")
    chat.type("/exit\r")
    assert chat.wait() == 0
    raw = bytes(chat.raw)
    assert b"\x1b]" not in raw and b"\x07" not in raw
    assert "\x9b".encode() not in raw and "\u202e".encode() not in raw


def test_no_color_leaves_no_colours(chat_on_terminal):
    """Not even in a line that Ctrl-C drops, which is grey otherwise."""
    for env, grey in (({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        chat = chat_on_terminal("--no-save", env=env)
        chat.prompt()
        chat.type("x\x03")
        chat.prompt()
        assert (b"\x1b[0;38;5;" in chat.raw) == grey


def test_finished_blocks_are_written_once(chat_on_terminal):
    """Only the open block is painted again, so that finished ones stay in the scrollback."""
    chat = chat_on_terminal()
    chat.prompt()
    chat.say("blocks")
    chat.type("/exit\r")
    assert chat.wait() == 0
    _, rest = bytes(chat.raw).split(b"Second", 1)
    assert b"First" not in rest and chat.screen().count("First block.") == 1


def test_an_answer_that_repeats_itself_is_stopped(chat_on_terminal, saved):
    """A line says so; the answer is kept as far as it came."""
    chat = chat_on_terminal("--session", "work")
    chat.prompt()
    assert "the answer repeated itself" in chat.say("repeat")
    chat.type("/exit\r")
    assert chat.wait() == 0
    (_, (answer, interrupted)) = saved("work")
    assert interrupted and answer.startswith("again and again") and len(answer) < 20_000


def test_a_killed_chat_keeps_every_turn(chat_on_terminal, saved):
    """A SIGKILL after each turn: the next chat goes on with all that was said."""
    for number in range(4):
        chat = chat_on_terminal("--session", "work")
        assert number == 0 or f"You said: turn {number - 1}" in chat.prompt()
        if number == 0:
            chat.prompt()
        assert f"You said: turn {number}" in chat.say(f"turn {number}")
        chat.kill(signal.SIGKILL)
        assert chat.wait() == -signal.SIGKILL
        texts = [text for text, _ in saved("work")]
        assert texts == [text for each in range(number + 1) for text in (f"turn {each}", f"You said: turn {each}")]


def test_the_editor_changes_the_line(chat_on_terminal, tmp_path):
    """Ctrl-X Ctrl-E opens it on what is typed; what it leaves can be sent."""
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/morning/evening/ "$1"\n')
    editor.chmod(0o755)
    chat = chat_on_terminal(env={"EDITOR": str(editor), "VISUAL": ""})
    chat.prompt()
    chat.type("good morning\x18\x05")
    chat.child.expect("good evening")
    send(chat, "You said: good evening")
    chat.type("/exit\r")
    assert chat.wait() == 0 and chat.settings_now() == chat.settings


def test_an_editor_that_fails_leaves_the_line(chat_on_terminal):
    """An error says why; an editor that leaves no text leaves an empty line."""
    chat = chat_on_terminal(env={"EDITOR": "no-such-editor", "VISUAL": ""})
    chat.prompt()
    chat.type("good morning\x18\x05")
    chat.child.expect("no-such-editor")
    chat.child.expect("> good morning")
    send(chat, "You said: good morning")
    chat = chat_on_terminal(env={"EDITOR": "truncate -s 0", "VISUAL": ""})
    chat.prompt()
    chat.type("good morning\x18\x05")
    chat.prompt()
    assert "You said: evening" in chat.say("evening")


def test_the_keys_of_vi(chat_on_terminal):
    """``chat.keys: vi`` selects them; those of emacs are the usual ones."""
    chat = chat_on_terminal("--session", "one", env={"LLMCLI_CHAT_KEYS": "vi"})
    chat.prompt()
    chat.type("helo\x1b")
    chat.child.expect("helo")
    chat.type("0fla")
    assert "You said: hello" in chat.say("l")
    chat.type("/exit\r")
    assert chat.wait() == 0
    chat = chat_on_terminal("--session", "two")
    chat.prompt()
    assert "You said: hello you" in chat.say("you\x01hello \x05")
    chat.type("/exit\r")
    assert chat.wait() == 0


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_lists_fit_the_terminal(chat_on_terminal, columns):
    """What a command does stands in one column, below a command that is too long; each message has its own line."""
    chat = chat_on_terminal(columns=columns, rows=70)
    chat.prompt()
    for line in (f"first {'word ' * 50}", "second", "/edit 3 third", "/edit 1 fourth"):
        chat.say(line)
    chat.say("/tree")
    chat.say("/help")
    chat.type("/exit\r")
    assert chat.wait() == 0
    shown = chat.screen(columns, 70)
    tree = shown[shown.index("> /tree") + 1 : shown.index("> /help")]
    assert [re.search(r"\d", line)[0] for line in tree] == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert [line.index("─") for line in tree if "─" in line][1:3] == [4, 4]
    listed = shown[shown.index("> /help") + 1 :]
    width = min(26, (columns - 1) // 2)
    for usage, meaning in (("/retry", "ask the last"), ("/prompt NAME [VARIABLE=VALUE]... [TEXT]", "send a prompt")):
        number = next(
            number for number, line in enumerate(listed) if "".join(line.split()).startswith(usage.replace(" ", "")[:6])
        )
        below = [line[width:] for line in listed[number : number + 3]]
        assert any(line.startswith(meaning) for line in below), (usage, below)


def test_no_descriptor_of_a_terminal_is_left(chat_on_terminal):
    """A chat that ended has closed its terminal, so that a window can close."""
    chat = chat_on_terminal()
    chat.prompt()
    chat.type("/exit\r")
    assert chat.wait() == 0
    chat.hang_up()
    with pytest.raises(OSError, match="Input/output error"):
        b"".join(iter(lambda: os.read(chat.master, 65536), b""))
