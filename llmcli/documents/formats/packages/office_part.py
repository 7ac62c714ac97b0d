"""The files of an Office document (Office Open XML, ECMA-376), and the paragraphs in them.

Paragraphs are those of WordprocessingML (``w:p``), of DrawingML (``a:p``: slides, shapes, charts, diagrams) and the strings of
SpreadsheetML (``si``). People also read the alternative texts of pictures and tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

from llmcli.documents.formats.packages.package_format import Part, natural_order
from llmcli.documents.formats.packages.run_text import (
    FIELD,
    Border,
    Group,
    Inline,
    Item,
    Piece,
    Place,
    RunSyntax,
    Words,
    attribute_segment,
    canonical_prefixes,
    element_text,
    fold_ranges,
    own_elements,
    paragraph_segment,
    replace_with_references,
    strip_marks,
)
from llmcli.documents.formats.xml_files.xml_content import ContentSyntax, read_content
from llmcli.documents.formats.xml_files.xml_elements import XmlAttribute, XmlElement, escape_text, find_elements
from llmcli.documents.reading.sources.zip_package import ZipPackage, scan_xml
from llmcli.documents.segments import Edit, Segment, has_letters
from llmcli.documents.text_cleaning import collapse_whitespace
from llmcli.fast_dataclass import replace

_NAMESPACES = {
    **{
        f"{root}/{path}{last}": prefix
        for root, last in (("http://schemas.openxmlformats.org", "/2006/main"), ("http://purl.oclc.org/ooxml", "/main"))
        for path, prefix in (
            ("wordprocessingml", "w"),
            ("drawingml", "a"),
            ("presentationml", "p"),
            ("spreadsheetml", "x"),
        )
    },
    "urn:schemas-microsoft-com:vml": "v",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://schemas.microsoft.com/office/spreadsheetml/2018/threadedcomments": "tc",
}
"""Namespaces, transitional and strict, and their usual prefixes."""
_GROUPS = frozenset({"w:hyperlink", "w:ins", "w:moveTo", "w:smartTag", "w:customXml", "w:dir", "w:bdo", "w:sdt"})
_RANGES = frozenset({"bookmark", "commentRange", "perm"})
"""The elements at both ends of a range: their names with "Start" and "End"."""
_DROPPED = frozenset(
    {"w:proofErr", "w:lastRenderedPageBreak", "w:pPr", "a:pPr", "a:endParaRPr", "x:phoneticPr", "x:rPh"}
)
"""Elements that say nothing about the words: what a spelling checker or a layout found, and the format of the paragraph."""
_RUN_CONTENT = frozenset({"w:t", "a:t", "x:t", "w:noBreakHyphen", "w:softHyphen", "w:fldChar", "w:instrText"})
"""What is read of a run; a run of other things is one thing."""
_IGNORED_PROPERTIES = frozenset({"w:lang", "w:noProof"})
_IGNORED_ATTRIBUTES = frozenset({"lang", "altLang", "dirty", "err", "noProof", "smtClean", "smtId", "bmk"})
_FIELDS_WITH_TEXT = frozenset({"HYPERLINK", "TOC"})
"""Fields whose result is text of the document. Word computes that of others again."""
_CORE_PROPERTIES = "application/vnd.openxmlformats-package.core-properties+xml"
_SYNTAX = ContentSyntax()
DRAWING_TYPES = (r".*drawingml\.(chart|diagramData)\+xml", r".*drawingml\.diagramDrawing\+xml")
DRAWING_NAMES = (r"(charts/chart|diagrams/data)\d*\.xml", r"diagrams/drawing\d*\.xml")
"""Charts and diagrams, with the picture of a diagram that has its texts again."""
ALTERNATIVES = frozenset({"docPr", "cNvPr", "tblCaption", "tblDescription", "shape"})
"""The local names of elements with alternative texts."""

Describe = Callable[["OfficePart", XmlElement], tuple[str, int]]
"""Returns the kind of a paragraph, and its level if it is a heading, else 0."""


def find_office_parts(package: ZipPackage, types: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the files whose content types match one of ``types``, in that order, then the core properties.

    ``names``: patterns of names in the place of types, for archives that do not say the types.
    """
    declared: dict[str, str] = {}

    def note(name: str, attributes: Mapping[str, str]) -> None:
        if name == "Override":
            declared[attributes.get("PartName", "").lstrip("/")] = attributes.get("ContentType", "")

    if "[Content_Types].xml" in package.names:
        scan_xml(package.read("[Content_Types].xml"), "[Content_Types].xml", note)
    found: dict[str, None] = {}
    present = sorted({name for name in package.names if name.isprintable()}, key=natural_order)
    for kind, pattern in zip([*types, re.escape(_CORE_PROPERTIES)], [*names, r"docProps/core\.xml"], strict=True):
        for name in present:
            if re.fullmatch(kind, declared[name]) if name in declared else re.fullmatch(pattern, name):
                found[name] = None
    return list(found)


class OfficePart:
    """A file of an Office document."""

    def __init__(self, part: Part, describe: Describe = lambda _part, _paragraph: ("paragraph", 0)) -> None:
        self.text = part.text
        self._part = part
        self._prefixes = canonical_prefixes(part.text, _NAMESPACES)
        self._describe = describe
        self._headings: list[tuple[int, str]] = []
        self._hidden_ids: set[str] = set()

    def name_of(self, element: XmlElement) -> str:
        """Return the name of an element with the usual prefix of its namespace."""
        return self._prefixes.get(element.prefix, element.prefix) + element.local_name

    def raw(self, element: XmlElement) -> str:
        """Return an element as it is."""
        return self.text[element.start : element.end]

    def segments(self, wanted: Collection[str]) -> Iterator[Segment]:
        """Yield the segments in all elements with these local names."""
        for element in find_elements(self.text, "", wanted):
            yield from self.segments_in(element)

    def segments_in(self, element: XmlElement) -> Iterator[Segment]:
        """Yield the segments in an element."""
        for holder in self._holders(element):
            if self.name_of(holder) in _READERS:
                yield from self._paragraph_segments(holder)
            else:
                yield from self._attribute_segments(holder)

    def plain_segments(self, names: Collection[str], kind: str) -> Iterator[Segment]:
        """Yield the texts of elements without runs."""
        for element in find_elements(self.text, "", {name.partition(":")[2] for name in names}):
            if self.name_of(element) in names and not element.is_empty:
                content = read_content(self.text, element.content_start, element.content_end, _SYNTAX)
                if content.has_words:
                    place = self._place(kind)
                    yield Segment(
                        place.offset + content.start, place.offset + content.end, content.text, content.write, content.spans, kind, part=place.part
                    )  # fmt: skip

    def _place(self, kind: str) -> Place:
        return Place(self._part.offset, self._part.name, kind, tuple(words for _, words in self._headings))

    def _holders(self, element: XmlElement) -> Iterator[XmlElement]:
        """Yield the outermost paragraphs in an element, and the elements with alternative texts outside of these."""
        if self.name_of(element) in _READERS:
            yield element
            return
        if any(has_letters(each.value) for each in self._alternatives(element)):
            yield element
        for child in element.children:
            yield from self._holders(child)

    def _alternatives(self, element: XmlElement) -> list[XmlAttribute]:
        name = element.local_name
        if name in {"docPr", "cNvPr"}:
            wanted = ["title", "descr"]
        elif name in {"tblCaption", "tblDescription"}:
            wanted = [f"{element.prefix}val"]
        else:
            wanted = ["alt"] if self.name_of(element) == "v:shape" else []
        return [element.attributes[each] for each in wanted if each in element.attributes]

    def _attribute_segments(self, element: XmlElement) -> Iterator[Segment]:
        for attribute in self._alternatives(element):
            segment = attribute_segment(attribute, self._place("attribute"))
            if segment is not None:
                yield segment

    def _paragraph_segments(self, paragraph: XmlElement) -> Iterator[Segment]:
        read_items, syntax = _READERS[self.name_of(paragraph)](self, paragraph)
        items = list(read_items)
        kind, level = self._describe(self, paragraph)
        if level:
            self._headings = [above for above in self._headings if above[0] < level]
        dropped = tuple(  # how to pronounce characters that a translation does not have
            Edit(self._part.offset + each.start, self._part.offset + each.end, "")
            for each in paragraph.children
            if self.name_of(each) == "x:rPh"
        )
        segment = paragraph_segment(self.text, items, syntax, self._place(kind))
        if segment is not None:
            yield replace(segment, extra_edits=dropped) if dropped else segment
            if level:
                self._headings.append((level, collapse_whitespace(strip_marks(segment)).strip()))
        for element in own_elements(items):
            yield from self.segments_in(element)

    # ---- items ---------------------------------------------------------------------------------------------------------

    def read_items(self, elements: Sequence[XmlElement], openings: dict[str, str]) -> list[Item]:
        """Return the items of elements in a paragraph; ``openings`` gets the beginnings of its runs."""
        items: list[Item] = []
        for child in elements:
            name = self.name_of(child)
            if name in {"w:r", "a:r", "x:r"}:
                items += self._read_run(child, openings)
            elif name == "x:t":
                openings.setdefault("", "")
                words = element_text(self.text, child)
                items.append(Words(words, "", child.start, child.end))
            elif self._is_group(child, name):
                items.append(self._read_group(child, openings))
            elif (border := self._read_range(child, name)) is not None:
                items.append(border)
            elif name not in _DROPPED:
                items.append(self._read_other(child, None))
        return fold_ranges(items, self.text, self._holds_text)

    def _is_group(self, element: XmlElement, name: str) -> bool:
        if name == "w:fldSimple":
            return self._instruction(element.get(f"{element.prefix}instr")) in _FIELDS_WITH_TEXT
        return name in _GROUPS and not element.is_empty

    def _holds_text(self, start: Border, instruction: str) -> bool:
        return start.key != FIELD or self._instruction(instruction) in _FIELDS_WITH_TEXT

    @staticmethod
    def _instruction(text: str) -> str:
        return (text.split() or [""])[0].upper()

    def _read_other(self, element: XmlElement, style: str | None) -> Inline:
        own = [element] if self._holds_own(element) else []
        markup = replace_with_references(self.text, element.start, element.end, own, self._part.offset)
        return Inline([(style, markup)], tuple(own))

    def _holds_own(self, element: XmlElement) -> bool:
        """Whether an element in a paragraph has texts of its own."""
        return element.local_name not in {"del", "moveFrom"} and any(True for _ in self._holders(element))

    def _read_group(self, element: XmlElement, openings: dict[str, str]) -> Item:
        inner = element.child("sdtContent") if element.local_name == "sdt" else element
        if inner is None or inner.is_empty:
            return self._read_other(element, None)
        children = inner.children
        begin = inner.content_start
        if children and children[0].local_name in {"smartTagPr", "customXmlPr"}:
            begin, children = children[0].end, children[1:]
        opening, closing = self.text[element.start : begin], self.text[inner.content_end : element.end]
        items = self.read_items(children, openings)
        return Group([(None, opening)], [(None, closing)], items, element.start, element.end)

    def _read_range(self, element: XmlElement, name: str) -> Item | None:
        role = next((role for role in ("Start", "End") if name.endswith(role)), "")
        kind = name[2 : -len(role)] if role else ""
        if kind not in _RANGES or not name.startswith("w:"):
            return None
        piece: Piece = (None, self.raw(element))
        key = f"{kind} {element.get(f'{element.prefix}id')}"
        if element.get(f"{element.prefix}name") == "_GoBack":
            self._hidden_ids.add(key)
        if key in self._hidden_ids:
            return Inline([piece], is_hidden=True)
        return Border(key, role.lower(), piece, element.start, element.end, element.start, element.end)

    def _read_run(self, run: XmlElement, openings: dict[str, str]) -> Iterator[Item]:
        if run.is_empty:
            return
        properties = run.child("rPr")
        style = "" if properties is None else self.style_of(properties)
        opening = self.text[run.start : run.content_start] + ("" if properties is None else self.raw(properties))
        openings.setdefault(style, opening)
        content = [each for each in run.children if each is not properties and self.name_of(each) not in _DROPPED]
        if content and not any(self.name_of(each) in _RUN_CONTENT for each in content):
            own = [each for each in content if self._holds_own(each)]
            markup = replace_with_references(self.text, run.start, run.end, own, self._part.offset)
            yield Inline([(None, markup)], tuple(own))
            return
        for index, child in enumerate(content):
            name = self.name_of(child)
            begin = run.start if index == 0 else None
            end = run.end if index == len(content) - 1 else None
            if name in {"w:t", "a:t", "x:t"}:
                yield Words(self._read_text(child, name), style, child.start, child.end, begin, end)
            elif name in {"w:noBreakHyphen", "w:softHyphen"}:
                hyphen = "\u2011" if name == "w:noBreakHyphen" else "\u00ad"
                yield Words(hyphen, style, child.start, child.end, begin, end)
            elif name == "w:fldChar":
                role = {"begin": "start", "end": "end"}.get(child.get(f"{child.prefix}fldCharType"), "middle")
                yield Border(FIELD, role, (style, self.raw(child)), child.start, child.end, begin, end)
            elif name == "w:instrText":
                piece = (style, self.raw(child))
                yield Border(FIELD, "note", piece, child.start, child.end, note=element_text(self.text, child))
            else:
                yield self._read_other(child, style)

    def _read_text(self, element: XmlElement, name: str) -> str:
        words = element_text(self.text, element)
        if name != "x:t":
            words = words.replace("\n", " ").replace("\t", " ")
        return words if name != "w:t" or element.get("xml:space") == "preserve" else words.strip(" ")

    def style_of(self, properties: XmlElement) -> str:
        """Return what identifies a formatting: its properties, except for languages and what a spelling checker found."""
        attributes = [
            f"{name}={each.value}" for name, each in properties.attributes.items() if name not in _IGNORED_ATTRIBUTES
        ]
        children = [self.raw(each) for each in properties.children if self.name_of(each) not in _IGNORED_PROPERTIES]
        return "".join(f"{each}\n" for each in [*attributes, *children])


def _write_text(name: str, words: str) -> str:
    space = ' xml:space="preserve"' if words != words.strip() or "  " in words or "\n" in words else ""
    return f"<{name}{'' if name.endswith('a:t') else space}>{escape_text(words)}</{name}>"


def _read_runs(part: OfficePart, paragraph: XmlElement) -> tuple[list[Item], RunSyntax]:
    openings: dict[str, str] = {}
    items = part.read_items(paragraph.children, openings)
    prefix = paragraph.prefix
    mark = paragraph.child("pPr") or paragraph
    properties = mark.child("rPr") or mark.child("endParaRPr")
    base = None if properties is None else part.style_of(properties)
    return items, RunSyntax(openings, f"</{prefix}r>", partial(_write_text, f"{prefix}t"), base)


_READERS = {"w:p": _read_runs, "a:p": _read_runs, "x:si": _read_runs, "x:is": _read_runs, "x:text": _read_runs}
