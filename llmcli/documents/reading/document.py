"""A document: the input as UTF-8 text or as bytes of a known format; anything else is refused with a clear error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import BadDocument, BinaryInput, NotUtf8
from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.documents.reading.passages import SourceDocument

STDIN = "-"
"""The name of standard input, on the command line and as a document."""

OFFICE_LOCK = "~$"
"""The beginning of the names of files that say who has an Office document open."""

ZIP_SIGNATURE, OLE_SIGNATURE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# first bytes -> format; no text begins with these bytes
_BINARY_SIGNATURES = (
    (b"%PDF-1.", "PDF"),
    (b"%PDF-2.", "PDF"),
    (ZIP_SIGNATURE, "a ZIP archive or an office document"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh9\x31\x41\x59", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"GGUF\x02\x00", "GGUF"),
    (b"GGUF\x03\x00", "GGUF"),
    (b"\x7fELF", "ELF"),
    (b"SQLite format 3\x00", "SQLite"),
    (OLE_SIGNATURE, "an old office document"),
    (b"OggS\x00", "Ogg"),
    (b"ID3\x03\x00", "MP3"),
    (b"ID3\x04\x00", "MP3"),
)
# the byte order mark of UTF-32 little endian begins with that of UTF-16, so it comes first
_UTF16_ENCODINGS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_NON_UTF8_BOMS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)

_FLAT_OPENDOCUMENT = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*+(?:<\?[^>]*+>\s*+|<!--(?:[^-]|-(?!->))*+-->\s*+)*+"
    rb"<(?:[\w.-]+:)?document\s[^>]*urn:oasis:names:tc:opendocument:xmlns:office:1\.0"
)
_NOTEBOOK_START = re.compile(
    rb'\A(?:\xef\xbb\xbf)?\s*+\{\s*+"(?:cells|metadata|nbformat|nbformat_minor|worksheets)"\s*+:'
)
_MARKUP_BYTES = 100_000


@frozen
class Document:
    """A text, or bytes with the text extracted from them, and their origin.

    ``name`` is as the user typed it, "-" for stdin; ``text`` has the line endings of the input; ``path`` is None for
    stdin; ``bom``: the input began with a byte order mark, which is not part of the text. For a binary format ``data``
    is the input, and ``text`` is what ``format_name`` extracts from it. ``encoding``: that of the input. ``source``:
    the passages of ``text`` if ``source_reader`` took it from a document of another format.
    """

    name: str
    text: str
    path: Path | None = None
    bom: bool = False
    data: bytes | None = None
    format_name: str | None = None
    encoding: str = "utf-8"
    source: SourceDocument | None = None

    @property
    def notes(self) -> list[str]:
        """What was left out of the document when it was read, with its name."""
        return [] if self.source is None else [f"{self.name}: {note}" for note in self.source.notes]


def open_document(data: bytes, name: str, path: Path | None = None) -> Document:
    """Return the document in ``data``: text, or bytes of a format that is registered with their signature.

    Text is UTF-8, or UTF-16 with a byte order mark if the format of the file ``name`` allows it. Raises what
    ``decode_utf8`` raises if it is neither, and ``BadDocument`` if that format cannot read the bytes, and for a document
    of an office program whose words stand between marks in a text.
    """
    if marked_up := describe_marked_up(data):
        raise BadDocument(name, detail=marked_up)
    try:
        text, bom = decode_utf8(data, name)
    except (BinaryInput, NotUtf8):
        encoding = _find_utf16(data, name)
        if encoding is not None:
            return Document(name, _decode_utf16(data, name, encoding), path, bom=True, encoding=encoding)
        format_name = _find_binary_format(data)
        if format_name is None:
            raise
        return Document(name, _extract_text(data, name, format_name), path, data=data, format_name=format_name)
    return Document(name, text, path, bom)


def bad_table(name: str, error: BadDocument) -> BadDocument:
    """Return the error of a reader for the file ``name``. One with a line is about a row of a table or of JSON."""
    return BadDocument(name, line=error.line, detail=error.detail, kind="table row" if error.line else "")


def describe_marked_up(data: bytes) -> str:
    """Return what a document of an office program is whose words stand between marks in a text; "" for another input."""
    if data.startswith(b"{\\rtf"):
        return "it is Rich Text Format; save it as .docx with Word or LibreOffice"
    if _FLAT_OPENDOCUMENT.match(data, 0, _MARKUP_BYTES):
        return "it is a flat OpenDocument; save it as .odt, .ods or .odp with LibreOffice"
    return ""


def refuse_unreadable(data: bytes, name: str) -> None:
    """Raise as ``open_document`` does if ``data`` begins neither a text nor a known binary format."""
    try:
        refuse_binary(data, name)
    except (BinaryInput, NotUtf8):
        if _find_utf16(data, name) is None and _find_binary_format(data) is None:
            raise


def _find_binary_format(data: bytes) -> str | None:
    from llmcli.documents.format_registry import find_binary_format  # a text never needs it

    return find_binary_format(data)


def _find_utf16(data: bytes, name: str) -> str | None:
    """Return the encoding of data in UTF-16, if the format of the file allows it."""
    from llmcli.documents.format_registry import may_be_utf16

    return _UTF16_ENCODINGS.get(data[:2]) if may_be_utf16(name) else None


def _decode_utf16(data: bytes, name: str, encoding: str) -> str:
    try:
        return data[2:].decode(encoding)
    except UnicodeDecodeError as error:
        raise NotUtf8(name, offset=error.start + 2, detail="nor UTF-16") from error


def _extract_text(data: bytes, name: str, format_name: str) -> str:
    from llmcli.documents.format_registry import load_format

    try:
        return load_format(format_name).extract_text(data)
    except BadDocument as error:
        raise BadDocument(name, line=error.line, detail=error.detail) from error


def looks_like_notebook(data: bytes, *, is_named: bool = False) -> bool:
    """Whether ``data`` is a Jupyter notebook; if its name says so, any object of JSON is one that may be damaged."""
    if is_named:
        return data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    return _NOTEBOOK_START.match(data, 0, _MARKUP_BYTES) is not None and b'"nbformat"' in data


def is_plain_start(data: bytes) -> bool:
    """Whether input without a name is a text by its first bytes alone, so that no module of readers has to be loaded.

    Not so for markup, header fields (an email), notebooks and binary data.
    """
    if looks_like_notebook(data):
        return False
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    first_word = start.split(maxsplit=1)[0] if start else b""
    return not (start.startswith(b"<") or b":" in first_word or b"\0" in data or b"%PDF-" in start or data[:2] == b"PK")


def decode_utf8(data: bytes, name: str) -> tuple[str, bool]:
    """Return the text of UTF-8 ``data``, and whether a byte order mark was removed.

    Raises ``BinaryInput`` (a known binary format, or NUL bytes) and ``NotUtf8`` (with the offset in ``data``).
    """
    refuse_binary(data, name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8(name, offset=error.start) from error
    return text.removeprefix("\ufeff"), text.startswith("\ufeff")


def refuse_binary(data: bytes, name: str) -> None:
    """Raise ``BinaryInput`` or ``NotUtf8`` if the beginning of an input, ``data``, shows that it is no UTF-8 text."""
    for signature, what in _BINARY_SIGNATURES:
        if data.startswith(signature):
            raise BinaryInput(name, detail=what)
    for mark, encoding in _NON_UTF8_BOMS:
        if data.startswith(mark):
            raise NotUtf8(name, offset=0, detail=encoding)
    if b"\0" in data:
        raise BinaryInput(name)
