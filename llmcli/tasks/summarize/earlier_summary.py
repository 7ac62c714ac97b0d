"""The earlier summary that ``--update`` continues: its text, and how much of the document it is about.

A result of ``llm summarize --json`` says in ``source`` which beginning of the document it has read. If the document
still begins so, only the rest is new. Another text is only a summary: then the whole document is new.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedFile
from llmcli.errors import BadDocument, EmptyInput
from llmcli.fast_dataclass import frozen


@frozen
class EarlierSummary:
    """A summary of the first ``characters`` of a text, whose UTF-8 bytes have this SHA-256; "" if that is unknown."""

    text: str
    characters: int = 0
    sha256: str = ""

    def find_new(self, text: str) -> str | None:
        """Return what a text has after its summarized beginning; all of it if that is unknown, None if it changed."""
        if not self.sha256:
            return text
        return text[self.characters :] if describe_source(text[: self.characters])["sha256"] == self.sha256 else None


def describe_source(text: str) -> dict[str, Any]:
    """Return what ``EarlierSummary`` needs to know about a summarized text."""
    return {"characters": len(text), "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()}


def describe_document(document: Document | StreamedFile) -> dict[str, Any]:
    """Return what ``EarlierSummary`` needs to know about a summarized document."""
    if isinstance(document, StreamedFile):
        return {"characters": document.characters, "sha256": document.sha256}
    return describe_source(document.text)


def read_earlier(document: Document) -> EarlierSummary:
    """Return the summary in a file: a text, or one result of ``--json``. Raises ``EmptyInput`` and ``BadDocument``."""
    if not document.text.strip():
        raise EmptyInput(document.name)
    if not document.text.lstrip().startswith("{"):
        return EarlierSummary(document.text.strip())
    try:
        found = json.loads(document.text)
    except ValueError as error:
        raise BadDocument(document.name, detail="it is neither a text nor one result of --json") from error
    text, source = found.get("text"), found.get("source") or {}
    if not isinstance(text, str) or not text.strip() or not isinstance(source, dict):
        raise BadDocument(document.name, detail="it is no result of llm summarize --json")
    characters, digest = source.get("characters", 0), source.get("sha256", "")
    if not isinstance(characters, int) or not isinstance(digest, str) or characters < 0:
        raise BadDocument(document.name, detail="its field source is damaged")
    return EarlierSummary(text.strip(), characters, digest)
