"""The files that a directory or a pattern stands for."""

from __future__ import annotations

import errno
import functools
import os

import pytest

from llmcli.documents.reading import directory_walk
from llmcli.errors import UsageError

expand_input = functools.partial(directory_walk.expand_input, notify=pytest.fail)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Create a repository with ignored, hidden, binary and readable files; work in it."""
    files = {
        ".gitignore": "*.log\n!keep.log\nbuild/\n/top.txt\n",
        ".hidden.md": "x",
        ".git/config": "x",
        "a.md": "x",
        "app.log": "x",
        "keep.log": "x",
        "top.txt": "x",
        "build/out.md": "x",
        "node_modules/lib/readme.md": "x",
        "src/code.py": "x",
        "src/top.txt": "x",
        "src/.gitignore": "secret.md\n!app.log\n",
        "src/secret.md": "x",
        "src/app.log": "x",
        "src/.venv/lib.py": "x",
        "picture.png": "\x00",
        "empty": "",
        "report.pdf": "not one, but reading says so",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_directory_is_its_readable_files(tree):
    """Hidden files, installed packages and what Git ignores are left out, the nearest rule deciding."""
    assert expand_input(".") == ["a.md", "keep.log", "report.pdf", "src/app.log", "src/code.py", "src/top.txt"]
    assert expand_input(str(tree / "src"))[0] == str(tree / "src/app.log")


def test_rules_of_the_repository_hold_below_it(tree):
    """A directory inside of it is named, and the rules above count."""
    (tree / "src" / "x.log").write_text("x")
    assert expand_input("src") == ["src/app.log", "src/code.py", "src/top.txt"]


def test_a_line_that_is_no_pattern_is_ignored_with_a_notice(tree):
    """The other lines of the file hold, and so do POSIX classes of characters."""
    (tree / ".gitignore").write_text("\\\n!\na\\\n[[:foo:]]\n*.log\n[[:lower:]].md\n")
    notices = []
    assert directory_walk.expand_input(".", notices.append)[0] == "report.pdf"
    assert [notice.partition(": ")[0] for notice in notices] == [f"{tree}/.gitignore, line {n}" for n in range(1, 5)]


def test_an_ignored_directory_can_be_named(tree):
    """The user asked for it."""
    assert expand_input("build") == ["build/out.md"]


def test_a_pattern_follows_the_same_rules(tree):
    """The shell does not expand ``**``, or a pattern in quotes."""
    assert expand_input("**/*.md") == ["a.md"]
    assert expand_input("s*/*.py") == ["src/code.py"]
    assert expand_input("*.nothing") == ["*.nothing"]
    (tree / "we[i]rd.md").write_text("x")
    assert expand_input("we[i]rd.md") == ["we[i]rd.md"]


def test_other_names_stand_for_themselves(tree):
    """Missing files too: reading them says so."""
    for name in ("a.md", "missing", "-", "app.log", "nul\0"):
        assert expand_input(name) == [name]


def test_links_to_directories_are_not_followed(tree):
    """They may lead out of the directory, or in a circle."""
    (tree / "src" / "up").symlink_to(tree)
    assert not [name for name in expand_input("src") if "up" in name]


def test_a_directory_without_documents_stands_for_itself(tree):
    """Reading it reports that there is nothing in it."""
    (tree / "none").mkdir()
    (tree / "none" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    assert expand_input("none") == ["none"]


def test_a_directory_that_cannot_be_listed_is_not_passed_over(tree, monkeypatch):
    """Reading it reports why."""
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("src"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert expand_input(".")[-1].endswith("src")


def test_the_number_of_files_is_bounded(tree, monkeypatch):
    """A home directory by mistake is not read for an hour."""
    monkeypatch.setattr(directory_walk, "MAX_FILES", 3)
    with pytest.raises(UsageError):
        expand_input(".")
