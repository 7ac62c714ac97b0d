"""Messages of programs: what is protected in them, ICU's MessageFormat among it.

Of a plural or select argument everything but the words of its branches is protected. Source of the grammar: ICU user
guide, "Formatting Messages" (apostrophes: DOUBLE_OPTIONAL).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmcli.documents.protected import MESSAGE, find
from llmcli.documents.segments import Lines, Span, pieces

_ARGUMENT = re.compile(
    r"\{\s*[\w.-]+\s*,\s*(?P<kind>plural|selectordinal|select)\s*,\s*(?:offset:\s*\d+\s*)?(?P<selector>[\w=.-]+)\s*\{"
)
_SIMPLE = re.compile(r"\{\s*[\w.-]+\s*(?:,[^{}']{0,200})?\}")
_NEXT = re.compile(r"\}\s*(?:(?P<selector>[\w=.-]+)\s*\{|(?P<end>\}))")
_SIGN = re.compile(r"'[{}#|][^']*'|''|[{}#]")
_BEFORE_SYNTAX = re.compile(r"'(?=[{}#|<']|\Z)")
_SYNTAX = re.compile(r"[{}#]")
_LIKELY = re.compile(r",\s*(?:plural|select|selectordinal)\s*,")
_BRACES = frozenset({"brace", "mustache", "nesting", "dollar", "ruby"})


def is_icu(text: str) -> bool:
    """Whether the message has a plural or select argument, and all of it is well formed."""
    return bool(_LIKELY.search(text)) and _icu(text) is not None


def spans_of(text: str, *, icu: bool, branch: str = "") -> list[Span]:
    """Return the protected spans of a message; ``icu``: braces are ICU's; ``branch``: it is one of such an argument."""
    fixed = _icu(text, branch) if icu else None
    if fixed is None:
        return find(text, MESSAGE)
    spans, at = [], 0
    for span in [*fixed, Span(len(text), len(text), "")]:
        loose = find(text[at : span.start], MESSAGE - _BRACES)
        spans += [Span(at + found.start, at + found.end, found.kind) for found in loose]
        if span.end > span.start:
            spans.append(span)
        at = span.end
    return spans


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of a message that is translated on its own: of an argument of a kind, for a selector ("one")."""

    start: int
    end: int
    kind: str = ""
    selector: str = ""


def branches(text: str) -> list[Branch]:
    """Return the branches of a message that is one plural or select argument; of another one the whole."""
    whole = [Branch(0, len(text))]
    found = _ARGUMENT.match(text)
    if not found or _icu(text) is None:
        return whole
    places: list[Branch] = []
    start, at, depth, selector = found.end(), found.end(), 0, found["selector"]
    while sign := _SIGN.search(text, at):
        at = sign.end()
        if sign.group() == "{":
            depth += 1
        elif sign.group() == "}" and depth:
            depth -= 1
        elif sign.group() == "}":
            places.append(Branch(start, sign.start(), found["kind"], selector))
            after = _NEXT.match(text, sign.start())
            if after is None or after["end"]:
                return places if after and after.end() == len(text) else whole
            start, at, selector = after.end(), after.end(), after["selector"]
    return whole


def write(translation: str, source: str, wanted: tuple[str, ...], *, icu: bool) -> str:
    """Return the translation of a message with what is no placeholder made literal, where the grammar is ICU's."""
    parts, clean = [], Lines(source)
    for text, kept in pieces(translation, wanted):
        parts.append(text if kept else _literal(clean(text)) if icu else clean(text))
    return "".join(parts)


def _literal(text: str) -> str:
    """Quote braces; an apostrophe that would begin a quotation becomes a typographic one."""
    return _SYNTAX.sub(r"'\g<0>'", _BEFORE_SYNTAX.sub("\u2019", text))


def _icu(text: str, branch: str = "") -> list[Span] | None:
    """Return the spans of ICU syntax, None where the braces are not ICU's."""
    found: list[tuple[int, int]] = []
    open_ones: list[str] = []  # kinds of the arguments in whose branches we are
    at = 0
    while sign := _SIGN.search(text, at):
        start, at, mark = sign.start(), sign.end(), sign.group()
        if mark == "{":
            match = _ARGUMENT.match(text, start) or _SIMPLE.match(text, start)
            if match is None:
                return None
            at = match.end()
            if match.re is _ARGUMENT:
                open_ones.append(match["kind"])
        elif mark == "}":
            match = _NEXT.match(text, start)
            if match is None or not open_ones:
                return None
            at = match.end()
            if match["end"]:
                open_ones.pop()
        elif mark == "#" and (open_ones[-1] if open_ones else branch or "select") == "select":
            continue
        found.append((start, at))
    return None if open_ones else _merged(found)


def _merged(found: list[tuple[int, int]]) -> list[Span]:
    spans: list[Span] = []
    for start, end in found:
        if spans and spans[-1].end == start:
            spans[-1] = Span(spans[-1].start, end, "placeholder")
        else:
            spans.append(Span(start, end, "placeholder"))
    return spans
