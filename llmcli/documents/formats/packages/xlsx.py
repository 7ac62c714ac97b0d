"""Workbooks (.xlsx): the texts of cells, comments, shapes, charts, and headers and footers.

Texts that formulas, tables and pivot tables know by their words stay as they are: a column of a table has the name of
its header cell, and a formula may compare a cell with "Yes". So do numbers, formulas, and the names of sheets. Source:
ECMA-376 part 1, 18.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import ClassVar

from llmcli.documents.formats.packages.formula_texts import comparable, is_known, known_texts
from llmcli.documents.formats.packages.office_part import (
    DRAWING_NAMES,
    DRAWING_TYPES,
    OfficeFormat,
    OfficePart,
    decode_xstring,
    find_office_parts,
)
from llmcli.documents.formats.packages.package_format import Facts, Part
from llmcli.documents.formats.packages.run_text import strip_marks
from llmcli.documents.formats.packages.xml_part import LABEL
from llmcli.documents.formats.xml_files.xml_content import ContentSyntax, XmlContent, read_content
from llmcli.documents.formats.xml_files.xml_elements import XmlElement, decode_references
from llmcli.documents.reading.sources.zip_package import ZipPackage
from llmcli.documents.segments import Edit, Segment, has_letters
from llmcli.documents.text_lines import line_at
from llmcli.errors import BadDocument

_SHEET = r"xl/(work|chart|dialog)sheets/sheet\d*\.xml"
_TYPES = (
    r".*spreadsheetml\.sharedStrings\+xml",
    r".*spreadsheetml\.worksheet\+xml",
    r".*spreadsheetml\.comments\+xml",
    r".*ms-excel\.threadedcomments\+xml",
    r".*officedocument\.drawing\+xml",
    *DRAWING_TYPES,
)
_NAMES = (
    r"xl/sharedStrings\.xml",
    _SHEET,
    r"xl/comments\d*\.xml|xl/comments/comment\d*\.xml",
    r"xl/threadedComments/threadedComment\d*\.xml",
    r"xl/drawings/drawing\d*\.xml",
    *(rf"xl/{name}" for name in DRAWING_NAMES),
)
_INLINE = re.compile(rb"<(?:\w+:)?is[\s>]")
"""The beginning of a text that stands in the cell itself."""
_KNOWN_NAME = re.compile(rb"<(?:\w+:)?(?:tableColumn|cacheField)\s[^<>]*?\bname=(?:\"([^\"<]*)\"|'([^'<]*)')")
_TOTAL = re.compile(rb"<(?:\w+:)?tableColumn\s[^<>]*?\btotalsRowLabel=(?:\"([^\"<]*)\"|'([^'<]*)')")
_FILTER = re.compile(rb"<(?:\w+:)?(?:filter|customFilter)\s[^<>]*?\bval=(?:\"([^\"<]*)\"|'([^'<]*)')")
_FORMULA = re.compile(rb"<(?:\w+:)?(?:f|formula|formula1|formula2|definedName)(?:\s[^<>]*)?>([^<]*)")
_NAME = re.compile(rb"<(?:\w+:)?(?:sheet|definedName)\s[^<>]*?\bname=(?:\"([^\"<]*)\"|'([^'<]*)')")
_CELL = re.compile(r"<(?:\w+:)?(?:si|is)[\s>]")
_CELL_TEXT = re.compile(r"<(?:\w+:)?t(?:\s[^<>]*)?>([^<]*)")
_HEADERS = tuple(f"{page}{place}" for page in ("odd", "even", "first") for place in ("Header", "Footer"))
_HEADER = re.compile(rf"<(?:\w+:)?(?:{'|'.join(_HEADERS)})(?:\s[^<>]*)?>([^<]*)")
_HEADER_CODE = (
    r"&amp;(?:(?:&quot;|\")[^\"<>]{0,100}?(?:&quot;|\")|K(?:[0-9A-Fa-f]{6}|\d\d[+-]\d{3})|\d{1,3}|[A-Z]|&amp;)"
)
"""A code in a header: a font, a color, a size, a field (ECMA-376 part 1, 18.3.1.46)."""
_HEADER_CODES = re.compile(_HEADER_CODE)
_HEADER_SYNTAX = ContentSyntax(kept=f"(?:{_HEADER_CODE})+")
_MAX_HEADER_CHARACTERS = 255
"""Characters of a header or footer: with more, Excel calls the file damaged."""
_MAX_HEADED_BYTES = 4 << 20
"""Bytes of a sheet that is read for its headers and footers alone."""
MAX_CELL_CHARACTERS = 32_767
"""Characters of a cell, in UTF-16: with more, Excel calls the file damaged."""


class XlsxFormat(OfficeFormat):
    """Workbooks."""

    name = "xlsx"
    description = "a spreadsheet"

    def find_parts(self, package: ZipPackage) -> list[str]:
        """Return the files with texts; those of sheets only if texts stand in the cells themselves, or in a header."""
        found = find_office_parts(package, _TYPES, _NAMES)
        return [name for name in found if not re.match(r".*sheets/", name) or _has_texts(package.read(name))]

    def find_facts(self, package: ZipPackage) -> Facts:
        """Return the texts that formulas, tables and pivot tables know."""
        formulas, names, known = list[str](), list[str](), set[str]()
        large: list[str] = []
        for name in package.names:
            if re.match(r"xl/(tables/|pivotCache/pivotCacheDefinition).*\.xml\Z", name):
                data = package.read(name)
                known.update(map(comparable, [*_values(_KNOWN_NAME, data), *_values(_TOTAL, data)]))
                formulas += _values(_FORMULA, data)
            elif re.match(r"xl/((work|chart|dialog)sheets/.*|workbook)\.xml\Z", name):
                data = package.read(name)
                known.update(map(comparable, _values(_FILTER, data)))
                formulas += _values(_FORMULA, data)
                names += _values(_NAME, data)
                large += [name] if not _has_texts(data) and _has_headers(data) else []
        return {"known": sorted((known | known_texts(formulas, names)) - {""}), "headers": large}

    def find_omissions(self, text: str) -> list[str]:
        """Return a sentence about the headers and footers of sheets that are too large to be read for these alone."""
        large = self.read_parts(text)[1].get("headers", ())
        return [f"the headers and footers of large sheets are not translated: {', '.join(large)}"] if large else []

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the segments of all files; of the labels of charts, those whose cells are translated."""
        found = super().split(text, target)
        cells = {segment.text for segment in found if segment.kind == "cell"}
        return [segment for segment in found if segment.kind != LABEL or segment.text in cells]

    def split_part(self, part: Part, facts: Facts) -> Iterable[Segment]:
        """Yield the texts of a file that nothing knows by their words."""
        known = frozenset(facts.get("known", ()))
        for segment in _SheetPart(part).segments():
            if segment.kind != "cell" or not is_known(strip_marks(segment), known):
                yield segment

    def check_part(self, part: Part, facts: Facts) -> None:
        """Raise ``BadDocument`` if a file is not well-formed, or has a cell or a header that is too long for Excel."""
        super().check_part(part, facts)
        for match in _HEADER.finditer(part.text):
            if len(decode_references(match[1])) > _MAX_HEADER_CHARACTERS:
                detail = f"a header or footer has more than {_MAX_HEADER_CHARACTERS} characters"
                raise BadDocument(line=line_at(part.text, match.start()), detail=detail)
        starts = [match.start() for match in _CELL.finditer(part.text)]
        for start, end in pairwise([*starts, len(part.text)]):
            if end - start > MAX_CELL_CHARACTERS:
                written = "".join(_CELL_TEXT.findall(part.text, start, end))
                words = decode_xstring(decode_references(written))
                if len(words.encode("utf-16-le", "surrogatepass")) > 2 * MAX_CELL_CHARACTERS:
                    detail = f"a cell has more than {MAX_CELL_CHARACTERS:,} characters"
                    raise BadDocument(line=line_at(part.text, start), detail=detail)


class _SheetPart(OfficePart):
    """A file of a workbook."""

    wanted = OfficePart.wanted | {"si", "is", "text"}
    plain: ClassVar[Mapping[str, str]] = {
        **OfficePart.plain,
        "tc:text": "paragraph",
        **{f"x:{name}": "paragraph" for name in _HEADERS},
    }

    def plain_contents(self, element: XmlElement) -> Iterator[XmlContent]:
        """Yield the content of an element; of a header, that of its left, middle and right."""
        if element.local_name not in _HEADERS:
            yield from super().plain_contents(element)
            return
        start = element.content_start
        for code in _HEADER_CODES.finditer(self.text, start, element.content_end):
            if code[0].endswith((";L", ";C", ";R")):
                yield read_content(self.text, start, code.start(), _HEADER_SYNTAX)
                start = code.end()
        yield read_content(self.text, start, element.content_end, _HEADER_SYNTAX)

    def describe(self, paragraph: XmlElement) -> tuple[str, int]:
        """Return "cell" for the text of a cell."""
        return ("cell" if self.name_of(paragraph) in {"x:si", "x:is"} else "paragraph"), 0

    def edits_with(self, paragraph: XmlElement) -> tuple[Edit, ...]:
        """Remove how to pronounce characters that a translation does not have."""
        guides = (each for each in paragraph.children if self.name_of(each) == "x:rPh")
        return tuple(Edit(self.offset + each.start, self.offset + each.end, "") for each in guides)


def _has_texts(data: bytes) -> bool:
    """Whether a sheet has texts in its cells, or is small and has a header or footer with words."""
    return _INLINE.search(data) is not None or (len(data) <= _MAX_HEADED_BYTES and _has_headers(data))


def _has_headers(data: bytes) -> bool:
    """Whether a sheet has a header or footer with words."""
    end = data[-_MAX_HEADED_BYTES:].decode("utf-8", "replace")  # they stand behind the cells
    return any(has_letters(_HEADER_CODES.sub("", match[1])) for match in _HEADER.finditer(end))


def _values(pattern: re.Pattern[bytes], data: bytes) -> Iterator[str]:
    for match in pattern.finditer(data):
        value = next((group for group in match.groups() if group is not None), b"")
        yield decode_xstring(decode_references(value.decode("utf-8", "replace")))


FORMAT = XlsxFormat()
