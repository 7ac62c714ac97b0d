"""A text in markup as a translator reads it, with what the document has in place of each protected text.

A tag such as "<em>" may stand for a sign of the markup, since a sign alone could be one of a translation's own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby

from llmcli.documents.protected_spans import find_spans
from llmcli.documents.segments import Span, protected_texts, split_at_protected
from llmcli.fast_dataclass import frozen

_BLANK, _LINE = "\ufdd0", "\ufdd1"
"""A blank and a line end in a protected text (Unicode noncharacters), so that no line is broken there."""
_TO_PLACEHOLDERS = str.maketrans({" ": _BLANK, "\n": _LINE})
_FROM_PLACEHOLDERS = str.maketrans({_BLANK: " ", _LINE: "\n"})


@frozen
class MarkupPart:
    """A part of a text: what a translator reads, the kind of protection or "", and what the document has there."""

    text: str
    kind: str = ""
    markup: str = ""

    @property
    def written(self) -> str:
        """What stands in the document."""
        return self.markup or self.text


@frozen
class MarkupText:
    """The translator's view of a text, with its protected texts and what the document has in their place."""

    text: str
    spans: tuple[Span, ...]
    written: tuple[str, ...]

    def split_translation(self, translation: str) -> list[MarkupPart]:
        """Return the parts of a translation of this text, the protected ones with their markup."""
        wanted = protected_texts(self.text, self.spans)
        known: dict[str, list[MarkupPart]] = defaultdict(list)
        for text, span, written in zip(wanted, self.spans, self.written, strict=True):
            known[text].append(MarkupPart(text, span.kind, written))
        for parts in known.values():
            parts.reverse()
        pieces = split_at_protected(translation.strip(), wanted)
        return [known[text].pop() if kept else MarkupPart(text) for text, kept in pieces]


def join_parts(
    parts: Iterable[MarkupPart], kinds: Collection[str], write: Callable[[str], str] | None = None
) -> MarkupText:
    """Return the view of parts that follow each other; addresses and placeholders of ``kinds`` in words are protected.

    The words of neighbours are one text. ``write`` returns what the document has for an address, if it is not the same.
    """
    texts: list[str] = []
    spans: list[Span] = []
    written: list[str] = []
    at = 0
    for is_loose, group in groupby(parts, key=lambda part: not part.kind):
        members = list(group)
        if is_loose:
            words = "".join(part.text for part in members)
            found = find_spans(words, kinds)
            spans += [Span(at + span.start, at + span.end, span.kind) for span in found]
            inner = [words[span.start : span.end] for span in found]
            written += map(write, inner) if write else inner
            members = [MarkupPart(words)]
        for part in members:
            if part.kind:
                spans.append(Span(at, at + len(part.text), part.kind))
                written.append(part.written)
            texts.append(part.text)
            at += len(part.text)
    return MarkupText("".join(texts), tuple(spans), tuple(written))


def fill_lines(parts: Sequence[tuple[str, bool]], width: int, block_start: re.Pattern[str]) -> list[str]:
    """Return a text as lines of at most ``width`` characters (0: one line) from its protected (True) and other parts.

    No line is broken in a protected part, and none but the first begins with a word that ``block_start`` matches.
    """
    words = "".join(text.translate(_TO_PLACEHOLDERS) if kept else text for text, kept in parts).strip()
    lines: list[list[str]] = []
    length = 0
    for word in filter(None, words.split(" ")):
        if lines and (not width or length + 1 + len(word) <= width or block_start.match(word)):
            lines[-1].append(word)
            length += 1 + len(word)
        else:
            lines.append([word])
            length = len(word)
    return [" ".join(line).translate(_FROM_PLACEHOLDERS) for line in lines]
