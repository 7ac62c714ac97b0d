"""Plain text: one segment a paragraph; indentation and line endings are laid aside and put back."""

from __future__ import annotations

import re
from functools import partial

from llmcli.documents.pieces import paragraphs
from llmcli.documents.protected import PLAIN, find
from llmcli.documents.segments import Segment, clean, has_letters, pieces, texts_of, without_empty_lines

name = "plain"

_INDENT = re.compile(r"[ \t]*")


def split(text: str, target: str) -> list[Segment]:
    """Return the paragraphs that hold a letter outside of what is protected."""
    del target
    newline = "\r\n" if "\r\n" in text else "\n"
    segments, at = [], 0
    for paragraph in paragraphs(text):
        segment = _segment(paragraph, at, newline)
        if segment:
            segments.append(segment)
        at += len(paragraph)
    return segments


def check(text: str) -> str:
    """Any text is plain text."""
    del text
    return ""


def _segment(paragraph: str, at: int, newline: str) -> Segment | None:
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
    lines = [before.rpartition("\n")[2].strip("\ufeff"), *read.split("\n")[1:]]
    indent = _common_start([match.group() for match in map(_INDENT.match, lines) if match])
    read = read.replace("\n" + indent, "\n")
    spans = tuple(find(read, PLAIN))
    if not has_letters(read, spans):
        return None
    encode = partial(_encode, wanted=texts_of(read, spans), newline=newline + indent)
    return Segment(at + start, at + start + len(core), read, encode, spans)


def _encode(translation: str, *, wanted: tuple[str, ...], newline: str) -> str:
    parts = pieces(translation, wanted)
    words = "".join(part if kept else clean(part) for part, kept in parts).strip()
    return without_empty_lines(words).replace("\n", newline) if "\n" in words else words


def _common_start(texts: list[str]) -> str:
    first, last = min(texts), max(texts)  # what these two share, all between them in order share too
    length = next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]
