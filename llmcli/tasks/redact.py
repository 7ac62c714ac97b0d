"""redact: show what would be replaced in texts before they are sent to a server."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from llmcli.documents.reading.document import Document
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import check_interrupt
from llmcli.redaction.placeholders import Placeholder
from llmcli.redaction.redactor import Redactor, UsedPlaceholders


@frozen
class FoundValue:
    """A private value: ``start`` and ``end`` are offsets in characters from 0, ``line`` and ``column`` count from 1."""

    kind: str
    start: int
    end: int
    line: int
    column: int
    placeholder: str
    value: str


@frozen
class RedactedDocument:
    """A document with placeholders, and the values that they stand for."""

    name: str
    text: str
    found: tuple[FoundValue, ...]


def redact_documents(redactor: Redactor, documents: Sequence[Document]) -> Iterator[RedactedDocument]:
    """Yield each document with placeholders; a value has the same placeholder in all documents."""
    redactor.learn([document.text for document in documents])
    for document in documents:
        check_interrupt()
        yield _redact_document(redactor, document)


def _redact_document(redactor: Redactor, document: Document) -> RedactedDocument:
    text = document.text
    starts = [0, *(index + 1 for index, character in enumerate(text) if character == "\n")]
    found, sent, at = [], [], 0
    for piece in redactor.split(text, UsedPlaceholders()):
        if not isinstance(piece, Placeholder):
            sent.append(piece)
            at += len(piece)
            continue
        end = at + len(piece.value)
        line = bisect_right(starts, at)
        found.append(FoundValue(piece.kind, at, end, line, at - starts[line - 1] + 1, piece.text, piece.value))
        sent.append(piece.text)
        at = end
    bom = "\ufeff" if document.bom else ""
    return RedactedDocument(document.name, bom + "".join(sent), tuple(found))
