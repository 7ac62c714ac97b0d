"""Books (.epub): chapters and navigation, which are XHTML, the table of contents of EPUB 2, and the title.

Source: EPUB 3.3 (W3C), and for the older table of contents Open Packaging Format 2.0 (IDPF).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from llmcli.documents.formats.document_format import declared_language
from llmcli.documents.formats.markup import html_format
from llmcli.documents.formats.packages.package_format import Facts, PackageFormat, Part
from llmcli.documents.formats.packages.xml_part import XmlPart
from llmcli.documents.formats.xml_files.xml_elements import XmlElement, require_well_formed
from llmcli.documents.reading.sources.epub_source import ENCRYPTED, open_book
from llmcli.documents.reading.sources.zip_package import ZipPackage
from llmcli.documents.segments import Segment
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import replace

_PAGE, _HTML, _CONTENTS = "application/xhtml+xml", "text/html", "application/x-dtbncx+xml"


class EpubFormat(PackageFormat):
    """Books."""

    name = "epub"
    description = "an EPUB book"

    def find_parts(self, package: ZipPackage) -> list[str]:
        """Return the chapters in reading order, other pages, the table of contents, and what has the title."""
        book = open_book(package)
        pages = [file.name for file in (*book.spine, *book.files) if file.media_type in {_PAGE, _HTML}]
        contents = [file.name for file in book.files if file.media_type == _CONTENTS]
        names = dict.fromkeys(name for name in [*pages, *contents, book.name] if name in package.names)
        if book.encrypted & names.keys():
            raise BadDocument(detail=ENCRYPTED)
        return list(names)

    def find_facts(self, package: ZipPackage) -> Facts:
        """Return which files are no pages, and which are HTML that need not be XML."""
        book = open_book(package)
        return {
            "missing": sorted({file.name for file in book.spine} - {*package.names}),
            "plain": [book.name, *(file.name for file in book.files if file.media_type == _CONTENTS)],
            "html": [file.name for file in book.files if file.media_type == _HTML],
        }

    def find_omissions(self, text: str) -> list[str]:
        """Return a sentence about chapters that the file does not have."""
        missing = self.read_parts(text)[1].get("missing", ())
        return [f"chapters are missing from the file: {', '.join(missing[:3])}"] if missing else []

    def split_part(self, part: Part, facts: Facts) -> Iterable[Segment]:
        """Yield the texts of a page as those of HTML, and those of other files by their elements."""
        if part.name in facts.get("plain", ()):
            yield from _BookPart(part).segments()
            return
        for segment in _page_format(part, facts).split(part.text, ""):
            yield replace(segment, start=segment.start + part.offset, end=segment.end + part.offset, part=part.name)

    def replace_part_language(self, part: Part, facts: Facts, source: str, target: str) -> str:
        """Return a page, a table of contents or a package document with another language at its root."""
        if part.name not in facts.get("plain", ()):
            return _page_format(part, facts).replace_language(part.text, (), source, target)
        text = super().replace_part_language(part, facts, source, target)
        declared = rf"(<(?:[\w.-]+:)?(?:package|ncx)\s[^<>]*?\bxml:lang=[\"']){declared_language(source)}(?=[\"'])"
        return re.sub(declared, rf"\g<1>{target}", text, count=1)

    def check_part(self, part: Part, facts: Facts) -> None:
        """Raise ``BadDocument`` if a file that has to be XML is not well-formed."""
        if part.name not in facts.get("html", ()):
            require_well_formed(part.text)


def _page_format(part: Part, facts: Facts) -> html_format.HtmlFormat:
    return html_format.FORMAT if part.name in facts.get("html", ()) else html_format.XHTML


class _BookPart(XmlPart):
    """A table of contents, or the package document."""

    namespaces: ClassVar[Mapping[str, str]] = {
        "http://www.daisy.org/z3986/2005/ncx/": "ncx",
        "http://purl.org/dc/elements/1.1/": "dc",
    }
    wanted = frozenset({"docAuthor"})
    plain: ClassVar[Mapping[str, str]] = {"ncx:text": "item", "dc:title": "heading", "dc:description": "paragraph"}

    def is_skipped(self, element: XmlElement) -> bool:
        """Whether an element is the name of the author."""
        return self.name_of(element) == "ncx:docAuthor"


FORMAT = EpubFormat()
