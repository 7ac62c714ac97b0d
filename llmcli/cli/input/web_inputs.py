"""Pages at web addresses as inputs. Only an address that the user typed gets here; none inside a text is fetched."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input.inputs import note_input
from llmcli.documents.format_registry import find_reader, is_markdown_suffix
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.source_reader import read_source
from llmcli.errors import Offline
from llmcli.interrupt import run_interruptible
from llmcli.page_fetcher import FetchedPage, PageFetcher
from llmcli.types import Phase

_SUFFIXES = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/epub+zip": "epub",
    "message/rfc822": "eml",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/markdown": "md",
    "application/json": "json",
    "application/x-ndjson": "jsonl",
}


def read_web_document(ctx: CommandContext, name: str) -> Document:
    """Return the page at a web address as a document.

    Raises ``Offline``, and what ``PageFetcher`` and ``read_source`` raise.
    """
    models = ctx.runtime.models
    if models.offline:
        raise Offline(name, origin=models.offline_origin)
    allowed = ctx.runtime.settings["web.allow_private"]
    fetcher = PageFetcher(ctx.console.environment.environ, allows_private=allowed)
    with ctx.console.status_line.waiting(Phase.WORKING, ""):
        try:
            page = run_interruptible(fetcher.fetch, name)
        finally:
            fetcher.cancel()
        note_input(
            ctx,
            "{0.scheme}://{0.hostname}".format(urlsplit(name)),
            page.data,
            "a page, of which only the host is named",
        )
        return run_interruptible(_read_page, page, name)


def _read_page(page: FetchedPage, name: str) -> Document:
    """Return the document in a page, whose encoding and format are those that its server names."""
    data = page.data
    if page.charset not in {"", "utf-8", "utf8"} and _is_text(page.media_type):
        data = _encode_utf8(data, page.charset)
    return read_source(data, name, file_name=f"page.{_find_suffix(page)}".rstrip("."))


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in {"application/xhtml+xml", "application/json"}


def _encode_utf8(data: bytes, charset: str) -> bytes:
    """Return text as UTF-8; bytes that are UTF-8 already or of an unknown encoding stay as they are."""
    try:
        data.decode()
    except UnicodeDecodeError:
        try:
            return data.decode(charset, "replace").encode()
        except LookupError:
            return data
    return data


def _find_suffix(page: FetchedPage) -> str:
    """Return the suffix of the page's format by its media type; for a general type, that of its address."""
    found = _SUFFIXES.get(page.media_type)
    if found is not None:
        return found
    suffix = PurePosixPath(page.address.target.partition("?")[0]).suffix[1:].lower()
    reader = find_reader(suffix)
    if page.media_type.startswith("text/"):
        is_text = is_markdown_suffix(suffix) or (reader is not None and reader.is_text)
        return suffix if is_text else "txt"
    return suffix if reader is not None else ""
