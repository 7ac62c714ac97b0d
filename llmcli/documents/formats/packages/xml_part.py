"""A file of an archive: its paragraphs, and other elements and attributes that people read, with their segments."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import ClassVar

from llmcli.documents.formats.packages.nested_regions import replace_with_references
from llmcli.documents.formats.packages.package_format import Part
from llmcli.documents.formats.packages.paragraph_items import Inline, Item, own_elements
from llmcli.documents.formats.packages.run_text import ParagraphContext, RunSyntax, paragraph_segment, strip_marks
from llmcli.documents.formats.xml_files.xml_content import ContentSyntax, XmlContent, read_content
from llmcli.documents.formats.xml_files.xml_elements import XmlAttribute, XmlElement, escape_attribute, find_elements
from llmcli.documents.protected_spans import MESSAGE_KINDS, find_spans
from llmcli.documents.segments import Edit, Segment, has_letters, protected_texts
from llmcli.documents.text_cleaning import collapse_whitespace, write_translation
from llmcli.errors import InternalError
from llmcli.fast_dataclass import replace

LABEL = "label"
"""The kind of a segment that is the copy of a cell, in a chart."""
_SYNTAX = ContentSyntax()
_FILE_NAME = re.compile(r"\S+\.(?:png|jpe?g|gif|[ew]mf|svg|bmp|tiff?)\Z", re.IGNORECASE)


class XmlPart:
    """A file. A subclass says what a paragraph is, and reads it."""

    namespaces: ClassVar[Mapping[str, str]]
    """The usual prefixes of namespaces: names have them, whatever the prefixes in the file."""
    wanted: Collection[str]
    """The local names of the elements in which there are texts."""
    plain: ClassVar[Mapping[str, str]] = {}
    """The names of elements whose content is text without runs, and the kind of their segments."""

    def __init__(self, part: Part) -> None:
        self.text = part.text
        self.offset = part.offset
        self._name = part.name
        self._prefixes = _canonical_prefixes(part.text, self.namespaces)
        self._names: dict[str, str] = {}
        self._headings: list[tuple[int, str]] = []

    def is_paragraph(self, element: XmlElement) -> bool:
        """Whether an element is a paragraph."""
        del element
        return False

    def read_paragraph(self, paragraph: XmlElement) -> tuple[list[Item], RunSyntax]:
        """Return the items of a paragraph, and how its runs are written."""
        raise InternalError("read_paragraph", detail=f"{paragraph.name} is no paragraph")

    def describe(self, paragraph: XmlElement) -> tuple[str, int]:
        """Return the kind of a paragraph, and its level if it is a heading, else 0."""
        del paragraph
        return "paragraph", 0

    def is_skipped(self, element: XmlElement) -> bool:
        """Whether nothing in an element is translated."""
        del element
        return False

    def plain_kind(self, element: XmlElement) -> str | None:
        """Return the kind of an element whose content is text without runs, None for any other."""
        return self.plain.get(self.name_of(element))

    def alternatives(self, element: XmlElement) -> list[XmlAttribute]:
        """Return the attributes of an element that people read."""
        del element
        return []

    def edits_with(self, paragraph: XmlElement) -> tuple[Edit, ...]:
        """Return what else changes with a translation of a paragraph."""
        del paragraph
        return ()

    def name_of(self, element: XmlElement) -> str:
        """Return the name of an element with the usual prefix of its namespace."""
        known = self._names.get(element.name)
        if known is None:
            known = self._prefixes.get(element.prefix, element.prefix) + element.local_name
            self._names[element.name] = known
        return known

    def raw(self, element: XmlElement) -> str:
        """Return an element as it is."""
        return self.text[element.start : element.end]

    def segments(self) -> Iterator[Segment]:
        """Yield the segments of the file. Raises ``BadDocument`` if it is not well-formed."""
        local_names = {name.partition(":")[2] for name in self.plain}
        for element in find_elements(self.text, "", {*self.wanted, *local_names}):
            yield from self._segments_in(element)

    def read_other(self, element: XmlElement, style: str | None) -> Inline:
        """Return an element of a paragraph that is no text; ``style`` is as in a ``Piece``."""
        own = [element] if self.holds_own(element) else []
        markup = replace_with_references(self.text, element.start, element.end, own, self.offset)
        return Inline([(style, markup)], tuple(own))

    def holds_own(self, element: XmlElement) -> bool:
        """Whether an element in a paragraph has texts of its own."""
        return any(True for _ in self._holders(element))

    def _holders(self, element: XmlElement) -> Iterator[XmlElement]:
        """Yield the outermost paragraphs in an element, and what else people read outside of these."""
        if self.is_skipped(element):
            return
        if self.is_paragraph(element) or self.plain_kind(element) is not None:
            yield element
            return
        if any(has_letters(each.value) for each in self.alternatives(element)):
            yield element
        for child in element.children:
            yield from self._holders(child)

    def _segments_in(self, element: XmlElement) -> Iterator[Segment]:
        for holder in self._holders(element):
            if self.is_paragraph(holder):
                yield from self._paragraph_segments(holder)
            elif (kind := self.plain_kind(holder)) is not None:
                yield from self._plain_segments(holder, kind)
            else:
                for attribute in self.alternatives(holder):
                    segment = _attribute_segment(attribute, self._place("attribute"))
                    yield from [segment] if segment else []

    def plain_contents(self, element: XmlElement) -> Iterator[XmlContent]:
        """Yield the texts of an element whose content is text without runs."""
        yield read_content(self.text, element.content_start, element.content_end, _SYNTAX)

    def _plain_segments(self, element: XmlElement, kind: str) -> Iterator[Segment]:
        for content in () if element.is_empty else self.plain_contents(element):
            if content.has_words:
                start, end, path = self.offset + content.start, self.offset + content.end, self._place(kind).path
                yield Segment(start, end, content.text, content.write, content.spans, kind, path, part=self._name)

    def _paragraph_segments(self, paragraph: XmlElement) -> Iterator[Segment]:
        items, syntax = self.read_paragraph(paragraph)
        kind, level = self.describe(paragraph)
        if level:
            self._headings = [above for above in self._headings if above[0] < level]
        segment = paragraph_segment(self.text, items, syntax, self._place(kind))
        if segment is not None:
            edits = self.edits_with(paragraph)
            yield replace(segment, extra_edits=edits) if edits else segment
            if level:
                self._headings.append((level, collapse_whitespace(strip_marks(segment)).strip()))
        for element in own_elements(items):
            yield from self._segments_in(element)

    def _place(self, kind: str) -> ParagraphContext:
        return ParagraphContext(self.offset, self._name, kind, tuple(words for _, words in self._headings))


def _attribute_segment(attribute: XmlAttribute, place: ParagraphContext) -> Segment | None:
    """Return the segment of an attribute that people read.

    It is None for one without words, or with the name of a picture.
    """
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
    words = write_translation(translation, source, protected_texts(source, find_spans(source, MESSAGE_KINDS)))
    written = escape_attribute(edges[0] + words + edges[1]).replace("'", "&apos;")
    return written.replace("\r", "&#xD;").replace("\n", "&#xA;").replace("\t", "&#x9;")


def _canonical_prefixes(text: str, namespaces: Mapping[str, str]) -> dict[str, str]:
    """Return the prefix that ``namespaces`` gives to a namespace, for each prefix of the text; both with colons."""
    found: dict[str, str] = {}
    for match in re.finditer(r"\sxmlns(?::([\w.-]+))?\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", text):
        known = namespaces.get(match[2] or match[3] or "")
        if known is not None:
            found.setdefault(f"{match[1]}:" if match[1] else "", f"{known}:")
    return found
