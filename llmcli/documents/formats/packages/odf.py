"""OpenDocument: texts (.odt), presentations (.odp) and spreadsheets (.ods), with notes, comments and alternative texts.

A chart has its data in a table of its own: in a spreadsheet, a copy of cells, whose words are translated as the cells
are. Not translated: what was deleted with changes tracked, fields, cells that are computed or that a formula knows by
their words, and spreadsheets in other documents. Source: OpenDocument 1.3 part 3 (OASIS).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import ClassVar

from llmcli.documents.formats.document_format import declared_language
from llmcli.documents.formats.packages.formula_texts import is_known, known_texts
from llmcli.documents.formats.packages.package_format import Facts, PackageFormat, Part, matching_names
from llmcli.documents.formats.packages.paragraph_items import (
    Inline,
    Item,
    RangeEnd,
    Words,
    fold_ranges,
    make_group,
    markup_text,
)
from llmcli.documents.formats.packages.run_text import RunSyntax, strip_marks
from llmcli.documents.formats.packages.xml_part import LABEL, XmlPart
from llmcli.documents.formats.xml_files.xml_elements import (
    XmlAttribute,
    XmlElement,
    decode_references,
    escape_text,
    find_elements,
    plain_content,
)
from llmcli.documents.reading.sources.zip_package import ZipPackage
from llmcli.documents.segments import Segment
from llmcli.documents.text_cleaning import collapse_whitespace
from llmcli.errors import BadDocument

_CONTENT = "content.xml"
_ROOT = "urn:oasis:names:tc:opendocument:xmlns:"
_NAMES = (r"content\.xml", r"styles\.xml", r"Object \d+/content\.xml", r"meta\.xml")
_RANGE = re.compile(
    r"text:(bookmark|reference-mark|toc-mark|alphabetical-index-mark|user-index-mark|change)-(start|end)\Z"
)
_RANGE_IDS = ("name", "id", "change-id")
_SPAN_CONTENT = frozenset({"text:s", "text:tab", "text:line-break", "text:soft-page-break"})
"""What may be in a span beside words, so that it is a run."""
_GROUPS = frozenset({"text:a", "text:meta", "text:text-input", "text:placeholder", "loext:content-control"})
"""What stands around words of a sentence: links, metadata, fields to fill in."""
_ENTRIES = {"loext:list-item": "display-text", "text:label": "value"}
"""The entries of lists, and the attributes with their words."""
_MAX_SPACES = 1000
_FORMULA = re.compile(r"\b(?:formula|condition|expression)=(?:\"([^\"]*)\"|'([^']*)')")
_NAME = re.compile(
    r"<table:(?:table|named-range|named-expression|database-range)\s[^<>]*?\btable:name=(?:\"([^\"]*)\"|'([^']*)')"
)
_SPACES = re.compile(" {2,}")
_REVISION_ATTRIBUTES = frozenset({"rsid", "paragraph-rsid"})


class OdfFormat(PackageFormat):
    """OpenDocument."""

    def __init__(self, name: str, description: str) -> None:
        self.name = name
        self.description = description

    def find_parts(self, package: ZipPackage) -> list[str]:
        """Return the content, the headers and footers in the styles, charts, and the title."""
        if _CONTENT not in package.names:
            raise BadDocument(detail=f"the file is damaged: {_CONTENT} is missing")
        return list(matching_names(package, _NAMES))

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the segments of all files; of the labels of charts in a sheet, those with translated cells."""
        found = super().split(text, target)
        cells = {segment.text for segment in found if segment.kind == "cell"}
        is_copy = self.name == "ods"
        return [segment for segment in found if segment.kind != LABEL or not is_copy or segment.text in cells]

    def find_omissions(self, text: str) -> list[str]:
        """Return a sentence about spreadsheets in the document."""
        parts = self.read_parts(text)[0]
        sheets = [part.name for part in parts if part.name.startswith("Object ") and ":spreadsheet>" in part.text]
        return [f"embedded spreadsheets are not translated: {', '.join(sheets)}"] if sheets else []

    def split_part(self, part: Part, facts: Facts) -> Iterable[Segment]:
        """Yield the texts of a file, except for those that a formula knows."""
        del facts
        formulas, names = _attribute_values(_FORMULA, part.text), _attribute_values(_NAME, part.text)
        known = frozenset(known_texts(formulas, names))
        for segment in _OdfPart(part).segments():
            if segment.kind != "cell" or not is_known(strip_marks(segment), known):
                yield segment

    def replace_part_language(self, part: Part, facts: Facts, source: str, target: str) -> str:
        """Return a file with another language of its styles and its property."""
        text = super().replace_part_language(part, facts, source, target)
        language, *more = target.split("-")
        country = next((each for each in more if len(each) == 2), "none")  # noqa: PLR2004 (ISO 3166)
        declared = rf'(\bfo:language="){declared_language(source)}("\s+fo:country=")[\w-]*(?=")'
        return re.sub(declared, rf"\g<1>{language}\g<2>{country}", text)


class _OdfPart(XmlPart):
    """A file of an OpenDocument."""

    namespaces: ClassVar[Mapping[str, str]] = {
        **{f"{_ROOT}{name}:1.0": name for name in ("text", "office", "table", "style", "chart")},
        f"{_ROOT}drawing:1.0": "draw",
        f"{_ROOT}svg-compatible:1.0": "svg",
        "http://purl.org/dc/elements/1.1/": "dc",
        "urn:org:documentfoundation:names:experimental:office:xmlns:loext:1.0": "loext",
    }
    wanted = frozenset({"p", "h", "tracked-changes", "table-cell"})
    plain: ClassVar[Mapping[str, str]] = {
        "dc:title": "heading",
        "dc:subject": "heading",
        "text:index-title-template": "heading",
        "svg:title": "attribute",
        "svg:desc": "attribute",
    }

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        is_object = part.name.startswith("Object ")
        self._is_chart = is_object and ":chart>" in part.text
        self._is_sheet = is_object and not self._is_chart
        if self._is_sheet:
            self.wanted = frozenset({"p", "table"})
        self._plain_styles = {name for name in self._revision_styles() if name}

    def _revision_styles(self) -> Iterator[str]:
        """Yield the names of styles that only say when a text was written."""
        if "rsid=" not in self.text:
            return
        for style in find_elements(self.text, "", {"style"}):
            properties = style.children
            if len(properties) == 1 and properties[0].local_name == "text-properties" and not properties[0].children:
                names = {name.rpartition(":")[2] for name in properties[0].attributes}
                if names <= _REVISION_ATTRIBUTES and not style.get(f"{style.prefix}parent-style-name"):
                    yield style.get(f"{style.prefix}name")

    def is_paragraph(self, element: XmlElement) -> bool:
        """Whether an element is a paragraph, a heading, or a list of which words are chosen: these must be an entry."""
        return self.name_of(element) in {"text:p", "text:h"} or self._is_list(element)

    def _is_list(self, element: XmlElement) -> bool:
        return any(self.name_of(each) in _ENTRIES for each in element.children)

    def alternatives(self, element: XmlElement) -> list[XmlAttribute]:
        """Return the words of an entry of a list."""
        wanted = _ENTRIES.get(self.name_of(element))
        found = element.attributes.get(f"{element.prefix}{wanted}") if wanted else None
        return [found] if found else []

    def is_skipped(self, element: XmlElement) -> bool:
        """Whether an element was deleted with changes tracked, or its text is computed."""
        name = self.name_of(element)
        if name == "table:table-cell":
            values = {attribute.rpartition(":")[2]: each.value for attribute, each in element.attributes.items()}
            return "formula" in values or values.get("value-type", "string") != "string"
        return name == "text:tracked-changes" or (self._is_sheet and name == "table:table")

    def plain_kind(self, element: XmlElement) -> str | None:
        """Return the kind of a title or a description; those in a chart are references to cells."""
        return None if self._is_chart and element.local_name == "desc" else super().plain_kind(element)

    def describe(self, paragraph: XmlElement) -> tuple[str, int]:
        """Return the kind of a paragraph, and the level of a heading."""
        if paragraph.local_name == "h":
            level = paragraph.get(f"{paragraph.prefix}outline-level", "1")
            return "heading", int(level) if level.isdecimal() and len(level) < 3 else 1  # noqa: PLR2004 (digits)
        for element in paragraph.lineage():
            if element.local_name in {"table-cell", "list-item"}:
                is_cell = element.local_name == "table-cell"
                return (LABEL if self._is_chart and is_cell else "cell" if is_cell else "item"), 0
            if element.local_name == "frame" and element.get("presentation:class") == "title":
                return "heading", 1
        return "paragraph", 0

    def read_paragraph(self, paragraph: XmlElement) -> tuple[list[Item], RunSyntax]:
        """Return the items of a paragraph; a span of words alone is a run."""
        openings = {"": ""}
        items = self._read_items(paragraph, openings)
        return items, RunSyntax(openings, f"</{paragraph.prefix}span>", partial(_write_text, paragraph.prefix), "")

    def _read_items(self, element: XmlElement, openings: dict[str, str], style: str = "") -> list[Item]:
        items: list[Item] = []
        at = element.content_start
        for child in element.children:
            items += self._read_words(at, child.start, style)
            items += self._read_child(child, self.name_of(child), openings, style)
            at = child.end
        items += self._read_words(at, element.content_end, style)
        return fold_ranges(items, self.text, lambda _border, _note: True) if not style else items

    def _read_words(self, start: int, end: int, style: str) -> list[Item]:
        words = collapse_whitespace(markup_text(self.text[start:end])) if start < end else ""
        return [Words(words, style, start, end)] if words else []

    def _read_child(self, child: XmlElement, name: str, openings: dict[str, str], style: str) -> list[Item]:
        if name == "text:s":
            count = child.get(f"{child.prefix}c", "1")
            spaces = int(count) if count.isdecimal() and len(count) < 5 else 1  # noqa: PLR2004 (digits)
            return [Words(" " * min(spaces, _MAX_SPACES), style, child.start, child.end)]
        if name == "text:soft-page-break":
            return []
        if name == "text:ruby" and (words := self._read_ruby(child)):
            return [Words(words, "", child.start, child.end)]
        if name == "text:span" and not child.is_empty:
            return self._read_span(child, openings)
        if name in _GROUPS and not child.is_empty and not self._is_list(child):
            opening, closing = self.text[child.start : child.content_start], self.text[child.content_end : child.end]
            items = self._read_items(child, openings)
            return [make_group(self.text, (opening, closing), items, child)]
        return [self._read_mark(child, name, style)]

    def _read_ruby(self, ruby: XmlElement) -> str:
        """Return the words that have a reading above them, which a translation does not have.

        It is "" for anything but words.
        """
        base = ruby.child("ruby-base")
        if (
            base is None
            or base.is_empty
            or any(self.name_of(each) != "text:span" or each.children for each in base.children)
        ):
            return ""
        return plain_content(self.text, base)

    def _read_mark(self, child: XmlElement, name: str, style: str) -> Item:
        """Return an element of a paragraph that holds none of its words."""
        if name == "text:bookmark":
            return Inline([(None, self.raw(child))], is_hidden=True)
        if name in {"office:annotation", "office:annotation-end"} and (key := child.get(f"{child.prefix}name")):
            role = "end" if name.endswith("end") else "start"
            return self._border(f"annotation {key}", role, child, self.read_other(child, None))
        match = _RANGE.match(name)
        if match:
            key = next((value for each in _RANGE_IDS if (value := child.get(f"{child.prefix}{each}"))), "")
            return self._border(f"{match[1]} {key}", match[2], child, Inline([(None, self.raw(child))]))
        return self.read_other(child, style if name in _SPAN_CONTENT else None)

    @staticmethod
    def _border(key: str, role: str, element: XmlElement, inline: Inline) -> RangeEnd:
        start, end = element.start, element.end
        return RangeEnd(key, role, inline.pieces[0], start, end, start, end, elements=inline.elements)

    def _read_span(self, span: XmlElement, openings: dict[str, str]) -> list[Item]:
        opening = self.text[span.start : span.content_start]
        if any(self.name_of(each) not in _SPAN_CONTENT for each in span.children):
            closing = self.text[span.content_end : span.end]
            items = self._read_items(span, openings)
            return [make_group(self.text, (opening, closing), items, span)]
        style = f"{opening}\n"
        items = self._read_items(span, openings, style)
        if not any(isinstance(each, Words) for each in items):
            return [Inline([(None, self.raw(span))])]
        if span.get(f"{span.prefix}style-name") in self._plain_styles and all(
            isinstance(each, Words) for each in items
        ):
            words = "".join(each.text for each in items if isinstance(each, Words))
            return [Words(words, "", span.start, span.end)]
        openings.setdefault(style, opening)
        first, last = items[0], items[-1]
        if isinstance(first, Words):
            first.run_start = span.start
        if isinstance(last, Words):
            last.run_end = span.end
        return items


def _attribute_values(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for match in pattern.finditer(text):
        yield decode_references(match[1] if match[1] is not None else match[2])


def _write_text(prefix: str, words: str) -> str:
    """Return words with elements for spaces that would be one."""
    spaced = _SPACES.sub(partial(_write_spaces, prefix), escape_text(words))
    return spaced.replace("\t", " ").replace("\n", " ")


def _write_spaces(prefix: str, match: re.Match[str]) -> str:
    count = len(match[0]) - 1
    return f" <{prefix}s/>" if count == 1 else f' <{prefix}s {prefix}c="{count}"/>'


ODT = OdfFormat("odt", "an OpenDocument text")
ODP = OdfFormat("odp", "an OpenDocument presentation")
ODS = OdfFormat("ods", "an OpenDocument spreadsheet")
