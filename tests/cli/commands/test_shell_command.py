"""``llm command``, and the key that calls it from a shell's edit buffer."""

from __future__ import annotations

import json
import os
import shutil

import pexpect
import pytest

from llmcli.cli.completion_scripts import Shell, binding_script
from llmcli.errors.incomplete_results import InvalidAnswer
from llmcli.tasks.command import parse_command

FIND = {"command": "find . -size +1G", "explanation": "Lists files larger than 1 GB."}


def answer(**changes):
    """Return a scripted model that answers with ``FIND``, changed."""
    return lambda _: json.dumps(FIND | changes)


def test_the_command_alone_is_on_stdout(llm):
    """A pipe gets the command, and nothing on stderr."""
    run = llm("command", "files", "larger", "than", "1", "GB", answer=answer())
    assert (run.code, run.out, run.err) == (0, "find . -size +1G\n", "")
    assert "files larger than 1 GB" in run.backend.requests[0].messages[-1].content


def test_the_explanation_is_a_note(llm):
    """Notes are shown on a terminal, or with -v."""
    assert "Lists files larger than 1 GB." in llm("command", "-v", "large files", answer=answer()).err


def test_json_has_all_fields(llm):
    """The shell is the one that the command was written for."""
    found = json.loads(llm("command", "--json", "--shell", "fish", "large files", answer=answer()).out)
    assert {name: found[name] for name in ("command", "explanation", "shell")} == FIND | {"shell": "fish"}


@pytest.mark.parametrize(("path", "name"), [("/usr/bin/zsh", "zsh"), ("", "sh")])
def test_the_shell_is_the_user_s(llm, path, name):
    """Without SHELL, the command is for sh."""
    run = llm("command", "large files", answer=answer(), env={"SHELL": path})
    assert f"Shell: {name} on " in run.backend.requests[0].messages[-1].content


@pytest.mark.parametrize(
    "bad",
    [
        "ls\nrm -rf x",
        "ls \x1b[2K",
        "ls\r-a",
        "echo \u202etxt.exe",
        "ls \u200b-a",
        "ls\u2028-a",
        "ls\x85-a",
        "  ",
        "ls\ufeff",
        "rm -r " + "very-" * 78 + "long",
        "ls -w" + " -" * 197 + " ",
    ],
)
def test_commands_that_hide_what_runs_or_may_be_cut_are_refused(llm, bad):
    """They are asked for once more; then nothing is printed and the exit code is 3."""
    run = llm("command", "list files", answer=answer(command=bad))
    assert run.code == 3 and run.out == "" and run.err.startswith("llm: ") and len(run.backend.requests) == 2


@pytest.mark.parametrize("text", ["ls", "[]", "null", '{"command": 1, "explanation": ""}', '{"command": "ls"}', "{"])
def test_an_answer_of_another_form_is_invalid(text):
    """A server may ignore the schema."""
    with pytest.raises(InvalidAnswer):
        parse_command(text)


def test_a_second_answer_may_be_right(llm):
    """The retry is not greedy."""
    answers = iter(["no JSON", json.dumps(FIND)])
    run = llm("command", "large files", answer=lambda _: next(answers))
    assert run.code == 0 and run.out == "find . -size +1G\n"


def test_greedy_sampling_by_choice_is_not_repeated(llm):
    """The second answer would be the first."""
    run = llm("command", "--temperature", "0", "x", answer=lambda _: "no JSON")
    assert run.code == 3 and len(run.backend.requests) == 1


def test_a_command_needs_a_task(llm):
    """Nothing is sent."""
    run = llm("command")
    assert run.code == 2 and "llm command" in run.err


def test_the_engine_keeps_the_form(llm, tmp_path):
    """A model of random weights cannot leave the schema."""
    run = llm("command", "--max-tokens", "400", "--json", "list files")
    if run.code == 0:
        found = json.loads(run.out)
        assert found["command"].isprintable() and found["explanation"].isprintable()
    else:
        assert run.code == 3 and run.out == ""


KEYS = {Shell.BASH: r"\C-g", Shell.ZSH: "^G", Shell.FISH: "ctrl-g", Shell.POWERSHELL: "Ctrl+g"}


@pytest.mark.parametrize("shell", list(Shell))
def test_a_binding_names_the_key_and_the_shell(llm, shell):
    """It is printed only if it was asked for."""
    script = llm("completion", shell, "--bind", KEYS[shell]).out
    assert KEYS[shell] in script and f"llm command --shell {shell} --" in script
    assert "llm command" not in llm("completion", shell).out


@pytest.mark.parametrize("key", ["", "\\a'b", '\\a"b', "\\a b", "\\a\nb"])
def test_a_key_cannot_end_its_quotes(key):
    """Otherwise it would be code."""
    with pytest.raises(ValueError, match="key"):
        binding_script(Shell.BASH, key)


@pytest.mark.parametrize("shell", list(Shell))
@pytest.mark.parametrize("key", ["g", "alt", *KEYS.values()])
def test_a_key_of_another_shell_is_refused(llm, shell, key):
    """The shell would wait for its letters one after the other."""
    run = llm("completion", shell, "--bind", key)
    fits = key == KEYS[shell] or (shell is Shell.ZSH and key == KEYS[Shell.BASH])
    assert (run.code == 0) is fits
    assert fits or f"a key as {shell} writes it, such as {KEYS[shell]}" in run.err


def test_the_key_of_bash_replaces_the_line(tmp_path):
    """The command stands in the edit buffer; Enter runs it, and nothing runs before."""
    bash = shutil.which("bash")
    assert bash is not None
    (tmp_path / "llm").write_text('#!/bin/sh\nshift 4\necho "echo made of: $*"\n')
    (tmp_path / "llm").chmod(0o755)
    (tmp_path / "rc").write_text(
        "PS1='ready> '\nbind 'set enable-bracketed-paste off'\n" + binding_script(Shell.BASH, r"\C-g")
    )
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "dumb", "HISTFILE": "/dev/null"}
    shell = pexpect.spawn(
        bash, ["--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"], env=environ, encoding="utf-8", timeout=20
    )
    shell.expect_exact("ready> ")
    shell.send("large files\x07")
    shell.expect_exact("echo made of: large files")
    shell.send("\r")
    shell.expect_exact("\nmade of: large files")
    shell.sendeof()
    shell.expect(pexpect.EOF)
    shell.close()
