"""Finding prompts: the user's before the built-in ones, names on an allow-list."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from llmcli.errors import CannotCreate, ConfigError, MissingError, OutputError, UsageError
from llmcli.prompts import contracts, prompt_library
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.prompts.prompt_parser import PROMPT_KEYS

FILE = "description: {}\nuser: '{{{{ text }}}}'\n"


@pytest.fixture
def own(tmp_path):
    directory = tmp_path / "own"
    (directory / "generate").mkdir(parents=True)
    return directory


@pytest.fixture
def prompts(own, tmp_path):
    builtin = tmp_path / "builtin"
    (builtin / "generate").mkdir(parents=True)
    for name in ("sentiment", "summarize", "summarize.merge"):
        (builtin / f"{name}.yaml").write_text(FILE.format("built in"))
    (builtin / "generate" / "email.yaml").write_text("description: mail\nuser: write")
    return PromptLibrary(own, builtin)


def test_a_users_file_overrides(prompts, own):
    """A user's file replaces the built-in one of its name, and only that."""
    (own / "summarize.yaml").write_text(FILE.format("mine"))
    assert prompts.get("summarize").description == "mine"
    assert prompts.get("summarize.merge").description == "built in"
    assert [(each.name, each.is_user_file) for each in prompts.list_summaries("summarize")] == [
        ("summarize", True),
        ("summarize.merge", False),
    ]


def test_names_open_no_file(prompts, own, monkeypatch):
    """Completion gets all names, also the user's, without parsing a file."""
    (own / "generate" / "limerick.yaml").write_text("not: [yaml")
    monkeypatch.setattr(prompt_library, "_read_prompt_file", None)
    monkeypatch.setattr(prompt_library, "_read_prompt_file", None)
    assert prompts.names("generate/") == ["generate/email", "generate/limerick"]


def test_a_broken_file_does_not_hide_the_others(prompts, own):
    """Listing continues after a file that cannot be parsed, which ``check`` explains."""
    (own / "generate" / "bad.yaml").write_text("user: [")
    assert {each.name: each.description for each in prompts.list_summaries("generate/")} == {
        "generate/bad": "",
        "generate/email": "mail",
    }
    (problem,) = prompts.check("generate/bad")
    assert problem.line == 1


def test_a_broken_file_is_an_error_with_all_faults(prompts, own):
    """Getting a bad prompt reports the file and every fault with its line."""
    (own / "sentiment.yaml").write_text("description: d\nusr: x\nuser: '{{ txt }}'\n")
    with pytest.raises(ConfigError) as caught:
        prompts.get("sentiment")
    assert caught.value.origin == str(own / "sentiment.yaml")
    assert "line 2: unknown key usr" in caught.value.detail
    assert "line 3: user uses undefined variables: txt" in caught.value.detail


def test_a_file_that_is_not_utf8_is_an_error(prompts, own):
    """The error has the offset of the first bad byte."""
    (own / "sentiment.yaml").write_bytes(b"description: \xff")
    with pytest.raises(ConfigError) as caught:
        prompts.get("sentiment")
    assert caught.value.detail == "not UTF-8 at byte 13"


def test_an_unknown_name_gets_suggestions(prompts):
    """A misspelt name has similar ones as suggestions, an unknown kind of text all kinds."""
    with pytest.raises(MissingError) as caught:
        prompts.get("sumarize")
    assert (caught.value.kind, caught.value.suggestions[0]) == ("prompt", "summarize")
    with pytest.raises(MissingError) as caught:
        prompts.get("generate/xyzzy")
    assert "generate/email" in caught.value.suggestions


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../secret", "/etc/passwd", "a/../b", "a//b", ".hidden", "a\0b", "a\n", "a b", "a\\b", "é"]
)
def test_names_outside_the_allow_list_touch_no_path(prompts, own, name):
    """A name that could leave the directory is refused before any path is built, for reading and writing."""
    (own.parent / "secret.yaml").write_text(FILE.format("secret"))
    with pytest.raises(UsageError):
        prompts.get(name)
    with pytest.raises(UsageError):
        prompts.copy_to_user(name, "summarize")


def test_new_copies_a_prompt(prompts, own):
    """A copy has the source's bytes, is in the user's directory and is found from then on."""
    path = prompts.copy_to_user("generate/limerick", "generate/email")
    assert path == own / "generate" / "limerick.yaml"
    assert prompts.get("generate/limerick").description == "mail"
    assert prompts.copy_to_user("summarize").read_text() == FILE.format("built in")


def test_new_never_overwrites(prompts, own):
    """An existing file of the user does not change."""
    (own / "summarize.yaml").write_text("mine")
    with pytest.raises(CannotCreate) as caught:
        prompts.copy_to_user("summarize")
    assert caught.value.exists
    assert (own / "summarize.yaml").read_text() == "mine"


def test_new_on_a_full_disk_leaves_no_half_file(prompts, own, monkeypatch):
    """A copy is complete or missing: an empty one would hide the working prompt."""

    def full(_fd, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError):
        prompts.copy_to_user("summarize")
    assert not any(path.is_file() for path in own.rglob("*"))


ODD = {
    "directory": lambda path: path.mkdir(),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path),
    "FIFO": os.mkfifo,
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
def test_an_invalid_entry_is_one_problem_among_others(prompts, own, make):
    """An entry that is not a file is marked, reported by ``check`` and never waited for; the others are listed."""
    make(own / "generate" / "odd.yaml")
    assert {each.name: each.description for each in prompts.list_summaries("generate/")} == {
        "generate/email": "mail",
        "generate/odd": "",
    }
    (problem,) = prompts.check()
    assert (problem.name, problem.origin) == ("generate/odd", own / "generate" / "odd.yaml") and problem.message
    with pytest.raises(ConfigError):
        prompts.get("generate/odd")


@pytest.mark.parametrize("name", ["ask.yml", "two words.yaml", "ASK.YAML"])
def test_check_reports_ignored_files(prompts, own, name):
    """A file that looks like a prompt but is not found by its name is reported."""
    (own / name).write_text(FILE.format("mine"))
    (own / "README.md").touch()
    (own / ".hidden.yml").touch()
    (problem,) = prompts.check()
    assert (problem.name, problem.origin) == (name, own / name) and "ignored" in problem.message


def test_check_holds_prompts_to_their_contract(prompts, own):
    """A prompt that never shows its input to the model, or that no command uses, is a problem."""
    (own / "sentiment.yaml").write_text("description: d\nuser: hello\n")
    (own / "sentiment.steps.yaml").write_text("description: d\nuser: hello\n")
    (own / "mine.yaml").write_text("description: d\nuser: hello\n")
    messages = {problem.name: problem.message for problem in prompts.check()}
    assert "uses text" in messages["sentiment"]
    assert "no command uses" in messages["sentiment.steps"] and "mine" not in messages


def test_the_checkouts_files_override_a_stale_copy(tmp_path, monkeypatch):
    """In a checkout the prompts beside the package are read; in a wheel those inside it."""
    package = tmp_path / "llmcli"
    shutil.copytree(Path(prompt_library.__file__).parents[1] / "prompts", package / "prompts")
    (package / "_prompts").mkdir()
    monkeypatch.setattr(prompt_library, "__file__", str(package / "prompts" / "prompt_library.py"))
    assert prompt_library.builtin_directory() == package / "_prompts"
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "ask.yaml").touch()
    assert prompt_library.builtin_directory() == package / "_prompts"
    (tmp_path / "pyproject.toml").touch()
    assert prompt_library.builtin_directory() == tmp_path / "prompts"


def test_a_missing_user_directory_can_be_listed(prompts, tmp_path):
    """Before a user writes a prompt there is no directory, and nothing fails."""
    lonely = PromptLibrary(tmp_path / "none", prompts.builtin)
    assert lonely.names() == prompts.names()


def test_the_built_in_prompts_keep_their_contracts():
    """Every command has its prompt file, and every file is valid and describes its variables."""
    shipped = PromptLibrary(Path("/nonexistent"))
    assert shipped.check() == []
    assert {name for name, contract in contracts._CONTRACTS.items() if not contract.is_prefix} <= set(shipped.names())
    for name in shipped.names():
        assert all(variable.description for variable in shipped.get(name).variables.values()), name


def test_the_documented_examples_are_prompts(prompts, own):
    """No example of the documentation has a problem, and the first has every key."""
    text = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(description: .*?)```", text, re.DOTALL)
    for number, example in enumerate(examples):
        (own / "generate" / f"review{number}.yaml").write_text(example)
    assert prompts.check() == [] and all(f"\n{key}:" in f"\n{examples[0]}" for key in PROMPT_KEYS)
