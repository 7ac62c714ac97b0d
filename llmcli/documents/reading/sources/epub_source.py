"""EPUB: the chapters of a book in reading order (EPUB 3.3, Open Container Format and package document)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from llmcli.documents.reading.passages import Section
from llmcli.documents.reading.sources.html_source import decode_html, html_sections
from llmcli.documents.reading.sources.zip_package import ZipPackage, parse_xml
from llmcli.errors import BadDocument

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_CHAPTER_TYPES = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})


def read_epub(data: bytes, name: str) -> Iterator[Section | str]:
    """Yield the sections of each chapter; the title of the book is the outermost heading. Raises ``BadDocument``."""
    package = ZipPackage(data)
    rootfile = parse_xml(package.read(_CONTAINER), _CONTAINER).find("rootfiles/rootfile")
    if rootfile is None:
        raise BadDocument(detail=f"the file is damaged: {_CONTAINER} names no package document")
    path = unquote(rootfile.get("full-path", ""))
    book = parse_xml(package.read(path), path)
    title = " ".join((book.findtext("metadata/title") or "").split())
    files = {each.get("id", ""): each for each in book.iterfind("manifest/item")}
    encrypted = _encrypted_files(package)
    missing = []
    for entry in book.iterfind("spine/itemref"):
        item = files.get(entry.get("idref", ""))
        if item is None or item.get("media-type") not in _CHAPTER_TYPES or "nav" in item.get("properties", "").split():
            continue
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(item.get("href", ""))))
        if file in encrypted:
            raise BadDocument(detail="it is encrypted (copy protection)")
        if file not in package.names:
            missing.append(file)
            continue
        for section in html_sections(decode_html(package.read(file), f"{name}: {file}"), whole=True):
            yield Section(section.text, (title, *section.headings) if title else section.headings)
    if missing:
        yield f"{len(missing)} chapters are missing from the file: {', '.join(missing[:3])}"


def _encrypted_files(package: ZipPackage) -> set[str]:
    """Return the names of encrypted files; obfuscated fonts are among them."""
    if _ENCRYPTION not in package.names:
        return set()
    root = parse_xml(package.read(_ENCRYPTION), _ENCRYPTION)
    return {unquote(each.get("URI", "")) for each in root.iter("CipherReference")}
