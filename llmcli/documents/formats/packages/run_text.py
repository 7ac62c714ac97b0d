"""The text of a paragraph whose words stand in runs, each with its formatting.

A translator reads the words of all runs as one text. What differs from the formatting of most of it is between two
marks (``<g1>word</g1>``), as are links and ranges; a tab, a field or a picture is one mark (``<x2/>``). A translation
is written in new runs with the formattings of the old ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby

from llmcli.documents.formats.packages.nested_regions import replace_with_references
from llmcli.documents.formats.packages.paragraph_items import (
    Group,
    Inline,
    Item,
    Piece,
    Words,
    has_words,
    own_elements,
    region_end,
    region_start,
)
from llmcli.documents.protected_spans import MESSAGE_KINDS, find_spans
from llmcli.documents.segments import Segment, Span, has_letters, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import LineNormalizer
from llmcli.fast_dataclass import field, frozen, slotted

_KEPT_BLANKS = 2
"""Blanks in a row with a formatting of their own."""


@frozen
class RunSyntax:
    """How a run is written: its beginning for each formatting, its end, and the text in it.

    A formatting has a line for each property. One without a beginning is that of text outside of runs. ``base`` is the
    formatting of the paragraph itself, if it says one.
    """

    openings: dict[str, str]
    closing: str
    write: Callable[[str], str]
    base: str | None = None


@frozen
class ParagraphContext:
    """Where a paragraph is: what its segments share."""

    offset: int
    part: str
    kind: str = "paragraph"
    path: tuple[str, ...] = ()


def paragraph_segment(source: str, items: Sequence[Item], syntax: RunSyntax, place: ParagraphContext) -> Segment | None:
    """Return the segment of a paragraph, None if it has no words."""
    trimmed = _trim(list(items))
    return _make_segment(source, trimmed, syntax, place) if trimmed else None


def _trim(items: list[Item]) -> list[Item]:
    """Drop what stands before and behind the words, and around all of them."""
    while True:
        worded = [index for index, item in enumerate(items) if has_words(item)]
        if not worded:
            return []
        items = items[worded[0] : worded[-1] + 1]
        only = items[0]
        if len(items) > 1 or not isinstance(only, Group):
            return items
        items = only.items


@frozen
class _Mark:
    """What a mark stands for: ``role`` is "open", "close" or "single".

    ``style`` is the formatting after an open one.
    """

    role: str
    pieces: list[Piece]
    style: str = ""


@slotted
class _TextBuilder:
    """Collects the text of items, with marks."""

    source: str
    prefix: str
    syntax: RunSyntax
    texts: list[str] = field(default_factory=list)
    marks: dict[str, _Mark] = field(default_factory=dict)
    hidden: list[Piece] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    length: int = 0
    groups: int = 0
    singles: int = 0
    last_single: str = ""

    def add_items(self, items: Sequence[Item], base: str) -> None:
        """Add items in whose text ``base`` is the formatting without marks."""
        style, number, held = base, 0, list[Inline]()
        for item in _keep_blanks(items, base, self.source):
            if isinstance(item, Inline):
                held.append(item)
                continue
            is_blank = isinstance(item, Words) and not item.text.strip()
            wanted = style if is_blank else item.style if isinstance(item, Words) else base
            if style not in {wanted, base}:
                self._close(number)
            self._add_inlines(held)
            held = []
            if wanted not in {style, base}:
                number = self._open([], wanted)
            style = wanted
            if isinstance(item, Words):
                self._add(item.text)
            elif isinstance(item, Group):
                inner = base_style(item.items, self.syntax)
                inside = self._open(item.opening, inner)
                self.add_items(item.items, inner)
                self._close(inside, item.closing)
        if style != base:
            self._close(number)
        self._add_inlines(held)

    def _add(self, text: str) -> None:
        if text:
            self.texts.append(text)
            self.length += len(text)
            self.last_single = ""

    def _add_mark(self, text: str, mark: _Mark) -> None:
        self.marks[text] = mark
        self.spans.append(Span(self.length, self.length + len(text), "tag"))
        self._add(text)

    def _open(self, pieces: list[Piece], style: str) -> int:
        self.groups += 1
        self._add_mark(f"<{self.prefix}g{self.groups}>", _Mark("open", pieces, style))
        return self.groups

    def _close(self, number: int, pieces: Sequence[Piece] = ()) -> None:
        self._add_mark(f"</{self.prefix}g{number}>", _Mark("close", list(pieces)))

    def _add_inlines(self, inlines: Sequence[Inline]) -> None:
        for inline in inlines:
            if inline.is_hidden:
                self.hidden += inline.pieces
            elif self.last_single:
                self.marks[self.last_single].pieces.extend(inline.pieces)
            else:
                self.singles += 1
                name = f"<{self.prefix}x{self.singles}/>"
                self._add_mark(name, _Mark("single", list(inline.pieces)))
                self.last_single = name


def base_style(items: Sequence[Item], syntax: RunSyntax) -> str:
    """Return the formatting of the words without marks.

    It has to be the same in a translation, so it does not depend on the lengths of words alone: it is that of the
    paragraph, else the one with the fewest properties, else that of most words.
    """
    sizes: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Words) and item.text.strip():
            sizes[item.style] += len(item.text.strip())
    if syntax.base is not None and syntax.base in sizes:
        return syntax.base
    return min(sizes, key=lambda style: (style.count("\n"), -sizes[style]), default=next(iter(syntax.openings), ""))


def _keep_blanks(items: Sequence[Item], base: str, source: str) -> Iterator[Item]:
    """Yield the items; several blanks in a row with a formatting of their own (a line of a form) are one thing.

    A single blank separates words: its formatting is that of the words around it.
    """

    def blank_style(item: Item) -> str | None:
        return item.style if isinstance(item, Words) and not item.text.strip() and item.style != base else None

    for style, group in groupby(items, key=blank_style):
        same = list(group)
        words = [item for item in same if isinstance(item, Words)]
        if style is None or sum(len(item.text) for item in words) < _KEPT_BLANKS:
            yield from same
        else:
            yield Inline([(style, source[item.start : item.end]) for item in words])


def _all_words(items: Sequence[Item]) -> Iterator[str]:
    for item in items:
        if isinstance(item, Words):
            yield item.text
        elif isinstance(item, Group):
            yield from _all_words(item.items)


def _mark_prefix(words: str) -> str:
    """Return what the names of marks begin with, so that no mark occurs in the words."""
    prefix = ""
    while any(f"{begin}{prefix}{letter}" in words for begin in ("<", "</") for letter in "gx"):
        prefix += "q"
    return prefix


def _make_segment(source: str, items: list[Item], syntax: RunSyntax, place: ParagraphContext) -> Segment | None:
    base = base_style(items, syntax)
    builder = _TextBuilder(source, _mark_prefix("".join(_all_words(items))), syntax)
    builder.add_items(items, base)
    text = "".join(builder.texts)
    core = text.strip()
    first = len(text) - len(text.lstrip())
    spans = _protect(text, builder.spans)
    shifted = [
        Span(max(span.start - first, 0), min(span.end - first, len(core)), span.kind)
        for span in spans
        if span.end > first and span.start < first + len(core)
    ]
    if not has_letters(core, shifted):
        return None
    (start, before), (end, after) = region_start(items[0]), region_end(items[-1])
    own = list(own_elements(items))
    writing = _WriteContext(
        core, replace_with_references(source, start, end, own, place.offset), syntax, base, builder.marks, builder.hidden, (text[:first], text[first + len(core) :]), before, after,
        protected_texts(core, shifted),
    )  # fmt: skip
    return Segment(
        start + place.offset, end + place.offset, core, partial(_encode, writing=writing), tuple(shifted), place.kind, place.path,
        part=place.part,
    )  # fmt: skip


def _protect(text: str, marks: Sequence[Span]) -> list[Span]:
    """Return the marks of a text, and what is protected in its words."""
    words, at = [], 0
    for span in marks:  # line ends in place of the marks: hardly anything protected spans them
        words += [text[at : span.start], "\n" * (span.end - span.start)]
        at = span.end
    loose = find_spans("".join([*words, text[at:]]), MESSAGE_KINDS)
    found, index = list[Span](), 0
    for span in loose:
        while index < len(marks) and marks[index].end <= span.start:
            index += 1
        if index == len(marks) or span.end <= marks[index].start:
            found.append(span)
    return sorted([*found, *marks], key=lambda span: span.start)


@frozen
class _WriteContext:
    """The means to write a translation: ``before`` and ``after`` are the formattings of the runs open there."""

    text: str
    source: str
    syntax: RunSyntax
    base: str
    marks: Mapping[str, _Mark]
    hidden: Sequence[Piece]
    edges: tuple[str, str]
    before: str | None
    after: str | None
    wanted: tuple[str, ...]


def _encode(translation: str, *, writing: _WriteContext) -> str:
    """Return a translation as runs."""
    translation = translation.strip()
    if translation == writing.text:
        return writing.source
    writer, styles = _RunWriter(writing.syntax, writing.before), [writing.base]
    clean = LineNormalizer(writing.text)
    writer.add_pieces(writing.hidden)
    writer.add_words(writing.edges[0], writing.base)
    for words, is_kept in split_at_protected(translation, writing.wanted):
        mark = writing.marks.get(words) if is_kept else None
        if mark is None:
            writer.add_words(words if is_kept else clean(words), styles[-1])
            continue
        writer.add_pieces(mark.pieces)
        if mark.role == "open":
            styles.append(mark.style)
        elif mark.role == "close" and len(styles) > 1:
            styles.pop()
    writer.add_words(writing.edges[1], styles[-1])
    return writer.finish(writing.after)


class _RunWriter:
    """Writes words and markup in runs; ``style`` is the formatting of the open run, None between runs."""

    def __init__(self, syntax: RunSyntax, style: str | None) -> None:
        self._syntax = syntax
        self._style = style
        self._parts: list[str] = []
        self._words = ""
        self._words_style = ""

    def add_words(self, words: str, style: str) -> None:
        if words and style != self._words_style:
            self._flush()
            self._words_style = style
        self._words += words

    def add_pieces(self, pieces: Sequence[Piece]) -> None:
        for style, markup in pieces:
            self._flush()
            self._switch(style)
            self._parts.append(markup)

    def finish(self, style: str | None) -> str:
        self._flush()
        self._switch(style)
        return "".join(self._parts)

    def _flush(self) -> None:
        if self._words:
            self._switch(self._words_style)
            self._parts.append(self._syntax.write(self._words))
            self._words = ""

    def _switch(self, style: str | None) -> None:
        if style == self._style:
            return
        if self._style is not None and self._syntax.openings[self._style]:
            self._parts.append(self._syntax.closing)
        if style is not None:
            self._parts.append(self._syntax.openings[style])
        self._style = style


def strip_marks(segment: Segment) -> str:
    """Return the words of a segment without marks."""
    words = segment.text
    for span in reversed(segment.protected):
        words = words[: span.start] + words[span.end :] if span.kind == "tag" else words
    return words
