"""AsciiDoc: the paragraphs, titles, items, terms, cells and captions, found line by line.

Not translated: listings, literal blocks, passthroughs, comments, and attributes that are no texts.
A title keeps the identifier by which the document refers to it. Source: "AsciiDoc Language Documentation" and the
patterns of Asciidoctor.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat, line_lead
from llmcli.documents.formats.markup.asciidoc_inline import macro_words, scan_asciidoc_inline
from llmcli.documents.formats.markup.asciidoc_layout import (
    BLOCK_ATTRIBUTES,
    TITLE,
    AsciiDocLayout,
    begins_block,
    encode_attribute,
    encode_data_cell,
    encode_text,
    encode_title,
)
from llmcli.documents.formats.markup.asciidoc_table import (
    DataSyntax,
    TableCell,
    find_data_syntax,
    find_separator,
    read_cells,
    read_data_cells,
)
from llmcli.documents.formats.markup.markup_text import MarkupText
from llmcli.documents.segments import Edit, Segment, has_letters
from llmcli.documents.text_cleaning import detect_newline
from llmcli.documents.text_lines import count_line_ends, line_spans
from llmcli.fast_dataclass import field, frozen, slotted

_TEXT_ATTRIBUTES = re.compile(
    r"(?:doc)?title|subtitle|description|keywords|abstract|manpurpose|toc-title|untitled-label|last-update-label|version-label"
    r"|(?:appendix|example|figure|listing|table|important|note|tip|warning|caution)-caption|(?:part|chapter)-(?:label|signifier)"
    r"|(?:part|chapter|section|appendix)-refsig"
)
"""Attributes whose values are shown."""
_VERBATIM_STYLES = frozenset(
    {"source", "listing", "literal", "pass", "stem", "latexmath", "asciimath", "comment", "a2s", "actdiag", "barcode", "blockdiag",
     "bpmn", "bytefield", "d2", "dbml", "diagrams", "ditaa", "dpic", "erd", "gnuplot", "graphviz", "lilypond", "mermaid", "msc",
     "nomnoml", "nwdiag", "packetdiag", "pikchr", "plantuml", "rackdiag", "salt", "seqdiag", "smcat", "structurizr", "svgbob",
     "symbolator", "syntrax", "tikz", "umlet", "vega", "vegalite", "wavedrom"}
)  # fmt: skip
_CODE_CELL_STYLES = frozenset({"l", "m"})
"""Literal and monospaced cells of a table."""
_SETEXT_LEVELS = {"=": 1, "-": 2, "~": 3, "^": 4, "+": 5}
_PREPROCESSOR = re.compile(r"\\?(?:ifdef|ifndef|ifeval|endif|include)::.*\[.*\]\Z")
_ATTRIBUTE_ENTRY = re.compile(r":!?(?P<name>\w[\w-]*)!?:(?:[ \t]+(?P<value>\S.*))?\Z")
_STYLE = re.compile(r"\[(?P<style>[\w-]+)")
_IDENTIFIER = re.compile(r"\[\[|\[[^\[\],]*#|(?:\A\[|,)[ \t]*id[ \t]*=")
_HARD_BREAKS = re.compile(r"%hardbreaks|(?:options|opts)=\"?[^\"\]]{0,200}hardbreaks")
_BLOCK_TITLE = re.compile(r"\.(?=\.?[^ \t.])")
_SETEXT_UNDERLINE = re.compile(r"(?P<sign>[=\-~^+])(?P=sign)*\Z")
_UNDERLINE_BELOW = re.compile(
    r"[ \t]*(?P<mark>:{0,4}|;;)[ \t]*(?:\r\n|\r|\n)(?P<line>(?P<sign>[=\-~^+])(?P=sign){0,500}+)[ \t]*(?=[\r\n]|\Z)"
)
_DELIMITER = re.compile(r"--|`{3,}[\w+#.-]*|(?P<sign>[-=*_.+/])(?P=sign){3,}|(?P<separator>[|,:!])={3,}|\"\"\Z")
_RULE = re.compile(r"'{3,}\Z|<{3,}\Z|---\Z|\*\*\*\Z|- - -\Z|\* \* \*\Z")
_BLOCK_MACRO = re.compile(r"(?P<name>[a-z][\w-]*)::[^\s\[]*\[(?P<attributes>.*)\]\Z")
_MARKER = re.compile(
    r"[ \t]*(?:-|\*{1,5}|\u2022|\.{1,5}|\d{1,9}\.|[A-Za-z]\.|[IVXivx]{1,12}\))[ \t]+(?=\S)|<(?:\d{1,4}|\.)>[ \t]+(?=\S)"
)
_TERM = re.compile(r"[ \t]*(?P<term>(?!//(?!/))\S.*?)(?P<mark>:{2,4}|;;)(?:[ \t]+(?P<text>\S.*))?\Z")
_CHECKBOX = re.compile(r"\[[ xX*]\][ \t]+")
_ADMONITION = re.compile(r"(?:NOTE|TIP|IMPORTANT|WARNING|CAUTION):[ \t]+(?=\S)")
_LEADING_ANCHOR = re.compile(r"(?:\[\[\[?[^\[\]]*\]\]\]?[ \t]*)+")
_REFERENCE = re.compile(r"<<#?([^<>,\n]{1,200})(?:,[^<>]{0,500})?>>|(?:xref:|link:#)#?([^\s\[\]]{1,200})\[")
_ID_SETTING = re.compile(r"^:id(prefix|separator):[ \t]*(\S*)[ \t]*$", re.MULTILINE)
_NOT_IN_IDENTIFIER = re.compile(r"<[^>]+>|&[#\w]+;|[^ \w\-.]+")
_MANUAL_PAGE = re.compile(r"[\w.+:-]+[ \t]*\(\d\w*\)\Z")
_MANUAL_NAMES = re.compile(r"\S.*?[ \t]-[ \t]+")
_SENTENCE_END = re.compile(r"[.!?:;\u2026\u3002\uff01\uff1f][\"')\]\u201d\u2019*_`]*(?: \+)?\Z")
_ATTRIBUTION = re.compile(r"--[ \t]+\S")
_MAX_NESTING = 50
_MIN_WRAP_CHARS = 40
_MAX_LEAD_CHARS = 200
"""Characters before a text on its line that are looked at."""


@frozen
class _TextLine:
    """A line of a document or of a cell: the offset of its content, and the content without blanks at the end."""

    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@slotted
class _BlockAttributes:
    """The lines in brackets before a block."""

    lines: list[str] = field(default_factory=list)

    @property
    def style(self) -> str:
        """The style of the block, "" without one."""
        found = [match["style"] for line in self.lines if (match := _STYLE.match(line))]
        return found[-1] if found else ""

    @property
    def is_verbatim(self) -> bool:
        return self.style in _VERBATIM_STYLES

    @property
    def keeps_lines(self) -> bool:
        """Whether each line of the block is a line of the output."""
        return self.style == "verse" or any(_HARD_BREAKS.search(line) for line in self.lines)

    @property
    def has_identifier(self) -> bool:
        return any(_IDENTIFIER.search(line) for line in self.lines)


@slotted
class _Document:
    """A document: what was found in it, and what holds for all of it."""

    text: str
    newline: str
    references: frozenset[str]
    id_prefix: str = "_"
    id_separator: str = "_"
    segments: list[Segment] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    keeps_lines: bool = False
    is_manual_page: bool = False
    has_blocks_in_data: bool = False

    def path(self) -> tuple[str, ...]:
        return tuple(title for _, title in self.headings)


class AsciiDocFormat(DocumentFormat):
    """AsciiDoc."""

    name = "asciidoc"

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the titles, paragraphs, items, terms, cells and captions."""
        del target
        return sorted(self._read(text).segments, key=lambda segment: segment.start)

    def find_omissions(self, text: str) -> list[str]:
        """Return a sentence if a table has cells with lists or other blocks between separators."""
        what = "cells of a table in CSV or DSV that hold lists or other blocks are not translated"
        return [what] if self._read(text).has_blocks_in_data else []

    def _read(self, text: str) -> _Document:
        document = _Document(text, detect_newline(text), _find_references(text))
        for setting, value in _ID_SETTING.findall(text):
            if setting == "prefix":
                document.id_prefix = value
            else:
                document.id_separator = value[:1]
        bom = int(text.startswith("\ufeff"))
        spans = ((max(start, bom), end) for start, end in line_spans(text))
        reader = _BlockReader(document, [_TextLine(start, text[start:end].rstrip()) for start, end in spans])
        reader.read_document()
        return document

    def check(self, text: str) -> str:
        """Any text is AsciiDoc."""
        del text
        return ""

    def bilingual_separator(self, text: str, segment: Segment) -> str:
        """Return what separates a segment from its translation: a blank line between whole blocks, else a slash."""
        has_underline = segment.kind == "heading" and count_line_ends(text[segment.start : segment.end])
        is_block = segment.kind == "paragraph" and not line_lead(text, segment)
        return detect_newline(text) * 2 if has_underline or is_block else " / "


class _BlockReader:
    """A pass over the lines of a document or of a cell."""

    def __init__(self, document: _Document, lines: Sequence[_TextLine], *, bars: str = "") -> None:
        self._document = document
        self._bars = bars
        self._lines = lines
        self._attributes = _BlockAttributes()
        self._in_list = False
        self._needs_text = False
        """Whether the last thing read is a term of a list, without its text."""
        self._delimiters: dict[str, list[int]] = {}
        for number, line in enumerate(lines):
            if _DELIMITER.match(line.text):
                self._delimiters.setdefault(line.text, []).append(number)

    def read_document(self) -> None:
        """Read all lines, and the header before them."""
        at = 0
        while at < len(self._lines) and (behind := self._skip_unseen(at) or self._read_attribute_entry(at)):
            at = behind
        title = self._read_title(at, len(self._lines))
        if title:
            at = title
            while at < len(self._lines) and self._lines[at].text:  # lines on authors and revisions
                at = self._read_attribute_entry(at) or at + 1
        self.read(at, len(self._lines), 0, sections=True)

    def read(self, first: int, last: int, depth: int, *, sections: bool) -> None:
        """Read the lines from ``first`` to ``last``; ``sections``: they may have titles."""
        at = first
        is_attached = True
        while at < last:
            text = self._lines[at].text
            if not text or text == "+":
                is_attached = text == "+"
                at += 1
                continue
            behind = self._skip_unseen(at) or self._read_attribute_entry(at) or self._read_block_attributes(at)
            if behind:
                at = behind
                continue
            if not is_attached and not self._needs_text and not self._is_list_line(text) and not text[0].isspace():
                self._in_list = False
            title = self._read_title(at, last) if sections or self._attributes.style in {"discrete", "float"} else 0
            at = title or self._read_block(at, last, depth)
            is_attached = False

    def _skip_unseen(self, at: int) -> int:
        """Return the line behind one that is empty, a comment or for the preprocessor; 0 for another one."""
        text = self._lines[at].text
        return at + 1 if not text or _is_comment(text) or _PREPROCESSOR.match(text) else 0

    # ---- attributes -------------------------------------------------------------------------------------------------

    def _read_attribute_entry(self, at: int) -> int:
        """Read the definition of an attribute; return the line behind it, 0 if there is none."""
        line = self._lines[at]
        found = _ATTRIBUTE_ENTRY.match(line.text)
        if found is None:
            return 0
        if found["name"] in {"hardbreaks", "hardbreaks-option"}:
            self._document.keeps_lines = not line.text.startswith(":!") and "!:" not in line.text
        end = at + 1
        while end < len(self._lines) and self._lines[end - 1].text.endswith(" \\"):
            end += 1
        if found["value"] and end == at + 1 and _TEXT_ATTRIBUTES.fullmatch(found["name"]):
            self._add_line(_TextLine(line.start + found.start("value"), found["value"]), "attribute")
        return end

    def _read_block_attributes(self, at: int) -> int:
        """Read a line in brackets or a caption before a block; return the line behind it, 0 if there is none."""
        line = self._lines[at]
        if BLOCK_ATTRIBUTES.match(line.text):
            self._attributes.lines.append(line.text)
            return at + 1
        if _BLOCK_TITLE.match(line.text) and not _DELIMITER.fullmatch(line.text):
            self._add_line(_TextLine(line.start + 1, line.text[1:]), "attribute")
            return at + 1
        return 0

    def _take_attributes(self) -> _BlockAttributes:
        """Return the attributes of the block that begins here; the next one has none of them."""
        found, self._attributes = self._attributes, _BlockAttributes()
        return found

    # ---- titles -----------------------------------------------------------------------------------------------------

    def _read_title(self, at: int, last: int) -> int:
        """Read a section's title; return the line behind it, 0 if there is none."""
        if at >= last:
            return 0
        line = self._lines[at]
        if found := TITLE.match(line.text):
            self._add_title(
                _TextLine(line.start + found.start("words"), found["words"].rstrip()), len(found["level"]), line.start
            )
            return at + 1
        under = self._lines[at + 1].text if at + 1 < last else ""
        is_title = bool(re.search(r"\w", line.text)) and not line.text.startswith((".", " ", "\t"))
        if not is_title or not _SETEXT_UNDERLINE.match(under) or abs(len(under) - len(line.text)) > 1:
            return 0
        self._add_title(line, _SETEXT_LEVELS[under[0]], line.start, self._lines[at + 1])
        return at + 2

    def _add_title(self, line: _TextLine, level: int, place: int, underline: _TextLine | None = None) -> None:
        """Add a title; what keeps its identifier is written at ``place``."""
        document = self._document
        attributes = self._take_attributes()
        document.headings = [above for above in document.headings if above[0] < level]
        words = _LEADING_ANCHOR.match(line.text)
        is_named = bool(words) or attributes.has_identifier
        line = _TextLine(line.start + words.end(), line.text[words.end() :]) if words else line
        if level == 1 and _MANUAL_PAGE.match(line.text) and not document.segments:
            document.is_manual_page = True
            return
        edits = () if is_named or level == 1 else self._identifier_edits(line.text, place)
        read = scan_asciidoc_inline(line.text)
        end = underline.end if underline else line.end
        between = document.text[line.end : underline.start] if underline else ""
        encode = partial(
            encode_title, read=read, region=document.text[line.start : end], between=between, under=underline.text[:1] if underline else "",
            bars=self._bars,
        )  # fmt: skip
        self._add(line.start, end, read, encode, "heading", edits)
        document.headings.append((level, read.text))

    def _identifier_edits(self, title: str, place: int) -> tuple[Edit, ...]:
        """Return the edit that keeps a title's identifier if the document refers to it, by that or by the title."""
        document = self._document
        plain = re.sub(r"[*_`#]+(?=\w)|(?<=\w)[*_`#]+(?!\w)", "", title)
        separator = document.id_separator
        words = _NOT_IN_IDENTIFIER.sub("", plain.lower())
        identifier = document.id_prefix + re.sub(r"[ .\-]+", lambda _: separator, words).strip(separator or None)
        if title in document.references:
            text = f'[#{identifier},reftext="{title}"]' if '"' not in title else ""
        else:
            text = f"[#{identifier}]" if identifier in document.references else ""
        return (Edit(place, place, text + document.newline),) if text else ()

    # ---- blocks -----------------------------------------------------------------------------------------------------

    def _read_block(self, at: int, last: int, depth: int) -> int:
        """Read the block that begins in a line; return the line behind it."""
        text = self._lines[at].text
        if found := _DELIMITER.fullmatch(text):
            return self._read_delimited(at, last, depth, found)
        macro = _BLOCK_MACRO.match(text)
        if macro or _RULE.match(text):
            self._take_attributes()
            self._read_macro_attributes(self._lines[at], macro)
            return at + 1
        marker = _MARKER.match(text)
        term = None if marker else _TERM.match(text)
        is_literal = text[0].isspace() and not (
            marker or term or self._needs_text or self._attributes.style == "normal"
        )
        if self._attributes.is_verbatim or is_literal:
            self._take_attributes()
            return self._paragraph_end(at, last)
        if marker:
            return self._read_item(at, last, marker.end())
        if term:
            return self._read_term(at, last, term)
        self._needs_text = False
        return self._read_paragraph(at, last, 0, "paragraph")

    def _read_delimited(self, at: int, last: int, depth: int, found: re.Match[str]) -> int:
        """Read a block between two lines that are the same, or up to ``last``."""
        text, attributes = self._lines[at].text, self._take_attributes()
        closer = re.sub(r"(?<=```)[^`]+", "", text) if text.startswith("```") else text
        places = self._delimiters.get(closer, [])
        index = bisect_right(places, at)
        end = places[index] if index < len(places) and places[index] < last else last
        self._needs_text = False
        if found["separator"]:
            self._read_table(at + 1, end, found["separator"], attributes)
        elif text.startswith(("----", "....", "++++", "////", "```")) or (attributes.is_verbatim and text[0] != "*"):
            pass
        elif attributes.keeps_lines:
            self._add_lines(at + 1, end)
        elif depth >= _MAX_NESTING:
            return at + 1
        else:
            in_list, self._in_list = self._in_list, False
            self.read(at + 1, end, depth + 1, sections=False)
            self._in_list = in_list
        return end + 1

    def _read_macro_attributes(self, line: _TextLine, found: re.Match[str] | None) -> None:
        """Add the alternative text of an image."""
        words = macro_words(found["attributes"], is_image=True) if found and found["name"] == "image" else None
        if found and words:
            start = found.start("attributes") + words[0]
            is_quoted = found["attributes"].startswith('"')
            content = line.text[start : found.start("attributes") + words[1]]
            read = scan_asciidoc_inline(content)
            encode = partial(encode_attribute, read=read, region=content, is_quoted=is_quoted)
            self._add(line.start + start, line.start + start + len(content), read, encode, "attribute")

    def _read_item(self, at: int, last: int, marker: int) -> int:
        """Read an item of a list, whose text begins behind ``marker`` and a checkbox."""
        self._in_list, self._needs_text = True, False
        box = _CHECKBOX.match(self._lines[at].text, marker)
        return self._read_paragraph(at, last, box.end() if box else marker, "item")

    def _read_term(self, at: int, last: int, found: re.Match[str]) -> int:
        """Read a term, and the text behind it."""
        line = self._lines[at]
        start = found.start("term")
        anchor = _LEADING_ANCHOR.match(line.text, start)
        start = anchor.end() if anchor else start
        self._add_line(_TextLine(line.start + start, line.text[start : found.end("term")].rstrip()), "item")
        self._in_list, self._needs_text = True, found["text"] is None
        if found["text"] is None:
            self._take_attributes()
            return at + 1
        return self._read_paragraph(at, last, found.start("text"), "item")

    def _read_paragraph(self, at: int, last: int, offset: int, kind: str) -> int:
        """Read a paragraph whose first line begins at an offset."""
        end = self._paragraph_end(at, last)
        attributes = self._take_attributes()
        lines = [self._lines[number] for number in range(at, end)]
        first = lines[0]
        admonition = _ADMONITION.match(first.text, offset) if kind == "paragraph" else None
        names = _MANUAL_NAMES.match(first.text) if self._is_manual_name() else None
        offset = names.end() if names else admonition.end() if admonition else offset
        lines[0] = _TextLine(first.start + offset, first.text[offset:])
        if first.text.startswith('"') and len(lines) > 1 and _ATTRIBUTION.match(lines[-1].text):
            lines.pop()
        run: list[_TextLine] = []
        for number, line in enumerate(lines):
            if number and self._skip_unseen(at + number):
                self._add_text(run, kind, keeps_lines=attributes.keeps_lines, begins_line=not offset)
                run, offset = [], 0
            else:
                blanks = len(line.text) - len(line.text.lstrip())
                run.append(_TextLine(line.start + blanks, line.text[blanks:]))
        self._add_text(run, kind, keeps_lines=attributes.keeps_lines, begins_line=not offset)
        return end

    def _is_manual_name(self) -> bool:
        """Whether the next paragraph of a manual page names the command and says what it is for."""
        return self._document.is_manual_page and len(self._document.segments) == 1

    def _paragraph_end(self, at: int, last: int) -> int:
        """Return the line behind a paragraph: empty, or the beginning of another block."""
        end = at + 1
        while end < last and (text := self._lines[end].text):
            if _DELIMITER.fullmatch(text) or BLOCK_ATTRIBUTES.match(text):
                break
            if self._in_list and (text == "+" or self._is_list_line(text)):
                break
            end += 1
        return end

    @staticmethod
    def _is_list_line(text: str) -> bool:
        return bool(_MARKER.match(text) or _TERM.match(text))

    # ---- tables -----------------------------------------------------------------------------------------------------

    def _read_table(self, first: int, last: int, separator: str, attributes: _BlockAttributes) -> None:
        """Read the cells of a table."""
        lines = [(line.start, line.text) for line in self._lines[first:last]]
        specified = "\n".join(attributes.lines)
        syntax = find_data_syntax(separator, specified)
        if syntax and lines:
            self._read_data(lines[0][0], self._lines[last - 1].end, syntax, specified)
            return
        separator = find_separator(specified) or separator
        for cell in read_cells(lines, separator, specified):
            self._read_cell(cell, separator)

    def _read_data(self, start: int, end: int, syntax: DataSyntax, attributes: str) -> None:
        """Read the cells of a table in CSV, TSV or DSV."""
        for cell in read_data_cells(self._document.text, start, end, syntax, attributes):
            written = self._document.text[cell.start : cell.end]
            lines = [line.strip() for line in syntax.read(written, is_quoted=cell.is_quoted).splitlines()]
            if cell.style == "a" and any(map(begins_block, lines)):
                self._document.has_blocks_in_data = True
            elif cell.style not in _CODE_CELL_STYLES:
                read = scan_asciidoc_inline(" ".join(lines))
                encode = partial(encode_data_cell, read=read, region=written, syntax=syntax, is_quoted=cell.is_quoted)
                self._add(cell.start, cell.end, read, encode, "cell")

    def _read_cell(self, cell: TableCell, separator: str) -> None:
        """Read the paragraphs of a cell between bars, or its blocks if its style says that it is a document."""
        lines = [_TextLine(start + len(text) - len(text.lstrip()), text.strip()) for start, text in cell.lines]
        if cell.style in _CODE_CELL_STYLES:
            return
        if cell.style == "a":
            indented = [_TextLine(start, text.rstrip()) for start, text in cell.lines[1:]]
            inner = _BlockReader(self._document, [*lines[:1], *indented], bars=self._bars + separator)
            inner.read(0, len(lines), _MAX_NESTING - 1, sections=False)
            return
        run: list[_TextLine] = []
        for line in [*lines, _TextLine(0, "")]:
            if line.text and not _is_comment(line.text):
                run.append(line)
                continue
            self._add_text(run, "cell", bars=separator)
            run = []

    # ---- texts ------------------------------------------------------------------------------------------------------

    def _add_lines(self, first: int, last: int) -> None:
        """Add each line of a block as a text of its own."""
        for number in range(first, last):
            if not self._skip_unseen(number):
                self._add_text([self._lines[number]], "item", begins_line=True)

    def _add_line(self, line: _TextLine, kind: str) -> None:
        self._add_text([line], kind)

    def _add_text(
        self,
        lines: Sequence[_TextLine],
        kind: str,
        *,
        keeps_lines: bool = False,
        bars: str = "",
        begins_line: bool = False,
    ) -> None:
        """Add the text of lines that follow each other; ``keeps_lines``: as a text for each."""
        if not lines:
            return
        if (keeps_lines or self._document.keeps_lines) and len(lines) > 1:
            for line in lines:
                self._add_text([line], kind, bars=bars, begins_line=begins_line)
            return
        bars = self._bars + bars
        anchor = _LEADING_ANCHOR.match(lines[0].text)
        if anchor:
            lines = [_TextLine(lines[0].start + anchor.end(), lines[0].text[anchor.end() :]), *lines[1:]]
            if not lines[0].text:
                self._add_text(lines[1:], kind, bars=bars, begins_line=begins_line)
                return
        start, end = lines[0].start, lines[-1].end
        kept = len(lines) > 1 and all(_SENTENCE_END.search(line.text) for line in lines[:-1])
        read = scan_asciidoc_inline(_join_lines(lines, kept=kept))
        text = self._document.text
        between = text[lines[0].end : lines[1].start].lstrip(" \t") if len(lines) > 1 else ""
        width = max(_MIN_WRAP_CHARS, *(len(line.text) for line in lines)) if between and not kept else 0
        layout = AsciiDocLayout(
            between,
            width,
            begins_line=begins_line and not anchor,
            follows_dot=text.startswith(".", start - 1),
            bars=bars,
            is_closed=bool(bars) and text[end : end + 1] not in {"", " ", "\t", "\r", "\n"},
            title_length=_title_length(text, start, end),
        )
        self._add(start, end, read, partial(encode_text, read=read, region=text[start:end], layout=layout), kind)

    def _add(
        self, start: int, end: int, read: MarkupText, encode: partial[str], kind: str, edits: tuple[Edit, ...] = ()
    ) -> None:
        if read.text and read.text == read.text.strip() and has_letters(read.text, read.spans):
            path = self._document.path()
            self._document.segments.append(
                Segment(start, end, read.text, encode, read.spans, kind, path, extra_edits=edits)
            )


def _is_comment(line: str) -> bool:
    """Return whether a line is a comment; more slashes begin or end a block of comments."""
    return line.startswith("//") and not line.startswith("///")


def _title_length(text: str, start: int, end: int) -> int | None:
    """Return how many characters a text would have as a title, by the line below it; None if no line could be one."""
    below = _UNDERLINE_BELOW.match(text, end)
    lead = re.split(r"[\r\n]", text[max(0, start - _MAX_LEAD_CHARS) : start])[-1]
    return len(below["line"]) - len(below["mark"]) - len(lead) if below else None


def _find_references(text: str) -> frozenset[str]:
    """Return the identifiers and titles that a document refers to."""
    return frozenset(match[1] or match[2] for match in _REFERENCE.finditer(text))


def _join_lines(lines: Sequence[_TextLine], *, kept: bool) -> str:
    """Return the lines as one text: wrapped lines are joined by blanks, sentence lines and hard breaks by line ends."""
    parts = []
    for line in lines[:-1]:
        parts += [line.text, "\n" if kept or line.text.endswith(" +") else " "]
    return "".join([*parts, lines[-1].text])


FORMAT = AsciiDocFormat()
