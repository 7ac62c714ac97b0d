"""Inputs become documents, by the reader that their content and the suffix of their name ask for.

An input that no reader knows is a text, read as it is. Suffix and content have to agree: a login page that was saved as
``report.pdf`` is no report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath

from llmcli.documents.format_registry import (
    FormatEntry,
    find_reader,
    find_zip_format,
    is_markdown_suffix,
    is_plain_suffix,
    load_attribute,
)
from llmcli.documents.reading.document import (
    OLE_SIGNATURE,
    STDIN,
    ZIP_SIGNATURE,
    Document,
    bad_table,
    describe_marked_up,
    looks_like_notebook,
    open_document,
    refuse_unreadable,
)
from llmcli.documents.reading.file_reader import MAX_BINARY_BYTES
from llmcli.documents.reading.passages import Section, SourceDocument, number_passages, split_text_passages
from llmcli.errors import BadDocument

MAX_ATTACHMENT_DEPTH = 3
"""Emails that are attached as files to emails."""
_SNIFFED_BYTES = 100_000
_EMPTY_ZIP = b"PK\x05\x06"


Headings = list[tuple[int, str]]
"""Levels and titles of the headings above a text."""
_HTML_START = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*+(?:<\?xml[^>]{0,200}>\s*+)?(?:<!--(?:[^-]|-(?!->))*+-->\s*+)*+"
    rb"<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE,
)
_EMAIL_FIELD = re.compile(rb"([!-9;-~]{1,80}):[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*+")
_EMAIL_ORIGINS = frozenset({b"from", b"sender", b"return-path"})
_EMAIL_FIELDS = frozenset({b"to", b"subject", b"date"})
_EMAIL_MARKS = frozenset({b"mime-version", b"message-id", b"received"})


def read_source(data: bytes, name: str, path: Path | None = None, *, file_name: str = "") -> Document:
    """Return the document in ``data``; ``source`` holds its passages if a reader took its text from another format.

    ``file_name`` has the suffix that counts, if ``name`` is not that of a file.

    Raises ``BadDocument`` for a file that its reader cannot read, one without text, and one whose content is not what
    its name says; ``MissingExtra``; for a text what ``open_document`` raises.
    """
    source = _read_with_reader(data, name, 0, file_name)
    return open_document(data, name, path) if source is None else Document(name, source.text, path, source=source)


def passages_of(document: Document, headings: Headings | None = None) -> SourceDocument:
    """Return the passages of a document; those of a text are found now, by its headings or blank lines.

    ``headings`` is as in ``split_text_passages``.
    """
    if document.source is not None:
        return document.source
    is_markdown = is_markdown_suffix(_suffix(document.name))
    return split_text_passages(document.name, document.text, markdown=is_markdown, headings=headings)


def find_source_format(data: bytes, name: str) -> FormatEntry | None:
    """Return the format of an input, None for a text. Raises ``BadDocument`` if content and suffix disagree."""
    suffix = _suffix(name)
    named = find_reader(suffix)
    if (named is not None and named.is_text) or is_plain_suffix(suffix):
        binary = _find_binary(data)
        if binary is not None:
            raise BadDocument(name, detail=f"it is {binary.description}, not what its name says; rename it")
        return named
    found = _find_binary(data) or _find_text_format(data, named, sniff=not suffix or named is not None)
    if named is not None and found is not named and data:
        what = f", but {found.description}" if found else ""
        raise BadDocument(name, detail=f"it is not {named.description}{what}")
    return found


def is_plain_text(data: bytes) -> bool:
    """Whether the beginning of an input is text, in markup or not, but for the markup of office programs."""
    is_binary = b"\0" in data or b"%PDF-" in data[:1024] or data.startswith((b"PK", OLE_SIGNATURE))
    return not is_binary and not describe_marked_up(data)


def refuse_unknown(data: bytes, name: str) -> None:
    """Raise ``BinaryInput`` or ``NotUtf8`` if ``data`` begins neither a text nor a document that a reader knows."""
    if not data.startswith((b"%PDF-", ZIP_SIGNATURE, OLE_SIGNATURE)) and _find_text_format(data, None) is None:
        refuse_unreadable(data, name)


def _suffix(name: str) -> str:
    return PurePath(name).suffix[1:].lower() if name != STDIN else ""


def _find_binary(data: bytes) -> FormatEntry | None:
    if b"%PDF-" in data[:1024] and not data.startswith(b"PK"):
        return find_reader("pdf") if data.startswith(b"%PDF-") or b"\0" in data[:_SNIFFED_BYTES] else None
    if data.startswith((ZIP_SIGNATURE, _EMPTY_ZIP)):
        found = find_zip_format(data)
        return found if found is not None and found.reader else None
    if data.startswith(OLE_SIGNATURE) and "EncryptedPackage".encode("utf-16-le") in data:
        raise BadDocument(detail="it is encrypted; save it without a password")
    return None


def _find_text_format(data: bytes, named: FormatEntry | None, *, sniff: bool = True) -> FormatEntry | None:
    """Return HTML, a notebook or email if the content looks like it; by the suffix ``.html`` any text is HTML."""
    if named is not None and named.name == "html":
        return named
    if not sniff:
        return None
    if looks_like_notebook(data, is_named=named is not None and named.name == "notebook"):
        return find_reader("ipynb")
    if _HTML_START.match(data, 0, _SNIFFED_BYTES):
        return find_reader("html")
    return find_reader("eml") if _looks_like_email(data, is_named=named is not None) else None


def _looks_like_email(data: bytes, *, is_named: bool) -> bool:
    """Whether ``data`` begins with the fields of a header, among them the sender and one that only programs write."""
    fields: set[bytes] = set()
    at = 0
    while (field := _EMAIL_FIELD.match(data, at, _SNIFFED_BYTES)) is not None:
        fields.add(field[1].lower())
        at = field.end()
    if is_named:
        return bool(fields & (_EMAIL_ORIGINS | _EMAIL_MARKS | _EMAIL_FIELDS))
    return bool(fields & _EMAIL_ORIGINS and fields & _EMAIL_MARKS)


def _read_with_reader(data: bytes, name: str, depth: int, file_name: str = "") -> SourceDocument | None:
    """Return what the reader of the input's format reads; None for a text, and for a table or JSON read as it is."""
    try:
        found = find_source_format(data, file_name or name)
        if found is None:
            return None
        _check_size(data, found)
        source = number_passages(name, _read_sections(found, data, name, depth), found.name)
    except BadDocument as error:
        raise bad_table(name, error) from error
    return None if found.is_text and not source.notes else source


def _read_sections(found: FormatEntry, data: bytes, name: str, depth: int) -> Iterable[Section | str]:
    if found.in_child:
        from llmcli.documents.reading.reader_process import read_in_child

        return read_in_child(found.reader, data)
    read: Callable[..., Iterable[Section | str]] = load_attribute(found.reader)
    attachments = (lambda each, file: _read_attachment(each, file, depth + 1),) if found.name == "eml" else ()
    return read(data, name, *attachments)


def _check_size(data: bytes, found: FormatEntry) -> None:
    if len(data) > MAX_BINARY_BYTES and not found.is_text:
        raise BadDocument(detail=f"it is larger than {MAX_BINARY_BYTES >> 20} MiB")


def _read_attachment(data: bytes, name: str, depth: int) -> SourceDocument:
    """Read an attachment of an email. Raises ``InputError`` if no reader can."""
    if depth > MAX_ATTACHMENT_DEPTH:
        raise BadDocument(name, detail="emails in emails, too deep")
    source = _read_with_reader(data, name, depth)
    return source if source is not None else passages_of(open_document(data, name))
