"""What a format of documents does and is: the base of all formats, with the properties that most of them have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from llmcli.documents.segments import Segment, join_segments
from llmcli.documents.text_cleaning import detect_newline

BLOCK_KINDS = frozenset({"paragraph", "heading", "item"})
"""Kinds of segments that stand in lines of their own."""


class DocumentFormat(ABC):
    """A format: finds the segments of a document, puts translations in, and checks the outcome.

    It has no state. A subclass has a ``name``, ``split`` and ``check``, and overrides what is different for it.
    """

    name: str
    streams = False
    """Whether an output may be written piece by piece, since none can be invalid."""
    is_keyed = False
    """Whether the path of a segment identifies it, in any version and translation of the document."""
    can_interleave = True
    """Whether a text and its translation can stand side by side in a document."""
    holds_both_languages = False
    """Whether a document has fields of its own for texts and their translations."""

    @abstractmethod
    def split(self, text: str, target: str) -> list[Segment]:
        """Return the segments in document order, disjoint; ``target`` is a BCP 47 code.

        Raises ``BadDocument`` where the format's grammar is broken.
        """

    @abstractmethod
    def check(self, text: str) -> str:
        """Parse ``text`` anew; return "" when it is valid in this format, else what is wrong, with the line."""

    def extract_text(self, data: bytes) -> str:
        """Return the text of a binary document: what ``split`` and ``check`` read. Raises ``BadDocument``."""
        raise NotImplementedError(f"{self.name} is a format of texts")

    def join(self, text: str, segments: Sequence[Segment], translations: Sequence[str | None]) -> str:
        """Return the document with the translations in their regions; None leaves a region as it is."""
        return join_segments(text, segments, translations)

    def merge_earlier(self, earlier: str, text: str) -> str:
        """Return ``text`` with the translations of an ``earlier`` one, where a document holds both languages.

        Raises ``BadDocument`` for ``earlier``.
        """
        del earlier
        return text

    def replace_language(self, text: str, segments: Sequence[Segment], source: str, target: str) -> str:
        """Return a translated document with the code ``target`` where it names its language ``source``."""
        del segments, source, target
        return text

    def table_cell(self, text: str) -> str:
        """Return the text of a segment as it may stand in a cell of a Markdown table."""
        return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")

    def bilingual_separator(self, text: str, segment: Segment) -> str:
        """Return what separates a segment from its translation: of a block a blank line with what begins its line."""
        if segment.kind == "cue":
            return detect_newline(text)
        return separate_block(text, line_lead(text, segment)) if segment.kind in BLOCK_KINDS else " / "


def line_lead(text: str, segment: Segment) -> str:
    """Return what stands before a segment in its line."""
    begin = max(text.rfind("\n", 0, segment.start), text.rfind("\r", 0, segment.start)) + 1
    return text[begin : segment.start]


def separate_block(text: str, lead: str) -> str:
    """Return a blank line and the beginning of another one, both in the quotations that ``lead`` is in."""
    newline = detect_newline(text)
    quote = "".join(character if character in "> \t#" else " " for character in lead)
    return f"{newline}{quote.rstrip(' #') if '>' in quote else ''}{newline}{quote}"
