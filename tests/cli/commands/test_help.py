"""``llm help``: the help of commands, the pages of the documentation, and the pager."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest
from terminal import ROOT, ended

from llmcli.cli.commands.help import help_topics
from llmcli.cli.commands.help.help_lookup import render_page
from llmcli.cli.commands.help.help_search import split_sections
from llmcli.cli.console.environment import Environment

DOCS = ROOT / "docs"


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


# ---- what is shown -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["sentiment"], ["models"], ["config", "show"]])
def test_the_help_of_a_command_is_that_of_its_option(llm, words):
    """What llm COMMAND --help prints, on standard output; the help of a command that has a guide ends with its name."""
    run = llm("help", *words)
    expected = llm(*words, "--help").out
    guide = "\n  Guide: llm help models-guide\n" if words == ["models"] else ""
    assert (run.code, run.out, run.err) == (0, expected + guide, "")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["scripting"], "scripting.md"),
        (["exit-codes"], "reference/exit-codes.md"),
        (["exit", "codes"], "reference/exit-codes.md"),
        (["Configuration"], "configuration.md"),
        (["chat-guide"], "chat.md"),
    ],
)
def test_a_page_in_a_pipe_is_its_markdown(llm, words, name):
    """A page that has the name of a command is a guide; several words are one name."""
    run = llm("help", *words)
    assert (run.code, run.out, run.err) == (0, page(name), "")


def test_every_page_is_a_topic(llm):
    """The table of docs/index.md, which the topics are taken from, names each page, and says what each is for."""
    names = {help_topics.topic_name(path.name) for path in DOCS.glob("*.md") if path.stem != "index"}
    listed = dict(line.split("\t") for line in llm("help", "topics").out.splitlines())
    assert set(listed) == names | {"exit-codes"} and listed["scripting"] == "use llm in pipes, scripts and cron jobs"
    assert all(topic.read().startswith("# ") for topic in help_topics.list_topics())


@pytest.mark.parametrize(
    ("words", "question"),
    [
        (["scriptin"], "Did you mean scripting"),
        (["models", "pul"], "Did you mean models pull"),
        (["translat"], "Did you mean translate, translation"),
        (["xyzzy"], "Try: llm help topics"),
    ],
)
def test_an_unknown_topic_is_usage(llm, words, question):
    """Similar names are named, and the list of all; the search finds whole words."""
    run = llm("help", *words)
    assert run.code == 2 and run.out == ""
    assert run.err.startswith(f"llm: no command or help topic is called {' '.join(words)}\n{question}")
    assert run.err.endswith("Try: llm help topics\n")


def test_a_broken_configuration_does_not_keep_help_away(llm):
    """Help is what one reads then."""
    assert llm("help", "configuration", env={"LLMCLI_MODLE": "x"}).out == page("configuration.md")


def test_other_commands_do_not_load_it():
    """Neither the pages nor a pager cost other commands anything."""
    code = "import sys; from llmcli.cli.main import main; main(['prompts', 'list']); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"llmcli.cli.commands.help", "llmcli.cli.console.pager"} & set(run.stdout.splitlines()[-1].split())


# ---- the search ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "topic", "section", "text"),
    [
        (["3"], "exit-codes", "Exit codes", "3: Partial: something was delivered and something failed"),
        (["75"], "exit-codes", "Exit codes", "75: Try again later: network, 429, 5xx."),
        (["exit"], "exit-codes", "Exit codes", ""),
        (["vLLM"], "remote-servers", "", "vllm"),
        (["cron", "jobs"], "scripting", "cron", "In a cron job"),
    ],
)
def test_other_words_are_searched_for(llm, words, topic, section, text):
    """A heading counts more than text; case and plurals make no difference; a number is an exit code."""
    run = llm("help", *words)
    first, *others = [line.split("\t") for line in run.out.splitlines()]
    assert run.code == 0 and run.err == "" and len(others) < 8
    assert first[0] == topic and first[1].startswith(section) and text.casefold() in first[2].casefold()
    assert all(help_topics.find_topic(row[0]) and len(row) == 3 for row in others)


def test_a_comment_in_code_is_no_heading():
    """A section ends at a heading of Markdown alone; a row of a table, an item and a line of code are lines."""
    markdown = "# Page\n\nOne `two`.\nThree.\n\n```sh\n# no heading\nllm a\n```\n\n## Next\n\n| a | b |\n|---|---|\n| c | [d](e.md) |\n- item\n"
    assert [(section.heading, section.lines) for section in split_sections("page", markdown)] == [
        ("Page", ["One two.", "Three.", "# no heading", "llm a"]),
        ("Next", ["a: b", "c: d", "item"]),
    ]


def test_a_number_that_is_no_exit_code_finds_nothing(llm):
    """Numbers in texts are not what is asked for."""
    assert llm("help", "42").code == 2


def test_what_is_found_is_a_table_on_a_terminal(llm, terminal):
    """Lines are wrapped at words, and a note says how to read a page."""
    _, text, _ = on_screen(llm, terminal, "vllm", env={})
    assert text.startswith("TOPIC ") and text.endswith("llm help TOPIC shows a page")


# ---- on a terminal -------------------------------------------------------------------------------------------------


def on_screen(llm, terminal, *words, env):
    """Return the run and what was on an 80-column terminal, as text and as bytes."""
    screen = terminal()
    run = llm("help", *words, out=screen.slave, err=screen.slave, env=env)
    text = screen.close()
    return run, text, bytes(screen.raw)


def test_a_page_is_rendered_on_a_terminal(llm, terminal):
    """Paragraphs are rewrapped, links name the topic, and tables are drawn."""
    run, text, raw = on_screen(llm, terminal, "scripting", env={"PAGER": "cat"})
    assert run.code == 0 and text.startswith("Pipes and scripts\n\nllm follows three rules: standard output")
    assert "\x1b[1" in raw.decode() and "](" not in text and max(map(len, text.splitlines())) <= 80
    assert "exit code (llm help exit-codes) tells you" in " ".join(text.split())


@pytest.mark.parametrize("topic", [topic.name for topic in help_topics.list_topics()])
def test_prose_of_every_page_fits_the_terminal(topic):
    """No link, picture or comment of Markdown is left over, outside of code."""
    shown = render_page(help_topics.find_topic(topic).read(), Environment(environ={"COLUMNS": "80", "NO_COLOR": "1"}))
    assert "![" not in shown and "<!--" not in shown and ".md#" not in shown
    assert "](http" not in shown


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"LLMCLI_MARKDOWN": "off", "PAGER": ""}])
def test_a_terminal_without_rendering_gets_markdown(llm, terminal, env):
    """TERM=dumb and the setting are respected, and nothing is paged on a terminal that can only print."""
    run, text, raw = on_screen(llm, terminal, "exit-codes", env={"PAGER": "false", **env})
    assert run.code == 0 and text.startswith("# Exit codes") and b"\x1b" not in raw


def test_the_pager_gets_the_text(llm, terminal):
    """PAGER is a command with options; the help of a command is paged too."""
    _, text, _ = on_screen(llm, terminal, env={"PAGER": "sed -e 's/^Usage/Paged/'"})
    assert text.startswith("Paged: llm COMMAND [OPTIONS]")


def test_leaving_the_pager_early_is_no_error(llm, terminal):
    """More text than a pipe holds, and a pager that reads none of it."""
    run, text, _ = on_screen(llm, terminal, "translation", env={"PAGER": "true"})
    assert (run.code, text) == (0, "")


def test_a_pager_that_is_not_there_is_a_warning(llm, terminal):
    """The text is still shown."""
    run, text, _ = on_screen(llm, terminal, "sentiment", env={"PAGER": "no-such-pager"})
    assert run.code == 0 and "the pager no-such-pager cannot be started" in text and "Usage: llm sentiment" in text


@pytest.mark.parametrize("topic", ["exit-codes", "translation"])
@pytest.mark.parametrize(
    ("pager", "why"),
    [
        ("false", "failed before it had read the text"),
        ("exit 3; cat", "failed before it had read the text"),
        ("no-such-pager | cat >&2; exit 1", None),
        ('"x', "is no command"),
        ("less '", "is no command"),
    ],
)
def test_a_pager_that_fails_is_a_warning(llm, terminal, pager, why, topic):
    """The text is shown anyway, whether it fits into a pipe or not."""
    run, text, _ = on_screen(llm, terminal, topic, env={"PAGER": pager, "LLMCLI_MARKDOWN": "off"})
    assert run.code == 0 and help_topics.find_topic(topic).read().split()[-1] in text.split()[-1]
    assert f"the pager {pager} {why or 'failed'}" in text


def test_a_pager_that_read_everything_is_not_repeated(llm, terminal):
    """Its exit code may mean something else, as that of grep does."""
    run, text, _ = on_screen(llm, terminal, "translation", env={"PAGER": "grep no-such-word"})
    assert (run.code, text) == (0, "")


def test_the_pager_may_be_a_pipeline(llm, terminal):
    """As for git and man, a shell runs what has its characters."""
    _, text, _ = on_screen(llm, terminal, env={"PAGER": 'X=Paged; sed "s/^Usage/$X/" | head -n 1'})
    assert text.startswith("Paged: llm COMMAND [OPTIONS]") and "\n" not in text


@pytest.mark.skipif(shutil.which("less") is None, reason="needs less")
def test_less_is_the_pager_and_outlives_the_interrupt_key(person):
    """Ctrl-C goes to less, which continues; q ends both."""
    child = person("help", "configuration", env={"PAGER": "less", "LESS": "R"})
    child.expect("You need no configuration file")
    child.kill(signal.SIGINT)
    child.sendintr()
    child.send("G")
    child.expect("Shell completion")
    child.send("q")
    assert ended(child) == 0
