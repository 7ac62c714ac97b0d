"""Markdown (CommonMark and GFM, footnotes, front matter, math): the blocks that hold words, by their source lines.

markdown-it finds the blocks; the words in them are found again in the source by the lines it names.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from llmcli.documents.formats.markdown_inline import scan
from llmcli.documents.formats.markdown_layout import Layout
from llmcli.documents.formats.markdown_lines import stands_alone
from llmcli.documents.formats.markdown_titles import title_of
from llmcli.documents.segments import Segment, has_letters, newline_of, texts_of
from llmcli.errors import BadDocument

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

name = "markdown"

_FRONT = re.compile(
    r"\ufeff?---[ \t]*(?:\r\n|\r|\n)(?P<yaml>(?:(?!(?:---|\.\.\.)[ \t]*(?:\r|\n|\Z))[^\r\n]*+(?:\r\n|\r|\n))*+)(?:---|\.\.\.)[ \t]*(?:\r\n|\r|\n|\Z)"
)
_TOML = re.compile(
    r"\ufeff?\+\+\+[ \t]*(?:\r\n|\r|\n)(?:(?!\+\+\+[ \t]*(?:\r|\n|\Z))[^\r\n]*+(?:\r\n|\r|\n))*+\+\+\+[ \t]*(?:\r\n|\r|\n|\Z)"
)
_FRONT_KEYS = frozenset(
    {"title", "subtitle", "description", "summary", "excerpt", "abstract", "tagline", "lead", "headline", "caption",
     "alt", "linktitle", "sidebar_label", "pagination_label", "nav_title", "short_title", "seo_title", "og_title",
     "og_description", "meta_title", "meta_description", "seodescription"}
)  # fmt: skip
_LINE_END = re.compile(r"\r\n|\r|\n")
_ATX = re.compile(r"(?:[\s>]|(?:[-+*]|\d{1,9}[.)])[ \t]+|\[\^[^\]]*\]:)*#{1,6}[ \t]+")
_ATTRIBUTES = re.compile(r"[ \t]*\{[:#.][^{}\n]*\}\Z")
_TASK = re.compile(r"\[[ xX]\][ \t]+")
_MARKERS = re.compile(r"(?:[\s>]|(?:[-+*]|\d{1,9}[.)])[ \t]+)*")
_SENTENCE_END = re.compile(r"[.!?:;\u2026\u3002\uff01\uff1f][\"')\]\u201d\u2019*_`]*\Z")
_NESTING = 100
_NARROWEST = 40
_WIDE = "\u2e80"
"""From here on are scripts without blanks between words."""


@dataclass(slots=True)
class _Source:
    """A document: its lines by number, and what the walk through the blocks knows."""

    text: str
    offset: int
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    references: frozenset[str] = frozenset()
    newline: str = "\n"
    headings: list[tuple[int, str]] = field(default_factory=list)

    def line(self, number: int) -> str:
        return self.text[self.starts[number] : self.ends[number]]

    def path(self) -> tuple[str, ...]:
        return tuple(words for _, words in self.headings)


def split(text: str, target: str) -> list[Segment]:
    """Return the paragraphs, headings and cells, and the words of front matter and HTML blocks."""
    front = _FRONT.match(text) or _TOML.match(text)
    segments = list(_front_matter(text, front, target)) if front and "yaml" in front.groupdict() else []
    text = text.replace("\0", "\ufffd")  # as markdown-it reads it
    source = _Source(text, front.end() if front else int(text.startswith("\ufeff")))
    at = source.offset
    for match in _LINE_END.finditer(text, at):
        source.starts.append(at)
        source.ends.append(match.start())
        at = match.end()
    source.starts.append(at)
    source.ends.append(len(text))
    source.newline = newline_of(text)
    env: dict[str, Any] = {}
    tokens = _parser().parse(text[source.offset :], env)
    source.references = frozenset(env.get("references", ()))
    segments += _blocks(source, tokens)
    for definition in env.get("references", {}).values():
        row = definition["map"][1] - 1
        title = title_of(source.line(row), definition["title"], source.starts[row])
        segments += [title] if title else []
    return sorted(segments, key=lambda segment: segment.start)


def check(text: str) -> str:
    """Any text is Markdown; its front matter has to be YAML."""
    front = _FRONT.match(text)
    if not front:
        return ""
    from llmcli.documents.formats import yaml_messages

    return yaml_messages.check(text[: front.end("yaml")])


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.footnote import footnote_plugin

    parser = MarkdownIt("commonmark", {"maxNesting": _NESTING}).enable("table")
    parser.use(footnote_plugin).use(dollarmath_plugin)
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def _front_matter(text: str, front: re.Match[str], target: str) -> Iterator[Segment]:
    """Yield the values of keys that readers see; front matter that is no YAML is left alone."""
    from llmcli.documents.formats import yaml_messages

    start, end = front.span("yaml")
    try:
        found = yaml_messages.split(text[start:end], target)
    except BadDocument:
        return
    for segment in found:
        if len(segment.path) == 1 and segment.path[0].lower() in _FRONT_KEYS:
            yield replace(segment, start=start + segment.start, end=start + segment.end, kind="attribute")


def _blocks(source: _Source, tokens: list[Token]) -> Iterator[Segment]:
    lists = 0
    cell_at = (-1, 0)  # line of the row and where to look for its next cell
    for index, token in enumerate(tokens):
        if token.type in {"list_item_open", "list_item_close"}:
            lists += token.nesting
        elif token.type == "html_block":
            yield from _html(source, token)
        elif token.type == "inline":
            kind = tokens[index - 1].type
            if kind in {"th_open", "td_open"}:
                segment, cell_at = _cell(source, token, cell_at)
                yield from [segment] if segment else []
            elif kind == "heading_open":
                yield from _heading(source, token, tokens[index - 1])
            else:
                yield from _paragraph(source, token, "item" if lists else "paragraph")


def _heading(source: _Source, token: Token, opening: Token) -> Iterator[Segment]:
    level = int(opening.tag[1])
    source.headings = [above for above in source.headings if above[0] < level]
    found = list(_atx(source, token) if opening.markup.startswith("#") else _paragraph(source, token, "heading"))
    yield from found
    if found:
        source.headings.append((level, found[-1].text))


def _atx(source: _Source, token: Token) -> Iterator[Segment]:
    """Find the words of a heading that begins with #."""
    row = token.map[0] if token.map else 0
    marker = _ATX.match(source.line(row))
    content = token.content.strip()
    start = source.starts[row] + (marker.end() if marker else 0)
    if not marker or not source.text.startswith(content, start):
        return
    content = _ATTRIBUTES.sub("", content)
    segment = _inline(source, start, start + len(content), content, "heading", shape="heading")
    yield from [segment] if segment else []


def _paragraph(source: _Source, token: Token, kind: str) -> Iterator[Segment]:
    """Find the lines of a paragraph in the source: each is the end of its source line, after quotes and indent.

    Lines that have to stand alone part it.
    """
    row = token.map[0] if token.map else 0
    places: list[tuple[int, int]] = []
    for number, content in enumerate(token.content.split("\n")):
        line = source.line(row + number).rstrip()
        content = content.strip()  # noqa: PLW2901
        if not content or not line.endswith(content):
            return
        end = source.starts[row + number] + len(line)
        places.append((end - len(content), end))
    if kind == "item" and (task := _TASK.match(source.text, *places[0])):
        places[0] = (task.end(), places[0][1])
    if kind == "heading":
        last = _ATTRIBUTES.sub("", source.text[slice(*places[-1])])
        places[-1] = (places[-1][0], places[-1][0] + len(last))
    first, before = 0, ""
    for number, (start, end) in enumerate(places):
        line = source.text[start:end]
        alone = stands_alone(line, before)
        if alone:
            yield from _lines(source, places[first:number], row + first, kind)
            # what goes on with its words (a definition does) is one text with them
            goes_on = alone[1] == len(line) > alone[0] and line.startswith(":")
            places[number] = (start + alone[0], start + alone[1])
            first = number if goes_on else number + 1
            if not goes_on:
                yield from _lines(source, [places[number]], row + number, kind)
        before = line
    yield from _lines(source, places[first:], row + first, kind)


def _lines(source: _Source, places: list[tuple[int, int]], row: int, kind: str) -> Iterator[Segment]:
    """Yield the segment of lines that belong together, the first of them at ``row``."""
    lines = [source.text[start:end] for start, end in places]
    if not lines or not lines[0] or not lines[-1]:
        return
    start, end = places[0][0], places[-1][1]
    if len(lines) == 1:
        segment = _inline(source, start, end, lines[0], kind)
    else:
        prefix = source.text[source.starts[row + 1] : places[1][0]]
        kept = all(_SENTENCE_END.search(line) for line in lines[:-1])
        words = _joined(source, lines, row, kept=kept)
        width = 0 if kept else max(_NARROWEST, *map(len, lines))
        segment = _inline(source, start, end, words, kind, prefix=prefix, width=width)
    if segment:
        yield segment


def _joined(source: _Source, lines: list[str], row: int, *, kept: bool) -> str:
    """Return the lines as one text: wrapped ones by blanks, lines that are sentences and hard breaks by line ends."""
    parts = []
    for number, line in enumerate(lines):
        if number == len(lines) - 1:
            parts.append(line)
        elif line.endswith("\\"):
            parts.append(line + "\n")
        elif source.line(row + number).endswith("  "):
            parts.append(line + "  \n")
        elif kept:
            parts.append(line + "\n")
        else:
            close = line[-1] >= _WIDE and lines[number + 1][:1] >= _WIDE
            parts.append(line if close else line + " ")
    return "".join(parts)


def _cell(source: _Source, token: Token, at: tuple[int, int]) -> tuple[Segment | None, tuple[int, int]]:
    """Find a cell in its row, from where the last one ended."""
    row = token.map[0] if token.map else 0
    line = source.line(row)
    begin = at[1] if at[0] == row else 0
    if not begin:
        marker = _MARKERS.match(line)
        begin = marker.end() if marker else 0
    content = token.content.strip()
    written = content.replace("|", "\\|")
    place = line.find(written, begin) if content else -1
    if place < 0:
        return None, (row, begin)
    start = source.starts[row] + place
    shape = "cell" if "|" in line[:place] else "first cell"
    segment = _inline(source, start, start + len(written), content, "cell", shape=shape)
    return segment, (row, place + len(written))


def _inline(
    source: _Source, start: int, end: int, content: str, kind: str, *, shape: str = "paragraph", prefix: str | None = None,
    width: int = 0,
) -> Segment | None:  # fmt: skip
    if not has_letters(content):
        return None
    inline = scan(content, source.references)
    if not has_letters(inline.text, inline.spans):
        return None
    wanted = texts_of(inline.text, inline.spans)
    layout = Layout(wanted, source.references, prefix, width, shape, source.newline)
    return Segment(start, end, inline.text, layout.encode, tuple(inline.spans), kind, source.path(), emphasis=True)


def _html(source: _Source, token: Token) -> Iterator[Segment]:
    """Yield the words of an HTML block, unless something (a quote's mark) stands between its lines."""
    from llmcli.documents.formats import html

    first, last = token.map or (0, 0)
    last = min(last, bisect_right(source.starts, len(source.text)))
    rows = range(first, last)
    contents = token.content.split("\n")
    if any(source.line(row).strip() != content.strip() for row, content in zip(rows, contents, strict=False)):
        return
    start, end = source.starts[first], source.ends[last - 1]
    for segment in html.split(source.text[start:end], ""):
        path = source.path() + segment.path
        yield replace(segment, start=start + segment.start, end=start + segment.end, path=path)
