"""Swap files: groups of people and the words that stand for them, which an audit exchanges.

A file holds ``description``, ``source``, ``groups`` and, if it likes, ``words``: words of all groups, for the slots of
templates. A group has ``words``, lists by kind (``person``, ``title``, ...), and ``gender``, which decides its
pronouns. The words of a kind are exchanged in pairs: the first of one group for the first of another, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcli.errors import BadDocument, MissingError
from llmcli.fast_dataclass import field, frozen
from llmcli.tasks.audit.pronouns import GENDERS, PRONOUN_SLOTS
from llmcli.yaml_file import parse_yaml_file

_DIRECTORY = Path(__file__).with_name("swaps")
TEMPLATES = "templates"
"""The name of the templates where a list of words is named."""
_KEYS = ("description", "source", "words", "groups")
_GROUP_KEYS = ("gender", "words")
_MIN_GROUPS = 2


@frozen
class SwapGroup:
    """A group of people. ``gender`` is one of ``GENDERS``, "" if its words have none; ``words`` are lists by kind."""

    name: str
    gender: str = ""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@frozen
class SwapFile:
    """Two groups or more with the same kinds of words; ``shared`` are words of all groups, for slots only.

    ``name`` is that of the command line, ``source`` says where the words are from.
    """

    name: str
    description: str
    source: str
    groups: tuple[SwapGroup, ...]
    shared: Mapping[str, tuple[str, ...]]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of words, which are slots of templates, too."""
        return (*self.groups[0].words, *self.shared)


def bundled_names() -> list[str]:
    """Return the names of the swap files that llm brings."""
    return sorted(path.stem for path in _DIRECTORY.glob("*.yaml"))


def read_bundled(name: str) -> str:
    """Return the text of a swap file that llm brings. Raises ``MissingError``."""
    if name not in bundled_names():
        raise MissingError(name, kind="swap file", suggestions=bundled_names())
    return (_DIRECTORY / f"{name}.yaml").read_text(encoding="utf-8")


def read_templates() -> str:
    """Return the templates that llm brings, one a line."""
    return (_DIRECTORY / "templates.txt").read_text(encoding="utf-8")


def parse_swap_file(text: str, name: str) -> SwapFile:
    """Return the swap file called ``name``. Raises ``BadDocument``."""
    return _FileReader(name).read(parse_yaml_file(text, name, kind="swap", as_texts=True))


class _FileReader:
    """Reads the tree of a file called ``name``; whatever is wrong is a ``BadDocument``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read(self, tree: Any) -> SwapFile:
        """Return the swap file."""
        body = self._mapping(tree, "the file", _KEYS)
        groups = body.get("groups")
        if not isinstance(groups, dict):
            raise self._problem("groups must be a mapping from names of groups to their words")
        if len(groups) < _MIN_GROUPS:
            raise self._problem(f"there is {len(groups) or 'no'} group; words are swapped between two or more")
        read = tuple(self._read_group(str(group), found) for group, found in groups.items())
        shared = self._read_words(body.get("words"), "words")
        self._check_groups(read, shared)
        texts = [body.get(key) or "" for key in ("description", "source")]
        if not all(isinstance(each, str) for each in texts):
            raise self._problem("description and source must be texts")
        return SwapFile(self._name, texts[0].strip(), texts[1].strip(), read, shared)

    def _read_group(self, group: str, found: Any) -> SwapGroup:
        body = self._mapping(found, f"group {group}", _GROUP_KEYS)
        gender = body.get("gender") or ""
        if gender and gender not in GENDERS:
            raise self._problem(f"group {group}: gender is {gender}, not one of {', '.join(GENDERS)}")
        return SwapGroup(group, gender, self._read_words(body.get("words"), f"group {group}"))

    def _read_words(self, found: Any, where: str) -> dict[str, tuple[str, ...]]:
        words: dict[str, tuple[str, ...]] = {}
        for kind, listed in self._mapping({} if found is None else found, f"words of {where}", None).items():
            if not isinstance(listed, list) or not listed or not all(isinstance(e, str) and e.strip() for e in listed):
                raise self._problem(f"{where}: {kind} must be a list of texts")
            if kind in PRONOUN_SLOTS or not kind.isidentifier():
                raise self._problem(f"{where}: {kind} cannot be the name of a kind of words")
            words[kind] = tuple(each.strip() for each in listed)
        return words

    def _check_groups(self, groups: tuple[SwapGroup, ...], shared: Mapping[str, Any]) -> None:
        """Check that words pair up, and that each word is of one group."""
        first = groups[0]
        owners: dict[str, str] = {}
        for group in groups:
            if {kind: len(words) for kind, words in group.words.items()} != {k: len(w) for k, w in first.words.items()}:
                detail = (
                    f"{first.name} and {group.name} need equally many words of each kind: they are swapped in pairs"
                )
                raise self._problem(detail)
            for kind, words in group.words.items():
                if kind in shared:
                    raise self._problem(f"{kind} has words of all groups and words of {group.name}")
                for word in words:
                    if word in owners:
                        whose = f"{owners[word]} and {group.name}" if owners[word] != group.name else group.name
                        raise self._problem(f"the word {word} is given twice ({whose})")
                    owners[word] = group.name
        if not first.words and len({group.gender for group in groups if group.gender}) != len(groups):
            raise self._problem("the groups need words, or a gender each of their own")

    def _mapping(self, found: Any, what: str, keys: tuple[str, ...] | None) -> dict[str, Any]:
        if not isinstance(found, dict):
            raise self._problem(f"{what} must be a mapping" + (f" with {', '.join(keys)}" if keys else ""))
        unknown = [str(key) for key in found if keys is not None and key not in keys]
        if unknown:
            raise self._problem(f"{what}: unknown key {unknown[0]} (known: {', '.join(keys or ())})")
        return {str(key): value for key, value in found.items()}

    def _problem(self, detail: str) -> BadDocument:
        return BadDocument(self._name, detail=detail, kind="swap")
