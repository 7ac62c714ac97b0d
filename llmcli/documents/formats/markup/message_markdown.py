r"""Markdown inside the messages of programs: code, links, emphasis, empty lines and lists, as in "Set `{name}`".

A message is Markdown only where it cannot be read in another way: backticks around words, not the quotes of "cannot
open `a' and `b'" or reStructuredText's ``:ref:`words```, and delimiters at the borders of words, not "5*3*2" or
snake_case. A single line that begins with a sign is no list. The rules beyond that are CommonMark's.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from llmcli.documents.formats.markup.markdown_emphasis import count_emphasis, flanking_stand_in
from llmcli.documents.formats.markup.markdown_inline import AUTOLINK, LINK_TARGET
from llmcli.documents.protected_spans import code_spans
from llmcli.documents.segments import Span

_BEFORE_OTHER_BACKTICK = re.compile(r"[0-9A-Za-z_:\\]")
_BRACKET = re.compile(r"\\.|!?\[|\]", re.DOTALL)
_OPENING_BRACKETS = frozenset({"[", "!["})
_EMPTY_LINES = re.compile(r"\n(?:[ \t\r]*+\n)++")
_FENCE_BACKTICKS = 3
_OPENER = re.compile(r"(?<![0-9A-Za-z_\\*~])(?:\*{2,3}(?=[^\s*])|\*(?=\w)|_{2,3}(?=[^\s_])|_(?=\w)|~~(?=[^\s~]))")
_CLOSER = re.compile(r"(?<![\s(\[{\\*_~`])(?:\*{1,3}|_{1,3}|~~)(?![0-9A-Za-z_*~])")
_BLOCK_START = re.compile(
    r"^[ \t]*+(?:(?P<bullet>[-*+\u2022])|(?P<number>\d{1,3}[.)])|(?P<heading>\#{2,6}|\#(?=[^\n]*+\n[ \t\r]*+\n)))[ \t]++(?=\S)",
    re.MULTILINE,
)
_EMPTY_LINE_NAME = "empty lines"
_BLOCK_NAMES = {"bullet": "list items", "number": "numbered items", "heading": "headings"}
_MIN_COUNTS = {_EMPTY_LINE_NAME: 1, "list items": 2, "numbered items": 2, "headings": 1}


# ---- spans -----------------------------------------------------------------------------------------------------------


def protect_markdown(text: str, spans: Sequence[Span], elements: Sequence[Span] = ()) -> list[Span]:
    """Return the protected ``spans`` of a message with its code and links, which take in the spans inside of them.

    What would cut another span is no Markdown, nor what has one of the ``elements`` in it: spans that are no text in
    the document. Both are in order and disjoint, and so is the result.
    """
    if not ("`" in text or "](" in text or "<" in text):
        return list(spans)
    before, apart = _SpanIndex(spans), _SpanIndex(elements)

    def may_be(span: Span) -> bool:
        return not (before.is_cut_by(span) or apart.overlaps(span))

    code = [*filter(may_be, _find_code(text))]
    links = [ends for ends in _find_links(text, _SpanIndex(code)) if all(map(may_be, ends))]
    found = _in_order([*code, *(span for ends in links for span in ends)])
    around = _SpanIndex(found)
    found += [span for span in _find_autolinks(text) if not around.overlaps(span) and may_be(span)]
    around = _SpanIndex(_in_order(found))
    return _in_order([*found, *(span for span in spans if not around.overlaps(span))])


def _in_order(spans: Iterable[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: span.start)


class _SpanIndex:
    """Finds spans by their offsets; they are in order and disjoint."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._starts = [span.start for span in spans]
        self._ends = [span.end for span in spans]

    def overlaps(self, span: Span) -> bool:
        """Whether one of the spans has a character of this one."""
        first = bisect_right(self._ends, span.start)
        return first < len(self._spans) and self._starts[first] < span.end

    def is_cut_by(self, span: Span) -> bool:
        """Whether one of the spans lies partly in this one."""
        first, last = bisect_right(self._ends, span.start), bisect_left(self._starts, span.end) - 1
        return first <= last and (self._starts[first] < span.start or self._ends[last] > span.end)


def _find_code(text: str) -> Iterator[Span]:
    for start, end in code_spans(text):
        signs = len(text[start:end]) - len(text[start:end].lstrip("`"))
        if _is_code(text[start + signs : end - signs], signs, text[start - 1 : start], text[end : end + 1]):
            yield Span(start, end, "code")


def _is_code(content: str, signs: int, before: str, after: str) -> bool:
    """Whether the text between backticks is code, by the characters around them."""
    if _BEFORE_OTHER_BACKTICK.match(before) or after == "_" or not content.strip():
        return False
    if signs >= _FENCE_BACKTICKS:
        return True
    if signs == 1 and (content != content.strip() or content.count("'") % 2):
        return False
    return not _EMPTY_LINES.search(content)


def _find_links(text: str, code: _SpanIndex) -> Iterator[tuple[Span, Span]]:
    """Yield both ends of each link and image."""
    opened: list[re.Match[str]] = []
    at = 0
    for match in _BRACKET.finditer(text):
        if match.start() < at or code.overlaps(Span(*match.span(), "")):
            continue
        if match[0] in _OPENING_BRACKETS:
            opened.append(match)
        elif match[0] == "]" and opened:
            opener, target = opened.pop(), LINK_TARGET.match(text, match.end())
            if target and target[0].strip("() \n"):
                end = Span(match.start(), target.end(), "target")
                if not code.overlaps(end):
                    at = end.end
                    yield Span(*opener.span(), "link"), end


def _find_autolinks(text: str) -> Iterator[Span]:
    for match in AUTOLINK.finditer(text):
        if "://" in match[0] or "@" in match[0]:  # else it may be a tag with a prefix
            yield Span(*match.span(), "url")


# ---- emphasis --------------------------------------------------------------------------------------------------------


def has_emphasis(text: str, spans: Sequence[Span]) -> bool:
    """Whether words of a message are emphasized: a delimiter before a word, and one of its kind after a word."""
    if "*" not in text and "_" not in text and "~~" not in text:
        return False
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], flanking_stand_in(text[span.start : span.end])]
        at = span.end
    words = "".join([*parts, text[at:]])
    opening, closing = ({match[0][0] for match in pattern.finditer(words)} for pattern in (_OPENER, _CLOSER))
    return bool(opening & closing) and bool(count_emphasis(words).pairs)


# ---- lines -----------------------------------------------------------------------------------------------------------


def lost_lines(source: str, translation: str) -> str:
    """Return what a translation of a message lacks of the lines of its source, or has too often; "" if nothing.

    Only empty lines, lists and headings mean something: it may have other lines than its source.
    """
    wanted, found = _count_blocks(source), _count_blocks(translation)
    return ", ".join(
        f"{found[name]} instead of {count} {name}"
        for name, count in wanted.items()
        if count >= _MIN_COUNTS[name] and (found[name] < count if name == _EMPTY_LINE_NAME else found[name] != count)
    )


def _count_blocks(text: str) -> Counter[str]:
    lines = text.strip()
    if "\n" not in lines:
        return Counter()
    starts = Counter(_BLOCK_NAMES[match.lastgroup or ""] for match in _BLOCK_START.finditer(lines))
    return Counter({_EMPTY_LINE_NAME: len(_EMPTY_LINES.findall(lines)), **starts})
