"""Presentations (.pptx): texts of slides, notes and comments, tables, charts' titles, diagrams and alternative texts.

A slide shows the shapes of its layout and master, too, except for placeholders: these stand for shapes of the slide. Of
placeholders, the prompts that an author wrote are seen. Not translated: the labels of charts, which come from
workbooks. Source: ECMA-376 part 1, 19.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from llmcli.documents.formats.packages.office_part import (
    DRAWING_NAMES,
    DRAWING_TYPES,
    OfficeFormat,
    OfficePart,
    find_office_parts,
)
from llmcli.documents.formats.packages.package_format import Facts, Part
from llmcli.documents.formats.xml_files.xml_elements import XmlElement
from llmcli.documents.reading.sources.zip_package import ZipPackage
from llmcli.documents.segments import Segment

_MASTERS = ("slideLayout", "slideMaster", "notesMaster", "handoutMaster")
_TYPES = (
    *(rf".*presentationml\.{kind}\+xml" for kind in ("slide", "notesSlide", "comments")),
    r".*ms-powerpoint\.comments\+xml",
    *DRAWING_TYPES,
    *(rf".*presentationml\.{kind}\+xml" for kind in _MASTERS),
)
_NAMES = (
    r"ppt/slides/slide\d*\.xml",
    r"ppt/notesSlides/notesSlide\d*\.xml",
    r"ppt/comments/comment\d*\.xml",
    r"ppt/comments/modernComment\w*\.xml",
    *(rf"ppt/{name}" for name in DRAWING_NAMES),
    *(rf"ppt/{kind}s/{kind}\d*\.xml" for kind in _MASTERS),
)
_MASTER = re.compile(r"<(?:\w+:)?(?:sldLayout|sldMaster|notesMaster)\s")
"""The beginning of a file whose placeholders are not shown; those of a handout are."""
_TITLES = frozenset({"title", "ctrTitle"})


class PptxFormat(OfficeFormat):
    """Presentations."""

    name = "pptx"
    description = "a presentation"

    def find_parts(self, package: ZipPackage) -> list[str]:
        """Return the slides, their notes, comments and drawings, and the layouts with words that slides show."""
        found = find_office_parts(package, _TYPES, _NAMES)
        return [name for name in found if not re.search(r"Layout|Master", name) or _has_words(package.read(name))]

    def split_part(self, part: Part, facts: Facts) -> Iterable[Segment]:
        """Return the paragraphs of a file."""
        del facts
        return _SlidePart(part).segments()


class _SlidePart(OfficePart):
    """A file of a presentation."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self._is_master = _MASTER.search(part.text) is not None

    wanted = OfficePart.wanted | {"sp", "pic", "graphicFrame", "cxnSp"}
    plain: ClassVar[Mapping[str, str]] = {**OfficePart.plain, "p:text": "paragraph"}

    def is_skipped(self, element: XmlElement) -> bool:
        """Whether an element is a placeholder that slides do not show."""
        if self._is_master and self.name_of(element) in {"p:sp", "p:pic", "p:graphicFrame"}:
            place = _placeholder(element)
            return place is not None and place.get("hasCustomPrompt") not in {"1", "true"}
        return super().is_skipped(element)

    def describe(self, paragraph: XmlElement) -> tuple[str, int]:
        """Return "heading" for the title of a slide, "cell" in a table."""
        for element in paragraph.lineage():
            if element.local_name == "tc":
                return "cell", 0
            if self.name_of(element) == "p:sp":
                place = _placeholder(element)
                return ("heading", 1) if place is not None and place.get("type") in _TITLES else ("paragraph", 0)
        return "paragraph", 0


def _placeholder(shape: XmlElement) -> XmlElement | None:
    """Return what makes a shape a placeholder, None if it is none."""
    properties = shape.children[0].child("nvPr") if shape.children else None
    return properties.child("ph") if properties else None


def _has_words(data: bytes) -> bool:
    """Whether a layout or a master has words that are translated; one that is not UTF-8 may."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return True
    return any(True for _ in _SlidePart(Part("", text, 0)).segments())


FORMAT = PptxFormat()
