r"""Search for a pattern only where one of its literals stands.

Most patterns match only around certain words: ``mysql[^\n]{0,160} -p(\S+)`` begins with "mysql". It is much
faster to look for "mysql" than to try the pattern at each character. The literals are derived from the parse of the pattern, so
that the matches are the same as those of ``finditer``.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.fast_dataclass import frozen
from llmcli.redaction.text_index import TextIndex, fold_case, group_by_head

_parser: Any = importlib.import_module("re._parser")
_MAX_STRINGS = 96
"""Most literals of a pattern."""
_MAX_CLASS_CHARS = 6
"""Most characters of a class that count as literals."""
_MAX_COPIES = 4
_MAX_OFFSET = 48
"""Most characters between the start of a match and its literal."""
_GOOD_CHARS, _MAX_CHARS = 3, 8
"""A literal of so many characters is rare enough; a longer one gains nothing."""
_CHARS_PER_TRIAL = 8
"""A trial to match at a place takes as long as the search through so many characters."""

_Item = tuple[str, Any, bool]
"""An operation of a parsed pattern by name, its argument, and whether case is ignored."""
_ZERO_WIDTH = frozenset({"ASSERT", "ASSERT_NOT", "AT"})
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})


@frozen
class RequiredLiterals:
    """Literals, one of which stands ``low`` to ``high`` characters behind the start of a match."""

    literals: tuple[str, ...]
    low: int
    high: int


class PrefilteredPattern:
    """Finds the matches of a pattern. ``lowered``: it is searched in the text in lower case."""

    def __init__(self, pattern: str, flags: int = 0, *, lowered: bool = False) -> None:
        self._source, self._flags = pattern, flags
        self._lowered = lowered

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled pattern, which most texts do not need."""
        return re.compile(self._source, self._flags)

    @functools.cached_property
    def requirements(self) -> tuple[RequiredLiterals, ...]:
        """The literals of which each match has one; empty if there are none."""
        return find_required_literals(self._source, self._flags)

    def finditer(self, index: TextIndex) -> Iterator[re.Match[str]]:
        """Yield the matches, as ``re.Pattern.finditer`` does."""
        text = index.lowered if self._lowered else index.text
        starts = self._starts(index)
        if starts is None:
            yield from self.pattern.finditer(text)
            return
        if not starts:
            return
        match_at, end = self.pattern.match, 0
        for start in starts:
            if start >= end and (match := match_at(text, start)) is not None:
                yield match
                end = match.end()

    def _starts(self, index: TextIndex) -> Sequence[int] | None:
        """Return where a match may start, in order, or None if that may be anywhere."""
        requirements = self.requirements
        if not requirements:
            return None
        max_trials = len(index.text) // _CHARS_PER_TRIAL
        starts: list[int] = [0] if any(requirement.low < 0 for requirement in requirements) else []
        for requirement in requirements:
            places = index.places(requirement.literals)
            if len(starts) + len(places) * (requirement.high - requirement.low + 1) > max_trials:
                return None
            if requirement.low == requirement.high:
                starts += [place - requirement.low for place in places] if requirement.low else places
            else:
                for place in places:
                    starts += range(max(0, place - requirement.high), place - requirement.low + 1)
        return sorted(set(starts)) if len(requirements) > 1 or requirements[0].low != requirements[0].high else starts


def find_required_literals(pattern: str, flags: int = 0) -> tuple[RequiredLiterals, ...]:
    """Return requirements of which each match of a pattern has one; empty if there are none."""
    parsed = _parser.parse(pattern, flags)
    if parsed.getwidth()[0] == 0:
        return ()
    requirements = _requirements(_items(parsed, ignore_case=bool(parsed.state.flags & re.IGNORECASE)), _MAX_OFFSET)
    places: dict[tuple[int, int], set[str]] = {}
    for requirement in requirements:
        places.setdefault((requirement.low, requirement.high), set()).update(requirement.literals)
    return tuple(
        RequiredLiterals(group, low, high)
        for (low, high), literals in places.items()
        for group in group_by_head(list(literals))
    )


def _items(parsed: Any, *, ignore_case: bool) -> list[_Item]:
    return [(str(op), argument, ignore_case) for op, argument in parsed]


def _requirements(items: Sequence[_Item], reach: int) -> list[RequiredLiterals]:
    """Return the best requirements of a sequence, at most ``reach`` characters behind its start."""
    if not items:
        return []
    (name, argument, ignore_case), rest = items[0], items[1:]
    if name in {"SUBPATTERN", "ATOMIC_GROUP"}:
        return _requirements([*_inner(name, argument, ignore_case=ignore_case), *rest], reach)
    literals = _leading(items)
    best = [RequiredLiterals(tuple(literals), 0, 0)] if literals and all(literals) else []
    if best and min(map(len, literals)) >= _GOOD_CHARS:
        return best
    for other in _other_requirements(items[0], rest, reach):
        best = max(best, other, key=_quality)
    return best


def _other_requirements(first: _Item, rest: Sequence[_Item], reach: int) -> Iterator[list[RequiredLiterals]]:
    """Yield the requirements of the alternatives, behind the first item, or before it."""
    name, argument, ignore_case = first
    if name == "BRANCH":
        found = [
            _requirements([*_items(alternative, ignore_case=ignore_case), *rest], reach) for alternative in argument[1]
        ]
        yield [requirement for requirements in found for requirement in requirements] if all(found) else []
    if name in _ZERO_WIDTH:
        yield _requirements(rest, reach)
        before = _literal_before(name, argument, ignore_case=ignore_case)
        if before:
            yield [RequiredLiterals((before,), -len(before), -len(before))]
        return
    low, high = _width(first)
    if high <= reach:
        yield [
            RequiredLiterals(requirement.literals, requirement.low + low, requirement.high + high)
            for requirement in _requirements(rest, reach - high)
        ]


def _quality(requirements: Sequence[RequiredLiterals]) -> float:
    """Return how rare the literals are, less the places to try."""
    return min(
        (
            min(*map(len, requirement.literals), _GOOD_CHARS + 1) - (requirement.high - requirement.low) / 16
            for requirement in requirements
        ),
        default=-100.0,
    )


def _literal_before(name: str, argument: Any, *, ignore_case: bool) -> str:
    """Return the character that must stand directly before a match, a line feed before the start of a line."""
    if name == "AT":
        return "\n" if str(argument) == "AT_BEGINNING" else ""
    if name == "ASSERT" and argument[0] < 0 and len(argument[1]):
        op, code = argument[1][-1]
        return _literal(code, ignore_case=ignore_case) if str(op) == "LITERAL" else ""
    return ""


def _inner(name: str, argument: Any, *, ignore_case: bool) -> list[_Item]:
    if name == "ATOMIC_GROUP":
        return _items(argument, ignore_case=ignore_case)
    _, added, removed, parsed = argument
    return _items(parsed, ignore_case=bool((ignore_case or added & re.IGNORECASE) and not removed & re.IGNORECASE))


def _width(item: _Item) -> tuple[int, int]:
    """Return the fewest and most characters that an item matches."""
    name, argument, ignore_case = item
    if name in _ZERO_WIDTH:
        return 0, 0
    if name in {"LITERAL", "NOT_LITERAL", "ANY", "IN"}:
        return 1, 1
    if name in {"SUBPATTERN", "ATOMIC_GROUP"}:
        return _width_of_all(_inner(name, argument, ignore_case=ignore_case))
    if name == "BRANCH":
        widths = [_width_of_all(_items(alternative, ignore_case=ignore_case)) for alternative in argument[1]]
        return min(low for low, _ in widths), max(high for _, high in widths)
    if name in _REPEATS:
        fewest, most, parsed = argument
        low, high = _width_of_all(_items(parsed, ignore_case=ignore_case))
        return low * int(fewest), high * int(most)
    return 0, _MAX_OFFSET + 1


def _width_of_all(items: Sequence[_Item]) -> tuple[int, int]:
    widths = [_width(item) for item in items]
    return sum(low for low, _ in widths), sum(high for _, high in widths)


def _leading(items: Sequence[_Item]) -> set[str]:
    """Return literals with one of which each match of a sequence begins; one may be empty."""
    return {literal for literal, _ in _beginnings(items)}


def _beginnings(items: Sequence[_Item]) -> set[tuple[str, bool]]:
    """Return literals with which a match begins, and whether the literal is all of the match."""
    current = {("", True)}
    for item in items:
        added = _beginnings_of(item)
        following = {(literal, whole) for literal, whole in current if not whole} | {
            (literal + more, is_all) for literal, whole in current if whole for more, is_all in added
        }
        if len(following) > _MAX_STRINGS:
            return {(literal, False) for literal, _ in current}
        current = following
        if all(len(literal) >= _MAX_CHARS for literal, whole in current if whole):
            return {(literal, False) for literal, _ in current}
    return current


def _beginnings_of(item: _Item) -> set[tuple[str, bool]]:
    name, argument, ignore_case = item
    if name in _ZERO_WIDTH:
        return {("", True)}
    if name in {"LITERAL", "IN"}:
        members = argument if name == "IN" else [(name, argument)]
        return {(each, True) for each in _characters(members, ignore_case=ignore_case)} or {("", False)}
    if name in {"SUBPATTERN", "ATOMIC_GROUP"}:
        return _beginnings(_inner(name, argument, ignore_case=ignore_case))
    if name == "BRANCH":
        return set().union(*(_beginnings(_items(each, ignore_case=ignore_case)) for each in argument[1]))
    if name in _REPEATS:
        fewest, most, parsed = argument
        return _repeated_beginnings(_items(parsed, ignore_case=ignore_case), int(fewest), int(most))
    return {("", False)}


def _repeated_beginnings(inner: list[_Item], fewest: int, most: int) -> set[tuple[str, bool]]:
    if fewest > _MAX_COPIES:
        return {(literal, False) for literal, _ in _beginnings(inner * _MAX_COPIES)}
    required = _beginnings(inner * fewest)
    if most == fewest:
        return required
    more = _beginnings(inner * (fewest + 1))
    return required | (more if most == fewest + 1 else {(literal, False) for literal, _ in more})


def _literal(code: int, *, ignore_case: bool) -> str:
    """Return a character as the index has it; an empty string if it may match other letters too."""
    return "" if ignore_case and code > 127 else fold_case(chr(code))  # noqa: PLR2004 (the end of ASCII)


def _characters(members: Sequence[tuple[Any, Any]], *, ignore_case: bool) -> set[str]:
    """Return the characters of a class, none if they are many."""
    codes: list[int] = []
    for op, argument in members:
        if str(op) == "LITERAL":
            codes.append(argument)
        elif str(op) == "RANGE" and argument[1] - argument[0] < _MAX_CLASS_CHARS:
            codes += range(argument[0], argument[1] + 1)
        else:
            return set()
    characters = {_literal(code, ignore_case=ignore_case) for code in codes}
    return characters if len(characters) <= _MAX_CLASS_CHARS and all(characters) else set()
