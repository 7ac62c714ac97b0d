"""Plain text as segments: what is translated, and the white space around it that stays as it is.

Law: joining the pieces with their own texts gives the document back, byte for byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from llmcli.documents.pieces import paragraphs

_INDENT = re.compile(r"[ \t]*")


@dataclass(frozen=True, slots=True)
class Piece:
    r"""A piece of a text: ``before`` + the lines of ``text`` + ``after``.

    ``text`` begins and ends with a visible character, its lines end with "\n" and lack the ``indent`` that all lines of
    the paragraph have in common; it is "" when there is nothing to translate. ``newline`` is the document's line ending.
    """

    before: str
    text: str
    after: str
    indent: str = ""
    newline: str = "\n"

    def join(self, text: str) -> str:
        """Return the piece with ``text`` (the source's or a translation) in the document's own form."""
        return self.before + self._lay_out(text) + self.after

    def parts(self, texts: list[str]) -> list[Piece]:
        """Return this piece as several; joined, ``texts`` are its text."""
        cut = [self._part(text) for text in texts]
        cut[0] = replace(cut[0], before=self.before + cut[0].before)
        cut[-1] = replace(cut[-1], after=cut[-1].after + self.after)
        return cut

    def _part(self, text: str) -> Piece:
        before, core, after = _strip(text)
        if not _has_letters(core):
            return Piece(self._lay_out(text), "", "")
        return replace(self, before=self._lay_out(before), text=core, after=self._lay_out(after))

    def _lay_out(self, text: str) -> str:
        if self.newline == "\n" and not self.indent:
            return text
        return text.replace("\n", self.newline + self.indent)


def split_plain(text: str) -> list[Piece]:
    """Cut a text into one piece a paragraph. A paragraph without a letter (a rule, a number) has nothing to translate."""
    newline = "\r\n" if "\r\n" in text else "\n"
    return [_piece(paragraph, newline) for paragraph in paragraphs(text)]


def _piece(paragraph: str, newline: str) -> Piece:
    before, core, after = _strip(paragraph)
    if not _has_letters(core):
        return Piece(paragraph, "", "")
    if core.count("\r\n") == core.count("\n"):
        core = core.replace("\r\n", "\n")
    else:
        newline = "\n"  # mixed or other line endings: the paragraph goes to the model as it is
    lines = [before.rpartition("\n")[2], *core.split("\n")[1:]]
    indent = _common_start([match.group() for match in map(_INDENT.match, lines) if match])
    return Piece(before, core.replace("\n" + indent, "\n"), after, indent, newline)


def _common_start(texts: list[str]) -> str:
    first, last = min(texts), max(texts)  # what these two share, all between them in order share too
    length = next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]


def _has_letters(text: str) -> bool:
    return any(character.isalpha() for character in text)


def _strip(text: str) -> tuple[str, str, str]:
    core = text.strip()
    start = len(text) - len(text.lstrip())
    return text[:start], core, text[start + len(core) :]
