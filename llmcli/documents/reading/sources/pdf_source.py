"""PDF: the text of each page, with the bookmarks as headings. Read by PDFium (pypdfium2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from llmcli.documents.reading.passages import Section
from llmcli.documents.reading.sources.optional_library import import_optional
from llmcli.errors import BadDocument

MAX_BOOKMARKS = 10_000
_HYPHEN = re.compile(r"[\x02\ufffe]\n?")  # how PDFium marks a hyphen at the end of a line
_MAX_NAMED_PAGES = 10


def read_pdf(data: bytes, name: str) -> Iterator[Section | str]:
    """Yield a section for each page with text.

    Raises ``MissingExtra``, and ``BadDocument`` for an encrypted or damaged file and one without any text (scanned).
    """
    del name
    pdfium = import_optional("pypdfium2", "pypdfium2")
    codes = import_optional("pypdfium2.raw", "pypdfium2")
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        encrypted = getattr(error, "err_code", None) in {codes.FPDF_ERR_PASSWORD, codes.FPDF_ERR_SECURITY}
        detail = "it is encrypted; save it without a password" if encrypted else f"the file is damaged: {error}"
        raise BadDocument(detail=detail) from error
    try:
        yield from _read_pages(document, pdfium.PdfiumError)
    finally:
        document.close()


def _read_pages(document: Any, failure: type[Exception]) -> Iterator[Section | str]:
    headings = _bookmark_paths(document, failure)
    path: tuple[str, ...] = ()
    blank: list[int] = []
    count = len(document)
    for number in range(1, count + 1):
        path = headings.get(number, path)
        try:
            text = _page_text(document, number - 1)
        except failure as error:
            raise BadDocument(detail=f"page {number} is damaged: {error}") from error
        if text.strip():
            yield Section(text, path, number)
        else:
            blank.append(number)
    if len(blank) == count:
        raise BadDocument(detail="it has no text (scanned pages?); run OCR on it first, for example ocrmypdf")
    if blank:
        named = ", ".join(map(str, blank[:_MAX_NAMED_PAGES])) + (", ..." if len(blank) > _MAX_NAMED_PAGES else "")
        yield f"{len(blank)} of {count} pages have no text (blank or scanned): {named}"


def _page_text(document: Any, index: int) -> str:
    page = document[index]
    try:
        text_page = page.get_textpage()
        try:
            text = str(text_page.get_text_bounded())
        finally:
            text_page.close()
    finally:
        page.close()
    return _HYPHEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).replace("\0", "")


def _bookmark_paths(document: Any, failure: type[Exception]) -> dict[int, tuple[str, ...]]:
    """Return the path of headings that is current at the end of each page on which a bookmark lands."""
    paths: dict[int, tuple[str, ...]] = {}
    open_titles: list[tuple[int, str]] = []
    try:
        for bookmark in islice(document.get_toc(), MAX_BOOKMARKS):
            destination = bookmark.get_dest()
            index = destination.get_index() if destination is not None else None
            title = " ".join(bookmark.get_title().split())
            open_titles = [each for each in open_titles if each[0] < bookmark.level] + [(bookmark.level, title)]
            if index is not None and title:
                paths[index + 1] = tuple(each for _, each in open_titles)
    except failure:  # a damaged outline leaves the text readable
        return paths
    return paths
