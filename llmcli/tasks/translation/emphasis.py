"""Emphasis in the translation of Markdown: as often of each kind as in the text, wherever in the sentence."""

from __future__ import annotations

from collections import Counter

from llmcli.documents.formats.markdown_emphasis import emphasis, nature, spaced
from llmcli.documents.segments import Segment, pieces, texts_of
from llmcli.tasks.translation.marks import Marked

_SIGNS = frozenset("*_~")


def emphasis_problem(marked: Marked, text: str, answer: str) -> str:
    """Return what is wrong with the emphasis of ``answer``, the translation of a part of ``marked``; "" where nothing is.

    A delimiter without its other end is a literal character in a whole text, of which the answer may not have more; in a
    part of it the other end may be in the next part, so that it has to stay.
    """
    source, found = (marked.with_stand_ins(part, nature) for part in (text, answer))
    return _problem(source, found, whole=text == marked.text)


def with_delimiters_apart(marked: Marked, text: str, answer: str) -> str:
    """Return an answer with blanks around delimiters, where that is all its emphasis lacks."""
    if not emphasis_problem(marked, text, answer):
        return answer
    changed = spaced(answer)
    return answer if emphasis_problem(marked, text, changed) else changed


def lost_emphasis(segment: Segment, translation: str) -> str:
    """Return what is wrong with the emphasis of a translation from elsewhere, with protected texts in their places."""
    wanted = texts_of(segment.text, segment.protected)
    source, found = (
        "".join(nature(part) if kept else part for part, kept in pieces(text, wanted))
        for text in (segment.text, translation)
    )
    return _problem(source, found, whole=True)


def _problem(text: str, answer: str, *, whole: bool) -> str:
    if not _SIGNS & {*text, *answer}:
        return ""
    wanted, found = emphasis(text), emphasis(answer)
    stray = found.loose - wanted.loose
    torn = Counter() if whole else wanted.loose - found.loose
    words = [
        (wanted.pairs - found.pairs, "is missing"),
        (found.pairs - wanted.pairs, "is not in the text"),
        (stray, "has no other end"),
        (torn, "is missing"),
    ]
    return ", ".join(f"{' '.join(sorted(kinds))} {what}" for kinds, what in words if kinds)
