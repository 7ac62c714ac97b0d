"""The files of a directory or a pattern: not hidden, not ignored by Git, no installed packages, no statements."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.documents.format_registry import find_reader_by_name
from llmcli.documents.reading.document import OFFICE_LOCK, OLE_SIGNATURE, STDIN, refuse_unreadable
from llmcli.errors import InputError, NotUtf8, UsageError
from llmcli.provenance.statement import SUFFIX as STATEMENT_SUFFIX

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

MAX_FILES = 20_000
"""Files that one directory or pattern may stand for."""
_LEFT_OUT = frozenset({"node_modules", "__pycache__"})
_SNIFFED_BYTES = 8192
_CHARACTER_CLASS = re.compile(r"\[:([a-z]+):\]")
_CHARACTERS = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \t",
    "digit": "0-9",
    "lower": "a-z",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


Notify = Callable[[str], object]
"""Receives a sentence about something that was left out."""


def expand_input(name: str, notify: Notify) -> list[str]:
    """Return the files that ``name`` stands for: those in a directory, those that match a pattern, else itself.

    A directory that cannot be listed is among them, so that reading it reports why. ``notify`` receives each line of a
    .gitignore file that is no pattern. Raises ``UsageError`` for more than ``MAX_FILES``.
    """
    if name == STDIN or "\0" in name:
        return [name]
    if os.path.isdir(name):  # noqa: PTH112 (keeps the name as it was typed)
        return list(_limited(_walk(name, notify), name)) or [name]
    if glob.has_magic(name) and not os.path.lexists(name):
        return sorted(_limited(_match(name, notify), name)) or [name]
    return [name]


def _limited(files: Iterator[str], name: str) -> Iterator[str]:
    for count, file in enumerate(files):
        if count == MAX_FILES:
            raise UsageError(f"{name} stands for more than {MAX_FILES:,} files", detail="Name a smaller directory.")
        yield file


def _walk(top: str, notify: Notify) -> Iterator[str]:
    """Yield the readable files below ``top``, directory by directory; links to directories are not followed."""
    rules = _IgnoreRules(Path(top), notify)
    unlisted: list[str] = []
    for directory, below, files in os.walk(top, onerror=lambda error: unlisted.append(str(error.filename))):
        here = Path(directory)
        below[:] = sorted(each for each in below if each[:1] != "." and not rules.excludes_directory(here / each))
        for path in (here / each for each in sorted(files) if each[:1] != "."):
            if path.is_file() and not rules.excludes(path) and _is_readable(path):
                yield str(path)
    yield from unlisted


def _match(pattern: str, notify: Notify) -> Iterator[str]:
    """Yield the files that match a pattern; hidden ones have to be named."""
    fixed = pattern[: min(pattern.index(each) for each in "*?[" if each in pattern)]
    top = Path(fixed.rpartition("/")[0] or ("/" if fixed.startswith("/") else "."))
    rules = _IgnoreRules(top, notify)
    for name in glob.iglob(pattern, recursive=True):  # noqa: PTH207 (keeps names as typed)
        path = Path(name)
        between = path.parents[: len(path.parts) - len(top.parts) - 1]
        if path.is_file() and not rules.excludes(path) and not any(map(rules.excludes_directory, between)):
            yield name


def _is_readable(path: Path) -> bool:
    """Whether a file is a document by its suffix, or begins as text, in whatever encoding.

    So is an office document that no reader reads: reading it says so.
    """
    if path.name.startswith(OFFICE_LOCK):
        return False
    if find_reader_by_name(path.name):
        return True
    try:
        with path.open("rb") as stream:
            start = stream.read(_SNIFFED_BYTES)
        refuse_unreadable(start, str(path))
    except (OSError, NotUtf8):
        return True  # reading it reports why it cannot be read
    except InputError:
        return start.startswith(OLE_SIGNATURE)
    return bool(start)


class _IgnoreRules:
    """What the .gitignore files of a repository exclude; outside of one, those in ``top`` and below.

    A directory that is itself ignored was named on purpose: then only the files in it count.
    """

    def __init__(self, top: Path, notify: Notify) -> None:
        self._notify = notify
        self._specs: dict[Path, GitIgnoreSpec | None] = {}
        here = _absolute(top)
        repository = next((each for each in (here, *here.parents) if (each / ".git").exists()), here)
        self._root = repository
        if here != repository and self.excludes_directory(here):
            self._root = here

    def excludes_directory(self, path: Path) -> bool:
        """Whether a directory is left out; ``path`` may be relative."""
        return path.name in _LEFT_OUT or self._is_ignored(path, "/")

    def excludes(self, path: Path) -> bool:
        """Whether a file is left out; so is a statement about an output, which --provenance has written."""
        return path.name.endswith(STATEMENT_SUFFIX) or self._is_ignored(path, "")

    def _is_ignored(self, path: Path, ending: str) -> bool:
        """The last pattern that matches decides, in the file that is nearest to ``path`` (gitignore(5))."""
        path = _absolute(path)
        for directory in path.parents:
            spec = self._spec(directory)
            if spec is not None:
                decided = spec.check_file(path.relative_to(directory).as_posix() + ending).include
                if decided is not None:
                    return decided
            if directory == self._root:
                break
        return False

    def _spec(self, directory: Path) -> GitIgnoreSpec | None:
        if directory not in self._specs:
            self._specs[directory] = _load_spec(directory / ".gitignore", self._notify)
        return self._specs[directory]


def _load_spec(file: Path, notify: Notify) -> GitIgnoreSpec | None:
    """Return the patterns of a file, without the lines that are none; None if there is no such file."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    from pathspec import GitIgnoreSpec

    patterns: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Python's expressions warn of a class of characters that they do not have
        for number, line in enumerate(lines, 1):
            try:
                patterns += GitIgnoreSpec.from_lines([_CHARACTER_CLASS.sub(_characters_of, line)]).patterns
            except (ValueError, re.error, FutureWarning):
                notify(f"{file}, line {number}: {line!r} is no pattern and is ignored")
    return GitIgnoreSpec(patterns)


def _characters_of(found: re.Match[str]) -> str:
    """Return what stands in brackets for a class of POSIX, such as ``[:digit:]``; an unknown class stays."""
    return _CHARACTERS.get(found[1], found[0])


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (links are not followed)
