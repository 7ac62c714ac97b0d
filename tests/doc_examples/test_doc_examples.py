"""Every shell example of the README and docs/ runs, and prints what the page shows."""

from __future__ import annotations

import difflib
import html
import re
import runpy
import shlex
import shutil
import subprocess
import tomllib

import pytest

from .example_terminal import normalize
from .example_world import Surroundings
from .exceptions import (
    EXIT_CODES,
    NOT_RUN,
    OTHER_MODELS,
    STAND_INS,
    STARTER_EXIT_CODES,
    STARTER_PAGES,
    TINY_MODEL,
)
from .page_examples import BLOCKS, EXAMPLES, OTHER_KINDS, ROOT, SHELL_KINDS, find_changed_pages

MAX_ANSWER_CHARS = 100_000
"""An answer that fills the context of the starter is longer: a terminal shows a line again with each piece of it."""
MIN_LIKENESS = 0.4
"""Of answers that begin alike; unrelated texts are below 0.3."""
PICTURE = "Draw it again: python docs/make_session_svg.py"
UPDATE = "If the page is to show this now: python tests/doc_examples/update_pages.py"


def unexpected_codes(block, done):
    """Return a line for each llm that did not end as it should."""
    found = [(argv, code) for argv, code in done.runs if code != EXIT_CODES.get((block.page, argv), 0)]
    return "".join(f"exit code {code}: llm {argv}\n" for argv, code in found)


@pytest.fixture(scope="session")
def surroundings(tiny, tmp_path_factory):
    """Return what the worlds of all pages share."""
    made = Surroundings(tmp_path_factory.mktemp("examples"), tiny("llama"))
    yield made
    made.close()


def world(surroundings, block):
    """Return the world of a block's page; the test is skipped where this machine has no program that the block needs."""
    for name in ("curl", "git", "jq", "xargs"):
        if re.search(rf"\b{name} ", block.body) and shutil.which(name) is None:
            pytest.skip(f"there is no {name}")
    return surroundings.world(block.page)


def lines_to_run():
    """Yield (block, number, id) of each example, page by page: a block of commands, or one command with its output."""
    for block in EXAMPLES:
        if block.kind == "sh":
            yield block, None, block.name
        for number, command in enumerate(block.commands() if block.kind == "console" else []):
            yield block, number, f"{block.page}:{command.line}"


LINES = list(lines_to_run())
CHANGED_PAGES = find_changed_pages()


def example(block, number, name):
    """Return the parameters of an example. Those of a page run in one process; a changed page runs by default."""
    markers = [pytest.mark.xdist_group(block.page)]
    if block.page not in CHANGED_PAGES:
        markers.append(pytest.mark.examples)
    return pytest.param(block, number, id=name, marks=markers)


@pytest.mark.parametrize(("block", "number"), [example(*line) for line in LINES])
def test_the_examples_of_the_documentation_run(surroundings, block, number):
    """Each llm ends as expected, no other command fails, and what is printed on a terminal is what the page shows."""
    done = world(surroundings, block).result(block, number or 0)
    if number is not None:
        shown, got = (normalize(text).splitlines() for text in (block.commands()[number].shown, done.screen))
        diff = "\n".join(difflib.unified_diff(shown, got, "shown", "got", lineterm=""))
        if diff:
            pytest.fail(f"{diff}\n{UPDATE}", pytrace=False)
    codes, failures = unexpected_codes(block, done), done.failures if number is None else ""
    if codes or failures:
        pytest.fail(f"{codes}{failures}on the screen of the example:\n{done.screen}", pytrace=False)


GREEDY = [
    (block, number, name)
    for block, number, name in LINES
    if number is not None and re.search("--temperature 0|--det", block.commands()[number].typed)
]


@pytest.mark.real
@pytest.mark.parametrize(("block", "number"), [line[:2] for line in GREEDY], ids=[line[2] for line in GREEDY])
def test_the_starter_gives_the_answers_in_the_documentation(surroundings, block, number):
    """Where another processor adds numbers in another order, an answer may go on differently after some word."""
    command = block.commands()[number]
    page = surroundings.world("with the starter")
    page.use_starter()
    done = page.run(command.typed, wide=True)
    shown, got = normalize(command.shown), normalize(done.screen)
    assert difflib.SequenceMatcher(None, shown, got).ratio() > MIN_LIKENESS, got


WITH_STARTER = [
    block for block in EXAMPLES if block.page in STARTER_PAGES and re.search(r"(^|[ |&])llm ", block.body, re.MULTILINE)
]


@pytest.mark.real
@pytest.mark.parametrize("block", WITH_STARTER, ids=[block.name for block in WITH_STARTER])
def test_the_first_examples_end_with_the_starter(surroundings, block):
    """Each command of the README and of the tutorial ends as expected, and no answer goes on for pages."""
    needs_other = re.search(OTHER_MODELS, block.body) is not None
    page = surroundings.world(f"{block.page} with {'a tiny model' if needs_other else 'the starter'}")
    if page.environ["EXAMPLE_ENGINE"] == "scripted":
        (page.use_tiny_model if needs_other else page.use_starter)()
    lines = [command.typed for command in block.commands()] if block.kind == "console" else block.body.splitlines()
    done = page.run("\n".join(line for line in lines if not line.startswith(tuple(NOT_RUN))))
    wrong = [(argv, code) for argv, code in done.runs if code not in STARTER_EXIT_CODES.get(argv, {0})]
    assert done.runs and wrong == [], done.screen
    assert len(done.screen) < MAX_ANSWER_CHARS * len(done.runs), done.screen


@pytest.mark.parametrize("page", BLOCKS)
def test_every_block_has_a_language(page):
    """So no shell example hides in a block that is not recognized as one, nor in one that is called text."""
    assert [block.name for block in BLOCKS[page] if block.kind not in SHELL_KINDS | OTHER_KINDS] == []
    assert [block.name for block in BLOCKS[page] if block.kind == "text" and block.body.startswith("$ ")] == []


SHELL = "\n".join(block.body for block in EXAMPLES)


def test_every_exception_is_needed():
    """What is excused from running, or may fail, still stands on a page."""
    assert [start for start in NOT_RUN if f"\n{start}" not in SHELL] == []
    assert [name for name in STAND_INS if not re.search(rf"(^|[ |;&=]){name}\b", SHELL, re.MULTILINE)] == []
    assert {page for page, _ in EXIT_CODES} | TINY_MODEL <= set(BLOCKS)


def test_what_does_not_run_is_shell_all_the_same():
    """Every example is valid shell, also the lines that are left out."""
    checks = []
    for block in EXAMPLES:
        script = block.body if block.kind == "sh" else "\n".join(command.typed for command in block.commands())
        function = f"unused() {{\n:\n{script}\n}}"  # bash parses it all and runs nothing of it
        checks.append(f"eval {shlex.quote(function)} || echo {block.name}\n")
    checked = subprocess.run(["bash"], input="".join(checks), text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr


def test_the_benchmarks_of_the_documentation_exist():
    """Each script is there, and it or their common part knows the options that it is shown with."""
    common = (ROOT / "benchmarks" / "common.py").read_text(encoding="utf-8")
    for script, options in re.findall(r"^python (benchmarks/\S+)(.*)", SHELL, re.MULTILINE):
        source = common + (ROOT / script).read_text(encoding="utf-8")
        assert [option for option in re.findall(r"--[\w-]+", options) if f'"{option}"' not in source] == [], script


def test_the_extras_of_the_documentation_exist():
    """What ``pip install`` is shown with is this repository and its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"pip install [^\n]*?\.\[(\w+)\]", SHELL)
    assert named and set(named) <= set(project["optional-dependencies"])
    assert all(re.search(r" '?\.(\[\w+\])?'?( |$)", line) for line in SHELL.splitlines() if "pip install" in line)


@pytest.mark.examples
def test_the_picture_of_a_session_shows_what_is_printed(surroundings):
    """The commands of docs/make_session_svg.py and their output, but for where lines are broken."""
    picture = (ROOT / "docs" / "images" / "session.svg").read_text(encoding="utf-8")
    drawn = "".join(html.unescape(text) for text in re.findall("<text[^>]*>(.*?)</text>", picture))
    page = surroundings.world("docs/images/session.svg")
    for command in runpy.run_path(str(ROOT / "docs" / "make_session_svg.py"))["COMMANDS"]:
        printed = page.run(f"{{ {command}; }} < /dev/null 2>&1 | cat", wide=True).screen
        assert re.sub(r"\s", "", f"${command}{printed}") in re.sub(r"\s", "", drawn), f"{printed}\n{PICTURE}"
