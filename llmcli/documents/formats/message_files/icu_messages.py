"""Messages of programs: their protected spans, including the syntax of ICU's MessageFormat.

In a plural or select argument everything is protected except the words of its branches. Source of the grammar: ICU user
guide, "Formatting Messages" (apostrophes: DOUBLE_OPTIONAL).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from llmcli.documents.formats.markup.message_markdown import protect_markdown
from llmcli.documents.protected_spans import MESSAGE_KINDS, find_spans
from llmcli.documents.segments import Span
from llmcli.fast_dataclass import frozen

_ARGUMENT = re.compile(
    r"\{\s*[\w.-]+\s*,\s*(?P<kind>plural|selectordinal|select)\s*,\s*(?:offset:\s*\d+\s*)?(?P<selector>[\w=.-]+)\s*\{"
)
_SIMPLE_ARGUMENT = re.compile(r"\{\s*[\w.-]+\s*(?:,[^{}']{0,200})?\}")
_BRANCH_END = re.compile(r"\}\s*(?:(?P<selector>[\w=.-]+)\s*\{|(?P<end>\}))")
_SYNTAX_TOKEN = re.compile(r"'[{}#|][^']*'|''|[{}#]")
_BEFORE_SYNTAX = re.compile(r"'(?=[{}#|<']|\Z)")
_SYNTAX, _SYNTAX_WITHOUT_NUMBER = re.compile(r"[{}#]"), re.compile(r"[{}]")
_NUMBER_KINDS = frozenset({"plural", "selectordinal"})
"""Arguments in whose branches "#" is the number; elsewhere it is a character, and so is an apostrophe before it."""
_ARGUMENT_HINT = re.compile(r",\s*(?:plural|select|selectordinal)\s*,")
_BRACES = frozenset({"brace", "mustache", "nesting", "dollar", "ruby"})


def is_icu(text: str) -> bool:
    """Whether the message has a plural or select argument and is well formed."""
    return bool(_ARGUMENT_HINT.search(text)) and _parse_icu_spans(text) is not None


def is_damaged(text: str) -> bool:
    """Whether a message has a plural or select argument, but its braces are not balanced."""
    if not _ARGUMENT.search(text):
        return False
    depth = 0
    for sign in _SYNTAX_TOKEN.finditer(text):
        depth += {"{": 1, "}": -1}.get(sign[0], 0)
        if depth < 0:
            return True
    return depth > 0


def find_message_spans(text: str, *, icu: bool, branch: str = "") -> list[Span]:
    """Return the protected spans of a message; ``icu``: braces are ICU's; ``branch``: it is one of an argument."""
    fixed = _parse_icu_spans(text, branch) if icu else None
    if fixed is None:
        return protect_markdown(text, find_spans(text, MESSAGE_KINDS))
    spans, at = [], 0
    for span in [*fixed, Span(len(text), len(text), "")]:
        loose = find_spans(text[at : span.start], MESSAGE_KINDS - _BRACES)
        spans += [Span(at + found.start, at + found.end, found.kind) for found in loose]
        if span.end > span.start:
            spans.append(span)
        at = span.end
    return protect_markdown(text, spans)


@frozen
class MessageBranch:
    """A part of a message that is translated on its own: the branch of an argument of a kind for a selector ("one").

    Its content is from ``start`` to ``end``, between braces; ``selector_start``: where its selector begins.
    """

    start: int
    end: int
    kind: str = ""
    selector: str = ""
    selector_start: int = 0


def split_branches(text: str) -> list[MessageBranch]:
    """Return the branches of a message that is one plural or select argument; any other message is one branch."""
    whole = [MessageBranch(0, len(text))]
    found = _ARGUMENT.match(text)
    if not found or _parse_icu_spans(text) is None:
        return whole
    places: list[MessageBranch] = []
    start, at, depth, selector, first = found.end(), found.end(), 0, found["selector"], found.start("selector")
    while sign := _SYNTAX_TOKEN.search(text, at):
        at = sign.end()
        if sign.group() == "{":
            depth += 1
        elif sign.group() == "}" and depth:
            depth -= 1
        elif sign.group() == "}":
            places.append(MessageBranch(start, sign.start(), found["kind"], selector, first))
            after = _BRANCH_END.match(text, sign.start())
            if after is None or after["end"]:
                return places if after and after.end() == len(text) else whole
            start, at, selector, first = after.end(), after.end(), after["selector"], after.start("selector")
    return whole


def choose_quoting(source: str, branch: str = "") -> Callable[[str], str]:
    """Return the function that quotes signs of ICU's syntax in words for the message ``source``.

    ``branch`` is the kind of the argument of which the message is a branch. An apostrophe that would begin a quotation
    becomes a typographic one.
    """
    has_number = branch in _NUMBER_KINDS or any(each["kind"] in _NUMBER_KINDS for each in _ARGUMENT.finditer(source))
    syntax = _SYNTAX if has_number else _SYNTAX_WITHOUT_NUMBER
    return lambda words: syntax.sub(r"'\g<0>'", _BEFORE_SYNTAX.sub("\u2019", words))


def _parse_icu_spans(text: str, branch: str = "") -> list[Span] | None:
    """Return the spans of ICU syntax, None if the braces are not ICU's."""
    found: list[tuple[int, int]] = []
    open_ones: list[str] = []  # kinds of the arguments around the current branch
    at = 0
    while sign := _SYNTAX_TOKEN.search(text, at):
        start, at, mark = sign.start(), sign.end(), sign.group()
        if mark == "{":
            match = _ARGUMENT.match(text, start) or _SIMPLE_ARGUMENT.match(text, start)
            if match is None:
                return None
            at = match.end()
            if match.re is _ARGUMENT:
                open_ones.append(match["kind"])
        elif mark == "}":
            match = _BRANCH_END.match(text, start)
            if match is None or not open_ones:
                return None
            at = match.end()
            if match["end"]:
                open_ones.pop()
        elif mark == "#" and (open_ones[-1] if open_ones else branch or "select") == "select":
            continue
        found.append((start, at))
    return None if open_ones else _merge_adjacent(found)


def _merge_adjacent(found: list[tuple[int, int]]) -> list[Span]:
    spans: list[Span] = []
    for start, end in found:
        if spans and spans[-1].end == start:
            spans[-1] = Span(spans[-1].start, end, "placeholder")
        else:
            spans.append(Span(start, end, "placeholder"))
    return spans
