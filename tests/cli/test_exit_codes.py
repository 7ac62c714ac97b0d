"""Exit codes and error messages."""

from __future__ import annotations

import json
import tempfile
from importlib import import_module
from pathlib import Path

import pytest
from scripted import Reply, last_message

from llmcli.cli import command_registry
from llmcli.cli.console.error_messages import describe
from llmcli.cli.groups import CommandGroup
from llmcli.errors import InputError, OutOfMemory


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["records"], 2),
        (["nonsense"], 2),
        (["ask", "--nonsense"], 2),
        (["ask", "Q", "--seed", "-1"], 2),
        (["generate"], 2),
        (["generate", "email", "--var", "novalue"], 2),
        (["translate"], 2),
        (["ask", "  "], 65),
        (["sentiment", "/"], 65),
        (["summarize", "missing.txt"], 66),
        (["generate", "sonata"], 66),
        (["ask", "Q", "-m", "no-such-model"], 66),
        (["ask", "Q", "-m", "smollm2-135m"], 69),
        (["ask", "Q", "-o", "/no/such/directory/file"], 73),
        (["ask", "Q", "-o", "/"], 73),
    ],
)
def test_each_failure_has_its_code(llm, argv, code):
    """Errors before a model runs have the code of the table."""
    assert llm(*argv).code == code


@pytest.mark.parametrize(
    ("data", "code"), [(b"a\0b", 65), (b"caf\xe9", 65), (b"%PDF-1.7 ...", 65), (b"", 65), (b" \n", 65)]
)
def test_bad_input_is_65(llm, tmp_path, data, code):
    """Binary, not UTF-8, empty."""
    (tmp_path / "f").write_bytes(data)
    run = llm("summarize", str(tmp_path / "f"))
    assert run.code == code and run.out == "" and run.err.startswith("llm: ")


def test_an_error_is_one_line_and_a_next_step(llm):
    """The first line says what happened, the second what to type."""
    happened, advice = llm("ask", "Q", "-m", "smollm2-135m").err.splitlines()
    assert happened.startswith("llm: ") and advice == "Try: llm models pull smollm2-135m"


def test_an_error_in_json_is_an_object(llm):
    """--json makes errors readable by programs."""
    error = json.loads(llm("ask", "Q", "-m", "smollm2-135m", "--json").err)["error"]
    assert (error["code"], error["type"]) == (69, "ModelNotHere") and "models pull" in error["next"]


def test_usage_errors_name_the_help_of_the_command(llm):
    """A wrong option refers to the help of its command."""
    assert llm("ask", "--nonsense").err.splitlines()[1] == "Try: llm ask --help"


def test_some_of_several_failing_is_3(llm, tmp_path):
    """One unreadable file among good ones does not stop them."""
    (tmp_path / "good").write_text("Text.")
    run = llm("summarize", "missing", str(tmp_path / "good"), answer=lambda _: "S")
    assert run.code == 3 and "S\n" in run.out and "missing" in run.err


def test_all_of_several_failing_is_the_first_one_s_code(llm):
    """Nothing was delivered: the code of the first failure."""
    assert llm("summarize", "missing", "also-missing").code == 66


def test_a_failing_request_has_its_own_code(llm):
    """The backend's error determines the exit code."""
    assert llm("ask", "Q", answer=lambda _: OutOfMemory()).code == 71


def test_a_bug_is_70_without_a_traceback(llm):
    """An unknown exception is a bug: one line, and with -v a log file with the traceback."""

    def bug(_):
        raise KeyError("oops")

    plain, verbose = llm("ask", "Q", answer=bug), llm("ask", "Q", "-v", answer=bug)
    assert plain.code == verbose.code == 70 and "Traceback" not in plain.err + verbose.err
    (log,) = [word for word in verbose.err.split() if word.endswith(".log")]
    assert "KeyError" in Path(log).read_text(encoding="utf-8")


def test_a_timeout_is_124(llm):
    """--timeout ends a command that stalls."""
    run = llm("ask", "Q", "--timeout", "0.2", answer=lambda _: Reply("so far", stalls=True))
    assert run.code == 124


def test_a_bad_configuration_is_78(llm):
    """An unknown key of the environment is an error, with a similar name."""
    run = llm("ask", "Q", env={"LLMCLI_THREAD": "2"})
    assert run.code == 78 and "LLMCLI_THREADS" in run.err


def test_a_context_overflow_is_refused(llm):
    """A prompt that does not fit is 65 with both numbers, and is never cut."""
    run = llm("ask", "word " * 500, context=200, answer=last_message)
    assert run.code == 65 and "200" in run.err and run.out == ""


def test_quiet_still_prints_errors(llm):
    """-q silences warnings, not errors."""
    assert llm("ask", "Q", "-q", "-m", "no-such-model").err.startswith("llm: ")


def test_control_sequences_in_names_stay_harmless(llm):
    """A file name cannot control the terminal through an error message."""
    assert "\x1b" not in llm("summarize", "evil\x1b[2J\nllm: all is well").err


def test_the_backend_is_closed(llm):
    """However a command ends, the backend is closed."""
    assert llm("ask", "Q").backend.closed and llm("ask", "Q", answer=lambda _: OutOfMemory()).backend.closed


@pytest.mark.parametrize("command", command_registry.COMMANDS, ids=lambda command: command.name)
def test_help_fits_80_columns_and_keeps_examples_apart(llm, command):
    """Help is readable at 80 columns."""
    run = llm(command.name, "--help")
    assert run.code == 0 and max(map(len, run.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "option",
    ["--set=gpu_layers=foo", "--set=kv_type=x", "--timeout=nan", "--model=", "--temperature=nan", "--temperature=inf"],
)
def test_a_bad_value_of_an_option_is_usage_and_names_it(llm, option):
    """An invalid argument is usage, not configuration."""
    run = llm("ask", "Q", option)
    assert run.code == 2 and option.split("=")[0] in run.err and run.err.endswith("Try: llm ask --help\n")


@pytest.mark.parametrize(
    ("env", "advice"),
    [
        ({"LLMCLI_CTX": "foo"}, "Unset or change LLMCLI_CTX."),
        ({"LLMCLI_QQQQ": "foo"}, "Unset or change LLMCLI_QQQQ."),
        ({"HF_TOKEN": "é", "HF_ENDPOINT": "http://127.0.0.1:1"}, "Unset or change HF_TOKEN."),
    ],
)
def test_a_bad_variable_is_named_in_the_next_step(llm, env, advice):
    """The variable has to change, and no command of ours shows more."""
    run = llm("models", "pull", "smollm2-135m", env=env)
    assert run.code == 78 and run.err.splitlines()[1] == advice


@pytest.mark.parametrize(
    ("argv", "env", "advice"),
    [
        (["--offline"], {}, "Leave out --offline."),
        ([], {"LLMCLI_OFFLINE": "1"}, "Unset LLMCLI_OFFLINE."),
        ([], {"HF_HUB_OFFLINE": "1"}, "Unset HF_HUB_OFFLINE."),
    ],
)
def test_offline_names_what_forbids_the_network(llm, argv, env, advice):
    """The next step undoes the user's setting, and nothing else."""
    run = llm("models", "pull", "smollm2-135m", *argv, env={"HF_HUB_OFFLINE": None, **env})
    assert run.code == 69 and run.err.splitlines()[1] == advice


@pytest.mark.parametrize(
    ("argv", "advice"),
    [
        (["models", "list", "foo"], "Try: llm models list --help"),
        (["models", "foo"], "Try: llm models --help"),
        (["tm", "--nonsense"], "Try: llm tm list --help"),
        (["prompts", "--nonsense"], "Try: llm prompts list --help"),
        (
            ["generate", "email", "--no-stdin"],
            "Try: llm generate email --var topic=... (all variables: llm generate email --list)",
        ),
        (["--nonsense"], "Try: llm --help"),
    ],
)
def test_a_usage_error_points_to_the_help_that_answers_it(llm, argv, advice):
    """The next step concerns the typed words, in JSON as in text."""
    assert llm(*argv).err.splitlines()[1] == advice
    assert json.loads(llm(*argv, "--json").err)["error"]["next"] == advice


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--ctx=foo", "'--ctx': expected a whole number of at least 64, not 'foo'"),
        ("--ctx=3", "'--ctx': expected a whole number of at least 64, not 3"),
        ("--seed=-1", "'--seed': expected a whole number from 0 to 4294967295, not -1"),
        ("--temperature=-1", "'--temperature': expected a number of at least 0, not -1.0"),
        ("--temperature=nan", "'--temperature': expected a number of at least 0, not nan"),
    ],
)
def test_a_number_out_of_range_has_a_plain_message(llm, option, words):
    """The parser's notation of ranges is not for users."""
    assert llm("ask", "Q", option).err.splitlines()[0].endswith(words)


@pytest.mark.parametrize(
    "argv", [["embed", "--limit"], ["logs", "list", "--limit"], ["logs", "show"], ["logs", "rm", "1"]]
)
def test_a_number_beyond_64_bits_is_a_usage_error(llm, argv):
    """SQLite and slices cannot hold it."""
    run = llm(*argv, "9" * 26)
    assert run.code == 2 and f"expected a whole number of at most 1000000000000, not {'9' * 26}" in run.err


def test_help_without_a_command_goes_to_stdout(llm):
    """It is what was asked for: llm | less works."""
    run = llm()
    assert run.code == 0 and run.out.startswith("Usage: llm ") and run.err == ""


def test_a_text_that_is_not_read_is_named_on_a_terminal(llm, terminal):
    """As after cat FILE | llm, which asks in other programs."""
    screen = terminal(columns=120)
    assert llm(stdin=b"Why?", err=screen.slave).code == 0
    assert screen.close().splitlines() == ["llm: standard input was not read; to send it as a question: llm ask"]


@pytest.mark.parametrize(
    ("command", "example"),
    [
        ("classify", "llm classify --labels billing,bug,praise tickets.txt"),
        ("label", "llm label --labels billing,bug,praise tickets.csv --column text"),
        ("check", "llm check answer.md --against report.txt"),
        ("extract", "llm extract --schema 'name, amount (number), due (date)' invoice.txt"),
    ],
)
def test_a_missing_option_is_shown_in_an_example(llm, command, example):
    """The first one of the help that has it."""
    run = llm(command, "a.txt")
    happened, advice = run.err.splitlines()
    assert run.code == 2 and happened.startswith("llm: missing option") and advice == f"For example: {example}"


def test_a_request_is_no_kind_of_text(llm):
    """The message names llm ask, which takes it."""
    run = llm("generate", "a poem about rain")
    assert run.code == 2 and run.err.splitlines()[1].endswith("or llm ask 'Write a poem about rain'")


def test_a_group_without_a_command_is_a_usage_error(llm, monkeypatch):
    """Its help goes to the run's stderr; nothing is written past the run's descriptors."""
    module = "llmcli.cli.commands.keys"
    group = CommandGroup("A group of a package, which lists nothing.", {"rm": import_module(module).rm})
    monkeypatch.setattr(f"{module}.tools", group, raising=False)
    command_registry.register_command(command_registry.ListedCommand("tools", "", is_group=True, module=module))
    try:
        run = llm("tools")
    finally:
        command_registry.unregister_command("tools")
    assert run.code == 2 and run.err.startswith("Usage: llm tools") and run.out == ""


@pytest.mark.parametrize("words", [("models", "ls"), ("sessions", "ls"), ("prompts", "ls"), ("worker", "ls")])
def test_groups_know_the_usual_synonyms(llm, words):
    """The name ls is list, remove is rm; help shows one name of each."""
    with tempfile.TemporaryDirectory(prefix="llm") as runtime:  # without the workers of the machine
        env = {"LLMCLI_RUNTIME_DIR": runtime}
        listed = llm(words[0], "list", "--json", env=env)
        assert llm(*words, "--json", env=env).out == listed.out and listed.code == 0
    assert " ls " not in llm(words[0], "--help").out
    assert llm("models", "remove").err.splitlines()[0] == llm("models", "rm").err.splitlines()[0]


def test_the_version_has_a_short_option(llm):
    """-V is what people type."""
    assert llm("-V").out == llm("--version").out != ""


def test_booleans_in_a_pipe_are_those_of_json(llm):
    """A script compares them with true and false."""
    cells = {cell for line in llm("models", "list").out.splitlines() for cell in line.split("\t")}
    assert "false" in cells and not cells & {"True", "False"}


def test_an_unsupported_schema_has_a_next_step():
    """It is in a prompt file."""
    assert "llm prompts edit" in describe(InputError("schema", detail="not cannot be enforced"))[1]
