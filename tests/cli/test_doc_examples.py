"""The examples of the README and of docs/: commands that exist, and the output that they have where it is always the same."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from llmcli.cli import command_registry

from .conftest import ROOT

FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs" / "reference" / "exit-codes.md"]
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
OTHER_TOOL = "llm keys set llmcli"
"""A command of simonw/llm."""
ENDS = {"|", "||", "&&", ";", "(", ")", ">", "<", "&", "do", "then"}
SAME_EVERYWHERE = (
    "llm generate --list",
    "llm generate email --list",
    "llm ask --json -m nosuch hi",
    "llm ask --base-url http://gpu.lab:8000/v1 hi",
    "LLMCLI_MODLE=x llm ask hi",
    "llm translate --pseudo accents guide.md",
    "llm translate --pseudo accents strings.json",
    'llm ask -m qwen3-4b "Hi" < /dev/null',
)
"""Commands that need no model: their documented output is what they print."""


def blocks(*kinds):
    for path in FILES:
        for block in BLOCK.finditer(path.read_text(encoding="utf-8")):
            if block["kind"] in kinds:
                yield path.name, block["body"].replace("\\\n", " ")


def typed_lines():
    """Yield (file, line) of each line that a reader types."""
    for name, body in blocks("sh"):
        yield from ((name, line) for line in body.splitlines())
    for name, body in blocks("console"):
        yield from ((name, line[2:]) for line in body.splitlines() if line.startswith("$ "))


def commands_in(line):
    """Yield the words of each call of llm in a line of shell."""
    for inner in re.findall(r"\$\(([^()]*)\)", line):
        yield from commands_in(inner)
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    for at, word in enumerate(words):
        before = words[at - 1] if at else "|"
        if word == "llm" and (before in ENDS or re.match(r"[A-Z_]+=", before)):
            end = next((index for index in range(at, len(words)) if words[index] in ENDS), len(words))
            yield words[at + 1 : end]


CALLS = [(name, words) for name, line in typed_lines() if OTHER_TOOL not in line for words in commands_in(line)]


@pytest.mark.parametrize(
    ("name", "words"), CALLS, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_every_command_in_the_documentation_is_valid(name, words):
    """The command exists, and accepts the shown options and number of arguments."""
    if words[0].startswith("--"):
        assert words in (["--help"], ["--version"])
        return
    parser = typer.main.get_command(command_registry.build_app(words[0])).commands[words[0]]
    while hasattr(parser, "commands"):
        parser, words = parser.commands[words[1]], words[1:]
    if "--help" not in words:
        with parser.make_context("llm", list(words[1:])):
            pass


def documented(command):
    """Return the documented output of a command, in each place."""
    for _, body in blocks("console"):
        for shown in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            typed, _, output = shown.partition("\n")
            if typed == command:
                yield output


@pytest.mark.parametrize("command", SAME_EVERYWHERE)
def test_documented_output_is_the_real_output(llm, command, tmp_path, monkeypatch):
    """Standard output and then standard error; the directory contains the files of the tutorial."""
    monkeypatch.chdir(tmp_path)
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (guide,) = re.findall(r"^```markdown\n(.*?)^```", tutorial, re.MULTILINE | re.DOTALL)
    (tmp_path / "guide.md").write_text(guide)
    (tmp_path / "strings.json").write_text('{"open": "We open at {time}.", "closed": "Closed today"}\n')
    words = shlex.split(command.partition(" < ")[0])
    env = {"LLMCLI_MODEL": None}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    run = llm(*words[1:], env=env)
    shown = list(documented(command))
    assert shown and set(shown) == {run.out + run.err}
