"""Presentations (.pptx): the texts of slides, notes and comments, with tables, charts' titles, diagrams and alternative texts.

Not translated: layouts and masters, and the data of charts, which come from workbooks. Source: ECMA-376 part 1, 19.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from llmcli.documents.formats.packages.office_part import (
    DRAWING_NAMES,
    DRAWING_TYPES,
    OfficePart,
    find_office_parts,
    replace_run_languages,
)
from llmcli.documents.formats.packages.package_format import Facts, PackageFormat, Part
from llmcli.documents.formats.xml_files.xml_elements import XmlElement
from llmcli.documents.reading.sources.zip_package import ZipPackage
from llmcli.documents.segments import Segment

_TYPES = (
    *(rf".*presentationml\.{kind}\+xml" for kind in ("slide", "notesSlide", "comments")),
    r".*ms-powerpoint\.comments\+xml",
    *DRAWING_TYPES,
)
_NAMES = (
    r"ppt/slides/slide\d*\.xml",
    r"ppt/notesSlides/notesSlide\d*\.xml",
    r"ppt/comments/comment\d*\.xml",
    r"ppt/comments/modernComment\w*\.xml",
    *(rf"ppt/{name}" for name in DRAWING_NAMES),
)
_TITLES = frozenset({"title", "ctrTitle"})


class PptxFormat(PackageFormat):
    """Presentations."""

    name = "pptx"
    description = "a presentation"

    def find_parts(self, package: ZipPackage) -> list[str]:
        """Return the slides, their notes and comments, and what is drawn on them."""
        return find_office_parts(package, _TYPES, _NAMES)

    def split_part(self, part: Part, facts: Facts) -> Iterable[Segment]:
        """Return the paragraphs of a file."""
        del facts
        return _SlidePart(part).segments()

    def replace_part_language(self, part: Part, facts: Facts, source: str, target: str) -> str:
        """Return a file with another language of its runs, styles and properties."""
        text = super().replace_part_language(part, facts, source, target)
        return replace_run_languages(text, source, target)


class _SlidePart(OfficePart):
    """A file of a presentation."""

    wanted = OfficePart.wanted | {"sp", "pic", "graphicFrame", "cxnSp"}
    plain: ClassVar[Mapping[str, str]] = {**OfficePart.plain, "p:text": "paragraph"}

    def describe(self, paragraph: XmlElement) -> tuple[str, int]:
        """Return "heading" for the title of a slide, "cell" in a table."""
        for element in paragraph.lineage():
            if element.local_name == "tc":
                return "cell", 0
            if self.name_of(element) == "p:sp":
                properties = element.child("nvSpPr")
                more = properties.child("nvPr") if properties else None
                place = more.child("ph") if more else None
                return ("heading", 1) if place is not None and place.get("type") in _TITLES else ("paragraph", 0)
        return "paragraph", 0


FORMAT = PptxFormat()
