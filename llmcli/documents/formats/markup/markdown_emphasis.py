"""Emphasis in a paragraph of Markdown: which asterisks, underscores and tildes are delimiters, and of what kind.

The rules are CommonMark's (6.2, delimiter runs, with the algorithm of its appendix), and GFM's for ``~~``.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter

from llmcli.fast_dataclass import field, frozen, slotted

STRONG, EMPHASIS, STRIKETHROUGH = "**bold**", "*italic*", "~~struck out~~"

_DELIMITERS = re.compile(r"\\[!-/:-@\[-`{-~]|\*+|_+|~+")
_WIDE_CHARACTER = re.compile(r"[\u2e80-\U0010ffff]")
"""Characters of scripts that are written without spaces between words."""


@frozen
class EmphasisCounts:
    """The number of ``pairs`` of each kind in a text, and the unmatched delimiters (``loose``) by character.

    In a part of a text, an unmatched delimiter may have its other end in another part.
    """

    pairs: Counter[str]
    unpaired: Counter[str]


@slotted
class _DelimiterRun:
    """A delimiter run; ``left`` of its characters are not paired yet."""

    sign: str
    length: int
    opens: bool
    closes: bool
    unpaired_signs: int


@slotted
class _DelimiterStack:
    """Pairs delimiter runs in time linear in their number."""

    pairs: Counter[str] = field(default_factory=Counter)
    unpaired: Counter[str] = field(default_factory=Counter)
    openers: list[_DelimiterRun] = field(default_factory=list)
    # at and below this index there is no opener for such a closer
    bottoms: dict[tuple[str, bool, int], int] = field(default_factory=dict)

    def add(self, run: _DelimiterRun) -> None:
        while run.closes and run.unpaired_signs:
            key = (run.sign, run.opens, run.length % 3)
            bottom = self.bottoms.get(key, 0)
            index = next(
                (i for i in range(len(self.openers) - 1, bottom - 1, -1) if _can_pair(self.openers[i], run)), -1
            )
            if index < 0:
                self.bottoms[key] = len(self.openers)
                break
            self._pair(index, run)
        if run.opens and run.unpaired_signs:
            self.openers.append(run)
        elif run.unpaired_signs:
            self.unpaired[run.sign] += run.unpaired_signs

    def finish(self) -> EmphasisCounts:
        self._pop_to(0)
        return EmphasisCounts(self.pairs, +self.unpaired)

    def _pair(self, index: int, run: _DelimiterRun) -> None:
        self._pop_to(index + 1)
        opener = self.openers[index]
        signs = 2 if min(opener.unpaired_signs, run.unpaired_signs) > 1 else 1
        self.pairs[STRIKETHROUGH if run.sign == "~" else STRONG if signs == 2 else EMPHASIS] += 1  # noqa: PLR2004 (two signs)
        opener.unpaired_signs -= signs
        run.unpaired_signs -= signs
        if not opener.unpaired_signs:
            self._pop_to(index)

    def _pop_to(self, height: int) -> None:
        for opener in self.openers[height:]:
            self.unpaired[opener.sign] += opener.unpaired_signs
        del self.openers[height:]
        for key, bottom in self.bottoms.items():
            self.bottoms[key] = min(bottom, height)


def count_emphasis(text: str) -> EmphasisCounts:
    """Return the emphasis in a text, in which protected texts must be replaced by characters of the same class."""
    pairing = _DelimiterStack()
    for run, _ in _find_delimiter_runs(text):
        if run.opens or run.closes:
            pairing.add(run)
    return pairing.finish()


def space_wide_delimiters(text: str) -> str:
    """Return a text whose delimiters next to scripts without spaces between words become valid in CommonMark.

    CommonMark's rules depend on blanks and punctuation: nothing is bold in "请按**“保存”**键". A blank goes between a
    letter and such a delimiter, and underscores, which can only emphasize whole words, become asterisks.
    """
    parts, at = [], 0
    for run, (start, end) in _find_delimiter_runs(text):
        before, after = text[start - 1 : start], text[end : end + 1]
        wide = [bool(_WIDE_CHARACTER.match(c)) and _is_word(c) for c in (before, after)]
        signs = run.sign * run.length
        if run.sign == "_" and any(wide):
            signs = "*" * run.length
        parts.append(text[at:start])
        parts.append(" " if wide[0] and _is_punctuation(after) else "")
        parts.append(signs)
        parts.append(" " if wide[1] and _is_punctuation(before) else "")
        at = end
    return "".join([*parts, text[at:]])


def flanking_stand_in(protected: str) -> str:
    """Return what replaces a protected text in a search for emphasis: the classes of its first and last character."""
    return "".join(
        " " if _is_blank(character) else "." if _is_punctuation(character) else "x"
        for character in (protected[:1], protected[-1:])
    )


def _find_delimiter_runs(text: str) -> list[tuple[_DelimiterRun, tuple[int, int]]]:
    runs = []
    for match in _DELIMITERS.finditer(text):
        signs = match.group()
        if signs[0] == "\\" or (signs[0] == "~" and len(signs) != 2):  # noqa: PLR2004 (two signs)
            continue
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        left, right = _is_flanking(before, after), _is_flanking(after, before)
        opens, closes = left, right
        if signs[0] == "_":
            opens = left and (not right or _is_punctuation(before))
            closes = right and (not left or _is_punctuation(after))
        runs.append((_DelimiterRun(signs[0], len(signs), opens, closes, len(signs)), match.span()))
    return runs


def _is_flanking(outer: str, inner: str) -> bool:
    """Whether a run between two characters ("" at an end of the text) is flanking towards the inner one."""
    if _is_blank(inner):
        return False
    return not _is_punctuation(inner) or _is_blank(outer) or _is_punctuation(outer)


def _can_pair(opener: _DelimiterRun, closer: _DelimiterRun) -> bool:
    if opener.sign != closer.sign:
        return False
    if closer.sign == "~" or not (opener.closes or closer.opens):
        return True
    return (opener.length + closer.length) % 3 != 0 or opener.length % 3 == 0 == closer.length % 3


def _is_blank(character: str) -> bool:
    return not character or character.isspace()


def _is_punctuation(character: str) -> bool:
    return bool(character) and (character in string.punctuation or unicodedata.category(character)[0] == "P")


def _is_word(character: str) -> bool:
    return not _is_blank(character) and not _is_punctuation(character)
