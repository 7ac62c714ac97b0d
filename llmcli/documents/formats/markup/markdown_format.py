"""Markdown (CommonMark and GFM, footnotes, front matter, math): the blocks with words, by their source lines.

markdown-it finds the blocks; their text is then located in the source by the line numbers that it reports.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from llmcli.documents.formats.document_format import BLOCK_KINDS, DocumentFormat, line_lead, separate_block
from llmcli.documents.formats.markup.markdown_block_layout import BlockLayout, is_block_title, standalone_text_span
from llmcli.documents.formats.markup.markdown_inline import scan_inline
from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.documents.segments import Segment, has_letters, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import BLANKS, clean_translation, collapse_whitespace, detect_newline
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, replace, slotted

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

_YAML_FRONT_MATTER = re.compile(
    r"\ufeff?---[ \t]*(?:\r\n|\r|\n)(?P<yaml>(?:(?!(?:---|\.\.\.)[ \t]*(?:\r|\n|\Z))[^\r\n]*+(?:\r\n|\r|\n))*+)(?:---|\.\.\.)[ \t]*(?:\r\n|\r|\n|\Z)"
)
_TOML_FRONT_MATTER = re.compile(
    r"\ufeff?\+\+\+[ \t]*(?:\r\n|\r|\n)(?:(?!\+\+\+[ \t]*(?:\r|\n|\Z))[^\r\n]*+(?:\r\n|\r|\n))*+\+\+\+[ \t]*(?:\r\n|\r|\n|\Z)"
)
_FRONT_KEYS = frozenset(
    {"title", "subtitle", "description", "summary", "excerpt", "abstract", "tagline", "lead", "headline", "caption",
     "alt", "linktitle", "sidebar_label", "pagination_label", "nav_title", "short_title", "seo_title", "og_title",
     "og_description", "meta_title", "meta_description", "seodescription"}
)  # fmt: skip
_LINE_END = re.compile(r"\r\n|\r|\n")
_ATX = re.compile(r"(?:[\s>]|(?:[-+*]|\d{1,9}[.)])[ \t]+|\[\^[^\]]*\]:)*#{1,6}[ \t]+")
_ATTRIBUTES = re.compile(r"[ \t]*\{[ \t]*[:#.][^{}\n]*\}\Z")
_TASK = re.compile(r"\[[ xX]\][ \t]+")
_TARGET = r"(?:\([^()\n]*+\)|\[[^\[\]\n]*+\])"
_IMAGE_OR_LINK = rf"!?\[(?:!\[[^\[\]\n]*+\]{_TARGET}|[^\[\]\\\n]|\\.)*+\]{_TARGET}"
_LINKS_ONLY = re.compile(rf"(?:(?:{_IMAGE_OR_LINK}|<[^<>\n]++>)[ \t]*+(?:[|\u00b7\u2022][ \t]*+)?)++")
_MARKERS = re.compile(r"(?:[\s>]|(?:[-+*]|\d{1,9}[.)])[ \t]+)*")
_SENTENCE_END = re.compile(r"[.!?:;\u2026\u3002\uff01\uff1f][\"')\]\u201d\u2019*_`]*\Z")
_MAX_NESTING = 100
_BODY_INDENT = 4
"""Blanks before the content of a block of MkDocs."""
_MIN_WRAP_CHARS = 40
_FIRST_WIDE_CHARACTER = "\u2e80"
"""Above this code point are scripts without spaces between words."""
_BOX = re.compile(r"\[[ xX]\][ \t]+\Z")
_FOOTNOTE = re.compile(r"\[\^[^\]]*\]:[ \t]*\Z")
_TITLE_LEAD = re.compile(r"\[![\w-]+\][+-]?[ \t]+\Z|[\s>]*(?::{2,}|/{3,}|:[\w-]+:|\*\[|\|)")
_INDENTED_BELOW = re.compile(r"(?:\r\n|\r|\n)(?P<lead>[ \t>]*)\S")
_DEFINITION = re.compile(r"[\s>]*:[ \t]+\Z")
_DEFINED = re.compile(r"(?:\r\n|\r|\n)[\s>]*:[ \t]")
_TO_LINE_END = re.compile(r"[\r\n]|\Z")
_TITLE_AT_END = re.compile(
    r"(?:\A|(?<=\s))(?:\"(?P<double>(?:[^\"\\]|\\.){1,1000}+)\"|'(?P<single>(?:[^'\\]|\\.){1,1000}+)'"
    r"|\((?P<round>(?:[^()\\]|\\.){1,1000}+)\))[ \t]*\Z"
)
_ESCAPED_MARK = re.compile(r"\\([!-/:-@\[-`{-~])")
_TO_ESCAPE = re.compile(r"[\\\"'()]")


@slotted
class _SourceLines:
    """A document: its lines by number, and the state of the pass through its blocks."""

    text: str
    offset: int
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    references: frozenset[str] = frozenset()
    newline: str = "\n"
    headings: list[tuple[int, str]] = field(default_factory=list)
    directive_lines: dict[int, tuple[int, int]] = field(default_factory=dict)

    def line(self, number: int) -> str:
        return self.text[self.starts[number] : self.ends[number]]

    def has_no_words(self, token: Token) -> bool:
        """Whether a block begins in a directive whose content is no prose."""
        start, end = self.directive_lines.get(token.map[0], (0, 1)) if token.map is not None else (0, 1)
        return start == end

    def path(self) -> tuple[str, ...]:
        return tuple(words for _, words in self.headings)


_DIRECTIVE_MARKS = ("export ", "import ", "+--", "-- ", ":::", "///", "8<", "\\[", "\\begin{")
"""A text without any of them has no blocks of other programs."""


class MarkdownFormat(DocumentFormat):
    """Markdown."""

    name = "markdown"

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the paragraphs, headings and cells, and the words of front matter and HTML blocks."""
        front = _YAML_FRONT_MATTER.match(text) or _TOML_FRONT_MATTER.match(text)
        segments = list(_front_matter_segments(text, front, target)) if front and "yaml" in front.groupdict() else []
        text = text.replace("\0", "\ufffd")  # line ends as markdown-it reads them
        source = _SourceLines(text, front.end() if front else int(text.startswith("\ufeff")))
        at = source.offset
        for match in _LINE_END.finditer(text, at):
            source.starts.append(at)
            source.ends.append(match.start())
            at = match.end()
        source.starts.append(at)
        source.ends.append(len(text))
        source.newline = detect_newline(text)
        if any(mark in text for mark in _DIRECTIVE_MARKS):
            from llmcli.documents.formats.markup.markdown_directives import find_directive_lines

            source.directive_lines = find_directive_lines(text, [source.line(row) for row in range(len(source.starts))])
        env: dict[str, Any] = {}
        tokens = _parser().parse(text[source.offset :], env)
        source.references = frozenset(env.get("references", ()))
        segments += _block_segments(source, tokens)
        for definition in env.get("references", {}).values():
            row = definition["map"][1] - 1
            title = find_title_segment(source.line(row), definition["title"], source.starts[row])
            segments += [title] if title else []
        return sorted(segments, key=lambda segment: segment.start)

    def check(self, text: str) -> str:
        """Check the front matter, which has to be YAML; all other text is valid Markdown."""
        front = _YAML_FRONT_MATTER.match(text)
        if not front:
            return ""
        from llmcli.documents.formats.message_files import yaml_messages

        return yaml_messages.FORMAT.check(text[: front.end("yaml")])

    def bilingual_separator(self, text: str, segment: Segment) -> str:
        """Return what separates a segment from its translation: for a block, a blank line and the lead of its line."""
        if segment.kind in BLOCK_KINDS and segment.kind != "heading":
            return separate_markdown_block(text, segment)
        return super().bilingual_separator(text, segment)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.footnote import footnote_plugin

    parser = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable("table")
    parser.use(footnote_plugin).use(dollarmath_plugin)
    parser.block.ruler.before("fence", "mkdocs", _read_mkdocs_block, {"alt": ["paragraph", "blockquote", "list"]})
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def _read_mkdocs_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a block or tab of MkDocs: a line with its title is a paragraph, the indented lines below it are blocks."""
    title = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]].rstrip()
    if state.is_code_block(start) or not is_block_title(title):
        return False
    indent, body_end = state.sCount[start] + _BODY_INDENT, start + 1
    for number in range(start + 1, end):
        if not state.isEmpty(number):
            if state.sCount[number] < indent:
                break
            body_end = number + 1
    if body_end == start + 1:
        return False
    if silent:
        return True
    for kind, nesting in (("paragraph_open", 1), ("inline", 0), ("paragraph_close", -1)):
        token = state.push(kind, "", nesting)  # type: ignore[arg-type]
        token.map = [start, start + 1]
        token.content = title
    before = state.blkIndent, state.lineMax, state.parentType
    state.blkIndent, state.lineMax, state.parentType = indent, body_end, "root"
    state.md.block.tokenize(state, start + 1, body_end)
    state.blkIndent, state.lineMax, state.parentType = before
    state.line = body_end
    return True


def _front_matter_segments(text: str, front: re.Match[str], target: str) -> Iterator[Segment]:
    """Yield the values of keys that readers see; front matter that is not YAML is left alone."""
    from llmcli.documents.formats.message_files import yaml_messages

    start, end = front.span("yaml")
    try:
        found = yaml_messages.FORMAT.split(text[start:end], target)
    except BadDocument:
        return
    for segment in found:
        if len(segment.path) == 1 and segment.path[0].lower() in _FRONT_KEYS:
            yield replace(segment, start=start + segment.start, end=start + segment.end, kind="attribute")


def _block_segments(source: _SourceLines, tokens: list[Token]) -> Iterator[Segment]:
    lists = 0
    cell_at = (-1, 0)  # line of the row, and where to look for its next cell
    for index, token in enumerate(tokens):
        if token.type in {"list_item_open", "list_item_close"}:
            lists += token.nesting
        elif token.type == "html_block":
            yield from () if source.has_no_words(token) else _html_segments(source, token)
        elif token.type == "inline":
            kind = tokens[index - 1].type
            if kind in {"th_open", "td_open"}:
                segment, cell_at = _cell_segment(source, token, cell_at)
                yield from [segment] if segment else []
            elif kind == "heading_open":
                yield from _heading_segments(source, token, tokens[index - 1])
            else:
                yield from _paragraph_segments(source, token, "item" if lists else "paragraph")


def _heading_segments(source: _SourceLines, token: Token, opening: Token) -> Iterator[Segment]:
    level = int(opening.tag[1])
    source.headings = [above for above in source.headings if above[0] < level]
    found = list(
        _atx_heading_segments(source, token)
        if opening.markup.startswith("#")
        else _paragraph_segments(source, token, "heading")
    )
    yield from found
    if found:
        source.headings.append((level, found[-1].text))


def _atx_heading_segments(source: _SourceLines, token: Token) -> Iterator[Segment]:
    """Find the text of a heading that begins with #."""
    row = token.map[0] if token.map else 0
    marker = _ATX.match(source.line(row))
    content = token.content.strip()
    start = source.starts[row] + (marker.end() if marker else 0)
    if source.has_no_words(token) or not marker or not source.text.startswith(content, start):
        return
    content = _ATTRIBUTES.sub("", content)
    segment = _inline_segment(source, start, start + len(content), content, "heading", shape="heading")
    yield from [segment] if segment else []


def _paragraph_segments(source: _SourceLines, token: Token, kind: str) -> Iterator[Segment]:
    """Find the lines of a paragraph in the source: each is the end of its source line, after quotes and indent.

    Lines that have to stand alone split it, and so do all lines where each holds nothing but images and links.
    """
    row = token.map[0] if token.map else 0
    ranges: list[tuple[int, int]] = []
    for number, content in enumerate(token.content.split("\n")):
        line = source.line(row + number).rstrip(BLANKS)
        content = content.strip(BLANKS)  # noqa: PLW2901 (the same line, stripped)
        if not line.endswith(content):
            line = line.rstrip()  # the parser strips the last line
        if not content or not line.endswith(content):
            return
        end = source.starts[row + number] + len(line)
        ranges.append((end - len(content), end))
    if kind == "item" and (task := _TASK.match(source.text, *ranges[0])):
        ranges[0] = (task.end(), ranges[0][1])
    if kind == "heading":
        last = _ATTRIBUTES.sub("", source.text[slice(*ranges[-1])])
        ranges[-1] = (ranges[-1][0], ranges[-1][0] + len(last))
    are_links = all(_LINKS_ONLY.fullmatch(source.text, *line_range) for line_range in ranges)  # badges, a list of links
    first = 0
    for number, (start, end) in enumerate(ranges):
        line = source.text[start:end]
        alone = (0, len(line)) if are_links else source.directive_lines.get(row + number) or standalone_text_span(line)
        if alone:
            yield from _line_segments(source, ranges[first:number], row + first, kind)
            # words and the line that continues them (a definition) are one text
            goes_on = alone[1] == len(line) > alone[0] and line.startswith((": ", ":\t"))
            ranges[number] = (start + alone[0], start + alone[1])
            first = number if goes_on else number + 1
            if not goes_on:
                yield from _line_segments(source, [ranges[number]], row + number, kind)
    yield from _line_segments(source, ranges[first:], row + first, kind)


def _line_segments(source: _SourceLines, ranges: list[tuple[int, int]], row: int, kind: str) -> Iterator[Segment]:
    """Yield the segment of lines that belong together; the first one is at ``row``."""
    lines = [source.text[start:end] for start, end in ranges]
    if not lines or not lines[0] or not lines[-1]:
        return
    ranges[0] = (ranges[0][1] - len(lines[0].lstrip()), ranges[0][1])
    ranges[-1] = (ranges[-1][0], ranges[-1][0] + len(source.text[slice(*ranges[-1])].rstrip()))
    lines = [source.text[start:end] for start, end in ranges]
    start, end = ranges[0][0], ranges[-1][1]
    if len(lines) == 1:
        segment = _inline_segment(source, start, end, lines[0], kind)
    else:
        prefix = source.text[source.starts[row + 1] : ranges[1][0]]
        kept = all(_SENTENCE_END.search(line) for line in lines[:-1])
        words = _join_lines(source, lines, row, kept=kept)
        width = 0 if kept else max(_MIN_WRAP_CHARS, *map(len, lines))
        segment = _inline_segment(source, start, end, words, kind, prefix=prefix, width=width)
    if segment:
        yield segment


def _join_lines(source: _SourceLines, lines: list[str], row: int, *, kept: bool) -> str:
    """Return the lines as one text: wrapped lines are joined by blanks, sentence lines and hard breaks by line ends."""
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
            close = line[-1] >= _FIRST_WIDE_CHARACTER and lines[number + 1][:1] >= _FIRST_WIDE_CHARACTER
            parts.append(line if close else line + " ")
    return "".join(parts)


def _cell_segment(source: _SourceLines, token: Token, at: tuple[int, int]) -> tuple[Segment | None, tuple[int, int]]:
    """Find a cell in its row, starting at the end of the last one."""
    row = token.map[0] if token.map else 0
    line = source.line(row)
    begin = at[1] if at[0] == row else 0
    if not begin:
        marker = _MARKERS.match(line)
        begin = marker.end() if marker else 0
    content = token.content.strip()
    written = content.replace("|", "\\|")
    found = line.find(written, begin) if content and not source.has_no_words(token) else -1
    if found < 0:
        return None, (row, begin)
    start = source.starts[row] + found
    shape = "cell" if "|" in line[:found] else "first cell"
    segment = _inline_segment(source, start, start + len(written), content, "cell", shape=shape)
    return segment, (row, found + len(written))


def _inline_segment(
    source: _SourceLines, start: int, end: int, content: str, kind: str, *, shape: str = "paragraph", prefix: str | None = None,
    width: int = 0,
) -> Segment | None:  # fmt: skip
    if not has_letters(content):
        return None
    inline = scan_inline(content, source.references)
    if not has_letters(inline.text, inline.spans):
        return None
    wanted = protected_texts(inline.text, inline.spans)
    layout = BlockLayout(wanted, source.references, prefix, width, shape, source.newline)
    return Segment(start, end, inline.text, layout.encode, tuple(inline.spans), kind, source.path(), emphasis=True)


def _html_segments(source: _SourceLines, token: Token) -> Iterator[Segment]:
    """Yield the words of an HTML block, unless something (a quote mark) precedes its lines."""
    from llmcli.documents.formats.markup import html_format

    first, last = token.map or (0, 0)
    last = min(last, bisect_right(source.starts, len(source.text)))
    rows = range(first, last)
    contents = token.content.split("\n")
    if any(source.line(row).strip() != content.strip() for row, content in zip(rows, contents, strict=False)):
        return
    start, end = source.starts[first], source.ends[last - 1]
    for segment in html_format.FORMAT.split(source.text[start:end], ""):
        path = source.path() + segment.path
        yield replace(segment, start=start + segment.start, end=start + segment.end, path=path)


def separate_markdown_block(text: str, segment: Segment) -> str:
    """Return what separates a paragraph or an item from its translation without changing what it is."""
    lead = line_lead(text, segment)
    if _must_stay_on_line(text, segment, lead):
        return " / "
    if _DEFINITION.match(lead):
        return detect_newline(text) + lead
    return separate_block(text, _FOOTNOTE.sub("    ", _BOX.sub("", lead)))


def _must_stay_on_line(text: str, segment: Segment, lead: str) -> bool:
    """Whether the words have to stay on their line: titles of blocks, terms before a definition."""
    end = _TO_LINE_END.search(text, segment.end)
    rest = text[segment.end : end.start() if end else len(text)]
    if rest.strip() or _TITLE_LEAD.search(lead) or _DEFINED.match(text, segment.end + len(rest)):
        return True
    below = None if lead.strip(" \t>") else _INDENTED_BELOW.match(text, segment.end + len(rest))
    return below is not None and len(below["lead"]) > len(lead)


def find_title_segment(line: str, title: str, start: int) -> Segment | None:
    """Return the segment of ``title`` if the whole title ends ``line``, which is at ``start`` in the document."""
    found = _TITLE_AT_END.search(line)
    if found is None or found.lastgroup is None:
        return None
    text = _ESCAPED_MARK.sub(r"\1", found[found.lastgroup])
    if html.unescape(text) != title or text != text.strip():
        return None
    spans = tuple(find_spans(text, PLAIN_TEXT_KINDS - {"code", "tag"}))
    if not has_letters(text, spans):
        return None
    first, end = found.span(found.lastgroup)
    return Segment(
        start + first,
        start + end,
        text,
        partial(_encode_title, wanted=protected_texts(text, spans)),
        spans,
        "attribute",
    )


def _encode_title(translation: str, *, wanted: tuple[str, ...]) -> str:
    parts = split_at_protected(translation, wanted)
    words = "".join(part if kept else collapse_whitespace(clean_translation(part)) for part, kept in parts)
    return _TO_ESCAPE.sub(r"\\\g<0>", words.strip())


FORMAT = MarkdownFormat()
