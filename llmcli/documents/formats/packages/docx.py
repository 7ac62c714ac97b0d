"""Word documents (.docx): paragraphs of text, headers, footers, notes, comments and text boxes, with pictures' texts.

The entries of a drop-down list are translated, and the chosen one alike; their values, which programs read, stay. Not
translated: what was deleted with changes tracked, results of fields that Word computes, and the building blocks of a
template. Source: ECMA-376 part 1, 17.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmcli.documents.formats.packages.office_part import (
    DRAWING_NAMES,
    DRAWING_TYPES,
    OfficeFormat,
    OfficePart,
    find_office_parts,
)
from llmcli.documents.formats.packages.package_format import Facts, Part
from llmcli.documents.formats.xml_files.xml_elements import XmlElement, decode_references, find_elements
from llmcli.documents.reading.sources.zip_package import ZipPackage
from llmcli.documents.segments import Segment
from llmcli.documents.text_lines import line_at
from llmcli.errors import BadDocument

_WORD = r".*wordprocessingml\."
_STYLES = "word/styles.xml"
_WITHOUT_TEXT = re.compile(r"/(styles|settings)\d*\.xml\Z")
_TYPES = (
    rf"{_WORD}(document|template)\.main\+xml|.*ms-word\.(document|template)\.macroEnabled(Template)?\.main\+xml",
    *(rf"{_WORD}{kind}\+xml" for kind in ("header", "footer", "footnotes", "endnotes", "comments")),
    *DRAWING_TYPES,
    rf"{_WORD}(styles|settings)\+xml",
)
_NAMES = (
    r"word/document\.xml",
    *(rf"word/{kind}\d*\.xml" for kind in ("header", "footer", "footnotes", "endnotes", "comments")),
    *(rf"word/{name}" for name in DRAWING_NAMES),
    rf"{_STYLES}|word/settings\.xml",
)
_HEADING_NAME = re.compile(r"heading (\d)\Z", re.IGNORECASE)
_FORM_HELP = re.compile(
    r"<\w+:(?P<kind>helpText|statusText)\s[^<>]*?:val=(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')"
)
_MAX_HELP_CHARACTERS = {"helpText": 256, "statusText": 140}
"""Characters of the help for a field of a form (ECMA-376 part 1, 17.18.29 and 17.18.31): Word refuses a file with
more."""


class DocxFormat(OfficeFormat):
    """Word documents."""

    name = "docx"
    description = "a Word document"

    def find_parts(self, package: ZipPackage) -> list[str]:
        """Return the text and what belongs to it, and the files that say its language."""
        found = find_office_parts(package, _TYPES, _NAMES)
        if all(_WITHOUT_TEXT.search(name) or name.startswith("docProps/") for name in found):
            raise BadDocument(detail="the file is damaged: the text of the document is missing")
        return found

    def find_facts(self, package: ZipPackage) -> Facts:
        """Return the styles of headings with their levels."""
        if _STYLES not in package.names:
            return {}
        text = package.read(_STYLES).decode("utf-8", "replace")
        levels = (
            (style.get(f"{style.prefix}styleId"), _heading_level(style)) for style in find_elements(text, "", {"style"})
        )
        return {"headings": [f"{level} {name}" for name, level in levels if level]}

    def split_part(self, part: Part, facts: Facts) -> Iterable[Segment]:
        """Return the paragraphs of a file; styles and settings have none."""
        return () if _WITHOUT_TEXT.search(part.name) else _WordPart(part, facts).segments()

    def check_part(self, part: Part, facts: Facts) -> None:
        """Raise ``BadDocument`` if a file is not well-formed, or has a help for a field that is too long for Word."""
        super().check_part(part, facts)
        for match in _FORM_HELP.finditer(part.text):
            longest = _MAX_HELP_CHARACTERS[match["kind"]]
            if len(decode_references(match["double"] or match["single"] or "")) > longest:
                detail = f"the help for a field of a form has more than {longest} characters"
                raise BadDocument(line=line_at(part.text, match.start()), detail=detail)


class _WordPart(OfficePart):
    """A file of a Word document."""

    def __init__(self, part: Part, facts: Facts) -> None:
        super().__init__(part)
        self._levels = dict(line.split(" ", 1)[::-1] for line in facts.get("headings", ()))

    def describe(self, paragraph: XmlElement) -> tuple[str, int]:
        """Return the kind of a paragraph, and its level if its style is one of headings."""
        properties = paragraph.child("pPr")
        style = properties.child("pStyle") if properties else None
        level = int(self._levels.get(style.get(f"{style.prefix}val"), 0)) if style else 0
        if level:
            return "heading", level
        if properties is not None and properties.child("numPr") is not None:
            return "item", 0
        return "cell" if any(each.local_name == "tc" for each in paragraph.lineage()) else "paragraph", 0


def _heading_level(style: XmlElement) -> int:
    """Return the level of a heading's style, 0 for another one: their names are English in any language of Word."""
    name, properties = style.child("name"), style.child("pPr")
    value = "" if name is None else name.get(f"{name.prefix}val")
    match = _HEADING_NAME.match(value)
    if match:
        return int(match[1])
    level = properties.child("outlineLvl") if properties else None
    number = level.get(f"{level.prefix}val") if level else ""
    if number.isdigit() and int(number) < 9:  # noqa: PLR2004 (9 is the text of the document)
        return int(number) + 1
    return 1 if value in {"Title", "title"} else 0


FORMAT = DocxFormat()
