"""``llm config``: the file of the settings, their values and origins, and changing them."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llmcli.settings import SETTING_SPECS


@pytest.fixture
def file():
    """Return the configuration file's path; its directory exists."""
    path = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def config(llm):
    """Run ``llm config`` with no model configured."""
    return lambda *argv, env=None, **how: llm("config", *argv, env={"LLMCLI_MODEL": None, **(env or {})}, **how)


def editor(tmp_path, body):
    """Return the command of an editor that runs ``body`` on the path ``file``."""
    script = tmp_path / "editor.py"
    script.write_text(f"import sys\nfrom pathlib import Path\nfile = Path(sys.argv[-1])\n{body}\n")
    return {"EDITOR": f"{sys.executable} {script} --wait"}


def test_path_names_the_file_whether_it_exists_or_not(config, tmp_path):
    """The path alone, so that a script can use it."""
    assert config("path").out == f"{os.environ['LLMCLI_CONFIG_DIR']}/config.yaml\n"


def test_path_in_json_says_whether_the_file_exists(config, file):
    """--json is an object."""
    assert json.loads(config("path", "--json").out) == {"path": str(file), "exists": False}


def test_show_has_every_setting_with_its_origin(config, file):
    """Flag, environment, file and default are distinguished."""
    file.write_text("ctx: 4096\nthreads: 3\n")
    rows = [json.loads(line) for line in config("show", "--json", env={"LLMCLI_THREADS": "2"}).out.splitlines()]
    found = {row["setting"]: (row["value"], row["origin"]) for row in rows}
    assert found["ctx"] == (4096, str(file)) and found["threads"] == (2, "LLMCLI_THREADS")
    assert found["model"] == (None, "default") and list(found) == [key.name for key in SETTING_SPECS]


def test_settings_are_listed_without_a_subcommand(config):
    """``llm config`` lists, as other groups do, and ``get`` is the ``show`` of git's users."""
    assert config().out == config("show").out == config("list").out != ""
    assert config("--json").out == config("show", "--json").out
    assert config("get", "ctx").out == config("show", "ctx").out
    assert " get" not in config("--help").out


@pytest.mark.slow
def test_settings_that_are_set_at_once_are_all_there(file):
    """Each process changes what the others have written; of two commands that ran at once, one setting was lost."""
    names = {"ctx": "2048", "max_tokens": "99", "threads": "2", "logs": "on", "offline": "on", "pull": "on"}
    run = [sys.executable, "-m", "llmcli"]
    commands = [[*run, "config", "set", name, value] for name, value in names.items()]
    commands += [[*run, "backends", "add", f"b{n}", "--base-url", f"http://127.0.0.1:{n}/v1"] for n in (1, 2)]
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in running] == [0] * len(commands)
    written = yaml.safe_load(file.read_text())
    assert {*names} <= {*written} and {*written["backends"]} == {"b1", "b2"}
    assert [path.name for path in file.parent.iterdir() if not path.name.startswith(".")] == [file.name]


def test_a_directory_without_write_permission_is_an_error(config, file, monkeypatch):
    """The lock of the file cannot be created there, and the message names the file."""

    def fail(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("llmcli.files.file_lock.acquire_lock", lambda path, **_: fail(path))
    run = config("set", "ctx", "2048")
    assert run.code == 73 and f"{file}: Permission denied" in run.err and not file.exists()


def test_show_accepts_the_name_of_one_setting(config):
    """One setting is one line."""
    assert config("show", "ctx").out.split("\t")[:3] == ["ctx", "auto", "default"]


def test_show_of_an_unknown_setting_is_78_with_a_suggestion(config):
    """A misspelt name has suggestions."""
    run = config("show", "thread")
    assert run.code == 78 and "threads" in run.err


def test_show_fits_80_columns(config, terminal):
    """On a terminal each setting begins a line, and its description is wrapped beside it."""
    screen = terminal()
    assert config("show", out=screen.slave).code == 0
    lines = screen.close().splitlines()
    assert lines[0].split() == ["SETTING", "VALUE", "ORIGIN", "MEANING"] and max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:] if line[0] != " "] == [key.name for key in SETTING_SPECS]


@pytest.mark.parametrize(
    "text", ["nonsense: 1\n", "ctx: many\n", "- a\n- list\n", "ctx: [\n", "worker: {nonsense: 1}\n", "\xff"]
)
def test_a_broken_file_stops_commands_but_not_path(config, llm, file, text):
    """Unknown keys are errors in all commands; the file can still be found."""
    file.write_bytes(text.encode("latin-1"))
    assert config("show").code == 78 and llm("ask", "Q").code == 78 and llm("prompts", "list").code == 78
    assert config("path").out == f"{file}\n"


def test_edit_repairs_a_broken_file(config, file, tmp_path):
    """``llm config edit`` works with a broken file."""
    file.write_text("nonsense: 1\n")
    assert config("edit", env=editor(tmp_path, "file.write_text('ctx: 512\\n')")).code == 0
    assert config("show", "ctx").out.startswith("ctx\t512\t")


def test_edit_reports_what_is_wrong(config, file, tmp_path):
    """The user's text stays, and is 78 with the reason."""
    run = config("edit", env=editor(tmp_path, "file.write_text('ctxx: 512\\n')"))
    assert run.code == 78 and "ctxx" in run.err and "ctx" in run.err.splitlines()[1]
    assert file.read_text() == "ctxx: 512\n"


def test_edit_offers_every_setting_in_a_new_file(config, file, tmp_path):
    """A new file names each setting in a comment, and contains nothing else."""
    seen = tmp_path / "seen"
    run = config("edit", env=editor(tmp_path, f"Path({str(seen)!r}).write_text(file.read_text())"))
    lines = seen.read_text().splitlines()
    assert run.code == 0 and all(line.startswith("#") for line in lines if line)
    assert all(any(line.startswith(f"# {key.name}:") for line in lines) for key in SETTING_SPECS)


def test_the_lines_of_a_new_file_are_settings_once_uncommented(config, file, tmp_path):
    """Without the # the file is valid."""
    body = "lines = [l[2:] for l in file.read_text().split(chr(10)) if ': ' in l and l[2:].split(':')[0] in NAMES]"
    body = f"NAMES = {[key.name for key in SETTING_SPECS if key.default is not None]!r}\n{body}\nfile.write_text(chr(10).join(lines))"
    assert config("edit", env=editor(tmp_path, body)).code == 0
    assert "ctx: auto" in file.read_text() and config("show").code == 0


def test_edit_leaves_no_empty_file(config, file, tmp_path):
    """Opening and closing the editor changes nothing."""
    assert config("edit", env=editor(tmp_path, "")).code == 0
    assert not file.exists()


def test_visual_overrides_editor(config, file, tmp_path):
    """VISUAL is for full screens, EDITOR for the rest, as in other programs."""
    env = editor(tmp_path, "file.write_text('ctx: 512\\n')")
    assert config("edit", env={"VISUAL": env["EDITOR"], "EDITOR": "false"}).code == 0


def test_an_editor_that_fails_is_1(config, file):
    """A failing editor fails the command, with a message."""
    run = config("edit", env={"EDITOR": "false"})
    assert run.code == 1 and "the editor false failed" in run.err


def test_a_missing_editor_is_66(config, file):
    """The error names the missing program."""
    run = config("edit", env={"EDITOR": "no-such-editor"})
    assert run.code == 66 and "no-such-editor" in run.err


@pytest.mark.parametrize("env", [{"EDITOR": None, "VISUAL": None}, {"EDITOR": "vi 'unclosed"}])
def test_no_editor_is_usage(config, file, env):
    """Without EDITOR and without a terminal for vi no editor can be started."""
    run = config("edit", env={"VISUAL": None, **env})
    assert run.code == 2 and "EDITOR" in run.err


def test_a_directory_that_cannot_be_written_is_73(config, tmp_path):
    """A file is in the way of the directory."""
    (tmp_path / "file").write_text("")
    run = config("edit", env={"LLMCLI_CONFIG_DIR": str(tmp_path / "file" / "x"), "EDITOR": "true"})
    assert run.code == 73 and run.err.startswith("llm: cannot create")


def test_a_fifo_as_configuration_is_refused_at_once(config, file):
    """Reading a FIFO without a writer would never end."""
    os.mkfifo(file)
    assert config("show").code == 78


@pytest.mark.parametrize("text", ["ctx: many\n", "qqqq: 1\n", "- a\n", "ctx: [\n"])
def test_a_broken_file_suggests_edit(config, file, text):
    """The next step works with a broken file."""
    file.write_text(text)
    assert config("show").err.splitlines()[1] == "Try: llm config edit"


@pytest.mark.parametrize(
    ("text", "words"), [("ctx:\n", "not nothing"), ("ctx: true\n", "not true"), ("ctx: [1]\n", "a list")]
)
def test_a_bad_value_has_a_plain_message(config, file, text, words):
    """The value is not shown in Python's notation."""
    file.write_text(text)
    assert words in config("show").err


def test_a_broken_prompt_suggests_check(config, llm, file):
    """The next step for a prompt file is ``llm prompts check``."""
    prompts = file.parent / "prompts"
    prompts.mkdir()
    (prompts / "ask.yaml").write_text("nonsense: 1\n")
    run = llm("ask", "Q")
    assert run.code == 78 and run.err.splitlines()[1] == "Try: llm prompts check ask"


def test_aliases_have_a_form_for_the_environment(config):
    """Every setting can be set by a variable."""
    run = config("show", "aliases", "--json", env={"LLMCLI_ALIASES": "a=owner/repo:Q4_0, b=./b.gguf"})
    assert json.loads(run.out)["value"] == {"a": "owner/repo:Q4_0", "b": "./b.gguf"}
    assert config("show", env={"LLMCLI_ALIASES": "a"}).code == 78


def test_aliases_are_shown_wherever_they_were_set(llm, config, file):
    """Those of llm models alias, too, which are not in the configuration file."""
    assert config("show", "aliases").out.split("\t")[1] == "-"
    assert llm("models", "alias", "small", "smollm2-135m").code == 0
    shown = json.loads(config("show", "aliases", "--json").out)
    assert (shown["value"], shown["origin"]) == ({"small": "smollm2-135m"}, "llm models alias")
    file.write_text("aliases: {large: qwen3-4b}\n")
    shown = json.loads(config("show", "aliases", "--json").out)
    assert shown["value"] == {"large": "qwen3-4b", "small": "smollm2-135m"}
    assert shown["origin"] == f"{file}, llm models alias"


def test_edit_through_a_dangling_link_writes_where_it_points(config, file, tmp_path):
    """A configuration that is stored elsewhere may be created by its first edit."""
    file.symlink_to(tmp_path / "elsewhere.yaml")
    assert config("edit", env=editor(tmp_path, "file.write_text('ctx: 512\\n')")).code == 0
    assert file.is_symlink() and (tmp_path / "elsewhere.yaml").read_text() == "ctx: 512\n"


def test_edit_through_a_dangling_link_without_a_change_keeps_the_link(config, file, tmp_path):
    """Opening and closing the editor changes nothing there either."""
    file.symlink_to(tmp_path / "elsewhere.yaml")
    assert config("edit", env={"EDITOR": "true"}).code == 0
    assert file.is_symlink() and not file.exists()


def test_edit_on_a_full_disk_leaves_no_partial_file(config, file, monkeypatch):
    """The file is complete or missing."""
    write = os.write

    def full(fd, data):
        if bytes(data).startswith(b"# Settings of llm"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    assert config("edit", env={"EDITOR": "true"}).code == 74
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["ctx: 512\nctx: 1024\n", "ctx: 512\naliases: {a: b, a: c}\n"])
def test_a_key_given_twice_is_78_with_its_line(config, file, text):
    """It is ambiguous which of the two was meant."""
    file.write_text(text)
    run = config("show")
    assert run.code == 78 and "line 2" in run.err and "twice" in run.err


def test_a_value_that_yaml_cannot_read_is_78(config, file):
    """An invalid date is an error of the file."""
    file.write_text("model: 2024-13-45\n")
    assert config("show").code == 78


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ctx", "8192", "ctx: 8192\n"),
        ("model", "qwen3-1.7b", "model: qwen3-1.7b\n"),
        ("worker.idle_timeout", "60", "worker.idle_timeout: 60\n"),
        ("aliases", "{small: qwen3-1.7b}", "aliases:\n  small: qwen3-1.7b\n"),
        ("offline", "on", "offline: true\n"),
    ],
)
def test_set_writes_the_file(config, name, value, text):
    """The file and its directory are created; what show prints afterwards comes from the file."""
    path = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    assert config("set", name, value).code == 0
    assert path.read_text() == text and path.stat().st_mode & 0o777 == 0o600
    assert json.loads(config("show", name, "--json").out)["origin"] == str(path)


def test_set_keeps_the_rest_of_the_file(config, file):
    """Comments stay; a nested setting is set where it is."""
    file.write_text("worker:  # mine\n  idle_timeout: 60\nctx: 512  # short\n")
    assert config("set", "worker.idle_timeout", "90").code == 0
    assert file.read_text() == "worker:  # mine\n  idle_timeout: 90\nctx: 512  # short\n"


@pytest.mark.parametrize(("name", "value"), [("ctx", "many"), ("kv_type", "q2"), ("ctxx", "1")])
def test_set_refuses_what_the_file_could_not_have(config, file, name, value):
    """An unknown setting or value changes nothing."""
    file.write_text("ctx: 512\n")
    done = config("set", name, value)
    assert done.code == 78 and name in done.err and file.read_text() == "ctx: 512\n"


def test_set_says_when_the_environment_overrides(config, file):
    """Otherwise the user wonders why nothing changes."""
    assert "LLMCLI_CTX" in config("set", "ctx", "512", "-v", env={"LLMCLI_CTX": "1024"}).err


def test_unset_restores_the_default(config, file):
    """A setting that is not in the file is no error."""
    file.write_text("ctx: 512\nthreads: 2\n")
    assert json.loads(config("unset", "ctx", "--json").out) == {"setting": "ctx", "removed": True}
    assert file.read_text() == "threads: 2\n"
    assert json.loads(config("unset", "ctx", "--json").out)["removed"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ctx", "many"),
        ("kv_type", "q2"),
        ("offline", "perhaps"),
        ("worker.idle_timeout", "soon"),
        ("aliases", "small"),
        ("max_cost", "much"),
        ("base_url", "nowhere"),
    ],
)
def test_a_refused_value_has_advice_that_works(config, file, name, value):
    """The message says what the value must be, and the suggested command what the setting means."""
    run = config("set", name, value)
    happened, advice = run.err.splitlines()
    assert happened.startswith(f"llm: {name} (command line): ") and value in happened
    *_, command = advice.partition(": llm ")
    assert llm_words(command) == ["config", "show", name]
    shown = config(*llm_words(command)[1:])
    assert shown.code == 0 and shown.out.startswith(f"{name}\t") and not file.exists()


def llm_words(command):
    """Return the words of a command behind ``llm``."""
    return shlex.split(command)


def test_a_key_that_a_server_has_twice_is_refused(config, file):
    """With its line: text would go to another address than the first one. An alias is no repetition."""
    server = "type: openai\n    base_url: http://a.lab\n"
    file.write_text(f"backends:\n  lab:\n    {server}    base_url: http://b.lab\n")
    run = config("show", "ctx")
    assert run.code == 78 and "line 5: base_url is given twice" in run.err
    file.write_text(f"backends:\n  lab: &lab\n    {server}  other: *lab\n")
    assert config("show", "ctx").code == 0


@pytest.mark.parametrize(
    ("text", "words"), [("a: [1,\nb: {", "line 2: not YAML: "), ("a: 1\nb: \x00", "line 2: not YAML: ")]
)
@pytest.mark.parametrize("argv", [("show", "ctx"), ("set", "ctx", "2048"), ("unset", "ctx")])
def test_a_file_that_is_no_yaml_is_named_with_the_line(config, file, text, words, argv):
    """Not with the parser's name for a text: the reader has to find the line in the file. It is not edited."""
    file.write_text(text)
    run = config(*argv)
    assert run.code == 78 and f"{file.name}: {words}" in run.err and "unicode string" not in run.err
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("content", "words"), [(b"- a\n", "expected a mapping"), (b"ctx: \xff\n", "not UTF-8 at byte 5")]
)
def test_a_file_that_cannot_be_edited_is_not_changed(config, file, content, words):
    """The error says why, and the next step is to correct it."""
    file.write_bytes(content)
    run = config("set", "ctx", "2048")
    assert run.code == 78 and words in run.err and "Try: llm config edit" in run.err
    assert file.read_bytes() == content
