"""The layout of help: sections, groups, and the sizes of terminals."""

from __future__ import annotations

import subprocess
import sys

import pytest
from row_table import all_rows
from terminal import ROOT

from llmcli.cli import command_registry, flags, reference
from llmcli.cli.command_registry import COMMANDS, CommandArea
from llmcli.cli.parsing import help_text
from llmcli.cli.parsing.parameters import OptionSection

RARE = {word for option in flags.shared_options() if option.annotation.__metadata__[0].is_rare for word in option.words}
ENGINE = ("--ctx", "--deterministic", "--lora", "--set")


def each_command():
    """Yield the words of every command and subcommand."""
    for command in COMMANDS:
        yield (command.name,)
        if command.is_group:
            yield from ((command.name, name) for name in reference.subcommands(reference.load_parser(command.name)))


EVERY_COMMAND = tuple(each_command())


def headings(text):
    """Return the headings of a help text, in order."""
    return [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]


# ---- llm -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_commands_fit_a_terminal(llm, words):
    """80 columns, and 24 lines with the prompt of the shell; one line a command."""
    lines = llm(*words).out.splitlines()
    assert len(lines) <= 23 and max(map(len, lines)) <= 80
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(listed) == sorted(command.name for command in COMMANDS if command.listed)


@pytest.mark.parametrize("words", [["help", "--all"], ["--help-all"]])
def test_each_command_is_in_one_group(llm, words):
    """All of them are listed by help --all, below the headings in order."""
    text = llm(*words).out
    listed = [
        line.split()[0]
        for line in text.partition("Language work:")[2].partition("Examples:")[0].splitlines()
        if line[2:3].strip()
    ]
    assert [name for name in listed if command_registry.find_command(name)] == [
        command.name for area in CommandArea for command in COMMANDS if command.area is area
    ]
    assert [name for name in headings(text) if name in set(CommandArea)] == list(CommandArea)


@pytest.mark.parametrize(
    ("name", "parent"), [("calibrations", "label"), ("tm", "translate"), ("keys", "backends"), ("index", "ask")]
)
def test_a_command_of_another_is_named_in_its_line(llm, name, parent):
    """It has no line of its own."""
    (line,) = (line for line in llm().out.splitlines() if f"llm {name}." in line)
    assert line.split()[0] == parent and not command_registry.find_command(name).listed


# ---- a command -----------------------------------------------------------------------------------------------------


@all_rows("words", EVERY_COMMAND)
def test_the_help_of_each_command_has_40_lines_of_80_columns(llm, words):
    """An example of commands is among them."""
    run = llm(*words, "--help", env={"COLUMNS": None})
    lines = run.out.splitlines()
    assert run.code == 0 and len(lines) <= help_text.MAX_LINES and max(map(len, lines)) <= 80
    assert len(words) < 2 or "Examples:" in lines


@pytest.mark.parametrize("columns", [40, 100])
@all_rows("words", EVERY_COMMAND)
def test_help_wraps_at_words(llm, words, columns):
    """Only a word that is longer than the line leaves it."""
    for option in ("--help", "--help-all"):
        for line in llm(*words, option, env={"COLUMNS": str(columns)}).out.splitlines():
            assert len(line) <= columns or len(line.removesuffix(" \\").split()) <= 1 or '"' in line or "'" in line


def test_wide_terminals_are_used_up_to_100_columns(llm):
    """Longer lines are hard to read."""
    widths = [
        max(map(len, llm("ask", "--help-all", env={"COLUMNS": str(size)}).out.splitlines())) for size in (80, 100, 200)
    ]
    assert widths[0] <= 80 < widths[1] <= 100 and widths[2] == widths[1]


@pytest.mark.parametrize("name", ["ask", "translate", "summarize", "classify", "extract", "chat"])
def test_options_have_headings_in_order(llm, name):
    """The command's own come first; those of the engine are shown by --help-all alone."""
    shown, complete = headings(llm(name, "--help").out), headings(llm(name, "--help-all").out)
    order = [section.value for section in OptionSection]
    assert [each for each in shown if each in order] == [each for each in order if each in shown]
    assert shown[0] == "Options" and {"Output", "Model", "Privacy"} <= set(shown) and "Engine" not in shown
    assert [each for each in complete if each in order][-1] == "Engine"


@pytest.mark.parametrize("name", [command.name for command in command_registry.model_commands()])
def test_help_all_has_every_option_once(llm, name):
    """The help has those that are not rare, and says how to get the others; none has the former name of an option."""
    parser = reference.load_parser(name)
    listed = [param for param in parser.params if param.param_type_name == "option" and not param.hidden]
    words = {param.opts[-1] for param in listed} - {"--help-all"}
    shown = [line.strip() for line in llm(name, "--help", env={"COLUMNS": "100"}).out.splitlines()]
    complete = [line.strip() for line in llm(name, "--help-all", env={"COLUMNS": "100"}).out.splitlines()]

    def options(lines):
        return [
            word
            for line in lines
            if line.startswith("-")
            for word in line.partition("  ")[0].replace(",", "").split()
            if word in words
        ]

    assert sorted(options(complete)) == sorted(words)
    assert not RARE & set(options(shown)) and not set(ENGINE) & set(options(shown)) and "--model" in options(shown)
    assert shown[-1] == f"All options: llm {name} --help-all" and not any("--help-all" in line for line in complete)


@pytest.mark.parametrize("words", [("models", "pull"), ("logs", "list"), ("doctor",), ("config", "set")])
def test_a_short_help_is_complete(llm, words):
    """Nothing is left out that fits."""
    assert llm(*words, "--help").out == llm(*words, "--help-all").out


def test_a_group_lists_its_commands(llm):
    """Without synonyms; --help-all is the same."""
    text = llm("models", "--help").out
    assert text == llm("models", "--help-all").out and headings(text) == ["Commands"]
    assert "\n  pull       Download a model" in text and " ls " not in text


def test_a_long_example_is_continued_as_shells_do(llm):
    """A quoted word stays whole."""
    text = llm("ask", "--help-all", env={"COLUMNS": "40"}).out
    assert '  llm ask -s "Answer in one sentence." \\\n    "Why is the sky blue?"\n' in text


def test_help_does_not_load_rich():
    """Importing it takes as long as all the rest."""
    code = "import sys; from llmcli.cli.main import main; main(sys.argv[1:]); sys.exit('rich' in sys.modules)"
    for argv in ([], ["help", "--all"], ["ask", "--help-all"], ["models", "--help"], ["help", "vllm"]):
        subprocess.run([sys.executable, "-c", code, *argv], cwd=ROOT, check=True, capture_output=True)
