"""The items of a paragraph: words in runs, things between them, and groups around them.

The offsets are those in the file that the paragraph is in. Fields and ranges have a border at each end, somewhere in
the paragraph; those whose borders are both found become groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from llmcli.documents.formats.xml_files.xml_elements import TOKEN, XmlElement, decode_references, escape_text
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import slotted

Piece = tuple[str | None, str]
"""Markup, and the formatting of the run that it stands in; None: it stands between runs."""
MAX_NESTING = 100
"""Levels of fields and ranges in each other."""
FIELD = "field"
"""The key of the borders of fields, which are nested."""


@slotted
class Words:
    """Text in a run with the formatting ``style``.

    ``start`` and ``end`` are the offsets of its element. ``run_start``: that of the run if nothing else is before the
    text in it, else None; ``run_end`` likewise.
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
class RangeEnd:
    """One end of a range or a field, until both are found.

    ``role`` is "start", "middle" (after which a field's result stands), "note" (a part of its instruction) or "end".
    The ``note`` of a start says why the result is no text.
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


Item = Words | Inline | Group | RangeEnd


def element_text(text: str, element: XmlElement) -> str:
    """Return the characters of an element without children."""
    return markup_text(text[element.content_start : element.content_end]) if not element.is_empty else ""


def markup_text(raw: str) -> str:
    """Return the characters of XML without elements."""
    if "<" in raw:
        raw = TOKEN.sub(lambda match: escape_text(match["cdata"] or ""), raw)
    return decode_references(raw.replace("\r\n", "\n"))


def fold_ranges(items: Sequence[Item], source: str, opens: Callable[[RangeEnd, str], bool]) -> list[Item]:
    """Return the items with their ranges and fields as groups, or as one thing if ``opens`` says no.

    ``opens`` gets the start of a range and the notes in it. A border without its partner is a thing of its own, and an
    empty range is hidden.
    """
    found: list[Item] = []
    starts: dict[str, list[int]] = {}
    for item in items:
        if not isinstance(item, RangeEnd) or item.role != "end":
            if isinstance(item, RangeEnd) and item.role == "start":
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


def _pop_start(places: list[int], found: Sequence[Item], key: str) -> tuple[int, RangeEnd] | None:
    """Return the last start of a range that is not in another one, and its index."""
    while places:
        at = places.pop()
        start = found[at] if at < len(found) else None
        if isinstance(start, RangeEnd) and (start.role, start.key) == ("start", key):
            return at, start
    return None


def _fold_range(
    start: RangeEnd, inside: Sequence[Item], last: RangeEnd, source: str, opens: Callable[[RangeEnd, str], bool]
) -> Item:
    middle = next((i for i, each in enumerate(inside) if isinstance(each, RangeEnd) and each.role == "middle"), -1)
    notes = "".join(each.note for each in inside if isinstance(each, RangeEnd))
    opening = [start.piece, *_pieces(inside[: middle + 1], source)]
    rest = [_as_inline(each) for each in inside[middle + 1 :]]
    depth = 1 + max((each.depth for each in inside if isinstance(each, Inline | Group)), default=0)
    if depth > MAX_NESTING:
        raise BadDocument(detail=f"fields and ranges are nested deeper than {MAX_NESTING} levels")
    if opens(start, notes) and any(map(has_words, rest)):
        (begin, before), (end, after) = region_start(start), region_end(last)
        own = (*start.elements, *own_elements(inside[: middle + 1]))
        return Group(opening, [last.piece], rest, begin, end, before, after, depth, own)
    pieces = [*opening, *_pieces(rest, source), last.piece]
    own = (*start.elements, *own_elements(inside))
    return Inline(pieces, own, is_hidden=start.key != FIELD and not inside, depth=depth)


def region_start(item: Item) -> tuple[int, str | None]:
    """Return where the region of a segment begins, and the formatting of the run that is open there."""
    if isinstance(item, Group):
        return item.start, item.before
    assert isinstance(item, Words | RangeEnd)
    if item.run_start is not None:
        return item.run_start, None
    return item.start, item.style if isinstance(item, Words) else item.piece[0]


def region_end(item: Item) -> tuple[int, str | None]:
    """Return where the region of a segment ends, and the formatting of the run that is open there."""
    if isinstance(item, Group):
        return item.end, item.after
    assert isinstance(item, Words | RangeEnd)
    if item.run_end is not None:
        return item.run_end, None
    return item.end, item.style if isinstance(item, Words) else item.piece[0]


def _as_inline(item: Item) -> Item:
    return Inline([item.piece], item.elements) if isinstance(item, RangeEnd) else item


def _pieces(items: Sequence[Item], source: str) -> list[Piece]:
    """Return the markup of items as they are."""
    found: list[Piece] = []
    for item in items:
        if isinstance(item, Words):
            found.append((item.style, source[item.start : item.end]))
        elif isinstance(item, Inline):
            found += item.pieces
        elif isinstance(item, RangeEnd):
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
