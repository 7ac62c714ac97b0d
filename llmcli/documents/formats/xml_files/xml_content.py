"""The content of an XML element as a translator reads it: words, and protected texts that are written as they were.

Tags inside the content are protected. So is a whole element in it that holds code. A text that is protected for another
reason ("%s", or the "<b>" of an escaped "&lt;b&gt;") is written in the escapes that the format needs.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import cache

from llmcli.documents.formats.markup.message_markdown import protect_markdown
from llmcli.documents.formats.message_files import icu_messages
from llmcli.documents.formats.xml_files.xml_elements import (
    REFERENCE,
    TOKEN,
    XmlAttribute,
    decode_references,
    escape_text,
    parse_attributes,
)
from llmcli.documents.protected_spans import MESSAGE_KINDS, add_composite_format, find_message_syntax, find_spans
from llmcli.documents.segments import Segment, Span, has_letters, split_at_protected
from llmcli.documents.text_cleaning import LineNormalizer, double_braces, double_percent
from llmcli.fast_dataclass import field, frozen, slotted

_TAG = r"{open}/?[A-Za-z][\w:.-]*+(?:[\s/](?:(?!{open}|{close}).)*+)?{close}"
_ESCAPED_TAG, _CDATA_TAG = _TAG.format(open="&lt;", close="(?:&gt;|>)"), _TAG.format(open="<", close=">")
"""The tags of another markup, in words and in a CDATA section."""
_CDATA_ALONE = re.compile(r"\s*<!\[CDATA\[(?P<words>(?:(?!\]\]>|<!\[CDATA\[).)*)\]\]>\s*\Z", re.DOTALL)

IsOpaque = Callable[[str, dict[str, XmlAttribute]], bool]
"""Says whether an element, by its local name and its attributes, holds code, which is not translated."""


def _no_element(_name: str, _attributes: dict[str, XmlAttribute]) -> bool:
    return False


@frozen
class ContentSyntax:
    """How a format writes words in XML.

    ``decode`` and ``encode`` are what the format adds to the escapes of XML (a backslash before an apostrophe).
    ``kept``: a regular expression of escapes that stay as they are. ``has_printf``: a "%" in a message with a printf
    placeholder is doubled. ``has_composite_format``: a brace in a message with "{0}" is doubled, as .NET expects.
    ``kinds``: what is protected in words otherwise.
    """

    is_opaque: IsOpaque = _no_element
    decode: Callable[[str], str] = str
    encode: Callable[[str], str] = str
    kept: str = "(?!)"
    has_printf: bool = False
    has_composite_format: bool = False
    kinds: frozenset[str] = MESSAGE_KINDS


@slotted
class XmlContent:
    """The content of an element: its offsets without blanks at the ends, its text, and what is protected in it.

    ``written`` are the protected texts as the document has them, ``edges`` the escaped blanks around the text.
    """

    start: int
    end: int
    text: str
    spans: tuple[Span, ...]
    written: tuple[str, ...]
    source: str
    """The content as the document has it, from ``start`` to ``end``."""
    syntax: ContentSyntax
    edges: tuple[str, str] = ("", "")
    icu: bool = False
    doubles_percent: bool = False
    doubles_braces: bool = False
    in_cdata: bool = False

    @property
    def has_words(self) -> bool:
        """Whether there is something to translate."""
        return has_letters(self.text, self.spans)

    def message_segment(self, path: tuple[str, ...], note: str) -> Segment | None:
        """Return the segment of a message, None if there is nothing to translate."""
        if not self.has_words:
            return None
        return Segment(self.start, self.end, self.text, self.write, self.spans, "message", path, note)

    def write(self, translation: str) -> str:
        """Return a translation as XML."""
        if translation.strip() == self.text:
            return self.source
        wanted = [self.text[span.start : span.end] for span in self.spans]
        written = defaultdict(list)
        for words, raw in zip(wanted, self.written, strict=True):
            written[words].append(raw)
        clean, parts = LineNormalizer(self.text), []
        for words, kept in split_at_protected(translation.strip(), wanted):
            parts.append(written[words].pop(0) if kept else self._write_words(clean(words)))
        return self.edges[0] + "".join(parts) + self.edges[1]

    def write_literally(self, text: str) -> str:
        """Return a text that means the same in each syntax of messages, such as blanks, as XML."""
        return _escape(self.syntax.encode(text), in_cdata=self.in_cdata)

    def _write_words(self, words: str) -> str:
        if self.icu:
            words = icu_messages.choose_quoting(self.text)(words)
        if self.doubles_percent:
            words = double_percent(words)
        if self.doubles_braces:
            words = double_braces(words)
        return _escape(self.syntax.encode(words), in_cdata=self.in_cdata)


@slotted
class _ContentParts:
    """The parts of a content: what the translator reads, the kind of what is protected, and how it is written."""

    texts: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    def add(self, text: str, kind: str = "", written: str = "") -> None:
        if not text:
            return
        if not kind and self.kinds and not self.kinds[-1]:
            self.texts[-1] += text
            return
        self.texts.append(text)
        self.kinds.append(kind)
        self.written.append(written)


def read_content(text: str, start: int, end: int, syntax: ContentSyntax) -> XmlContent:
    """Return the content from ``start`` to ``end``; one CDATA section alone keeps its brackets."""
    section = _CDATA_ALONE.match(text, start, end)
    if section:
        start, end = section.span("words")
    raw = text[start:end]
    if raw.strip():
        start, end = start + len(raw) - len(raw.lstrip()), end - (len(raw) - len(raw.rstrip()))
    parts = _ContentParts()
    if section:
        _read_words(text[start:end], syntax, parts, in_cdata=True)
    else:
        _read_parts(text, start, end, syntax, parts)
    content = XmlContent(start, end, "".join(parts.texts), (), (), text[start:end], syntax, in_cdata=bool(section))
    _protect(content, parts)
    _strip_edges(content)
    return content


def _read_parts(text: str, start: int, end: int, syntax: ContentSyntax, parts: _ContentParts) -> None:
    opaque: list[str] = []  # the open elements from the outermost one that holds code
    opaque_start = at = start
    for match in TOKEN.finditer(text, start, end):
        name = (match["open"] or match["close"] or "").rpartition(":")[2]
        if not opaque:
            _read_words(text[at : match.start()], syntax, parts)
        at = match.end()
        if match["open"] and not match["empty"]:
            if not opaque and not syntax.is_opaque(name, parse_attributes(match)):
                parts.add(match[0], "tag", match[0])
                continue
            opaque_start = opaque_start if opaque else match.start()
            opaque.append(name)
        elif match["close"] and opaque:
            opaque.pop()
            if not opaque:
                parts.add(text[opaque_start:at], "code", text[opaque_start:at])
        elif not opaque:
            is_tag = match["open"] or match["close"]
            parts.add(match[0], "tag" if is_tag else "code", match[0])
    _read_words(text[at:end], syntax, parts)


def _read_words(written: str, syntax: ContentSyntax, parts: _ContentParts, *, in_cdata: bool = False) -> None:
    """Read text without markup.

    Escaped tags stay, and references to invisible characters and the document's entities.
    """
    decode = str if in_cdata else decode_references
    at = 0
    for match in _kept_texts(syntax.kept, in_cdata=in_cdata).finditer(written):
        read, kind = decode(match[0]), "tag" if match["tag"] else "entity"
        if not match["tag"] and not match["kept"]:
            if not (read == match[0] and match["name"]) and (read.isprintable() or read == "\n"):
                continue
            read = match[0]
        parts.add(syntax.decode(decode(written[at : match.start()])))
        parts.add(read, kind, match[0])
        at = match.end()
    parts.add(syntax.decode(decode(written[at:])))


@cache
def _kept_texts(kept: str, *, in_cdata: bool) -> re.Pattern[str]:
    """Return the pattern of what may stay as it is written."""
    reference = "(?P<name>(?!))" if in_cdata else REFERENCE.pattern
    return re.compile(rf"(?P<tag>{_CDATA_TAG if in_cdata else _ESCAPED_TAG})|(?P<kept>{kept})|{reference}", re.DOTALL)


def _protect(content: XmlContent, parts: _ContentParts) -> None:
    """Find what else is protected in the words of a content."""
    fixed, at = [], 0
    for text, kind, written in zip(parts.texts, parts.kinds, parts.written, strict=True):
        if kind:
            fixed.append((Span(at, at + len(text), kind), written))
        at += len(text)
    words, at = [], 0
    for span, _ in fixed:  # line ends in place of the markup: no syntax of placeholders has any
        words += [content.text[at : span.start], "\n" * (span.end - span.start)]
        at = span.end
    visible = "".join([*words, content.text[at:]])
    content.icu = icu_messages.is_icu(visible)
    loose = icu_messages.find_message_spans(visible, icu=True) if content.icu else []
    if any(span.start < inner.end and inner.start < span.end for span in loose for inner, _ in fixed):
        content.icu = False
    if not content.icu:
        if content.syntax.has_printf:
            loose, content.doubles_percent = find_message_syntax(visible)
        else:
            loose = find_spans(visible, content.syntax.kinds)
        if content.syntax.has_composite_format:
            loose, content.doubles_braces = add_composite_format(visible, loose)
    elements = [span for span, _ in fixed if span.kind in {"tag", "code"}]
    fixed += [(span, content.write_literally(content.text[span.start : span.end])) for span in loose]
    fixed.sort(key=lambda pair: pair[0].start)
    content.spans = tuple(protect_markdown(content.text, [span for span, _ in fixed], elements))
    content.written = tuple(_write_spans(content, fixed))


def _write_spans(content: XmlContent, known: list[tuple[Span, str]]) -> Iterator[str]:
    """Yield how the document has the spans of a content, each of which may cover several of the ``known`` ones."""
    left = deque(known)
    for span in content.spans:
        parts, at = [], span.start
        while left and left[0][0].end <= span.end:
            inner, written = left.popleft()
            parts += [content.write_literally(content.text[at : inner.start]), written]
            at = inner.end
        yield "".join([*parts, content.write_literally(content.text[at : span.end])])


def _strip_edges(content: XmlContent) -> None:
    """Move blanks at the ends of the text, which are escaped in the document, out of the translator's sight."""
    text = content.text
    core = text.strip()
    if core == text or not core:
        return
    first = len(text) - len(text.lstrip())
    last = first + len(core)
    kept = [
        (Span(max(span.start, first) - first, min(span.end, last) - first, span.kind), written)
        for span, written in zip(content.spans, content.written, strict=True)
        if span.end > first and span.start < last
    ]
    content.text = core
    content.spans, content.written = tuple(span for span, _ in kept), tuple(written for _, written in kept)
    content.edges = content.write_literally(text[:first]), content.write_literally(text[last:])


def _escape(text: str, *, in_cdata: bool) -> str:
    return text.replace("]]>", "]]]]><![CDATA[>") if in_cdata else escape_text(text)
