"""The outline of a long text: its title and its sections, each with points and a length. It is a Markdown file to edit.

A heading is a section, ``(400 words)`` at its end is its length, and the items below it are its points. A heading that
has headings below it and no points is a chapter: it has no text of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen, replace

_MAX_SECTIONS = 400
_MAX_WORDS = 1_000_000
TOP_LEVEL = 2
"""Of the headings of sections; the title is above them."""
_MIN_SECTIONS, _MAX_MADE_SECTIONS = 2, 40
_MAX_POINTS = 5
_SECTIONS_PER_CHAPTER = 3
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t](.*))?")
_ITEM = re.compile(r"([ \t]*)(?:[-*+\u2022]|\d{1,3}[.)])[ \t]+(.*)")
_LENGTH = re.compile(r"[ \t]*\((?:about )?(\d[\d,]*) words?\)\Z", re.IGNORECASE)
_NUMBER_MARK = re.compile(
    r"\A(?:(?:section|chapter|part|point|slide)[ \t]+\d+[.):]?(?:[ \t]+|\Z)|\d{1,3}(?:\.\d+)*[.):][ \t]+|\d+(?:\.\d+)+[ \t]+|\*\*)|\*\*\Z",
    re.IGNORECASE,
)
_RULE = re.compile(r"[ \t]*(?:-{3,}|={3,}|\*{3,})[ \t]*")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_JOINED_HEADING = re.compile(r" {0,3}#{2,6}[^#\s]")
"""A heading without the space that Markdown demands."""


class LongKind(StrEnum):
    """The kinds of texts that are written section by section."""

    REPORT = "report"
    ARTICLE = "article"
    BOOK = "book"
    SLIDES = "slides"

    @property
    def description(self) -> str:
        """What it is, for a list."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    LongKind.REPORT: "A report, section by section: llm generate report TOPIC",
    LongKind.ARTICLE: "An article; with a TOPIC, section by section",
    LongKind.BOOK: "A book of chapters: llm generate book TOPIC",
    LongKind.SLIDES: "Slides with bullets: llm generate slides TOPIC",
}


@frozen
class TextForm:
    """How a kind of text is built: its usual length, that of a section, and that of what is said about a point.

    ``has_chapters``: sections stand in chapters. ``is_list``: a section is a list of bullets, one for each point.
    """

    words: int
    section_words: int
    point_words: int
    has_chapters: bool = False
    is_list: bool = False


FORMS = {
    LongKind.REPORT: TextForm(2000, 440, 110),
    LongKind.ARTICLE: TextForm(1000, 240, 120),
    LongKind.BOOK: TextForm(6000, 480, 120, has_chapters=True),
    LongKind.SLIDES: TextForm(400, 48, 12, is_list=True),
}


@frozen
class OutlineShape:
    """The numbers of ``sections``, ``points`` of each and ``chapters`` (0: none) of an outline that the model makes."""

    sections: int
    points: int
    chapters: int = 0

    @property
    def sections_per_chapter(self) -> int:
        """The sections of each chapter; all of them without chapters."""
        return self.sections // self.chapters if self.chapters else self.sections


def choose_shape(form: TextForm, words: int) -> OutlineShape:
    """Return the shape of the outline of a text with so many words."""
    sections = max(_MIN_SECTIONS, min(_MAX_MADE_SECTIONS, round(words / form.section_words)))
    points = max(1, min(_MAX_POINTS, round(words / sections / form.point_words)))
    if not form.has_chapters:
        return OutlineShape(sections, points)
    chapters = max(_MIN_SECTIONS, round(sections / _SECTIONS_PER_CHAPTER))
    return OutlineShape(chapters * max(1, round(sections / chapters)), points, chapters)


@frozen
class OutlineSection:
    """A heading of level ``level`` (``TOP_LEVEL`` or deeper). ``words``: its length, None if the outline gives none.

    ``is_written``: it has a text of its own; a chapter has not.
    """

    title: str
    level: int = TOP_LEVEL
    points: tuple[str, ...] = ()
    words: int | None = None
    is_written: bool = True


@frozen
class Outline:
    """The title, and the sections in their order."""

    title: str
    sections: tuple[OutlineSection, ...]

    @property
    def written(self) -> tuple[OutlineSection, ...]:
        """The sections that have a text of their own."""
        return tuple(section for section in self.sections if section.is_written)

    @property
    def texts(self) -> list[str]:
        """The title, the titles of sections and their points."""
        return [self.title, *(text for each in self.sections for text in (each.title, *each.points))]

    @property
    def lines(self) -> list[str]:
        """All texts, and each section with its points as a prompt shows it: a model that repeats them says nothing."""
        return [*self.texts, *(f"{each.title}: {'; '.join(each.points)}" for each in self.sections if each.points)]

    def to_markdown(self) -> str:
        """Return the text that ``parse_outline`` reads."""
        lines = [f"# {self.title}"]
        for section in self.sections:
            length = "" if section.words is None else f" ({section.words} words)"
            lines += ["", f"{'#' * section.level} {section.title}{length}", *(f"- {point}" for point in section.points)]
        return "\n".join(lines) + "\n"

    def to_json(self) -> list[dict[str, Any]]:
        """Return the sections as objects."""
        return [
            {"title": each.title, "level": each.level, "points": list(each.points), "words": each.words}
            for each in self.sections
        ]

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Outline:
        """Return the outline of ``asdict``. Raises ``TypeError`` and ``KeyError``."""
        sections = [OutlineSection(**{**each, "points": tuple(each["points"])}) for each in value["sections"]]
        return cls(value["title"], tuple(sections))

    def with_lengths(self, form: TextForm, words: int | None) -> Outline:
        """Return the outline in which every written section has a length; together they have ``words``.

        ``words`` None: what the outline says, and the usual length of what it leaves open. Lengths that the outline
        gives keep their proportions.
        """
        weights = [
            section.words or max(1, len(section.points)) * form.point_words if section.is_written else 0
            for section in self.sections
        ]
        total, total_weight = words or sum(weights), max(1, sum(weights))
        sections, given, at = [], 0, 0
        for section, weight in zip(self.sections, weights, strict=True):
            at += weight
            share = None
            if section.is_written:
                share = max(1, round(total * at / total_weight) - given)  # the lengths add up, if each has a word
                given += share
            sections.append(replace(section, words=share))
        return replace(self, sections=tuple(sections))


def parse_outline(text: str, name: str, *, title: str = "") -> Outline:
    """Return the outline in a Markdown text; ``title`` overrides its own one.

    Without headings, the items of a list are the sections, and those below them their points. Raises ``BadDocument``
    with the line.
    """
    text = _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), text)  # lines keep their numbers
    read = list(_read_headings(text, name)) or list(_read_list(text))
    if not read:
        raise BadDocument(name, detail="it has no section: a heading such as ## Costs, or a list", kind="outline")
    first, *others = [section for _, section in read]
    if first.level == 1 and not first.points and others and all(each.level > 1 for each in others):
        title = title or first.title
        read = read[1:]
    if not title:
        raise BadDocument(
            name, detail="it has no title: give a TOPIC, or a first line such as # Heat pumps", kind="outline"
        )
    if len(read) > _MAX_SECTIONS:
        raise BadDocument(name, detail=f"it has {len(read)} sections, more than {_MAX_SECTIONS}", kind="outline")
    words = sum(section.words or 0 for _, section in read)
    if words > _MAX_WORDS:
        raise BadDocument(name, detail=f"its sections have more than {_MAX_WORDS:,} words", kind="outline")
    shift = TOP_LEVEL - min(section.level for _, section in read)
    sections = [replace(section, level=section.level + shift) for _, section in read]
    below = [*sections[1:], OutlineSection("", 0)]
    marked = [
        replace(section, is_written=bool(section.points) or after.level <= section.level)
        for section, after in zip(sections, below, strict=True)
    ]
    _require_distinct(marked, [line for line, _ in read], name)
    return Outline(title, tuple(marked))


def _read_headings(text: str, name: str) -> Iterator[tuple[int, OutlineSection]]:
    """Yield each heading with its line and what stands below it."""
    found: tuple[int, OutlineSection] | None = None
    for number, line in _join_wrapped(text):
        heading = _HEADING.fullmatch(line)
        if heading:
            words = heading_words(heading[2] or "")
            if not words:
                raise BadDocument(name, detail="a heading without words", line=number, kind="outline")
            if found is not None:
                yield found
            found = number, _make_section(words, len(heading[1]))
        elif _JOINED_HEADING.match(line):
            raise BadDocument(name, detail="a heading needs a space after #", line=number, kind="outline")
        elif found is not None:
            point = clean_line(line)
            if any(map(str.isalnum, point)):
                found = found[0], replace(found[1], points=(*found[1].points, point))
    if found is not None:
        yield found


def _read_list(text: str) -> Iterator[tuple[int, OutlineSection]]:
    """Yield each item of a list that is not indented with its line, and the indented ones below it as points."""
    found: tuple[int, OutlineSection] | None = None
    for number, line in _join_wrapped(text):
        item = _ITEM.fullmatch(line)
        if item and not item[1]:
            if found is not None:
                yield found
            found = number, _make_section(item[2], TOP_LEVEL)
        elif item and found is not None and clean_line(line):
            found = found[0], replace(found[1], points=(*found[1].points, clean_line(line)))
    if found is not None:
        yield found


def _join_wrapped(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers; an indented line below an item of a list continues the item."""
    item: tuple[int, str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        is_item = _ITEM.fullmatch(line) is not None
        is_indented = line[:1].isspace() and bool(line.strip())
        if item is not None and is_indented and not (is_item or _HEADING.fullmatch(line) or _RULE.fullmatch(line)):
            item = item[0], f"{item[1]} {line.strip()}"
            continue
        if item is not None:
            yield item
        item = (number, line) if is_item else None
        if item is None:
            yield number, line
    if item is not None:
        yield item


def _make_section(heading: str, level: int) -> OutlineSection:
    length = _LENGTH.search(heading)
    title = clean_line(heading[: length.start()] if length else heading)
    digits = length[1].replace(",", "") if length else ""
    words = int(digits[: len(str(_MAX_WORDS)) + 1]) if digits else None  # more digits are too many words as well
    return OutlineSection(title or heading.strip(), level, words=words)


def heading_words(line: str) -> str:
    """Return the words of a Markdown heading from what follows its first marks, without marks that close it."""
    line = line.strip()
    words = line.rstrip("#")
    return words.rstrip() if not words or words[-1].isspace() else line


def clean_line(line: str) -> str:
    """Return the words of a heading or an item, without marks and numbers of lists around them."""
    item = _ITEM.fullmatch(line)
    words = (item[2] if item else line).strip()
    return _NUMBER_MARK.sub("", _NUMBER_MARK.sub("", words)).strip(" \t*_:")


def _require_distinct(sections: Sequence[OutlineSection], lines: Sequence[int], name: str) -> None:
    """Raise ``BadDocument`` if two sections of a chapter have the same title."""
    seen: set[tuple[str, ...]] = set()
    for section, line, path in zip(sections, lines, section_paths(sections), strict=True):
        key = tuple(each.casefold() for each in path)
        if key in seen:
            raise BadDocument(name, detail=f"the section {section.title!r} is there twice", line=line, kind="outline")
        seen.add(key)


def section_paths(sections: Sequence[OutlineSection]) -> list[tuple[str, ...]]:
    """Return the titles of each section, those of the headings above it first."""
    above: list[OutlineSection] = []
    paths = []
    for section in sections:
        while above and above[-1].level >= section.level:
            above.pop()
        above.append(section)
        paths.append(tuple(each.title for each in above))
    return paths
