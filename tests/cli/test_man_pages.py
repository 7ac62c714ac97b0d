"""The manual pages: generated from the commands, correct roff, readable."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess

import pytest
from terminal import ROOT

from llmcli import __version__
from llmcli.cli import command_registry, man_pages, reference
from llmcli.errors import LlmError
from llmcli.settings import SETTING_SPECS

MAN = ROOT / "docs" / "man"
pages = functools.cache(man_pages.build_pages)
VERBS = [command.name for command in command_registry.model_commands()]


def sections(page):
    return re.findall(r"^\.SH (.*)$", pages()[page], re.MULTILINE)


def read_back(page):
    """Return the words of a page without its macros and fonts."""
    text = re.sub(r"\\f[BIR]|\\&", "", pages()[page])
    text = re.sub(r"\\\(..|\\\[u\w+\]", lambda escape: {"\\(ti": "~", "\\(aq": "'"}.get(escape[0], "?"), text)
    return text.replace("\\-", "-").replace("\\e", "\\")


def test_the_pages_do_not_drift():
    """docs/man is what python -m llmcli.cli.man_pages docs/man writes."""
    assert {path.name: path.read_text(encoding="utf-8") for path in MAN.iterdir()} == pages()


def test_the_pages_are_written_into_a_directory(tmp_path, capsys):
    """Only into one that is named."""
    assert man_pages.run([str(tmp_path / "man1")]) == 0 and man_pages.run([]) == 2
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "man1").iterdir()} == pages()
    assert "usage: " in capsys.readouterr().err


def test_every_command_has_a_page():
    """llm(1) refers to each, and so does the second name of the program to llm(1)."""
    commands = [command.name for command in command_registry.COMMANDS]
    escaped = [name.replace("-", r"\-") for name in commands]
    assert set(pages()) == {"llm.1", "llmcli.1", *(f"llm-{name}.1" for name in commands)}
    assert all(f".BR llm\\-{name} (1)" in pages()["llm.1"] for name in escaped)
    assert pages()["llmcli.1"] == ".so man1/llm.1\n"


@pytest.mark.parametrize("name", VERBS)
def test_a_page_has_the_usual_sections_in_the_usual_order(name):
    """man-pages(7) names them."""
    usual = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES"]
    assert sections(f"llm-{name}.1") == [*usual, "SEE ALSO"]


@pytest.mark.parametrize("command", command_registry.COMMANDS, ids=lambda command: command.name)
def test_a_page_names_every_option_and_example(command):
    """Of the commands of a group too."""
    parser = reference.load_parser(command.name)
    text = read_back(f"llm-{command.name}.1")
    for part in parser.commands.values() if command.is_group else [parser]:
        shown = [param for param in part.params if not getattr(param, "hidden", False)]
        assert all(word in text for param in shown for word in param.opts if word.startswith("-"))
        assert all(f"\n{line}\n" in text for line in reference.list_examples(part))


def test_the_main_page_names_settings_exit_codes_and_directories():
    """They come from the settings, and from the pages about exit codes and configuration."""
    text = read_back("llm.1")
    assert all(f"\n{spec.variable}\n" in text for spec in SETTING_SPECS)
    codes = {kind.exit_code for kind in LlmError.__subclasses__()} | {0, 130}
    assert all(f"\n{code}\n" in text for code in codes)
    assert "\n~/.config/llmcli\n" in text and "LLMCLI_DATA_DIR" in text and "NO_COLOR" in text


def test_a_variable_is_named_beside_the_option_that_it_stands_for():
    """A switch with the value that sets it."""
    text = read_back("llm-ask.1")
    assert "\nLLMCLI_CTX\nDefault of --ctx.\n" in text
    assert "\nLLMCLI_STDIN=off\nThe same as --no-stdin.\n" in text


def test_pages_are_the_same_everywhere():
    """No date, the version, and nothing but ASCII."""
    for name, text in pages().items():
        assert text.isascii()
        assert name == "llmcli.1" or f' 1 "" "llmcli {__version__}" "llmcli manual"\n' in text


@pytest.mark.parametrize("name", sorted({path.name for path in MAN.iterdir()} - {"llmcli.1"}))
@pytest.mark.parametrize("formatter", [["groff", "-man", "-Tutf8", "-ww", "-rLL=80n"], ["mandoc", "-T", "lint"]])
def test_formatters_have_nothing_to_say(name, formatter):
    """Neither groff nor mandoc warns, except about the date that is left out and about style."""
    if shutil.which(formatter[0]) is None:
        pytest.skip(f"needs {formatter[0]}")
    run = subprocess.run([*formatter, str(MAN / name)], capture_output=True, text=True, check=False)
    said = (run.stderr + run.stdout if formatter[0] == "mandoc" else run.stderr).splitlines()
    assert [line for line in said if "missing date" not in line and "STYLE: " not in line] == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Give --to and -o; state-of-the-art.", [r"Give \fB\-\-to\fR and \fB\-o\fR; state\-of\-the\-art."]),
        (".po files", [r"\&.po files"]),
        ("'tis", [r"\&'tis"]),
        ("A `C:\\x 'y'` here.", [r"A \fBC:\ex \(aqy\(aq\fR here."]),
        ("**Bold.** See [the page](page.md#x).", [r"\fBBold.\fR See the page."]),
        ("One. Two é.", ["One.", r"Two \[u00E9]."]),
        ("~/x^2", [r"\(ti/x\(ha2"]),
    ],
)
def test_prose_is_escaped(text, lines):
    """Nothing that roff would read otherwise is left; each sentence begins a line."""
    assert list(man_pages.prose(text)) == lines


def test_code_is_escaped():
    """It can be copied from the page."""
    assert list(man_pages.example([".a -b 'c' \\d"]))[2] == r"\&.a \-b \(aqc\(aq \ed"


def test_placeholders_differ_from_what_is_typed():
    """In italics and in bold; a line may end between alternatives."""
    assert man_pages.placeholders("[FILE]...") == r"[\fIFILE\fR]..."
    assert man_pages.placeholders("N|auto") == r"\fIN\fR|\:\fBauto\fR"
