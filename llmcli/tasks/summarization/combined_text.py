"""Several documents as one text, and where a range of it stands in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.documents.reading.document import Document
from llmcli.frozen_dataclass import replace
from llmcli.tasks.quotation.quotable_text import QuotableDocument
from llmcli.types import Result, TaskEvent

_SEPARATOR = "\n\n"


class CombinedText:
    """The texts of documents, one after the other; with ``headings`` each below its name."""

    def __init__(self, documents: Sequence[Document], *, headings: bool = True) -> None:
        self._documents = documents
        self._starts: list[int] = []
        parts: list[str] = []
        size = 0
        for document in documents:
            head = f"# {' '.join(document.name.split())}{_SEPARATOR}" if headings else ""
            tail = "" if document.text.endswith("\n\n") else "\n" if document.text.endswith("\n") else _SEPARATOR
            self._starts.append(size + len(head))
            parts += [head, document.text, tail]
            size += len(head) + len(document.text) + len(tail)
        self.text = "".join(parts)

    @property
    def name(self) -> str:
        """The names of the documents, a few of them."""
        names = [each.name for each in self._documents]
        shown = ", ".join(names[:2])
        return shown if len(names) <= 2 else f"{shown} and {len(names) - 2} more"  # noqa: PLR2004

    def ranges(self, start: int, end: int) -> Iterator[tuple[Document, int, int]]:
        """Yield the documents in which a range of the text stands, each with the offsets in it."""
        index = max(0, bisect_right(self._starts, start) - 1)
        while index < len(self._starts) and self._starts[index] < end:
            first, size = self._starts[index], len(self._documents[index].text)
            begin, until = max(0, start - first), min(end - first, size)
            if begin < until:
                yield self._documents[index], begin, until
            index += 1

    def locate_results(self, events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
        """Yield events about this text, whose places in the results become those in the documents."""
        for event in events:
            yield replace(event, fields=self._locate_fields(event.fields)) if isinstance(event, Result) else event

    def _locate_fields(self, fields: Any) -> dict[str, Any]:
        located = dict(fields)
        if "sentences" in fields:
            located["sentences"] = [self._locate_sentence(each) for each in fields["sentences"]]
        return {**located, "documents": [each.name for each in self._documents]}

    def _locate_sentence(self, sentence: dict[str, Any]) -> dict[str, Any]:
        document, start, end = next(self.ranges(sentence["start"], sentence["end"]))
        found = QuotableDocument.from_document(document).quote(start, end)
        place = {"start": start, "end": end, "page": found.page}
        lines = {"first_line": found.first_line, "last_line": found.last_line}
        return {**sentence, **place, **lines, "source": document.name}
