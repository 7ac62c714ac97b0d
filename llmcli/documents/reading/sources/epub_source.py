"""EPUB: the chapters of a book in reading order (EPUB 3.3, Open Container Format and package document)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from llmcli.documents.reading.passages import Section
from llmcli.documents.reading.sources.html_source import decode_html, html_sections
from llmcli.documents.reading.sources.zip_package import ZipPackage, parse_xml
from llmcli.errors import BadDocument, BinaryInput, NotUtf8
from llmcli.fast_dataclass import frozen

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
ENCRYPTED = "it is encrypted (copy protection)"
_CHAPTER_TYPES = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})


@frozen
class BookFile:
    """A file of a book; ``properties`` are those of the manifest ("nav")."""

    name: str
    media_type: str
    properties: tuple[str, ...]


@frozen
class Book:
    """What the package document ``name`` says: the title, all files, and those of the reading order."""

    name: str
    title: str
    files: tuple[BookFile, ...]
    spine: tuple[BookFile, ...]
    encrypted: frozenset[str]


def open_book(package: ZipPackage) -> Book:
    """Return what a book says about itself. Raises ``BadDocument``."""
    rootfile = parse_xml(package.read(_CONTAINER), _CONTAINER).find("rootfiles/rootfile")
    if rootfile is None:
        raise BadDocument(detail=f"the file is damaged: {_CONTAINER} names no package document")
    path = unquote(rootfile.get("full-path", ""))
    book = parse_xml(package.read(path), path)
    title = " ".join((book.findtext("metadata/title") or "").split())
    files = {each.get("id", ""): _book_file(path, each) for each in book.iterfind("manifest/item")}
    entries = (files.get(each.get("idref", "")) for each in book.iterfind("spine/itemref"))
    spine = tuple(file for file in entries if file is not None)
    return Book(path, title, tuple(files.values()), spine, _encrypted_files(package))


def _book_file(path: str, item: Element) -> BookFile:
    name = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(item.get("href", ""))))
    return BookFile(name, item.get("media-type", ""), tuple(item.get("properties", "").split()))


def read_epub(data: bytes, name: str) -> Iterator[Section | str]:
    """Yield the sections of each chapter; the title of the book is the outermost heading. Raises ``BadDocument``.

    The standard forbids a second reference to a chapter in the reading order: it is read once.
    """
    del name
    package = ZipPackage(data)
    book = open_book(package)
    missing = []
    seen: set[str] = set()
    for file in book.spine:
        if file.name in seen:
            continue
        seen.add(file.name)
        if file.media_type not in _CHAPTER_TYPES or "nav" in file.properties:
            continue
        if file.name in book.encrypted:
            raise BadDocument(detail=ENCRYPTED)
        if file.name not in package.names:
            missing.append(file.name)
            continue
        for section in html_sections(_read_page(package, file.name), whole=True):
            yield Section(section.text, (book.title, *section.headings) if book.title else section.headings)
    if missing:
        yield f"{len(missing)} chapters are missing from the file: {', '.join(missing[:3])}"


def _read_page(package: ZipPackage, name: str) -> str:
    try:
        return decode_html(package.read(name), name)
    except BinaryInput as error:
        raise BadDocument(detail=f"the file is damaged: {name} is binary, no page") from error
    except NotUtf8 as error:
        raise BadDocument(detail=f"the file is damaged: {name} is neither UTF-8 nor what it declares") from error


def _encrypted_files(package: ZipPackage) -> frozenset[str]:
    """Return the names of encrypted files; obfuscated fonts are among them."""
    if _ENCRYPTION not in package.names:
        return frozenset()
    root = parse_xml(package.read(_ENCRYPTION), _ENCRYPTION)
    return frozenset(unquote(each.get("URI", "")) for each in root.iter("CipherReference"))
