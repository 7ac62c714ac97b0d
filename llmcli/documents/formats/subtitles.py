"""SubRip and WebVTT: one segment a cue. Timing, settings, notes and styles are never changed.

Sources of the grammars: the WebVTT standard (W3C). SubRip has no standard; it follows what players read.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.protected_spans import find_spans
from llmcli.documents.segments import Segment, Span, has_letters, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import clean_translation, detect_newline, remove_empty_lines
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen

_DEFAULT_LINE_CHARS = 42
"""The most characters that broadcasters allow on a line; documents with longer lines keep their own maximum."""
_LINE = re.compile(r"(?P<words>[^\r\n]*)(?P<end>\r\n|\r|\n|\Z)")
_SRT_TIMING = re.compile(
    r"[ \t]*-?\d+:\d\d?:\d\d?(?:[,.:]\d{1,3})?[ \t]*-->[ \t]*-?\d+:\d\d?:\d\d?(?:[,.:]\d{1,3})?(?:[ \t].*)?\Z"
)
_VTT_TIMING = re.compile(r"(?:\d+:)?\d\d:\d\d\.\d{3}[ \t]+-->[ \t]+(?:\d+:)?\d\d:\d\d\.\d{3}(?:[ \t].*)?\Z")
_VTT_START = re.compile(r"\ufeff?WEBVTT(?:[ \t]|\Z)")
_SRT_TAG = re.compile(r"</?(?:[biusBIUS]|font|FONT)(?:\s[^<>\n]*+)?>|\{\\[^{}\n]*+\}")
_VTT_TAG = re.compile(r"<(?:/?[a-zA-Z][^<>\n]*+|/|\d[\d:.]*+)>")
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#39);")
_PROTECTED_KINDS = frozenset({"control", "url", "email", "mustache", "brace", "entity"})
_WORD = re.compile(r"(?:<[^<>]*>|\{\\[^{}]*\}|[^\s<{]++|[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]|\S)++")
_TIME = re.compile(r"(?<!\d)\d+:\d{1,2}(?::\d{1,2})?[.,]\d{1,3}")
_UNTAGGED = str.maketrans("<{\\", "(((")
_DIGITS = re.compile(r"\s*\d+\s*\Z")


@frozen
class _Cue:
    """The lines of a cue that people read, from the first visible character to the last."""

    start: int
    end: int


@frozen
class _SourceLine:
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@frozen
class _Dialect:
    """What distinguishes one format of subtitles from the other."""

    name: str
    """pysubs2 uses this name too."""
    tag: re.Pattern[str]
    timing: re.Pattern[str]
    first_line: re.Pattern[str] | None
    """What a file begins with, None if it begins with a cue."""
    is_numbered: bool
    """Whether a number may precede a timing."""
    blank_line_ends_cue: bool
    has_notes: bool
    """Whether there are comments."""
    is_escaped: bool
    """Whether ``<``, ``>`` and ``&`` are escaped as in HTML."""


class SubtitleFormat(DocumentFormat):
    """A format of subtitles."""

    def __init__(self, dialect: _Dialect) -> None:
        self.name = dialect.name
        self._dialect = dialect

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the cues that contain words."""
        del target
        cues = list(self._parse_cues(text))
        longest = max((len(self._dialect.tag.sub("", row.text)) for cue in cues for row in _split_lines(text[cue.start : cue.end])),
                      default=0)  # fmt: skip
        newline = detect_newline(text)
        found = (self._cue_segment(text, cue, max(_DEFAULT_LINE_CHARS, longest), newline) for cue in cues)
        return [segment for segment in found if segment]

    def check(self, text: str) -> str:
        """Parse with pysubs2, and compare the cues that it finds with the timings."""
        import pysubs2

        try:
            cues = sum(1 for _ in self._parse_cues(text, empty=True))
        except BadDocument as error:
            return f"line {error.line}: {error.detail}"
        if not cues:
            return ""
        lines = text.removeprefix("\ufeff").splitlines()  # without tags: times in tags are no timings
        body = "\n".join(
            line if "-->" in line else self._dialect.tag.sub("(", line).translate(_UNTAGGED) for line in lines
        )
        try:
            read = pysubs2.SSAFile.from_string(body, format_=self.name)
        except (pysubs2.exceptions.Pysubs2Error, ValueError) as error:
            return f"line 1: {error}"
        return "" if len(read) == cues else f"line 1: {cues} timings, but players find {len(read)} cues"

    def _parse_cues(self, text: str, *, empty: bool = False) -> Iterator[_Cue]:
        """Yield the paragraphs of text under each timing; with ``empty`` one item for each timing instead."""
        rows = _split_lines(text)
        first_line, has_text = self._dialect.first_line, bool(text.strip("\ufeff \t\r\n"))
        if first_line and has_text and not first_line.match(rows[0].text):
            raise BadDocument(line=1, detail="the first line is not WEBVTT")
        timings = [index for index, row in enumerate(rows) if "-->" in row.text]
        for index in timings:
            if not self._dialect.timing.match(rows[index].text) and not self._is_note(rows, index):
                raise BadDocument(
                    line=index + 1, detail=f"expected a timing instead of {rows[index].text.strip()[:60]}"
                )
        timings = [index for index in timings if self._dialect.timing.match(rows[index].text)]
        if not timings and not first_line and has_text:
            raise BadDocument(line=1, detail="no timings")
        for index, after in pairwise([*timings, len(rows)]):
            if empty:
                yield _Cue(rows[index].start, rows[index].end)
                continue
            is_number = self._dialect.is_numbered and after < len(rows) and bool(_DIGITS.match(rows[after - 1].text))
            yield from self._cue_paragraphs(rows[index + 1 : after - is_number])

    def _cue_paragraphs(self, rows: list[_SourceLine]) -> Iterator[_Cue]:
        """Yield the texts between empty lines; in WebVTT only the first, since an empty line ends the cue."""
        run: list[_SourceLine] = []
        for row in [*rows, _SourceLine(0, "")]:
            if row.text.strip():
                run.append(row)
                continue
            if run:
                first, last = run[0], run[-1]
                start = first.start + len(first.text) - len(first.text.lstrip())
                yield _Cue(start, last.start + len(last.text.rstrip()))
            if self._dialect.blank_line_ends_cue:
                return
            run = []

    def _is_note(self, rows: list[_SourceLine], index: int) -> bool:
        """Whether a line is part of a comment, where an arrow is no timing."""
        if not self._dialect.has_notes:
            return False
        while index and rows[index - 1].text.strip():
            index -= 1
        return rows[index].text.startswith(("NOTE", "WEBVTT", "\ufeffWEBVTT"))

    def _cue_segment(self, text: str, cue: _Cue, width: int, newline: str) -> Segment | None:
        lines = [row.text.strip(" \t") for row in _split_lines(text[cue.start : cue.end])]
        read, spans = self._decode_cue("\n".join(lines).strip())
        if not has_letters(read, spans):
            return None
        encode = partial(
            _encode,
            wanted=protected_texts(read, spans),
            escape=self._dialect.is_escaped,
            width=width,
            newline=newline,
            tag=self._dialect.tag,
        )
        return Segment(cue.start, cue.end, read, encode, tuple(spans), "cue", max_width=width)

    def _decode_cue(self, written: str) -> tuple[str, list[Span]]:
        """Return the text of a cue as people read it, and its tags and addresses."""
        parts, spans, at, length = [], [], 0, 0
        for match in [*self._dialect.tag.finditer(written), None]:
            words = written[at : match.start() if match else len(written)]
            if self._dialect.is_escaped:
                words = _ENTITY.sub(lambda found: html.unescape(found.group()), words)
            spans += [Span(length + s.start, length + s.end, s.kind) for s in find_spans(words, _PROTECTED_KINDS)]
            parts.append(words)
            length += len(words)
            if match:
                spans.append(Span(length, length + len(match.group()), "tag"))
                parts.append(match.group())
                length += len(match.group())
                at = match.end()
        return "".join(parts), spans


def _split_lines(text: str) -> list[_SourceLine]:
    return [_SourceLine(match.start(), match["words"]) for match in _LINE.finditer(text)]


def _encode(
    translation: str, *, wanted: tuple[str, ...], escape: bool, width: int, newline: str, tag: re.Pattern[str]
) -> str:
    parts = []
    for words, kept in split_at_protected(translation.strip(), wanted):
        if kept:
            parts.append(words if not escape or words.startswith(("<", "&")) else html.escape(words, quote=False))
            continue
        if escape:
            parts.append(html.escape(clean_translation(words), quote=False))
        else:
            loose = clean_translation(words).replace("-->", "\u2192")
            parts.append(tag.sub(lambda match: match.group().replace("<", "\u2039").replace("{", "("), loose))
    text = remove_empty_lines("".join(parts)).strip()
    lines = [wrapped for line in text.split("\n") for wrapped in _wrap_line(line, width, tag)]
    return newline.join(_defuse_timing(line, tag) for line in lines).replace("-->", "\u2192")


def _defuse_timing(line: str, tag: re.Pattern[str]) -> str:
    """Change a line that players would take for a timing: they look for two times in it."""
    if len(_TIME.findall(line)) < 2:  # noqa: PLR2004 (a beginning and an end)
        return line
    tags = [match.group() for match in tag.finditer(line)]
    words = [_TIME.sub(lambda match: match.group().replace(":", "."), part) for part in tag.split(line)]
    return "".join(part + mark for part, mark in zip(words, [*tags, ""], strict=True))


def _wrap_line(line: str, width: int, tag: re.Pattern[str]) -> list[str]:
    """Break a long line into lines of similar length; a word longer than that stays whole."""
    length = len(tag.sub("", line))
    if length <= width:
        return [line]
    aim = min(width, -(-length // -(-length // width)) + 6)
    lines: list[list[str]] = []
    size = width
    for word in _WORD.findall(line):
        seen = len(tag.sub("", word))
        if lines and size + 1 + seen <= aim:
            lines[-1].append(word)
            size += 1 + seen
        else:
            lines.append([word])
            size = seen
    return [" ".join(words) for words in lines]


SRT = SubtitleFormat(
    _Dialect(
        "srt",
        _SRT_TAG,
        _SRT_TIMING,
        first_line=None,
        is_numbered=True,
        blank_line_ends_cue=False,
        has_notes=False,
        is_escaped=False,
    )
)
VTT = SubtitleFormat(
    _Dialect(
        "vtt",
        _VTT_TAG,
        _VTT_TIMING,
        first_line=_VTT_START,
        is_numbered=False,
        blank_line_ends_cue=True,
        has_notes=True,
        is_escaped=True,
    )
)
