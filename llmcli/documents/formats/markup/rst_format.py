"""reStructuredText: the paragraphs, titles, items and terms, found line by line.

Not translated: literal blocks, comments, the tables drawn with characters, and directives that are not known to hold
prose. Source: "reStructuredText Markup Specification" and the directives of docutils and Sphinx.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.formats.markup.markup_text import MarkupText, fill_lines
from llmcli.documents.formats.markup.rst_inline import scan_rst_inline, write_rst_inline
from llmcli.documents.segments import Segment, has_letters
from llmcli.documents.text_cleaning import detect_newline
from llmcli.documents.text_lines import line_spans
from llmcli.fast_dataclass import field, slotted

BODY_DIRECTIVES = frozenset(
    {"admonition", "attention", "caution", "centered", "danger", "error", "hint", "important", "note", "tip", "warning", "seealso",
     "todo", "topic", "sidebar", "rubric", "epigraph", "highlights", "pull-quote", "compound", "container", "class", "rst-class",
     "figure", "list-table", "table", "glossary", "hlist", "only", "versionadded", "versionchanged", "deprecated", "versionremoved",
     "tab-set", "tab-item", "tabs", "tab", "group-tab", "dropdown", "details", "grid", "grid-item", "grid-item-card", "card", "line-block", "header",
     "footer", "replace", "role-body", "function", "method", "attribute", "data", "module", "exception", "option", "envvar", "confval",
     "describe", "object", "program", "collapse", "toggle", "contents"}
)  # fmt: skip
"""Directives whose content is text."""
TITLE_DIRECTIVES = frozenset(
    {"admonition", "topic", "sidebar", "rubric", "centered", "list-table", "table", "tab-item", "tab", "dropdown", "details", "card",
     "grid-item-card", "collapse", "contents"}
)  # fmt: skip
"""Directives whose argument is text."""
ARGUMENT_IS_CONTENT = frozenset(
    {"attention", "caution", "danger", "error", "hint", "important", "note", "tip", "warning", "seealso", "todo", "epigraph",
     "highlights", "pull-quote", "compound", "header", "footer", "replace"}
)  # fmt: skip
"""Directives whose first paragraph may begin on their line."""
_QUOTE_DIRECTIVES = frozenset({"epigraph", "highlights", "pull-quote"})
_VERSION_DIRECTIVES = frozenset({"versionadded", "versionchanged", "deprecated", "versionremoved"})
TEXT_OPTIONS = frozenset({"alt", "caption"})
_SIGNS = r"[!-/:-@\[-`{-~]"
_ADORNMENT = re.compile(rf"(?P<sign>{_SIGNS})(?P=sign)+[ \t]*\Z")
_DIRECTIVE = re.compile(
    r"\.\.[ \t]+(?:\|[^|\n]+\|[ \t]+)?(?P<name>[A-Za-z][\w:.+-]*?)[ \t]?::(?:[ \t]+(?P<argument>\S.*))?[ \t]*\Z"
)
_NOTE = re.compile(r"\.\.[ \t]+\[(?:\d+|#[\w.-]*|\*|[A-Za-z][\w.-]*)\][ \t]+(?=\S)")
_BULLET = re.compile(r"[-*+\u2022\u2023\u2043](?:[ \t]+(?=\S)|[ \t]*\Z)")
_ENUMERATOR = re.compile(r"\(?(?:\d{1,9}|#|[A-Za-z]|[ivxlcdmIVXLCDM]{1,12})[.)](?:[ \t]+(?=\S)|[ \t]*\Z)")
_FIELD = re.compile(r":(?![ \t:`])(?:[^:\\\n]|\\.|:(?=\S)(?!`))+:(?:[ \t]+(?=\S)|[ \t]*\Z)")
_OPTION = re.compile(r":[\w-]+:(?:[ \t]+(?P<value>\S.*))?[ \t]*\Z")
_OPTION_NAME = r"(?:--?|/)[\w-]++(?:[ =](?:<[^>]*>|[\w.-]++))?+"
_OPTION_ITEM = re.compile(rf"{_OPTION_NAME}(?:, {_OPTION_NAME})*+(?:[ \t]{{2,}}(?=\S)|[ \t]*\Z)")
_GRID = re.compile(r"\+[-=]+\+[-+=]*[ \t]*\Z")
_TABLE_BORDER = re.compile(r"=[= \t]*\Z")
_SIMPLE_TABLE = re.compile(r"=+(?:[ \t]+=+)+[ \t]*\Z")
_REFERENCE = re.compile(r"`([^`<>]{1,200})`_(?![\w`])|(?<![\w.:+-])([^\W_]++(?:[-_.+:][^\W_]++)*+)_(?![\w`])")
_TARGET = re.compile(r"^[ \t]*\.\.[ \t]+_(?:`([^`\n]{1,200})`|([^`:\n]{1,200})):", re.MULTILINE)
_ATTRIBUTION = re.compile(r"(?:---?(?!-)|\u2014)[ \t]*(?=\S)")
"""The dashes of docutils' ``Body.attribution_pattern``."""
_SHORTEST_UNDERLINE = 4
"""An underline of fewer signs has to be as long as its title."""
_MAX_NESTING = 50
_MIN_WRAP_CHARS = 40
_BLOCK_START = re.compile(
    rf"(?:[-*+\u2022\u2023\u2043]|\(?(?:\d{{1,9}}|\#|[A-Za-z]|[ivxlcdmIVXLCDM]{{1,12}})[.)]|\.\.|__|\||>>>|:[^:]+:)(?:[ \t]|\Z)"
    rf"|(?:--?|/)[\w-]|\+[-=]|{_SIGNS}{{2,}}[ \t]*\Z|="
)
_ENDING_LITERAL = re.compile(r"[ \t]*::[ \t]*\Z")


@slotted
class _RstDocument:
    """A document: where its lines begin and end, the column of the content in each, and what was found.

    ``columns`` decide the nesting; ``offsets`` are the characters before the content, which may stand behind a marker.
    ``references``: names that it refers to and does not define. ``table_ends``: lines that may be the last of a table.
    """

    text: str
    starts: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    headings: list[tuple[str, str]] = field(default_factory=list)
    references: frozenset[str] = frozenset()
    table_ends: list[int] = field(default_factory=list)

    def is_blank(self, number: int) -> bool:
        return self.offsets[number] >= len(self.lines[number])

    def content(self, number: int) -> str:
        return self.lines[number][self.offsets[number] :]

    def move(self, number: int, characters: int) -> None:
        """Move the beginning of a line's content behind a marker."""
        self.columns[number] += characters
        self.offsets[number] += characters

    def block_end(self, first: int, last: int, column: int) -> int:
        """Return the first line from ``first`` on that has content before a column."""
        while first < last and (self.is_blank(first) or self.columns[first] >= column):
            first += 1
        return first

    def paragraph_end(self, first: int, last: int) -> int:
        """Return the line behind those from ``first`` on that have content in one column."""
        end = first + 1
        while end < last and not self.is_blank(end) and self.columns[end] == self.columns[first]:
            end += 1
        return end

    def path(self) -> tuple[str, ...]:
        return tuple(title for _, title in self.headings)


class RstFormat(DocumentFormat):
    """reStructuredText."""

    name = "rst"

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the titles, paragraphs, items and terms, and the texts of directives that hold prose."""
        del target
        document = _RstDocument(text, references=_find_references(text))
        for start, end in line_spans(text):
            line = text[start:end].rstrip("\r\n").rstrip(" \t")
            content = line.lstrip("\ufeff" if start == 0 else "").lstrip(" \t\x0b\x0c")
            offset = len(line) - len(content)
            document.starts.append(start)
            document.lines.append(line)
            document.offsets.append(offset)
            document.columns.append(len(line[:offset].lstrip("\ufeff").expandtabs(8)))
        document.table_ends = [
            number
            for number in range(len(document.lines))
            if _TABLE_BORDER.match(document.content(number))
            and (number + 1 == len(document.lines) or document.is_blank(number + 1))
        ]
        _read_body(document, 0, len(document.lines), 0)
        return sorted(document.segments, key=lambda segment: segment.start)

    def check(self, text: str) -> str:
        """Any text is reStructuredText."""
        del text
        return ""


def _read_body(document: _RstDocument, first: int, last: int, depth: int) -> None:
    """Read the lines from ``first`` to ``last``, which are the content of the document or of one of its blocks."""
    column = min((document.columns[n] for n in range(first, last) if not document.is_blank(n)), default=0)
    at = first
    while at < last:
        if document.is_blank(at):
            at += 1
        elif depth >= _MAX_NESTING:
            at = _read_paragraph(document, at, last)
        elif document.columns[at] > column:
            end = document.block_end(at, last, column + 1)
            _read_quote(document, at, end, depth + 1)
            at = end
        else:
            at = _read_block(document, at, last, depth)


def _read_quote(document: _RstDocument, first: int, last: int, depth: int) -> None:
    """Read a block quote; its last paragraph may be an attribution, whose dashes stay."""
    filled = [number for number in range(first, last) if not document.is_blank(number)]
    at = next((number for number in reversed(filled) if document.is_blank(number - 1)), first)
    quoted = filled[: filled.index(at)] if at in filled else []
    dashes = _ATTRIBUTION.match(document.content(at)) if quoted else None
    if dashes is None or document.columns[at] > min(document.columns[number] for number in quoted):
        _read_body(document, first, last, depth)
        return
    last = filled[-1] + 1
    _read_body(document, first, at, depth)
    document.offsets[at] += dashes.end()
    _add_text(document, at, last, "paragraph")


def _read_block(document: _RstDocument, at: int, last: int, depth: int) -> int:
    """Read the block that begins in a line; return the line behind it."""
    line = document.content(at)
    if line == ".." or line.startswith((".. ", "..\t", "__ ")):
        return _read_explicit(document, at, last, depth)
    if end := _skip_untranslated(document, at, last) or _read_title(document, at, last):
        return end
    marker = _BULLET.match(line) or _ENUMERATOR.match(line) or _FIELD.match(line) or _OPTION_ITEM.match(line)
    if marker:
        return _read_item(document, at, last, depth, marker)
    if line == "|" or line.startswith("| "):
        return _read_line_block(document, at, last)
    following = at + 1
    if following < last and not document.is_blank(following) and document.columns[following] > document.columns[at]:
        return _read_definition(document, at, last, depth)
    return _read_paragraph(document, at, last)


def _skip_untranslated(document: _RstDocument, at: int, last: int) -> int:
    """Return the line behind a literal block, a table or a session of Python that begins in a line, else 0."""
    line = document.content(at)
    if line == "::":
        return _skip_literal(document, at + 1, last, document.columns[at])
    if _SIMPLE_TABLE.match(line):
        return _skip_simple_table(document, at, last)
    return document.paragraph_end(at, last) if _GRID.match(line) or line.startswith(">>>") else 0


def _read_item(document: _RstDocument, at: int, last: int, depth: int, marker: re.Match[str]) -> int:
    """Read an item of a list: its body stands behind its marker, and below, further in than the marker."""
    column = document.columns[at]
    end = document.block_end(at + 1, last, column + 1)
    is_docinfo = marker.re is _FIELD and not document.segments and not document.headings and column == 0
    if is_docinfo:
        return end
    width = len(marker[0])
    if marker.re in {_FIELD, _OPTION_ITEM}:  # their body may be indented by any number of blanks
        inner = [document.columns[n] for n in range(at + 1, end) if not document.is_blank(n)]
        document.offsets[at] += width
        document.columns[at] = min(inner, default=column + width)
    else:
        document.move(at, width)
    _read_body(document, at, end, depth + 1)
    return end


def _read_definition(document: _RstDocument, at: int, last: int, depth: int) -> int:
    end = document.block_end(at + 1, last, document.columns[at] + 1)
    if _ENDING_LITERAL.search(document.content(at)):
        _add_text(document, at, at + 1, "item")
    else:
        _add_term(document, at)
        _read_body(document, at + 1, end, depth + 1)
    return end


def _add_term(document: _RstDocument, at: int) -> None:
    """Add a term without its classifiers."""
    _add_text(document, at, at + 1, "item", length=len(document.content(at).partition(" : ")[0]))


def _read_glossary(document: _RstDocument, first: int, last: int, depth: int) -> None:
    """Read the terms of a glossary, a line each, of which several may share a definition."""
    column = min((document.columns[n] for n in range(first, last) if not document.is_blank(n)), default=0)
    at = first
    while at < last:
        end = at + 1
        if document.columns[at] > column:
            end = document.block_end(at, last, column + 1)
            _read_body(document, at, end, depth + 1)
        elif document.content(at).startswith(".."):
            end = document.block_end(end, last, column + 1)
        elif not document.is_blank(at):
            _add_term(document, at)
        at = end


def _read_line_block(document: _RstDocument, at: int, last: int) -> int:
    """Read lines that begin with a bar: each is a text of its own, with its continuation lines."""
    column = document.columns[at]
    while at < last and not document.is_blank(at) and document.columns[at] == column:
        marker = re.match(r"\|(?:[ \t]+|\Z)", document.content(at))
        if marker is None:
            break
        end = document.block_end(at + 1, at + 1, column)
        while end < last and not document.is_blank(end) and document.columns[end] > column:
            end += 1
        document.move(at, len(marker[0]))
        if not document.is_blank(at):
            _add_text(document, at, end, "item")
        at = end
    return at


def _read_paragraph(document: _RstDocument, at: int, last: int) -> int:
    end = document.paragraph_end(at, last)
    _add_text(document, at, end, "paragraph")
    if document.lines[end - 1].endswith("::"):
        return _skip_literal(document, end, last, document.columns[at])
    return end


def _skip_literal(document: _RstDocument, at: int, last: int, column: int) -> int:
    """Return the line behind the literal block that follows: indented, or quoted by a sign at each line's beginning."""
    while at < last and document.is_blank(at):
        at += 1
    if at < last and document.columns[at] > column:
        return document.block_end(at, last, column + 1)
    sign = document.content(at)[:1] if at < last else ""
    if not re.match(_SIGNS, sign):
        return at
    while at < last and not document.is_blank(at) and document.content(at).startswith(sign):
        at += 1
    return at


def _skip_simple_table(document: _RstDocument, at: int, last: int) -> int:
    """Return the line behind a table whose last border is followed by a blank line."""
    index = bisect_right(document.table_ends, at)
    if index < len(document.table_ends) and document.table_ends[index] < last:
        return document.table_ends[index] + 1
    return document.paragraph_end(at, last)


# ---- titles ----------------------------------------------------------------------------------------------------------


def _read_title(document: _RstDocument, at: int, last: int) -> int:
    """Read a section's title or a transition; return the line behind it, 0 if there is none."""
    line = document.content(at)
    adornment = _ADORNMENT.match(line)
    if adornment:
        below = document.content(at + 2) if at + 2 < last and not document.is_blank(at + 1) else ""
        if below == line and not _ADORNMENT.match(document.content(at + 1)):
            _add_title(document, at + 1, at, at + 2)
            return at + 3
        return at + 1 if len(line) >= _SHORTEST_UNDERLINE else 0
    under = document.content(at + 1) if at + 1 < last and document.columns[at + 1] == document.columns[at] else ""
    found = _ADORNMENT.match(under)
    if not found or (len(under) < _SHORTEST_UNDERLINE and len(under) < _width(line)) or under == "::":
        return 0
    _add_title(document, at, at, at + 1)
    return at + 2


def _add_title(document: _RstDocument, at: int, first: int, last: int) -> None:
    """Add the title in a line; its region reaches from the line ``first`` to ``last``, its adornments included."""
    title = document.content(at)
    adornment = document.content(last)
    style = adornment[:1] * (2 if first < at else 1)
    above = [known for known, _ in document.headings]
    if style in above:
        del document.headings[above.index(style) :]
    read = scan_rst_inline(title)
    start, end = document.starts[first] + document.offsets[first], document.starts[last] + len(document.lines[last])
    if has_letters(read.text, read.spans):
        region = document.text[start:end]
        fits = len(adornment) <= _width(title)
        name = " ".join(title.split())
        encode = partial(
            _encode_title,
            read=read,
            region=region,
            title=title,
            sign=adornment[0],
            length=0 if fits else len(adornment),
            lead=document.offsets[at] - document.offsets[first],
            target=f".. _`{name}`:" if name.lower() in document.references else "",
        )
        document.segments.append(Segment(start, end, read.text, encode, read.spans, "heading", document.path()))
    document.headings.append((style, read.text))


def _find_references(text: str) -> frozenset[str]:
    """Return the names that a document refers to and does not define, in lower case: they may be its titles."""
    names = {_normalize(match[1] or match[2]) for match in _REFERENCE.finditer(text)}
    return frozenset(names - {_normalize(match[1] or match[2]) for match in _TARGET.finditer(text)})


def _normalize(name: str) -> str:
    return " ".join(name.lower().split())


def _encode_title(
    translation: str, *, read: MarkupText, region: str, title: str, sign: str, length: int, lead: int, target: str
) -> str:
    """Return a title with adornments that are as long as it, or as long as they were.

    ``target`` keeps the name by which the document refers to the section.
    """
    if translation.strip() == read.text:
        return region
    words = "".join(text for text, _ in write_rst_inline(translation, read))
    words = _escape_start(words)
    head, _, tail = region.partition(title) if not region.startswith(sign * 2) else _split_overlined(region, title)
    line = sign * max(length, lead + _width(words))
    over = "".join([line if part.strip() else part for part in re.split(r"(\s+)", head)]) if head.strip() else head
    newline = detect_newline(region)
    before = target + newline * 2 if target else ""
    return before + over + words + tail[: len(tail) - len(tail.lstrip())] + line


def _split_overlined(region: str, title: str) -> tuple[str, str, str]:
    at = region.index(title, len(region.split("\n", 1)[0].split("\r", 1)[0]))
    return region[:at], title, region[at + len(title) :]


def _width(text: str) -> int:
    """Return the columns that a text takes on a screen, as docutils counts them."""
    wide = sum(unicodedata.east_asian_width(character) in {"W", "F"} for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


# ---- explicit markup -------------------------------------------------------------------------------------------------


def _read_explicit(document: _RstDocument, at: int, last: int, depth: int) -> int:
    """Read a directive, a footnote or a citation; comments and targets are skipped."""
    line, column = document.content(at), document.columns[at]
    end = document.block_end(at + 1, last, column + 1)
    if found := _DIRECTIVE.match(line):
        _read_directive(document, at, end, depth, found)
    elif found := _NOTE.match(line):
        _move_to_content(document, at, end, found.end())
        _read_body(document, at, end, depth + 1)
    return end


def _move_to_content(document: _RstDocument, at: int, end: int, characters: int) -> None:
    """Let a text that begins behind a marker be the first line of the block below it."""
    inner = [document.columns[n] for n in range(at + 1, end) if not document.is_blank(n)]
    document.offsets[at] += characters
    document.columns[at] = min(inner, default=document.columns[at] + characters)


def _read_directive(document: _RstDocument, at: int, end: int, depth: int, found: re.Match[str]) -> None:
    name = found["name"].lower()
    own = name.rpartition(":")[2]
    is_body = own in BODY_DIRECTIVES or (":" in name and not own.startswith("auto"))
    body = at + 1
    while body < end and not document.is_blank(body) and not _OPTION.match(document.content(body)):
        body += 1
    options_end = body
    while options_end < end and (option := _OPTION.match(document.content(options_end))):
        if document.content(options_end)[1:].partition(":")[0] in TEXT_OPTIONS and option["value"]:
            document.offsets[options_end] += option.start("value")
            _add_text(document, options_end, options_end + 1, "attribute")
        options_end += 1
    if not is_body:
        return
    argument = found.start("argument") if found["argument"] else 0
    if argument and own in _VERSION_DIRECTIVES:
        version = re.match(r"\S+[ \t]+(?=\S)", found["argument"])
        argument = argument + version.end() if version else 0
    elif own not in TITLE_DIRECTIVES | ARGUMENT_IS_CONTENT:
        argument = 0
    if own == "glossary":
        _read_glossary(document, options_end, end, depth)
    elif not argument:
        begins_below = own in ARGUMENT_IS_CONTENT or (own in _VERSION_DIRECTIVES and found["argument"])
        first = at + 1 if begins_below and options_end == body else max(options_end, body)
        read = _read_quote if own in _QUOTE_DIRECTIVES else _read_body
        read(document, min(first, end), end, depth + 1)
    elif own in TITLE_DIRECTIVES or options_end > body:
        document.offsets[at] += argument
        _add_text(document, at, body, "paragraph")
        _read_body(document, options_end, end, depth + 1)
    else:
        _move_to_content(document, at, end, argument)
        _read_body(document, at, end, depth + 1)


# ---- texts -----------------------------------------------------------------------------------------------------------


def _add_text(document: _RstDocument, first: int, last: int, kind: str, length: int | None = None) -> None:
    """Add the text of the lines from ``first`` to ``last``; ``length``: only so much of its one line."""
    lines = [document.content(number) for number in range(first, last)]
    if length is not None:
        lines = [lines[0][:length]]
    start = document.starts[first] + document.offsets[first]
    end = document.starts[last - 1] + document.offsets[last - 1] + len(lines[-1])
    if found := _ENDING_LITERAL.search(lines[-1]):  # the signs before a literal block stay
        end -= len(found[0])
        lines[-1] = lines[-1][: found.start()]
    read = scan_rst_inline(" ".join(line.strip() for line in lines))
    if read.text != read.text.strip() or not has_letters(read.text, read.spans):
        return
    between = ""
    if last - first > 1:
        second = document.starts[first + 1]
        between = document.text[
            document.starts[first] + len(document.lines[first]) : second + document.offsets[first + 1]
        ]
        between = between.lstrip(" \t")
    width = max(_MIN_WRAP_CHARS, *map(len, lines)) if between else 0
    encode = partial(
        _encode, read=read, region=document.text[start:end], between=between, width=width, is_literal=bool(found)
    )
    document.segments.append(Segment(start, end, read.text, encode, read.spans, kind, document.path()))


def _encode(translation: str, *, read: MarkupText, region: str, between: str, width: int, is_literal: bool) -> str:
    """Return a paragraph in lines as long as those of its source."""
    if translation.strip() == read.text:
        return region
    parts = write_rst_inline(translation, read)
    text = _escape_start(between.join(fill_lines(parts, width, _BLOCK_START)))
    if is_literal or text.endswith("::"):
        text = text.rstrip(": ") + ("" if is_literal else ":")
    return text


def _escape_start(text: str) -> str:
    """Return a text that begins no other block than a paragraph."""
    return "\\" + text if _BLOCK_START.match(text) else text


FORMAT = RstFormat()
