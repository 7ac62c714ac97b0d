"""The titles of link definitions: ``[label]: address "title"``."""

from __future__ import annotations

import html
import re
from functools import partial

from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.documents.segments import Segment, has_letters, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import clean_translation, collapse_whitespace

_AT_THE_END = re.compile(
    r"(?:\A|(?<=\s))(?:\"(?P<double>(?:[^\"\\]|\\.){1,1000}+)\"|'(?P<single>(?:[^'\\]|\\.){1,1000}+)'"
    r"|\((?P<round>(?:[^()\\]|\\.){1,1000}+)\))[ \t]*\Z"
)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_TO_ESCAPE = re.compile(r"[\\\"'()]")


def find_title_segment(line: str, title: str, start: int) -> Segment | None:
    """Return the segment of ``title`` if the whole title ends ``line``, which is at ``start`` in the document."""
    found = _AT_THE_END.search(line)
    if found is None or found.lastgroup is None:
        return None
    text = _ESCAPED.sub(r"\1", found[found.lastgroup])
    if html.unescape(text) != title or text != text.strip():
        return None
    spans = tuple(find_spans(text, PLAIN_TEXT_KINDS - {"code", "tag"}))
    if not has_letters(text, spans):
        return None
    first, end = found.span(found.lastgroup)
    return Segment(
        start + first, start + end, text, partial(_encode, wanted=protected_texts(text, spans)), spans, "attribute"
    )


def _encode(translation: str, *, wanted: tuple[str, ...]) -> str:
    parts = split_at_protected(translation, wanted)
    words = "".join(part if kept else collapse_whitespace(clean_translation(part)) for part, kept in parts)
    return _TO_ESCAPE.sub(r"\\\g<0>", words.strip())
