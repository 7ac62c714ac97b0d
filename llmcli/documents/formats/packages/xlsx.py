"""Workbooks (.xlsx): the texts of cells, comments, shapes and charts' titles.

Texts that formulas, tables and pivot tables know by their words stay as they are: a column of a table has the name of its
header cell, and a formula may compare a cell with "Yes". So do numbers, formulas, and the names of sheets. Source: ECMA-376
part 1, 18.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from llmcli.documents.formats.packages.office_part import (
    DRAWING_NAMES,
    DRAWING_TYPES,
    OfficePart,
    find_office_parts,
)
from llmcli.documents.formats.packages.package_format import Facts, PackageFormat, Part
from llmcli.documents.formats.packages.run_text import strip_marks
from llmcli.documents.formats.xml_files.xml_elements import XmlElement, decode_references
from llmcli.documents.reading.sources.zip_package import ZipPackage
from llmcli.documents.segments import Edit, Segment

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
_LITERAL = re.compile(r'"((?:[^"]|"")*)"')
_NEWLINE = re.compile(r"_x000[aAdD]_|[\r\n]+")


class XlsxFormat(PackageFormat):
    """Workbooks."""

    name = "xlsx"
    description = "a spreadsheet"

    def find_parts(self, package: ZipPackage) -> list[str]:
        """Return the files with texts; those of sheets only if texts stand in the cells themselves."""
        found = find_office_parts(package, _TYPES, _NAMES)
        return [name for name in found if not re.match(r".*sheets/", name) or _INLINE.search(package.read(name))]

    def find_facts(self, package: ZipPackage) -> Facts:
        """Return the texts that formulas, tables and pivot tables know."""
        known = {
            _comparable(text) for name in package.names if name.endswith(".xml") for text in _known_texts(package, name)
        }
        return {"known": sorted(known - {""})}

    def split_part(self, part: Part, facts: Facts) -> Iterable[Segment]:
        """Yield the texts of a file that nothing knows by their words."""
        known = frozenset(facts.get("known", ()))
        for segment in _SheetPart(part).segments():
            if segment.kind != "cell" or _comparable(strip_marks(segment)) not in known:
                yield segment


class _SheetPart(OfficePart):
    """A file of a workbook."""

    wanted = OfficePart.wanted | {"si", "is", "text"}
    plain: ClassVar[Mapping[str, str]] = {**OfficePart.plain, "tc:text": "paragraph"}

    def describe(self, paragraph: XmlElement) -> tuple[str, int]:
        """Return "cell" for the text of a cell."""
        return ("cell" if self.name_of(paragraph) in {"x:si", "x:is"} else "paragraph"), 0

    def edits_with(self, paragraph: XmlElement) -> tuple[Edit, ...]:
        """Remove how to pronounce characters that a translation does not have."""
        guides = (each for each in paragraph.children if self.name_of(each) == "x:rPh")
        return tuple(Edit(self.offset + each.start, self.offset + each.end, "") for each in guides)


def _known_texts(package: ZipPackage, name: str) -> Iterator[str]:
    """Yield the names of columns and the texts in formulas and filters of a file."""
    if name.startswith(("xl/tables/", "xl/pivotCache/pivotCacheDefinition")):
        data = package.read(name)
        yield from _attribute_values(_KNOWN_NAME, data)
        yield from _attribute_values(_TOTAL, data)
    elif re.match(r"xl/(work|chart|dialog)sheets/|xl/workbook\.xml", name):
        data = package.read(name)
        yield from _attribute_values(_FILTER, data)
        for match in _FORMULA.finditer(data):
            for literal in _LITERAL.findall(decode_references(match[1].decode("utf-8", "replace"))):
                text = literal.replace('""', '"')
                yield text
                yield from text.split(",")  # a list of allowed values


def _attribute_values(pattern: re.Pattern[bytes], data: bytes) -> Iterator[str]:
    for match in pattern.finditer(data):
        value = match[1] if match[1] is not None else match[2]
        yield decode_references(value.decode("utf-8", "replace"))


def _comparable(text: str) -> str:
    """Return a text as Excel compares it: in any case. Line ends in names have an escape."""
    return _NEWLINE.sub(" ", text).strip().casefold()


FORMAT = XlsxFormat()
