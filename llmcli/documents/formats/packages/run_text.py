"""The text of a paragraph whose words stand in runs, each with its formatting.

A translator reads the words of all runs as one text. What differs from the formatting of most of it is between two marks
(``<g1>word</g1>``), as are links and ranges; a tab, a field or a picture is one mark (``<x2/>``). A translation is written
in new runs with the formattings of the old ones.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from llmcli.documents.formats.xml_files.xml_elements import (
    TOKEN,
    XmlAttribute,
    XmlElement,
    decode_references,
    escape_attribute,
    escape_text,
)
from llmcli.documents.protected_spans import MESSAGE_KINDS, find_spans
from llmcli.documents.segments import Segment, Span, find_changes, has_letters, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import LineNormalizer
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, frozen, slotted

Piece = tuple[str | None, str]
"""Markup, and the formatting of the run that it stands in; None: it stands between runs."""
MAX_NESTING = 100
"""Levels of fields and ranges in each other."""
FIELD = "field"
"""The key of the borders of fields, which are nested."""
_REFERENCE = "\x1d"
"""The character around the offsets of another part of the document; XML does not allow it."""
_REFERENCE_PATTERN = re.compile(f"{_REFERENCE}(\\d+):(\\d+){_REFERENCE}")
_FILE_NAME = re.compile(r"\S+\.(?:png|jpe?g|gif|[ew]mf|svg|bmp|tiff?)\Z", re.IGNORECASE)


@slotted
class Words:
    """Text in a run with the formatting ``style``.

    ``start`` and ``end`` are the offsets of its element. ``run_start``: that of the run if nothing else is before the text
    in it, else None; ``run_end`` likewise.
    """

    text: str
    style: str
    start: int
    end: int
    run_start: int | None = None
    run_end: int | None = None


@slotted
class Inline:
    """Something in a paragraph that is no text; ``elements`` are those in it that hold texts of their own.

    ``is_hidden``: a translator need not know where it is.
    """

    pieces: list[Piece]
    elements: tuple[XmlElement, ...] = ()
    is_hidden: bool = False
    depth: int = 0
    """Of the ranges and fields in it."""


@slotted
class Group:
    """Text with something around it: a link, an insertion, a field, a range."""

    opening: list[Piece]
    closing: list[Piece]
    items: list[Item]
    start: int
    end: int
    before: str | None = None
    """The formatting of the run that is open at its start; None: it begins between runs."""
    after: str | None = None
    depth: int = 0
    elements: tuple[XmlElement, ...] = ()
    """Those in its opening that hold texts of their own."""


@slotted
class Border:
    """One end of a range or a field, until both are found.

    ``role`` is "start", "middle" (after which a field's result stands), "note" (a part of its instruction) or "end".
    """

    key: str
    role: str
    piece: Piece
    start: int
    end: int
    run_start: int | None = None
    run_end: int | None = None
    note: str = ""
    elements: tuple[XmlElement, ...] = ()


Item = Words | Inline | Group | Border


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
class Place:
    """Where a paragraph is: what its segments share."""

    offset: int
    part: str
    kind: str = "paragraph"
    path: tuple[str, ...] = ()


# ---- reading -----------------------------------------------------------------------------------------------------------


def element_text(text: str, element: XmlElement) -> str:
    """Return the characters of an element without children."""
    return markup_text(text[element.content_start : element.content_end]) if not element.is_empty else ""


def markup_text(raw: str) -> str:
    """Return the characters of XML without elements."""
    if "<" in raw:
        raw = TOKEN.sub(lambda match: escape_text(match["cdata"] or ""), raw)
    return decode_references(raw.replace("\r\n", "\n"))


def fold_ranges(items: Sequence[Item], source: str, opens: Callable[[Border, str], bool]) -> list[Item]:
    """Return the items with their ranges and fields as groups, or as one thing if ``opens`` says no.

    ``opens`` gets the start of a range and the notes in it. A border without its partner is a thing of its own, and an
    empty range is hidden.
    """
    found: list[Item] = []
    starts: dict[str, list[int]] = {}
    for item in items:
        if not isinstance(item, Border) or item.role != "end":
            if isinstance(item, Border) and item.role == "start":
                starts.setdefault(item.key, []).append(len(found))
            found.append(item)
            continue
        start = _pop_start(starts.get(item.key, []), found, item.key)
        if start is None:
            found.append(Inline([item.piece]))
        else:
            at, border = start
            found[at:] = [_fold_range(border, found[at + 1 :], item, source, opens)]
    return [_as_inline(each) for each in found]


def make_group(source: str, tags: tuple[str, str], items: list[Item], element: XmlElement) -> Item:
    """Return an element around items as a group between its ``tags``; as one thing if no words are in it."""
    opening, closing = [(None, tags[0])], [(None, tags[1])]
    if any(map(has_words, items)):
        return Group([*opening], [*closing], items, element.start, element.end)
    return Inline([*opening, *_pieces(items, source), *closing], tuple(own_elements(items)))


def _pop_start(places: list[int], found: Sequence[Item], key: str) -> tuple[int, Border] | None:
    """Return the last start of a range that is not in another one, and its index."""
    while places:
        at = places.pop()
        start = found[at] if at < len(found) else None
        if isinstance(start, Border) and (start.role, start.key) == ("start", key):
            return at, start
    return None


def _fold_range(
    start: Border, inside: Sequence[Item], last: Border, source: str, opens: Callable[[Border, str], bool]
) -> Item:
    middle = next((i for i, each in enumerate(inside) if isinstance(each, Border) and each.role == "middle"), -1)
    notes = "".join(each.note for each in inside if isinstance(each, Border))
    opening = [start.piece, *_pieces(inside[: middle + 1], source)]
    rest = [_as_inline(each) for each in inside[middle + 1 :]]
    depth = 1 + max((each.depth for each in inside if isinstance(each, Inline | Group)), default=0)
    if depth > MAX_NESTING:
        raise BadDocument(detail=f"fields and ranges are nested deeper than {MAX_NESTING} levels")
    if opens(start, notes) and any(map(has_words, rest)):
        (begin, before), (end, after) = _region_start(start), _region_end(last)
        own = (*start.elements, *own_elements(inside[: middle + 1]))
        return Group(opening, [last.piece], rest, begin, end, before, after, depth, own)
    pieces = [*opening, *_pieces(rest, source), last.piece]
    own = (*start.elements, *own_elements(inside))
    return Inline(pieces, own, is_hidden=start.key != FIELD and not inside, depth=depth)


def _region_start(item: Item) -> tuple[int, str | None]:
    """Return where the region of a segment begins, and the formatting of the run that is open there."""
    if isinstance(item, Group):
        return item.start, item.before
    assert isinstance(item, Words | Border)
    if item.run_start is not None:
        return item.run_start, None
    return item.start, item.style if isinstance(item, Words) else item.piece[0]


def _region_end(item: Item) -> tuple[int, str | None]:
    if isinstance(item, Group):
        return item.end, item.after
    assert isinstance(item, Words | Border)
    if item.run_end is not None:
        return item.run_end, None
    return item.end, item.style if isinstance(item, Words) else item.piece[0]


def _as_inline(item: Item) -> Item:
    return Inline([item.piece], item.elements) if isinstance(item, Border) else item


def _pieces(items: Sequence[Item], source: str) -> list[Piece]:
    """Return the markup of items as they are."""
    found: list[Piece] = []
    for item in items:
        if isinstance(item, Words):
            found.append((item.style, source[item.start : item.end]))
        elif isinstance(item, Inline):
            found += item.pieces
        elif isinstance(item, Border):
            found.append(item.piece)
        else:
            found += [*item.opening, *_pieces(item.items, source), *item.closing]
    return found


def has_words(item: Item) -> bool:
    """Whether an item has visible text."""
    if isinstance(item, Group):
        return any(map(has_words, item.items))
    return isinstance(item, Words) and bool(item.text.strip())


def own_elements(items: Sequence[Item]) -> Iterator[XmlElement]:
    """Yield the elements in a paragraph that hold texts of their own."""
    for item in items:
        if not isinstance(item, Words):
            yield from item.elements
        if isinstance(item, Group):
            yield from own_elements(item.items)


# ---- segments ----------------------------------------------------------------------------------------------------------


def paragraph_segment(source: str, items: Sequence[Item], syntax: RunSyntax, place: Place) -> Segment | None:
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
    """What a mark stands for: ``role`` is "open", "close" or "single"; ``style`` is the formatting after an open one."""

    role: str
    pieces: list[Piece]
    style: str = ""


@slotted
class _TextBuilder:
    """Collects the text of items, with marks."""

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
        for item in items:
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

    It has to be the same in a translation, so it does not depend on the lengths of words alone: it is that of the paragraph,
    else the one with the fewest properties, else that of most words.
    """
    sizes: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Words) and item.text.strip():
            sizes[item.style] += len(item.text.strip())
    if syntax.base is not None and syntax.base in sizes:
        return syntax.base
    return min(sizes, key=lambda style: (style.count("\n"), -sizes[style]), default=next(iter(syntax.openings), ""))


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


def _make_segment(source: str, items: list[Item], syntax: RunSyntax, place: Place) -> Segment | None:
    base = base_style(items, syntax)
    builder = _TextBuilder(_mark_prefix("".join(_all_words(items))), syntax)
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
    (start, before), (end, after) = _region_start(items[0]), _region_end(items[-1])
    own = list(own_elements(items))
    writing = _Writing(
        core, replace_with_references(source, start, end, own, place.offset), syntax, base, builder.marks, builder.hidden, (text[:first], text[first + len(core) :]), before, after,
        protected_texts(core, shifted),
    )  # fmt: skip
    return Segment(
        start + place.offset, end + place.offset, core, partial(_encode, writing=writing), tuple(shifted), place.kind, place.path,
        part=place.part,
    )  # fmt: skip


def region_reference(start: int, end: int) -> str:
    """Return what stands in the text for a region for a part of the document with translations of its own."""
    return f"{_REFERENCE}{start}:{end}{_REFERENCE}"


def replace_with_references(source: str, start: int, end: int, elements: Sequence[XmlElement], offset: int) -> str:
    """Return a part of ``source`` with references to ``elements``, which have translations of their own."""
    parts, at = [], start
    for element in elements:
        parts += [source[at : element.start], region_reference(element.start + offset, element.end + offset)]
        at = element.end
    return "".join([*parts, source[at:end]])


def join_nested(text: str, segments: Sequence[Segment], translations: Sequence[str | None]) -> str:
    """Return the document with the translations in their regions, which may be in each other."""
    changes = sorted(find_changes(segments, translations), key=lambda change: (change[0], -change[1]))
    starts = [start for start, *_ in changes]

    def render(start: int, end: int, index: int) -> str:
        parts = []
        while index < len(changes) and changes[index][0] < end:
            begin, after, words = changes[index]
            parts += [text[start:begin], resolve(words, index)]
            start, index = after, max(index + 1, bisect_left(starts, after))
        return "".join([*parts, text[start:end]])

    def resolve(words: str, index: int) -> str:
        if _REFERENCE not in words:
            return words
        return _REFERENCE_PATTERN.sub(
            lambda match: render(int(match[1]), int(match[2]), max(index + 1, bisect_left(starts, int(match[1])))),
            words,
        )

    return render(0, len(text), 0)


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
class _Writing:
    """What it takes to write a translation: ``before`` and ``after`` are the formattings of runs that are open there."""

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


def _encode(translation: str, *, writing: _Writing) -> str:
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


# ---- attributes and plain elements -------------------------------------------------------------------------------------


def attribute_segment(attribute: XmlAttribute, place: Place) -> Segment | None:
    """Return the segment of an attribute that people read; None for one without words, or with the name of a picture."""
    core = attribute.value.strip()
    spans = find_spans(core, MESSAGE_KINDS)
    if not has_letters(core, spans) or _FILE_NAME.match(core):
        return None
    first = attribute.value.index(core)
    edges = attribute.value[:first], attribute.value[first + len(core) :]
    encode = partial(_encode_attribute, source=core, edges=edges)
    start, end = attribute.start + place.offset, attribute.end + place.offset
    return Segment(start, end, core, encode, tuple(spans), "attribute", place.path, part=place.part)


def _encode_attribute(translation: str, *, source: str, edges: tuple[str, str]) -> str:
    clean, parts = LineNormalizer(source), list[str]()
    wanted = protected_texts(source, find_spans(source, MESSAGE_KINDS))
    for words, is_kept in split_at_protected(translation.strip(), wanted):
        parts.append(words if is_kept else clean(words))
    written = escape_attribute("".join([edges[0], *parts, edges[1]])).replace("'", "&apos;")
    return written.replace("\r", "&#xD;").replace("\n", "&#xA;").replace("\t", "&#x9;")


def canonical_prefixes(text: str, namespaces: Mapping[str, str]) -> dict[str, str]:
    """Return the prefix that ``namespaces`` gives to a namespace, for each prefix of the text; both with their colons."""
    found: dict[str, str] = {}
    for match in re.finditer(r"\sxmlns(?::([\w.-]+))?\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", text):
        known = namespaces.get(match[2] or match[3] or "")
        if known is not None:
            found.setdefault(f"{match[1]}:" if match[1] else "", f"{known}:")
    return found
