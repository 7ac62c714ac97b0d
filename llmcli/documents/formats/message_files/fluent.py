"""Fluent (.ftl): the values and attributes of messages, with the comments before them as notes.

A value that is one selector is translated variant by variant, with the plural forms of the target language. Not
translated: terms, which name products, the attributes for keys and styles, and a selector inside of a sentence. Source:
"Fluent Syntax 1.0" (projectfluent.org).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat, find_problem
from llmcli.documents.formats.markup.message_markdown import protect_markdown
from llmcli.documents.formats.message_files.plural_categories import CATEGORIES, PluralItem, plural_segments
from llmcli.documents.protected_spans import find_spans
from llmcli.documents.segments import Segment, Span, has_letters, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import LineNormalizer
from llmcli.documents.text_lines import blanks_before, line_at
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, frozen, slotted

_ENTRY = re.compile(r"(?P<id>-?[A-Za-z][\w-]*)[ ]*=[ ]*")
_ATTRIBUTE = re.compile(r"(?:[ ]*(?:\r\n|\n))+[ ]*\.(?P<id>[A-Za-z][\w-]*)[ ]*=[ ]*")
_COMMENT = re.compile(r"#{1,3}(?:[ ](?P<words>[^\r\n]*))?(?=\r|\n|\Z)")
_LINE_BREAK = re.compile(r"[ ]*(?:\r\n|\n)(?:[ ]*(?:\r\n|\n))*(?P<indent>[ ]*)(?P<next>[^\r\n]|\Z)")
_TEXT = re.compile(r"(?:[^{}\r\n]|\r(?!\n))+")
_PLACEABLE_TOKEN = re.compile(r"(?:[^{}\"\-]|-(?!>))+|\"(?:[^\"\\\r\n]|\\.)*\"|->|[{}\"]")
_LINE_END = re.compile(r"\r\n|\n")
_BLANK_LINE = re.compile(r"(?<=\n)[ ]+(?=\r?\n)")
_VARIANT = re.compile(r"\s*(?P<star>\*?)\[[ \t\r\n]*(?P<key>[\w.-]+)[ \t\r\n]*\][ ]*")
_MAX_NESTING = 50
_KEY_ATTRIBUTES = frozenset({"accesskey", "commandkey", "key", "keycode", "style"})
_WORD_KINDS = frozenset({"control", "tag", "url", "email", "entities"})


@slotted
class _Pattern:
    """A value: its offsets, those of its placeables, and the variants of the only one if it is a selector.

    ``is_block``: it begins on a line of its own. ``indent``: that of its lines after the first.
    """

    start: int
    end: int
    is_block: bool = False
    indent: str = ""
    placeables: list[tuple[int, int]] = field(default_factory=list)
    variants: list[_Variant] = field(default_factory=list)
    has_selector: bool = False


@frozen
class _Variant:
    """A variant of a selector, from its bracket or star on."""

    key: str
    start: int
    pattern: _Pattern
    is_default: bool


class FluentFormat(DocumentFormat):
    """Fluent."""

    name = "fluent"
    can_interleave = False
    is_keyed = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the values, attributes and variants that contain words."""
        found: list[Segment] = []
        for path, note, pattern in _Parser(text).entries():
            if not path[0].startswith("-") and path[-1] not in _KEY_ATTRIBUTES:
                found += _pattern_segments(text, pattern, path, note, target)
        return found

    def check(self, text: str) -> str:
        """Parse it again."""
        return find_problem(_Parser(text).entries())


class _Parser:
    """Reads the entries of a file; raises ``BadDocument`` for what is none."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = int(text.startswith("\ufeff"))

    def entries(self) -> Iterator[tuple[tuple[str, ...], str, _Pattern]]:
        """Yield the path, the note and the value of each message, term and attribute."""
        text, notes = self._text, list[str]()
        while self._at < len(text):
            if comment := _COMMENT.match(text, self._at):
                notes = [*notes, comment["words"] or ""] if comment[0].startswith("# ") else []
                self._at = comment.end()
            elif blank := re.compile(r"[ ]*(?:\r\n|\n|\Z)").match(text, self._at):
                notes = [] if blank.start() == 0 or text[blank.start() - 1] == "\n" else notes
                self._at = blank.end()
            elif entry := _ENTRY.match(text, self._at):
                note, notes = "\n".join(notes), []
                self._at = entry.end()
                yield from self._read_entry(entry["id"], note)
            else:
                raise self._error(self._at, f"unexpected {text[self._at : self._at + 20].splitlines()[0]}")

    def _read_entry(self, name: str, note: str) -> Iterator[tuple[tuple[str, ...], str, _Pattern]]:
        begin = self._at
        pattern = self._read_pattern(0)
        if pattern.end > pattern.start:
            yield (name,), note, pattern
        has_attribute = False
        while attribute := _ATTRIBUTE.match(self._text, self._at):
            self._at = attribute.end()
            has_attribute = True
            value = self._read_pattern(0)
            if value.end == value.start:
                raise self._error(self._at, f"{attribute['id']} has no value")
            yield (name, attribute["id"]), note, value
        if pattern.end == pattern.start and not has_attribute:
            raise self._error(begin, f"{name} has no value")
        if self._at < len(self._text) and self._text[self._at] not in "\r\n":
            raise self._error(self._at, f"unexpected {self._text[self._at]}")

    def _read_pattern(self, depth: int) -> _Pattern:
        """Read a value up to the line end, bracket or brace behind it."""
        text, pattern = self._text, _Pattern(self._at, self._at)
        if depth > _MAX_NESTING:
            raise self._error(self._at, f"nested deeper than {_MAX_NESTING} levels")
        is_first = True
        while self._at < len(text):
            if (words := _TEXT.match(text, self._at)) and words[0].strip(" "):
                self._at = words.end()
                pattern.end = self._at - (len(words[0]) - len(words[0].rstrip(" ")))
                is_first = False
            elif words:
                self._at = words.end()
            elif text[self._at] == "{":
                begin = self._at
                self._read_placeable(pattern, depth)
                pattern.placeables.append((begin, self._at))
                pattern.end = self._at
                is_first = False
            else:
                line_break = _LINE_BREAK.match(text, self._at)
                follows = line_break["next"] if line_break else ""
                if (
                    line_break is None
                    or not follows
                    or follows in "}.[*"
                    or (not line_break["indent"] and follows != "{")
                ):
                    break
                self._at = line_break.start("next")
                if is_first:
                    pattern.start, pattern.is_block = self._at, True
                pattern.indent = pattern.indent or line_break["indent"]
        pattern.end = max(pattern.end, pattern.start) if not is_first else pattern.start
        return pattern

    def _read_placeable(self, pattern: _Pattern, depth: int) -> None:
        """Read a placeable with all that is inside of its braces."""
        begin, open_braces = self._at, 0
        while token := _PLACEABLE_TOKEN.match(self._text, self._at):
            self._at = token.end()
            if token[0] == "{":
                open_braces += 1
            elif token[0] == "}":
                open_braces -= 1
                if not open_braces:
                    return
            elif token[0] == '"':
                raise self._error(token.start(), "a text has no end")
            elif token[0] == "->":
                pattern.has_selector = True
                variants = self._read_variants(depth)
                pattern.variants = variants if open_braces == 1 else []
        raise self._error(begin, "a placeable has no end")

    def _read_variants(self, depth: int) -> list[_Variant]:
        found: list[_Variant] = []
        while match := _VARIANT.match(self._text, self._at):
            self._at = match.end()
            start = match.start("star") if match["star"] else self._text.index("[", match.start())
            value = self._read_pattern(depth + 1)
            if value.end == value.start:
                raise self._error(match.end(), f"[{match['key']}] has no value")
            found.append(_Variant(match["key"], start, value, bool(match["star"])))
        if sum(variant.is_default for variant in found) != 1:
            raise self._error(self._at, "a selector needs one default variant")
        return found

    def _error(self, at: int, detail: str) -> BadDocument:
        return BadDocument(line=line_at(self._text, at), detail=detail)


def _pattern_segments(text: str, pattern: _Pattern, path: tuple[str, ...], note: str, language: str) -> list[Segment]:
    """Return the segments of a value: one, or those of its variants."""
    whole = [(pattern.start, pattern.end)]
    if not pattern.has_selector:
        segment = _text_segment(text, pattern, path, note)
        return [segment] if segment else []
    if pattern.placeables != whole:
        return []
    keys = [variant.key for variant in pattern.variants]
    default = next((variant for variant in pattern.variants if variant.is_default), None)
    is_ordinal = "ordinal" in text[pattern.start : pattern.variants[0].start] if pattern.variants else False
    if (
        default
        and default.key == "other"
        and len(set(keys)) == len(keys)
        and not is_ordinal
        and (set(keys) & set(CATEGORIES)) - {"other"}
    ):
        items = {each.key: _variant_item(text, each, (*path, each.key), note) for each in pattern.variants}
        return plural_segments(items, language)
    found: list[Segment] = []
    for variant in pattern.variants:
        found += _pattern_segments(text, variant.pattern, (*path, variant.key), note, language)
    return found


def _variant_item(text: str, variant: _Variant, path: tuple[str, ...], note: str) -> PluralItem:
    pattern = variant.pattern
    segment = None if pattern.has_selector else _text_segment(text, pattern, path, note)
    blanks = blanks_before(text, variant.start)
    key_end = variant.start + variant.is_default + 1
    between = text[text.index("]", key_end) : pattern.start]

    def around(category: str) -> tuple[str, str]:
        return f"{' ' * variant.is_default}[{category}{between}", blanks

    written = text[pattern.start : pattern.end]
    return PluralItem(segment, written, variant.start - len(blanks), pattern.end, variant.start, around)


def _text_segment(text: str, pattern: _Pattern, path: tuple[str, ...], note: str) -> Segment | None:
    """Return the segment of a value without selectors; its lines lose their common indent."""
    read, fixed = "", list[Span]()
    at = pattern.start
    for start, end in [*pattern.placeables, (pattern.end, pattern.end)]:
        words = text[at:start]
        read += re.sub(rf"(?:\r\n|\n)(?:{re.escape(pattern.indent)})?", "\n", words)
        if end > start:
            fixed.append(Span(len(read), len(read) + end - start, "placeholder"))
            read += text[start:end]
        at = end
    spans, at = list[Span](), 0
    for span in [*fixed, Span(len(read), len(read), "")]:
        loose = find_spans(read[at : span.start], _WORD_KINDS)
        spans += [Span(at + each.start, at + each.end, each.kind) for each in loose]
        spans += [span] if span.end > span.start else []
        at = span.end
    spans = protect_markdown(read, spans)
    if not has_letters(read, spans) or read != read.strip():
        return None
    encode = partial(
        _encode,
        source=read,
        written=text[pattern.start : pattern.end],
        wanted=protected_texts(read, spans),
        newline=_line_end(text, pattern.end) + (pattern.indent or "    "),
        is_block=pattern.is_block,
    )
    return Segment(pattern.start, pattern.end, read, encode, tuple(spans), "message", path, note)


def _line_end(text: str, at: int) -> str:
    """Return how the line of an offset ends."""
    found = _LINE_END.search(text, at)
    return found[0] if found else "\n"


def _encode(
    translation: str, *, source: str, written: str, wanted: tuple[str, ...], newline: str, is_block: bool
) -> str:
    if translation.strip() == source:
        return written
    parts, clean = [], LineNormalizer(source)
    for words, kept in split_at_protected(translation.strip(), wanted):
        if kept:
            parts.append(words if words in written else words.replace("\n", newline))
            continue
        lines = re.sub(r"[{}]", r'{ "\g<0>" }', clean(words)).replace("\r", " ").split("\n")
        begins = [is_block and not parts, *[True] * (len(lines) - 1)]
        parts.append(
            newline.join(_escape_start(line) if first else line for line, first in zip(lines, begins, strict=True))
        )
    return _BLANK_LINE.sub("", "".join(parts))


def _escape_start(line: str) -> str:
    """Return a line that begins with no sign that means something there."""
    core = line.lstrip(" ")
    return f'{{ "{core[0]}" }}{core[1:]}' if core.startswith(("[", "*", ".")) else line


FORMAT = FluentFormat()
