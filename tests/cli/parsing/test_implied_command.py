"""Command lines that name no command: questions, lists, and the habits of simonw/llm and ollama."""

from __future__ import annotations

import json

import pytest
from scripted import Reply

from llmcli.cli.command_registry import COMMANDS
from llmcli.cli.parsing.implied_command import complete_words
from llmcli.errors import UsageError

QUESTION = "What is a goroutine?"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ([QUESTION], ["ask", QUESTION]),
        (["two\nlines", "-q"], ["ask", "two\nlines", "-q"]),
        (["-m", "x", QUESTION], ["ask", "-m", "x", QUESTION]),
        (["-mx", "--json", "-f", "a b.txt", QUESTION], ["ask", "-mx", "--json", "-f", "a b.txt", QUESTION]),
        (["--model=x", QUESTION], ["ask", "--model=x", QUESTION]),
        (["-m", "x", "--nonsense", "hello"], ["ask", "-m", "x", "--nonsense", "hello"]),  # refused there
        (["--", "-1 plus 2"], ["ask", "--", "-1 plus 2"]),
        (["-"], ["ask", "-"]),
        (["-s", "Be brief.", "-"], ["ask", "-s", "Be brief.", "-"]),
        (["-s", "Explain this code."], ["ask", "-s", "Explain this code."]),
        (["shell", "free space"], ["command", "free space"]),
        (["models"], ["models", "list"]),
        (["logs", "-n", "3"], ["logs", "list", "-n", "3"]),
        (["sessions", "--json"], ["sessions", "list", "--json"]),
        ([], []),
        (["--help"], ["--help"]),
        (["--nonsense", QUESTION], ["--nonsense", QUESTION]),
        (["models", "--help"], ["models", "--help"]),
        (["models", "pull", "x"], ["models", "pull", "x"]),
        (["config"], ["config", "list"]),
    ],
)
def test_words_mean_a_command(words, meant):
    """A question is asked, a group lists, a synonym is the command; the rest is left to the parser."""
    assert complete_words(words) == meant


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_is_never_a_question(command):
    """Words after a command's name are its own, whatever they are."""
    assert complete_words([command.name, QUESTION]) == [command.name, QUESTION]


@pytest.mark.parametrize(
    ("words", "happened", "advice"),
    [
        (["sumarize", "f.txt"], "no such command 'sumarize'. Did you mean 'summarize'?", "llm summarize f.txt"),
        (["cht", "--continue"], "no such command 'cht'. Did you mean 'chat'?", "llm chat --continue"),
        (["what", "is", "rain"], "no such command 'what'", "llm ask what is rain, or llm --help for the commands"),
        (["-m", "x", "sumarize"], "no such command 'sumarize'. Did you mean 'summarize'?", "llm summarize -m x"),
        (["models "], "no such command 'models '. Did you mean 'models'?", "llm models"),
        (["$"], "no such command '$'", "llm ask '$', or llm --help for the commands"),
        (["-m", "x", "summarize", "f"], "the command comes before its options", "llm summarize -m x f"),
        (["prompt", "Say hi", "-q"], "no such command 'prompt'", "llm ask 'Say hi' -q"),
        (["prompt"], "no such command 'prompt'", 'llm ask "QUESTION"'),
        (["version"], "no such command 'version'", "llm --version"),
        (["cite", "docs"], "no such command 'cite'", 'llm ask --cite -f DIRECTORY "QUESTION"'),
        (["run", "qwen3"], "no such command 'run'", "llm chat -m qwen3"),
        (["run", "qwen3", "Say hi"], "no such command 'run'", "llm ask -m qwen3 'Say hi'"),
        (["run", "qwen3", "-q"], "no such command 'run'", "llm chat -m qwen3 -q"),
        *(
            (["run", *words], "no such command 'run'", 'llm chat -m MODEL, or llm ask -m MODEL "QUESTION"')
            for words in (
                ["qwen3", "--keepalive", "5m", "Say hi"],
                ["qwen3", "--format", "json", "Say hi"],
                ["-c", "4096", "qwen3"],
            )
        ),
        (["run"], "no such command 'run'", 'llm chat -m MODEL, or llm ask -m MODEL "QUESTION"'),
        (["pull", "qwen3"], "no such command 'pull'", "llm models pull qwen3"),
        (["pull"], "no such command 'pull'", "llm models pull MODEL"),
        (["list"], "no such command 'list'", "llm models list"),
        (["ps"], "no such command 'ps'", "llm worker list"),
        (["rm", "qwen3"], "no such command 'rm'", "llm models rm qwen3"),
        (["rm", "qwen3", "qwen4"], "no such command 'rm'", "llm models rm MODEL"),
        (["show", "qwen3", "--modelfile"], "no such command 'show'", "llm models show MODEL"),
        (["show", "qwen3"], "no such command 'show'", "llm models show qwen3"),
        (["collections", "list"], "no such command 'collections'", "llm index list"),
        (["records", "merge", "a", "b", "-o", "c"], "no such command 'records'", "llm merge a b -o c"),
        (["records"], "no such command 'records'", "llm merge PART..."),
        (["templates"], "no such command 'templates'", "llm prompts list"),
        (["templates", "path"], "no such command 'templates'", "llm prompts list"),
        (["login"], "no such command 'login'", "llm keys set NAME"),
        (["text", "Hello", "--to", "de"], "no such command 'text'", "echo TEXT | llm translate --to LANG"),
        (["document", "a.docx"], "no such command 'document'", "llm translate --to LANG FILE -o FILE"),
        (["-c", "tell", "me"], "no such command 'tell'", "llm ask -c tell me, or llm --help for the commands"),
        (["templates", "show", "x"], "no such command 'templates'", "llm prompts show x"),
    ],
)
def test_another_word_is_refused_with_the_command_to_type(words, happened, advice):
    """The nearest command, or ours for one of another program, with the words that were typed."""
    with pytest.raises(UsageError, match="command") as caught:
        complete_words(words)
    assert (caught.value.subject, caught.value.detail) == (happened, f"Try: {advice}")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["index", "docs"], "llm index add docs"),
        (["quiz", "a.txt", "--json"], "llm quiz make a.txt --json"),
        (["models", "a.txt"], "llm models import a.txt"),
        (["prompts", "a.txt"], "llm prompts check a.txt"),
        (["sessions", "a.txt"], "llm sessions --help"),
        (["index", "no.txt"], "llm index --help"),
        (["logs", "on"], "llm config set logs on"),
        (["logs", "off"], "llm config set logs off"),
        (["logs", "status"], "llm config show"),
        (["keys", "get", "openai"], "llm keys list"),
        (["tm", "show", "-q"], "llm tm list -q"),
        (["tm", "clear", "--yes"], "llm tm rm --all --yes"),
        (["quiz", "stats", "my deck.jsonl"], "llm quiz show 'my deck.jsonl'"),
    ],
)
def test_a_file_or_a_foreign_name_instead_of_a_subcommand(llm, tmp_path, monkeypatch, words, advice):
    """The error names the subcommand of the group that takes files, or does what one of another program or of an earlier release does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "a.txt").write_text("x")
    run = llm(*words)
    assert run.code == 2 and f"no such command '{words[1]}'" in run.err and f"Try: {advice}" in run.err


@pytest.mark.parametrize("name", ["search", "install", "plugins"])
def test_a_command_without_a_counterpart_names_what_is_here(llm, name):
    """Two lines on stderr, exit code 2, and no model."""
    run = llm(name, "something")
    assert run.code == 2 and run.backend is None and run.err.count("\n") == 2 and "\nTry: llm " in run.err


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["quiz", "export", "deck.jsonl", "--anki", "deck.apkg"], "llm quiz export DECK -o FILE.apkg"),
        (["quiz", "export", "deck.jsonl", "--markdown"], "a deck is written as Markdown"),
        (["sessions", "export", "work", "--format", "json"], "llm sessions export NAME for Markdown, or with --json"),
    ],
)
def test_an_option_of_an_earlier_release_is_named_for_what_it_is_now(llm, words, advice):
    """Two lines, and the exit code of a usage error."""
    run = llm(*words)
    assert run.code == 2 and run.err.startswith("llm: no such option: --") and advice in run.err.splitlines()[1]


def test_a_hosted_model_is_named_with_its_server(llm):
    """Which simonw/llm finds by the model's name alone; here, no text goes to a server that was not named."""
    run = llm("-m", "claude-sonnet-4", QUESTION)
    shown = run.err.splitlines()
    assert (run.code, shown[0]) == (66, "llm: no model called claude-sonnet-4")
    assert shown[1] == "For the model of a server: --backend anthropic -m claude-sonnet-4"


def test_a_format_is_one_of_records(llm):
    """Where ollama has --format json, an answer has a schema here."""
    run = llm("--format", "json", QUESTION)
    assert (run.code, run.backend) == (2, None) and "--schema SCHEMA" in run.err.splitlines()[1]


def test_a_dash_is_a_question(llm):
    """Standard input, as after llm ask."""
    assert llm("-", stdin=b"Why?").out == llm("ask", "-", stdin=b"Why?").out == "Why?\n"


# ---- through main ---------------------------------------------------------------------------------------------------


def test_a_question_is_answered(llm):
    """As llm ask answers it, options before it included."""
    run = llm(QUESTION, answer=lambda _: "A thread of Go.")
    assert (run.code, run.out, run.err) == (0, "A thread of Go.\n", "")
    run = llm("--json", "--max-tokens", "7", QUESTION)
    assert run.code == 0 and json.loads(run.out)["prompt"] == "ask"
    assert run.backend.requests[0].max_tokens == 7


def test_a_pipe_with_instructions_is_answered(llm):
    """The common pipe of simonw/llm: cat FILE | llm -s INSTRUCTIONS."""
    run = llm("-s", "Say it again.", stdin=b"hello", answer=lambda _: Reply("hello"))
    assert (run.code, run.out) == (0, "hello\n")


@pytest.mark.parametrize(
    "words",
    [
        ["hello"],
        ["-m", "x", "hello"],
        ["sumarize", "a.txt"],
        ["--json", "hello"],
        ["-m=x", "hello"],
        ["-qm", "x", "hello"],
    ],
)
def test_one_word_never_runs_a_model(llm, words):
    """It may be a typing error in a script."""
    run = llm(*words, stdin=b"text")
    assert (run.code, run.out, run.backend) == (2, "", None)


def test_unquoted_words_after_a_quoted_one_are_the_question(llm):
    """The rules of llm ask hold: words are joined, and options between them are refused."""
    assert llm("What is", "new?").out == "What is new?\n"
    assert llm("What is", "-q", "new?").code == 2


@pytest.mark.parametrize(
    "group", ["logs", "models", "prompts", "sessions", "backends", "index", "keys", "calibrations"]
)
def test_a_group_without_a_command_lists(llm, group):
    """In a pipe as on a terminal."""
    listed = llm(group, "list")
    run = llm(group)
    assert (run.code, run.out) == (0, listed.out) and listed.code == 0


def test_a_group_lists_on_a_terminal(llm, terminal):
    """The same command, the same list."""
    shown = []
    for words in (["prompts"], ["prompts", "list"]):
        screen = terminal()
        assert llm(*words, out=screen.slave, err=screen.slave).code == 0
        shown.append(screen.close())
    assert shown[0] == shown[1] and "generate/poem" in shown[0]


def test_shell_is_command(llm):
    """Both names have the same help and write the same command."""
    assert llm("shell", "--help").out == llm("command", "--help").out
    assert llm("help", "shell").out.startswith("Usage: llm shell ")
    run = llm("shell", "count lines", answer=lambda _: '{"command": "wc -l", "explanation": "counts"}')
    assert (run.code, run.out) == (0, "wc -l\n")


def test_code_is_extract(llm):
    """Other programs call the option --code."""
    assert llm("ask", "--code", "Q", answer=lambda _: "Text:\n```sh\nls\n```\n").out == "ls\n"
