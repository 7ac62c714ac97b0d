"""The user's own patterns, word lists and trusted hosts, validated when the configuration is read.

A pattern must not take long on any text. Each quantifier therefore has an upper bound, and the number of ways in which
a pattern can match at one position is limited: backtracking tries each of them once at most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_MAX_WAYS = 5000
"""Most ways in which a pattern may match at one position."""
_MAX_PATTERN_CHARS = 1000
_MAX_LIST_BYTES = 16 << 20
_QUANTIFIER = re.compile(r"(?:([*+?])|\{(\d*)(,?)(\d*)\})([?+]?)")
_GROUP = re.compile(r"\((?:\?(?::|P<\w+>|=|!|<=|<!|>|i:|i\)))?")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_KIND = re.compile(r"[a-z][a-z]{1,19}")
_HOST = re.compile(r"(?:\*\.)?[\w.-]+|\[?[0-9a-fA-F:.]+\]?")


class _MatchPathCounter:
    """Counts the ways in which a pattern can match: a sequence multiplies them, an alternative adds them."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def count(self) -> int:
        """Return the number of ways. Raises ``ValueError`` for an unbounded repetition."""
        ways = self._alternatives()
        if self._at < len(self._pattern):
            raise ValueError("a parenthesis is not opened")
        return ways

    def _alternatives(self) -> int:
        total = self._sequence()
        while self._pattern.startswith("|", self._at):
            self._at += 1
            total += self._sequence()
        return total

    def _sequence(self) -> int:
        ways = 1
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            inner = self._atom()
            match = _QUANTIFIER.match(self._pattern, self._at)
            if match:
                self._at = match.end()
                inner = self._repeated(inner, match)
            ways *= inner
            if ways > _MAX_WAYS:
                raise ValueError(f"it can match in more than {_MAX_WAYS} ways; lower its bounds")
        return ways

    def _atom(self) -> int:
        text, start = self._pattern, self._at
        if text[start] == "(":
            group = _GROUP.match(text, start)
            assert group is not None
            if group.group() == "(" and text.startswith("(?", start):
                raise ValueError(f"{text[start : start + 3]} is not supported")
            self._at = group.end()
            if group.group().endswith(")"):  # the flag (?i)
                return 1
            ways = self._alternatives()
            if not text.startswith(")", self._at):
                raise ValueError("a parenthesis is not closed")
            self._at += 1
            return ways
        bracket = _CLASS.match(text, start)
        escape = 2 if text[start] == "\\" else 1
        self._at = bracket.end() if bracket else start + escape
        return 1

    @staticmethod
    def _repeated(inner: int, match: re.Match[str]) -> int:
        sign, low, comma, high, _ = match.groups()
        if sign in {"*", "+"} or (comma and not high):
            raise ValueError(f"{match.group()} has no upper bound; write {{1,40}} or the like instead")
        if sign == "?":
            return 1 + inner
        most = int(high or low or 0)
        least = int(low or 0) if comma else most
        if most > _MAX_WAYS:
            raise ValueError(f"{match.group()} is too large")
        if inner == 1:
            return most - least + 1
        return sum(min(inner**count, _MAX_WAYS + 1) for count in range(least, min(most, least + 64) + 1))


def parse_pattern(pattern: Any) -> str:
    """Validate a pattern and return it. Raises ``ValueError``."""
    if not isinstance(pattern, str) or not 0 < len(pattern) <= _MAX_PATTERN_CHARS:
        raise ValueError("expected a regular expression")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(f"expected a regular expression ({error})") from None
    try:
        _MatchPathCounter(pattern).count()
    except ValueError as error:
        raise ValueError(f"expected a bounded regular expression: {error}") from None
    if compiled.match("") is not None:
        raise ValueError("expected a regular expression that does not match an empty text")
    return pattern


def parse_kind(name: Any) -> str:
    """Validate the name of a kind, which is part of placeholders. Raises ``ValueError``."""
    if not isinstance(name, str) or _KIND.fullmatch(name) is None:
        raise ValueError(f"expected names of 2 to 20 letters from a to z (one is {name})")
    return name


def parse_patterns(value: Any) -> dict[str, str]:
    """Return the user's patterns by kind. Raises ``ValueError``."""
    if not isinstance(value, Mapping):
        raise ValueError(r"expected a mapping in config.yaml: {customer: 'CU-\d{6}'}")  # noqa: TRY004 (as for all bad values)
    parsed = {}
    for name, pattern in value.items():
        try:
            parsed[parse_kind(name)] = parse_pattern(pattern)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return parsed


def parse_words(value: Any) -> dict[str, tuple[str, ...]]:
    """Return the user's words by kind: a list, or a mapping of kinds to lists or to files of one word a line.

    Raises ``ValueError``.
    """
    if isinstance(value, str | list):
        value = {"word": value}
    if not isinstance(value, Mapping):
        raise ValueError("expected a list of words, or a mapping of names to lists or files")  # noqa: TRY004 (as for all bad values)
    return {parse_kind(name): _read_words(name, words) for name, words in value.items()}


def _read_words(name: str, words: Any) -> tuple[str, ...]:
    if isinstance(words, str):
        words = _read_list(words)
    if not isinstance(words, list) or not all(isinstance(word, str | int) for word in words):
        raise ValueError(f"{name}: expected a list of words, or the path of a file")
    cleaned = tuple(dict.fromkeys(" ".join(str(word).split()) for word in words))
    return tuple(word for word in cleaned if any(map(str.isalnum, word)))


def _read_list(path: str) -> list[str]:
    """Return the lines of a file without comments. Raises ``ValueError``."""
    from pathlib import Path

    try:
        file = Path(path).expanduser()
        if file.stat().st_size > _MAX_LIST_BYTES or not file.is_file():
            raise ValueError(f"expected a file of words below 16 MiB ({path})")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ValueError(f"expected a file of words ({path}: {error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"expected a file of words in UTF-8 ({path})") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def parse_hosts(value: Any) -> tuple[str, ...]:
    """Parse host names, addresses and ``*.DOMAIN``, a list or comma-separated. Raises ``ValueError``."""
    hosts = [host.strip() for host in value.split(",")] if isinstance(value, str) else value
    if not isinstance(hosts, list) or not all(isinstance(host, str) and _HOST.fullmatch(host) for host in hosts):
        raise ValueError("expected names of hosts, without scheme and port, such as gpu.lab or *.example.org")
    return tuple(host.lower().strip("[]") for host in hosts)


def parse_kinds(value: Any) -> tuple[str, ...]:
    """Return kinds of built-in detectors. Raises ``ValueError``."""
    from llmcli.redaction.detectors import KINDS

    kinds = [kind.strip() for kind in value.split(",")] if isinstance(value, str) else value
    if not isinstance(kinds, list) or not all(kind in KINDS for kind in kinds):
        raise ValueError(f"expected a list of {', '.join(KINDS)}")
    return tuple(dict.fromkeys(kinds))


def is_trusted(host: str, trusted: tuple[str, ...]) -> bool:
    """Return whether ``host`` is trusted; ``*.DOMAIN`` matches every subdomain."""
    host = host.lower()
    return any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in trusted)
