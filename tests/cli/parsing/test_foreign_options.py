"""The options of other programs: accepted where they mean the same, otherwise answered with the option to type."""

from __future__ import annotations

import re

import pytest

from llmcli.cli.command_registry import COMMANDS
from llmcli.cli.options import declaration_of, find_parameters
from llmcli.cli.parsing import foreign_options
from llmcli.cli.parsing.parameters import option_of
from llmcli.settings import SETTING_SPECS

QUESTION = "What is a goroutine?"
KEPT = "Leave it out: answers are kept only after llm config set logs on"
STREAMED = "Leave it out: in a pipe, only the answer is written"
ROLE = "It is a prompt here: -p NAME (all of them: llm prompts list)"
FILE = "An attachment is a file here: llm ask -f FILE"
MODEL_OPTION = "An option of the model has its own name: --temperature 0, --seed 7, --max-tokens 100"
SAMPLING = "The options of sampling are --temperature T and --seed N"
CHAT_NAME = "A conversation has a name here: --session NAME"
EXTRACT = "The first code block of the answer: llm ask -x"
SCHEMA = "Try: llm ask --schema SCHEMA"


# ---- the same here ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["ask"]])
def test_a_template_of_simonw_llm_is_a_prompt(llm, command):
    """-t NAME is -p NAME, with and without the command."""
    asked = [llm(*command, option, "tutor", QUESTION).backend.requests[0].messages for option in ("-t", "-p")]
    assert asked[0] == asked[1] != llm("ask", QUESTION).backend.requests[0].messages


def test_a_chat_has_a_template(llm):
    """As in llm chat -t NAME of simonw/llm."""
    asked = [llm("chat", option, "tutor", stdin=b"Hi").backend.requests[0].messages for option in ("-t", "-p")]
    assert asked[0] == asked[1]


@pytest.mark.parametrize("words", [["-c", QUESTION], [QUESTION, "-c"], ["ask", "-c", "why", "not"], ["chat", "-c"]])
def test_a_chat_is_continued(llm, words):
    """-c is --continue: the chat used last is the context."""
    llm("ask", "--session", "trip", "Which sights?", answer=lambda _: "The tower.")
    run = llm(*words, stdin=b"More?")
    assert run.code == 0 and "The tower." in str(run.backend.requests[0].messages)


@pytest.mark.parametrize("words", [["-s", "Be brief.", QUESTION], ["chat", "-s", "Be brief."]])
def test_instructions_have_a_letter(llm, words):
    """-s is --system."""
    assert "Be brief." in str(llm(*words, stdin=b"Hi").backend.requests[0].messages)


def test_other_letters_of_a_command_stay(llm):
    """In llm filter, -c counts and -n numbers."""
    options = {name for each in find_parameters("filter") for name in getattr(each.declaration, "names", ())}
    assert {"-c", "--count", "-n", "--line-number"} <= options


# ---- another name here -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], ["ask"]])
@pytest.mark.parametrize(
    ("option", "advice"),
    [
        # simonw/llm
        ("-a x.png", FILE),
        ("--attachment x.png", FILE),
        ("--at x image/png", FILE),
        ("--attachment-type x image/png", FILE),
        ("--fragment x", "A fragment is a file here: llm ask -f FILE"),
        ("--sf x", "Try: --system @x"),
        ("--system-fragment x", "Try: --system @x"),
        ("--param a b", "Try: llm ask -p NAME --var NAME=VALUE"),
        ("--cid 1", CHAT_NAME),
        ("--conversation 1", CHAT_NAME),
        ("--option temperature 0", MODEL_OPTION),
        ("-u", "Try: --stats"),
        ("--usage", "Try: --stats"),
        ("--save x", "A template is a prompt here: llm prompts new NAME, then llm ask -p NAME"),
        (
            "--schema-multi x",
            "Try: llm extract --many --schema SCHEMA FILE, or a list: llm ask --schema 'names list'",
        ),
        ("--xl", EXTRACT),
        ("--extract-last", EXTRACT),
        ("--key x", "A key is stored: llm keys set NAME, or named by its variable: --set key_env=VARIABLE"),
        ("-n", KEPT),
        ("--no-log", KEPT),
        ("--log", "Try: llm config set logs on"),
        ("--no-stream", STREAMED),
        # ollama
        ("--think", "Try: --reasoning"),
        ("--think=false", "Try: --reasoning"),
        ("--hidethinking", "Leave it out: reasoning is shown only with --reasoning"),
        ("--nowordwrap", STREAMED),
        ("--keepalive 5m", "Try: llm config set worker.idle_timeout SECONDS"),
        # aichat, fabric and mods
        ("-r coder", ROLE),
        ("-R coder", ROLE),
        ("--role coder", ROLE),
        ("--pattern summarize", ROLE),
        ("--rag docs", "Try: --index docs"),
        ("-e", 'A shell command: llm command "TASK". A question written in your editor: llm ask --editor'),
        ("--execute", 'A shell command is printed, never run: llm command "TASK"'),
        ("--title trip", CHAT_NAME),
        ("-C", "Try: --continue"),
        ("--continue-last", "Try: --continue"),
        ("--api openai", "Try: --backend openai"),
        ("--stream", STREAMED),
        ("-u https://example.org", 'Try: llm ask -f URL "QUESTION"'),
        ("-T 0.7", "Try: --temperature 0.7"),
        ("--topp 0.9", SAMPLING),
        ("-l", "Prompts: llm prompts list. Saved chats: llm sessions list"),
        ("--list", "Prompts: llm prompts list. Saved chats: llm sessions list"),
        ("--listpatterns", "Try: llm prompts list"),
        ("--list-roles", "Try: llm prompts list"),
        ("--list-sessions", "Try: llm sessions list"),
        ("-L", "Try: llm models"),
        ("--listmodels", "Try: llm models"),
        ("--list-models", "Try: llm models"),
        ("--serve", "Try: llm serve"),
        # llama.cpp and ramalama
        ("-n 100", "Try: --max-tokens 100"),
        ("--n-predict 100", "Try: --max-tokens 100"),
        ("--predict=100", "Try: --max-tokens 100"),
        ("--temp 0", "Try: --temperature 0"),
        ("--ctx-size 4096", "Try: --ctx 4096"),
        ("-ngl 0", "Try: --set gpu_layers=0"),
        ("--ngl 0", "Try: --set gpu_layers=0"),
        ("--n-gpu-layers 0", "Try: --set gpu_layers=0"),
        ("-ctk q8_0", "Try: --set kv_type=q8_0"),
        ("-ctv q8_0", "Try: --set kv_type=q8_0"),
        ("--cache-type-k q8_0", "Try: --set kv_type=q8_0"),
        ("--cache-type-v q8_0", "Try: --set kv_type=q8_0"),
        ("-sys brief", "Try: --system brief"),
        ("--system-prompt brief", "Try: --system brief"),
        ("-hf a/b", "Try: -m a/b"),
        ("--hf-repo a/b", "Try: -m a/b"),
        ("-cnv", "Try: llm chat"),
        ("-i", "Try: llm chat"),
        ("--interactive", "Try: llm chat"),
        ("--top-k 40", SAMPLING),
        ("--top-p 0.9", SAMPLING),
        ("--min-p 0.1", SAMPLING),
        ("-j {}", SCHEMA),
        ("--json-schema {}", SCHEMA),
    ],
)
def test_an_option_of_another_program_is_named_for_what_it_is_here(llm, before, option, advice):
    """In the line that otherwise names the help; no similar options are offered beside it."""
    run = llm(*before, *option.split(), QUESTION)
    name = option.split()[0].partition("=")[0]
    assert (run.code, run.out, run.backend) == (2, "", None)
    assert run.err.splitlines() == [f"llm: no such option: {name}", advice]


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("summarize -s brief a.txt", "Instructions of your own: llm ask -s TEXT < FILE"),
        ("summarize -t review a.txt", "A prompt of your own: llm ask -p NAME < FILE"),
        ("summarize -p review a.txt", "A prompt of your own: llm ask -p NAME < FILE"),
        ("summarize -t 4 a.txt", "Try: --set threads=4"),
        ("summarize -ngl 0 a.txt", "Try: --set gpu_layers=0"),
        ("summarize -c 4096 a.txt", "Try: --ctx 4096"),
        ("summarize --temp 0 a.txt", "Try: --temperature 0"),
        ("extract -s brief a.txt", "Instructions of your own: llm ask -s TEXT < FILE"),
        ("translate -t fr a.txt", "Try: --to fr"),
        ("translate --target-lang fr a.txt", "Try: --to fr"),
        ("translate --target=fr a.txt", "Try: --to fr"),
        ("translate --source-lang en a.txt", "Try: --from en"),
        ("translate -s en a.txt", "The language of the document: --from LANG. About the text: --context TEXT"),
        ("generate -t poem", "A prompt of your own is a kind: llm generate NAME"),
        ("generate -p poem", "A prompt of your own is a kind: llm generate NAME"),
        ("generate -n 100 poem", "Try: --max-tokens 100"),
        ("serve -c 4096", "Try: --ctx 4096"),
        ("serve -ngl 0", "Try: --set gpu_layers=0"),
        ("embed -c text", "A text comes from standard input: echo TEXT | llm embed"),
        ("embed -i a.txt", "A file is an argument here: llm embed FILE"),
        ("similar x -c text", "The text is the first argument: llm similar TEXT FILE"),
        ("quiz make -f a.txt", "A file is an argument here: llm quiz make FILE"),
        ("chat -o temperature 0", MODEL_OPTION),
        ("-v=role:expert", "Try: llm ask -p NAME --var NAME=VALUE"),
        *((f"{each} -f a.txt", f"A file is an argument here: llm {each} FILE") for each in ("summarize", "classify")),
    ],
)
def test_a_command_names_its_own_option(llm, line, advice):
    """One that it has, or the command that has it."""
    run = llm(*line.split())
    assert (run.code, run.backend, run.err.splitlines()[1:]) == (2, None, [advice])


@pytest.mark.parametrize(
    "line", ["tokens --temp 0 a.txt", "classify -s x a.txt", "doctor -ngl 0", "ask -t4x --no-such"]
)
def test_a_command_names_no_option_that_it_lacks(llm, line):
    """It names its help."""
    assert "--help" in llm(*line.split()).err.splitlines()[1]


# ---- the same letter, another meaning --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "happened", "advice"),
    [
        (["-t", "4", QUESTION], "-t names a prompt", "Try: --set threads=4"),
        (["ask", "-t", "4", QUESTION], "-t names a prompt", "Try: --set threads=4"),
        (["chat", "-t", "4"], "-t names a prompt", "Try: --set threads=4"),
        (["-s", "42", QUESTION], "-s gives instructions", "Try: --seed 42"),
        (["-c", "4096", QUESTION], "-c continues a chat", "Try: --ctx 4096"),
        (["ask", "-c", "4096", QUESTION], "-c continues a chat", "Try: --ctx 4096"),
        (["ask", QUESTION, "-c", "4096"], "-c continues a chat", "Try: --ctx 4096"),
        (["chat", "-c", "4096"], "-c continues a chat", "Try: --ctx 4096"),
        (["-c", "trip", QUESTION], "-c continues a chat", "Try: --session trip"),
        (["chat", "-c", "trip"], "-c continues a chat", "Try: --session trip"),
        (["-p", QUESTION], "-p names a prompt", f"The question needs no option: llm ask '{QUESTION}'"),
        (["--prompt", "Be brief.", QUESTION], "--prompt names a prompt", "Try: --system 'Be brief.'"),
        (["chat", "-p", "Be brief."], "-p names a prompt", "Try: --system 'Be brief.'"),
        (
            ["-t", "tutor", "-p", "topic", "cats", QUESTION],
            "-p names a prompt, as -t does",
            "A parameter is a variable here: --var topic=cats",
        ),
        (
            ["--template", "review", QUESTION],
            "--template is a text with columns of records",
            "A template is a prompt here: -p review",
        ),
        (["-o", "temperature", "0.5", QUESTION], "-o is the file for the answer", MODEL_OPTION),
        (["-o", "num_gpu", "1", QUESTION], "-o is the file for the answer", MODEL_OPTION),
        (["ask", "-o", "temperature", "0", QUESTION], "-o is the file for the answer", MODEL_OPTION),
    ],
)
def test_a_value_of_another_program_is_refused(llm, tmp_path, monkeypatch, words, happened, advice):
    """Where it would be read as something else: no chat goes on, no file is written, no model runs."""
    monkeypatch.chdir(tmp_path)
    llm("ask", "--session", "earlier", QUESTION)
    run = llm(*words, stdin=b"Hi")
    assert (run.code, run.out, run.backend) == (2, "", None)
    assert run.err.splitlines() == [f"llm: {happened}", advice]
    assert not (tmp_path / "temperature").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["ask", "-c", "42"],
        ["ask", "-c", "3", "more"],
        ["ask", "-c", "tell", "me", "a story"],
        ["ask", "-s", "Count to 42.", QUESTION],
        ["ask", "-o", "out", "3", "more"],
        ["ask", "--template", "{{ row.text }}", QUESTION],
        ["ask", "--", "-c", "4096", QUESTION],
    ],
)
def test_what_means_the_same_runs(llm, tmp_path, monkeypatch, words):
    """A number may be an answer, and words need no quotes."""
    monkeypatch.chdir(tmp_path)
    llm("ask", "--session", "earlier", QUESTION)
    assert llm(*words).code == 0


@pytest.mark.parametrize("option", ["-l", "-la", "-n", "-ngl 0", "-sys", "-s 42", "-c 4096", "-t 4", "--temp"])
def test_an_option_in_a_question_without_quotes_is_a_word(llm, option):
    """The advice is to quote the text."""
    run = llm("ask", *f"what does it {option} do".split())
    assert (run.code, run.backend) == (2, None) and "in quotes" in run.err.splitlines()[1]


# ---- what the advice names -------------------------------------------------------------------------------------------

_COMMANDS = [each for each in COMMANDS if not each.is_group]
_ROWS = [
    (name, ours)
    for name, rows in [("", foreign_options._ROWS_FOR_ALL), *foreign_options._ROWS_BY_COMMAND.items()]
    for ours, *_ in rows
]


@pytest.mark.parametrize(("name", "ours"), _ROWS)
def test_every_advice_is_true(name, ours):
    """Each option in it exists in the command that it names, or in the command that was typed."""
    settings = {each.name for each in SETTING_SPECS}
    assert {match[1] for match in re.finditer(r"--set (\w+)=", ours)} <= settings
    for clause in re.split(r"[.,:] |\| ", ours):
        command = re.search(r"\bllm ((?:[a-z]+)(?: [a-z]+)?)", clause)
        path = command[1] if command else name
        path = path if find_parameters(path) else path.split(" ")[0]
        known = [find_parameters(path)] if path else [declaration_of(each.load()).parameters for each in _COMMANDS]
        assert path in ("", "models") or known[0]
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", clause):
            assert any(option_of(parameters, option) for parameters in known), option
