"""Plain text: one segment a paragraph; indentation and line endings are removed and restored."""

from __future__ import annotations

import re
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.documents.segments import Segment, has_letters, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import clean_translation, detect_newline, remove_empty_lines
from llmcli.documents.text_cutting import split_paragraphs

_LINE_END = re.compile(r"[\r\n]")
_INDENT = re.compile(r"[ \t]*")


class PlainTextFormat(DocumentFormat):
    """Plain text."""

    name = "plain"
    streams = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the paragraphs that have a letter outside of protected spans."""
        del target
        newline = detect_newline(text)
        segments, at = [], 0
        for paragraph in split_paragraphs(text):
            segment = _paragraph_segment(paragraph, at, newline)
            if segment:
                segments.append(segment)
            at += len(paragraph)
        return segments

    def check(self, text: str) -> str:
        """Any text is plain text."""
        del text
        return ""


def _paragraph_segment(paragraph: str, at: int, newline: str) -> Segment | None:
    core = paragraph.strip("\ufeff").strip()
    if not has_letters(core):
        return None
    start = paragraph.index(core)
    before = paragraph[:start]
    if core.count("\r\n") == core.count("\n") == core.count("\r"):
        read = core.replace("\r\n", "\n")
    else:
        read = core.replace("\r\n", "\n").replace("\r", "\n")
        newline = "\n" if "\n" in core else newline
    lines = read.split("\n")
    indents = [match.group() for match in map(_INDENT.match, lines) if match]
    indent = _common_prefix([_LINE_END.split(before)[-1].strip("\ufeff"), *indents[1:]])
    read = "\n".join(line.strip(" \t") for line in lines)
    spans = tuple(find_spans(read, PLAIN_TEXT_KINDS))
    if not has_letters(read, spans):
        return None
    # between two lines: trailing blanks of the first, the line end, the indentation of the second
    between = [line[len(line.rstrip(" \t")) :] + newline + more for line, more in zip(lines, indents[1:], strict=False)]
    encode = partial(
        _encode, read=read, core=core, wanted=protected_texts(read, spans), between=between, usual=newline + indent
    )
    return Segment(at + start, at + start + len(core), read, encode, spans)


def _encode(translation: str, *, read: str, core: str, wanted: tuple[str, ...], between: list[str], usual: str) -> str:
    """Return the text for the document: lines are indented like those of the source if their number is the same."""
    if translation == read:
        return core
    parts = split_at_protected(translation, wanted)
    words = "".join(part if kept else clean_translation(part) for part, kept in parts).strip()
    first, *rest = remove_empty_lines(words).split("\n") if "\n" in words else [words]
    ends = between if len(between) == len(rest) else [usual] * len(rest)
    return first + "".join(end + line for end, line in zip(ends, rest, strict=True))


def _common_prefix(texts: list[str]) -> str:
    first, last = min(texts), max(texts)  # a prefix that the first and the last in order share is common to all
    length = next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]


FORMAT = PlainTextFormat()
