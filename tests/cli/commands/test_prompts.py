"""``llm prompts``: listing, showing, copying, editing and checking prompt files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from llmcli.prompts.prompt_library import builtin_directory


@pytest.fixture
def own():
    """Return the directory of the user's prompts."""
    path = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "prompts"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def prompts(llm):
    """Run ``llm prompts``."""
    return lambda *argv, **how: llm("prompts", *argv, **how)


def editor(tmp_path, body):
    """Return the command of an editor that runs ``body`` on the path ``file``."""
    script = tmp_path / "editor.py"
    script.write_text(f"import sys\nfrom pathlib import Path\nfile = Path(sys.argv[-1])\n{body}\n")
    return {"EDITOR": f"{sys.executable} {script}", "VISUAL": None}


def test_list_distinguishes_yours_from_built_in_ones(prompts, own):
    """A user's file hides the built-in one of its name."""
    (own / "ask.yaml").write_text("description: mine\nuser: '{{ question }}'\n")
    rows = {row["name"]: row for row in map(json.loads, prompts("list", "--json").out.splitlines())}
    assert (rows["ask"]["where"], rows["ask"]["description"]) == ("yours", "mine")
    assert rows["summarize"]["where"] == "built in" and rows["summarize"]["path"].endswith("summarize.yaml")


def test_list_shows_a_broken_prompt_among_the_others(prompts, own):
    """One bad file hides no other, and the command that explains it is named."""
    (own / "ask.yaml").write_text("nonsense: 1\n")
    run = prompts("list")
    assert run.code == 0 and "llm prompts check ask" in run.out and "summarize" in run.out


def test_list_fits_80_columns(prompts, terminal):
    """On a terminal the columns are aligned."""
    screen = terminal()
    assert prompts("list", out=screen.slave).code == 0
    lines = screen.close().splitlines()
    assert lines[0].split() == ["NAME", "WHERE", "DESCRIPTION"] and len(lines) > 10
    assert len({line.find("built in") for line in lines[1:] if line[0] != " "}) == 1


def test_show_prints_the_file_unchanged(prompts):
    """Byte for byte, so that it can be redirected to a file."""
    assert prompts("show", "summarize").out.encode() == (builtin_directory() / "summarize.yaml").read_bytes()


def test_show_in_json_is_the_parsed_prompt(prompts):
    """Variables, options and texts are parsed."""
    found = json.loads(prompts("show", "generate/email", "--json").out)
    assert found["name"] == "generate/email" and "topic" in found["variables"] and "topic" in found["user"]


def test_show_keeps_control_sequences_from_the_terminal(prompts, own, terminal):
    """A prompt file from elsewhere cannot control the terminal."""
    (own / "ask.yaml").write_text("description: \x1b]0;title\x07plain\n")
    screen = terminal()
    prompts("show", "ask", out=screen.slave)
    assert screen.close() == "description: plain" and b"\x1b" not in screen.raw


@pytest.mark.parametrize(
    ("name", "code"), [("nonsense", 66), ("../ask", 2), ("/etc/passwd", 2), ("generate/../ask", 2), ("", 2)]
)
@pytest.mark.parametrize("command", ["show", "edit", "check"])
def test_an_invalid_name_reaches_no_path(prompts, command, name, code):
    """Unknown names are 66, impossible ones usage; check takes the path of a file, too."""
    found = {"../ask": 66, "/etc/passwd": 78}.get(name, code) if command == "check" else code
    assert prompts(command, name, env={"EDITOR": "true"}).code == found


def test_an_unknown_name_comes_with_suggestions(prompts):
    """A misspelt name has suggestions, and so has a kind of text without its directory."""
    assert "Did you mean summarize" in prompts("show", "sumarize").err
    assert "Did you mean generate/email?" in prompts("show", "email").err


def test_new_copies_and_prints_the_path(prompts, own):
    """The copy belongs to the user, and generate knows a kind of the user's own."""
    run = prompts("new", "generate/haiku", "--from", "generate/poem")
    file = own / "generate" / "haiku.yaml"
    assert run.out == f"{file}\n" and file.read_text() == (builtin_directory() / "generate/poem.yaml").read_text()


def test_new_makes_a_kind_that_generate_lists(prompts, llm):
    """The new kind can be used at once."""
    prompts("new", "generate/haiku", "--from", "generate/poem")
    assert "haiku" in {line.split("\t")[0] for line in llm("generate", "--list").out.splitlines()}


@pytest.mark.parametrize("name", ["review", "generate/k3"])
def test_new_of_an_unknown_name_makes_a_prompt_that_works(prompts, llm, own, name):
    """It is valid, and its text is standard input."""
    assert prompts("new", name).out == f"{own / name}.yaml\n" and prompts("check").code == 0
    run = llm("ask", "-p", name, stdin=b"the text", answer=lambda request: request.messages[-1].content)
    assert run.code == 0 and "the text" in run.out


@pytest.mark.parametrize(("name", "code"), [("sumarize", 66), ("ask.steps", 66), ("../x", 2), ("", 2)])
def test_new_refuses_a_name_that_no_prompt_should_have(prompts, own, name, code):
    """A misspelled name, a step of a command, a path."""
    run = prompts("new", name)
    assert run.code == code and not list(own.iterdir())


def test_new_overwrites_nothing(prompts):
    """A second copy would lose the changes of the first."""
    assert prompts("new", "ask").code == 0
    run = prompts("new", "ask")
    assert run.code == 73 and run.err.endswith("ask.yaml exists\nTo open it: llm prompts edit ask\n")


def test_new_in_a_directory_that_cannot_be_written_is_73(prompts, tmp_path):
    """A file is in the way of the directory."""
    (tmp_path / "prompts").write_text("")
    assert prompts("new", "ask", env={"LLMCLI_CONFIG_DIR": str(tmp_path)}).code == 73


def test_edit_copies_a_prompt_and_opens_it(prompts, own, tmp_path):
    """A built-in prompt is never changed in place."""
    before = (builtin_directory() / "ask.yaml").read_text()
    run = prompts("edit", "ask", env=editor(tmp_path, "file.write_text(file.read_text() + '# mine\\n')"))
    assert run.code == 0 and (own / "ask.yaml").read_text() == before + "# mine\n"
    assert (builtin_directory() / "ask.yaml").read_text() == before


def test_edit_without_a_change_leaves_no_copy(prompts, own, tmp_path):
    """An unchanged copy would hide later versions."""
    assert prompts("edit", "ask", env=editor(tmp_path, "")).code == 0
    assert not (own / "ask.yaml").exists()


def test_edit_keeps_an_existing_copy(prompts, own, tmp_path):
    """A user's file stays, changed or not."""
    prompts("new", "ask")
    assert prompts("edit", "ask", env=editor(tmp_path, "")).code == 0 and (own / "ask.yaml").exists()


def test_edit_reports_what_is_wrong(prompts, own, tmp_path):
    """Mistakes are reported at once with their line."""
    run = prompts("edit", "ask", env=editor(tmp_path, "file.write_text('user: hello\\nnonsense: 1\\n')"))
    assert run.code == 78 and "line 2" in run.err and "nonsense" in run.err and (own / "ask.yaml").exists()


@pytest.mark.parametrize(("command", "code"), [("false", 1), ("no-such-editor", 66), (None, 2)])
def test_an_editor_that_does_not_work_leaves_no_copy(prompts, own, command, code):
    """Failing, missing or not set: reported, and no file is left."""
    run = prompts("edit", "ask", env={"EDITOR": command, "VISUAL": None})
    assert run.code == code and not (own / "ask.yaml").exists()


def test_check_is_silent_on_success(prompts):
    """The built-in prompts are valid."""
    run = prompts("check")
    assert (run.code, run.out, run.err) == (0, "", "")


def test_check_reports_every_problem_with_file_and_line(prompts, own):
    """A line for each problem, in the format of compilers."""
    (own / "ask.yaml").write_text("description: x\nuser: '{{ wrong }}'\nnonsense: 1\n")
    run = prompts("check")
    lines = run.out.splitlines()
    assert run.code == 78 and len(lines) >= 2 and any(line.startswith(f"{own}/ask.yaml:3: ") for line in lines)


def test_check_takes_the_file_that_a_message_names(llm, prompts, tmp_path, monkeypatch):
    """A path is one of your own prompts, even if it has the name of a command's."""
    monkeypatch.chdir(tmp_path)
    Path("ask.yaml").write_text("description: x\nuser: '{{ text }}'\n")
    Path("bad.yaml").write_text("prompt: x\n")
    assert (prompts("check", "ask.yaml").code, prompts("check", "./ask.yaml").out) == (0, "")
    said = llm("ask", "-p", "./bad.yaml", "x").err.splitlines()[1]
    assert said == "Try: llm prompts check ./bad.yaml"
    run = prompts("check", "./bad.yaml")
    assert run.code == 78 and "unknown key prompt" in run.out and f"{tmp_path}/bad.yaml:1: " in run.out
    assert prompts("check", "./none.yaml").code == 66


def test_check_in_json_is_an_object_a_line(prompts, own):
    """Editors can parse problems."""
    (own / "ask.yaml").write_text("nonsense: 1\n")
    rows = [json.loads(line) for line in prompts("check", "ask", "--json").out.splitlines()]
    assert {"name", "path", "line", "message"} == set(rows[0])
    assert any(row["line"] == 1 and "nonsense" in row["message"] for row in rows)
