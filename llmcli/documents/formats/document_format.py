"""The base class of all document formats, with the properties that most of them have."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from llmcli.documents.segments import Segment, join_segments
from llmcli.documents.text_cleaning import detect_newline
from llmcli.documents.text_lines import line_at
from llmcli.errors import BadDocument, InternalError

PART_MARK = "\x1c"
"""The character before the name of a file in the text of an archive: the separator of files in ASCII."""
BLOCK_KINDS = frozenset({"paragraph", "heading", "item"})
"""Kinds of segments that stand on their own lines."""


def find_problem(parsed: Iterable[object]) -> str:
    """Read all that a parser yields; return the line and the reason of its ``BadDocument``, "" if it raises none."""
    try:
        for _ in parsed:
            pass
    except BadDocument as error:
        return f"line {error.line}: {error.detail}"
    return ""


class DocumentFormat(ABC):
    """A format: finds the segments of a document, inserts translations, and checks the result.

    It has no state. A subclass has a ``name``, ``split`` and ``check``, and overrides what is different for it.
    """

    name: str
    streams = False
    """Whether an output may be written piece by piece, since no output can be invalid."""
    is_keyed = False
    """Whether the path of a segment identifies it, in any version and translation of the document."""
    can_interleave = True
    """Whether a text and its translation can be interleaved in a document."""
    is_package = False
    """Whether a document is an archive: its text, with translations, is packed into it again."""
    holds_both_languages = False
    """Whether a document has separate fields for texts and their translations."""

    @abstractmethod
    def split(self, text: str, target: str) -> list[Segment]:
        """Return the segments in document order, disjoint; ``target`` is a BCP 47 code.

        Raises ``BadDocument`` if the format's grammar is broken.
        """

    @abstractmethod
    def check(self, text: str) -> str:
        """Parse ``text`` again; return "" if it is valid in this format, otherwise the problem with its line."""

    def extract_text(self, data: bytes) -> str:
        """Return the text of a binary document: what ``split`` and ``check`` read. Raises ``BadDocument``."""
        del data
        raise InternalError("extract_text", detail=f"{self.name} is a text format")

    def pack(self, data: bytes, text: str) -> bytes:
        """Return the document ``data`` with a ``text`` that was extracted from it and changed.

        Raises ``BadDocument``.
        """
        del data, text
        raise InternalError("pack", detail=f"{self.name} is no format of archives")

    def join(self, text: str, segments: Sequence[Segment], translations: Sequence[str | None]) -> str:
        """Return the document with the translations in their regions; None leaves a region unchanged."""
        return join_segments(text, segments, translations)

    def merge_earlier(self, earlier: str, text: str) -> str:
        """Return ``text`` with the translations of an ``earlier`` document, if the format holds both languages.

        Raises ``BadDocument`` for ``earlier``.
        """
        del earlier
        return text

    def replace_language(self, text: str, segments: Sequence[Segment], source: str, target: str) -> str:
        """Return a translated document that declares the language ``target`` if it declares its language ``source``.

        ``source`` "": it is unknown, so that whatever language the document declares is replaced where no other text
        could be meant.
        """
        del segments, source, target
        return text

    def find_omissions(self, text: str) -> list[str]:
        """Return a sentence for each kind of words that people read in a document and ``split`` leaves out."""
        del text
        return []

    def bilingual_separator(self, text: str, segment: Segment) -> str:
        """Return what separates a segment from its translation: for a block, a blank line and the lead of its line."""
        if segment.kind == "cue":
            return detect_newline(text)
        return separate_block(text, line_lead(text, segment)) if segment.kind in BLOCK_KINDS else " / "


def declared_language(source: str) -> str:
    """Return the pattern of a BCP 47 code that declares the language ``source``, or any if that is unknown."""
    return rf"(?i:{re.escape(source.partition('-')[0]) or '[a-z]{2,3}'}(?:[-_][a-z0-9]+)*)"


def locate(text: str, offset: int) -> tuple[str, int]:
    """Return the file of an archive that an offset of its text is in, "" in other texts, and the line in it from 1."""
    at = text.rfind(PART_MARK, 0, offset + 1) if text.startswith(PART_MARK) else -1
    if at < 0:
        return "", line_at(text, offset)
    end = text.index("\n", at) + 1
    return text[at + 1 : end - 1], line_at(text[end:offset], offset - end)


def line_lead(text: str, segment: Segment) -> str:
    """Return the text before a segment on its line."""
    begin = max(text.rfind("\n", 0, segment.start), text.rfind("\r", 0, segment.start)) + 1
    return text[begin : segment.start]


def separate_block(text: str, lead: str) -> str:
    """Return a blank line and the beginning of the next one, both with the quote marks of ``lead``."""
    newline = detect_newline(text)
    quote = "".join(character if character in "> \t#" else " " for character in lead)
    return f"{newline}{quote.rstrip(' #') if '>' in quote else ''}{newline}{quote}"
