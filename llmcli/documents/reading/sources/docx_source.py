"""DOCX: headings, paragraphs, lists, tables and notes. Read by mammoth, which makes HTML of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from llmcli.documents.reading.passages import Section
from llmcli.documents.reading.sources.html_source import html_sections
from llmcli.documents.reading.sources.optional_library import import_optional
from llmcli.documents.reading.sources.zip_package import ZipPackage, scan_xml
from llmcli.errors import BadDocument

MAX_DOCX_XML_BYTES = 32 << 20
"""The XML of a document in bytes; mammoth keeps all of it in memory, at about 50 times the size."""
MAX_DOCX_ELEMENTS = 1_000_000
"""Elements of all XML of a document; mammoth takes about half a minute for them."""
_STYLES = "p[style-name='Title'] => h1.title:fresh\np[style-name='Subtitle'] => p:fresh"


def read_docx(data: bytes, name: str) -> Iterator[Section]:
    """Yield the sections of the document. Raises ``MissingExtra`` and ``BadDocument``."""
    del name
    mammoth = import_optional("mammoth", "mammoth")
    package = ZipPackage(data)
    if package.unpacked_size(".xml", ".rels") > MAX_DOCX_XML_BYTES:
        raise BadDocument(detail=f"its XML is larger than {MAX_DOCX_XML_BYTES >> 20} MiB; split the document")
    elements = sum(scan_xml(package.read(part), part) for part in package.names if part.endswith((".xml", ".rels")))
    if elements > MAX_DOCX_ELEMENTS:
        raise BadDocument(detail=f"it has {elements:,} elements; split the document")
    try:
        html = mammoth.convert_to_html(
            io.BytesIO(data),
            convert_image=mammoth.images.img_element(lambda _: {}),
            style_map=_STYLES,
            external_file_access=False,
        ).value
    except (LookupError, ValueError, AttributeError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise BadDocument(detail=f"the file is damaged: {error}") from error
    yield from html_sections(html, whole=True)
