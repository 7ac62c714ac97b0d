"""``--set NAME=VALUE``: any setting for one command."""

from __future__ import annotations

import pytest

from llmcli.cli import command_registry
from llmcli.cli.flags import Flags, GivesSetting, flag_settings, model_options
from llmcli.cli.options import declaration_of
from llmcli.errors import UsageError
from llmcli.settings import SETTING_SPECS, find_setting, parse_assignments


def declarations():
    """Yield the declaration of each command, and of each command of a group."""
    for entry in command_registry.COMMANDS:
        loaded = entry.load()
        functions = [each.callback for each in loaded.registered_commands] if entry.is_group else [loaded]
        yield from map(declaration_of, functions)


def test_a_value_is_text_up_to_the_end():
    """Only the first sign of equality divides; the last value of a name counts."""
    given = parse_assignments(["base_url=http://h/v1?a=b", "threads=1", "threads=2"])
    assert given == {"base_url": ("--set base_url", "http://h/v1?a=b"), "threads": ("--set threads", "2")}


@pytest.mark.parametrize(
    ("text", "message", "next_step"),
    [
        ("threads", "--set threads: expected NAME=VALUE", "For example: --set threads=4"),
        (
            "kv-type=f16",
            "--set kv-type: there is no such setting",
            "Did you mean kv_type? All settings: llm config show",
        ),
        ("=1", "--set : there is no such setting", "All settings: llm config show"),
        ("zzz=1", "--set zzz: there is no such setting", "All settings: llm config show"),
    ],
)
def test_what_is_no_assignment_is_refused(text, message, next_step):
    """With the nearest names, if there are any."""
    with pytest.raises(UsageError) as caught:
        parse_assignments([text])
    assert (str(caught.value.subject), caught.value.detail) == (message, next_step)


def test_an_option_of_its_own_and_set_exclude_each_other():
    """Which of them should count is not clear."""
    with pytest.raises(UsageError, match="--ctx and --set ctx exclude each other"):
        flag_settings(Flags(ctx=512, assignments=["ctx=256"]))
    assert flag_settings(Flags(assignments=["ctx=256"]))["ctx"] == ("--set ctx", "256")


def test_suggested_commands_repeat_it():
    """Another model or server might answer without it."""
    assert model_options(Flags(model="m", assignments=["key_env=MINE"])) == ["-m", "m", "--set", "key_env=MINE"]


def test_each_command_with_an_option_that_gives_a_setting_has_it():
    """And no other command."""
    for declaration in declarations():
        marks = {type(mark) for each in declaration.parameters for mark in each.annotation.__metadata__}
        names = {parameter.name for parameter in declaration.parameters}
        assert ("assignments" in names) == (GivesSetting in marks), declaration.help


def test_the_words_of_a_setting_are_values_of_it():
    """Completion offers them."""
    for spec in SETTING_SPECS:
        for word in spec.words:
            spec.parse(word)
    assert find_setting("kv_type").words == ("auto", "f16", "q8_0", "bf16")
    assert find_setting("offline").words == ("on", "off") and find_setting("threads").words == ("auto",)


def test_it_counts_before_environment_and_file(llm):
    """As an option; ``-v`` says where the value came from."""
    run = llm("ask", "hi", "-v", "--set", "max_tokens=3", answer=lambda _: "yes", env={"LLMCLI_MAX_TOKENS": "7"})
    assert (run.code, run.out) == (0, "yes\n")
    assert [request.max_tokens for request in run.backend.requests] == [3]
    assert "llm: setting max_tokens: 3 (--set max_tokens)" in run.err.splitlines()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--set", "threads=many"], "llm: --set threads: expected a whole number from 1 to 1024 or auto, not 'many'"),
        (["--set", "thread=1"], "llm: --set thread: there is no such setting"),
        (["--set", "model="], "llm: --set model: expected a string that is not blank, not ''"),
        (["--ctx", "512", "--set", "ctx=256"], "llm: --ctx and --set ctx exclude each other"),
    ],
)
def test_a_bad_assignment_is_one_line(llm, words, line):
    """Nothing is asked, and the exit code is that of a wrong command line."""
    run = llm("ask", "hi", *words)
    assert (run.code, run.out, run.err.splitlines()[0]) == (2, "", line)


@pytest.mark.parametrize(
    ("words", "assignment"),
    [
        ("ask --threads 4 hello", "threads=4"),
        ("--threads 4 hello", "threads=4"),
        ("ask --gpu-layers=0 hello", "gpu_layers=0"),
        ("translate --kv-type f16 --to de", "kv_type=f16"),
        ("classify --weights", "weights=VALUE"),
        ("serve --draft small", "draft=small"),
        ("ask --stop-repetition off hello", "stop_repetition=off"),
        ("ask --no-worker hello", "worker=off"),
        ("models pull --no-worker qwen3-0.6b", "worker=off"),
        ("backends test there --key-env MINE", "key_env=MINE"),
        ("ask --redact-names hello", "redact=names"),
        ("ask --no-redact hello", "redact=off"),
        ("ask --worker-idle-timeout 60 hello", "worker.idle_timeout=60"),
    ],
)
def test_an_option_named_for_a_setting_leads_to_it(llm, words, assignment):
    """That of earlier releases, and any other."""
    run = llm(*words.split())
    assert run.code == 2 and run.err.splitlines()[1:] == [f"Try: --set {assignment}"]
    assert run.err.startswith("llm: no such option: --") and "ossible" not in run.err


@pytest.mark.parametrize(
    "words", ["tm export --threads 4", "ask --no-model hello", "ask --off hello", "ask --words hello"]
)
def test_other_options_do_not(llm, words):
    """Where the command has no settings, and where the setting cannot be off."""
    run = llm(*words.split())
    assert run.code == 2 and "--set" not in run.err


def test_a_kept_answer_is_repeated_with_its_settings(llm):
    """Those of the command line come before them, in either form."""
    env = {"LLMCLI_LOGS": "on"}
    assert llm("ask", "Why?", "--ctx", "512", "--set", "weights=original", env=env).code == 0
    assert llm("logs", "repeat").code == 0 and llm.options.ctx == 512
    assert llm("logs", "repeat", "--set", "ctx=256").code == 0 and llm.options.ctx == 256
    assert llm("logs", "repeat", "--ctx", "128").code == 0 and llm.options.ctx == 128
