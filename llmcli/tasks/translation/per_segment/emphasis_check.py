"""Emphasis in the translation of Markdown: as often as in the text, for each kind, anywhere in the sentence."""

from __future__ import annotations

from collections import Counter

from llmcli.documents.formats.markup.markdown_emphasis import count_emphasis, flanking_stand_in, space_wide_delimiters
from llmcli.documents.segments import Segment, protected_texts, split_at_protected
from llmcli.tasks.translation.per_segment.masking import MaskedText

_EMPHASIS_CHARACTERS = frozenset("*_~")


def emphasis_problem(marked: MaskedText, text: str, answer: str) -> str:
    """Return what is wrong with the emphasis of ``answer``, the translation of a part of ``marked``; "" if nothing.

    An unmatched delimiter in a whole text is a literal character, and the answer may not have more of them. In a part
    of a text its other end may be in the next part, so it has to stay.
    """
    source, found = (marked.replace_masks(part, flanking_stand_in) for part in (text, answer))
    return _compare_emphasis(source, found, whole=text == marked.text)


def fix_delimiter_spacing(marked: MaskedText, text: str, answer: str) -> str:
    """Return an answer with blanks around delimiters, if that alone corrects its emphasis."""
    if not emphasis_problem(marked, text, answer):
        return answer
    changed = space_wide_delimiters(answer)
    return answer if emphasis_problem(marked, text, changed) else changed


def stored_emphasis_problem(segment: Segment, translation: str) -> str:
    """Return what is wrong with the emphasis of an external translation that contains its protected texts."""
    wanted = protected_texts(segment.text, segment.protected)
    source, found = (
        "".join(flanking_stand_in(part) if kept else part for part, kept in split_at_protected(text, wanted))
        for text in (segment.text, translation)
    )
    return _compare_emphasis(source, found, whole=True)


def _compare_emphasis(text: str, answer: str, *, whole: bool) -> str:
    if not _EMPHASIS_CHARACTERS & {*text, *answer}:
        return ""
    wanted, found = count_emphasis(text), count_emphasis(answer)
    stray = found.unpaired - wanted.unpaired
    torn = Counter() if whole else wanted.unpaired - found.unpaired
    words = [
        (wanted.pairs - found.pairs, "is missing"),
        (found.pairs - wanted.pairs, "is not in the source text"),
        (stray, "is unmatched"),
        (torn, "is missing"),
    ]
    return ", ".join(f"{' '.join(sorted(kinds))} {what}" for kinds, what in words if kinds)
