"""Texts as detectors read them: ASCII digits and letters, plain spaces and hyphens, nothing invisible; with a way back.

Each value is found in one form only, however it is written: full-width letters, digits of other scripts, no-break
spaces, characters that no reader sees. The offsets of a span lead back to the text as it was.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote

from llmcli.fast_dataclass import frozen

Range = tuple[int, int]
"""Start and end offsets; the end is exclusive."""
INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f"
"""The soft hyphen, characters of zero width, marks of direction, variation selectors and tags, as a class of a
pattern."""
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
_ZEROS = (0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50, 0xED0, 0xF20, 0x1040,
          0x17E0, 0x1810)  # fmt: skip
_MATHEMATICAL = range(0x1D400, 0x1D800)
_FOLDED = {
    **dict.fromkeys(_SPACES, " "),
    **dict.fromkeys(_HYPHENS, "-"),
    **{chr(zero + digit): str(digit) for zero in _ZEROS for digit in range(10)},
    **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width forms
}
_FOLDABLE = re.compile(f"[{''.join(_FOLDED)}{chr(_MATHEMATICAL.start)}-{chr(_MATHEMATICAL.stop - 1)}]")
_FOLDED |= {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in _MATHEMATICAL}
_INVISIBLE = re.compile(f"[{INVISIBLE}]+")
_ESCAPED = re.compile(
    r"\\{1,4}[uU][0-9A-Fa-f]{4}|&(?:[A-Za-z]{3,15}|#[0-9]{2,7}|#[xX][0-9A-Fa-f]{2,6});"
    r"|%20|%[CcDd][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]|%[Ee][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){2}"
)


@frozen
class _Edit:
    """What stands at ``start`` to ``end`` of a normalized text, and the range of the original that it replaces."""

    start: int
    end: int
    original_start: int
    original_end: int


class NormalizedText:
    """``text`` is what detectors read; ``original_range`` finds a range of it in the original."""

    def __init__(self, text: str, edits: Sequence[_Edit] = ()) -> None:
        self.text = text
        self._edits = edits

    def original_range(self, start: int, end: int) -> Range:
        """Return the range of the original that ``text[start:end]`` stands for."""
        if not self._edits:
            return start, end
        first, last = self._edit_before(start), self._edit_before(end - 1)
        if first is not None:
            start = first.original_start if start < first.end else start + first.original_end - first.end
        if last is not None:
            end = last.original_end if end <= last.end else end + last.original_end - last.end
        return start, end

    def _edit_before(self, offset: int) -> _Edit | None:
        index = bisect_right(self._edits, offset, key=lambda edit: edit.start)
        return self._edits[index - 1] if index else None


def normalize(text: str) -> Iterator[NormalizedText]:
    """Yield the forms of a text in which detectors look for values.

    Invisible characters may separate words or stand inside of a value: a text with some has a form with and one
    without.
    """
    folded = fold(text)
    yield NormalizedText(folded)
    if not folded.isascii() and _INVISIBLE.search(folded):
        yield _substitute(folded, _INVISIBLE, lambda _: "")


def fold(text: str) -> str:
    """Return the text with ASCII letters, digits and signs for others of the same meaning; offsets stay the same."""
    return text if text.isascii() else _FOLDABLE.sub(lambda match: _FOLDED[match.group()], text)


def decode_spaces(text: str) -> NormalizedText:
    """Replace escapes of JSON, HTML and addresses that stand for spaces, hyphens, digits or invisible characters."""
    if "\\u" in text or "\\U" in text or "&" in text or "%" in text:
        return _substitute(text, _ESCAPED, _decode)
    return NormalizedText(text)


def _decode(escaped: str) -> str | None:
    """Return the folded character of an escape, None for one that has no other form."""
    if escaped == "%20":
        return " "
    if escaped[0] == "\\":
        character = chr(int(escaped[-4:], 16))
    else:
        character = html.unescape(escaped) if escaped[0] == "&" else unquote(escaped)
    return "" if _INVISIBLE.fullmatch(character) else _FOLDED.get(character)


def _substitute(text: str, pattern: re.Pattern[str], change: Callable[[str], str | None]) -> NormalizedText:
    """Return the text in which ``change`` has replaced the matches; it returns None for one that stays."""
    pieces: list[str] = []
    edits: list[_Edit] = []
    at = size = 0
    for match in pattern.finditer(text):
        new = change(match.group())
        if new is None:
            continue
        pieces += [text[at : match.start()], new]
        size += match.start() - at
        edits.append(_Edit(size, size + len(new), *match.span()))
        size += len(new)
        at = match.end()
    return NormalizedText("".join([*pieces, text[at:]]), edits)
