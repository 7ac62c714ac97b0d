"""The text that was read from a document, in passages that know where they stand in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmcli.documents.text_lines import line_spans
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen

MAX_TEXT_CHARS = 64_000_000
"""The longest text that is taken from one document."""
MAX_SECTIONS = 200_000
"""Sections and notes of a document that comes from another process."""
SEPARATOR = "\n\n"
"""Separates the passages in the text of a document."""


@frozen
class Section:
    """What a reader yields: a part of a document's text, which holds its own heading if it has one.

    ``headings`` is the path of headings from the outermost; ``page`` counts pages, slides or sheets from 1, None if the
    format has none; ``part`` names a document inside the document (the attachment of an email), "" for the document.
    """

    text: str
    headings: tuple[str, ...] = ()
    page: int | None = None
    part: str = ""


@frozen
class Passage:
    """A part of a document's text, and where it stands.

    ``source`` is the name of the document, with the attachment after ": " if it is from one; ``page`` as in
    ``Section``; ``first_line`` and ``last_line`` (from 1) are lines of ``SourceDocument.text``, which for a text file
    are the lines of the file.
    """

    text: str
    source: str
    page: int | None = None
    first_line: int = 1
    last_line: int = 1
    headings: tuple[str, ...] = ()


@frozen
class SourceDocument:
    """The passages of a document in its order. ``notes`` says what of it was left out, a line each.

    ``format_name`` is the name of the format it was read as.
    """

    name: str
    passages: tuple[Passage, ...]
    format_name: str = "text"
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The whole text: the passages, with an empty line between two of them."""
        return SEPARATOR.join(passage.text for passage in self.passages)


def number_passages(
    name: str, sections: Iterable[Section | str], format_name: str, *, max_chars: int = MAX_TEXT_CHARS
) -> SourceDocument:
    """Return the document of a reader's sections without blank ones; a string among them is a note.

    Raises ``BadDocument`` if the text is longer than ``max_chars``, and what the reader raises.
    """
    passages: list[Passage] = []
    notes: list[str] = []
    line, size = 1, 0
    for section in sections:
        if isinstance(section, str):
            notes.append(section)
            continue
        text = section.text.strip("\n")
        if not text.strip():
            continue
        size += len(text) + len(SEPARATOR)
        if size > max_chars:
            raise BadDocument(name, detail=f"its text is longer than {max_chars:,} characters")
        last = line + text.count("\n")
        source = f"{name}: {section.part}" if section.part else name
        passages.append(Passage(text, source, section.page, line, last, section.headings))
        line = last + SEPARATOR.count("\n")
    return SourceDocument(name, tuple(passages), format_name, tuple(notes))


def limit_text(sections: Iterable[Section | str], max_chars: int) -> Iterator[Section | str]:
    """Yield the sections and notes of a reader. Raises ``BadDocument`` if they are too many or too long."""
    size = 0
    for number, section in enumerate(sections):
        if number == MAX_SECTIONS:
            raise BadDocument(detail=f"it has more than {MAX_SECTIONS:,} sections")
        size += len(section) if isinstance(section, str) else len(section.text) + sum(map(len, section.headings))
        if size > max_chars:
            raise BadDocument(detail=f"its text is longer than {max_chars:,} characters")
        yield section


_HEADING_MARKS = "#*=-~^+\"'`:._"
"""Marks that underline headings of plain text, by their level: the conventions of reStructuredText."""
_SETEXT_LEVELS = {"=": 1, "-": 2}
_MIN_UNDERLINE = 3
_MAX_HASHES = 6


def split_text_passages(
    name: str, text: str, *, markdown: bool, headings: list[tuple[int, str]] | None
) -> SourceDocument:
    """Return the passages of a text file: of Markdown its sections, of other texts its paragraphs.

    A line that is underlined is a heading of both. Unlike the passages of other formats they leave out blank lines, so
    ``SourceDocument.text`` may differ from ``text`` by those; the line numbers are those of ``text``. ``headings``:
    levels and titles of the headings above the text, replaced by those at its end.
    """
    passages: list[Passage] = []
    headings = [] if headings is None else headings
    kept: list[str] = []
    start, fence, before = 1, "", ""

    def finish() -> None:
        block = "\n".join(kept).rstrip()
        if block.strip():
            path = tuple(title for _, title in headings)
            passages.append(Passage(block, name, None, start, start + block.count("\n"), path))
        kept.clear()

    lines = [text[begin:end].rstrip("\r\n") for begin, end in line_spans(text)]
    for number, (line, below) in enumerate(zip(lines, [*lines[1:], ""], strict=False), 1):
        mark = line.lstrip(" ")[:3] if markdown else ""
        if mark in {"```", "~~~"}:
            fence = "" if mark == fence else fence or mark
        level = 0 if fence else _heading_level(before, line, below, markdown=markdown)
        overline = [kept.pop()] if level and kept and not markdown and _underline_mark(before) else []
        if level or (not markdown and not line.strip()):
            finish()
        if level:
            kept += overline
            start = number - len(overline)
            headings[:] = [each for each in headings if each[0] < level] + [(level, line.strip("# \t"))]
        if line.strip() or kept:
            start = start if kept else number
            kept.append(line)
        before = line
    finish()
    return SourceDocument(name, tuple(passages), "markdown" if markdown else "text")


def _heading_level(before: str, line: str, below: str, *, markdown: bool) -> int:
    """Return the level of a line that is a heading, by its hashes or by the line below it; 0 for another line."""
    hashes = len(line) - len(line.lstrip("#")) if markdown else 0
    if 0 < hashes <= _MAX_HASHES and line[hashes : hashes + 1] in {" ", "\t"}:
        return hashes
    mark = _underline_mark(below)
    has_words = bool(line[:1].strip()) and any(map(str.isalnum, line))
    if not mark or not has_words:
        return 0
    if markdown:
        return _SETEXT_LEVELS.get(mark, 0) if not before.strip() and "|" not in line else 0
    alone = not before.strip() or _underline_mark(before) == mark
    return _HEADING_MARKS.index(mark) + 1 if alone and len(below.rstrip()) >= len(line.rstrip()) else 0


def _underline_mark(line: str) -> str:
    """Return the mark of which a line consists, "" for another line."""
    line = line.rstrip()
    return line[0] if len(line) >= _MIN_UNDERLINE and line[0] in _HEADING_MARKS and not line.strip(line[0]) else ""
