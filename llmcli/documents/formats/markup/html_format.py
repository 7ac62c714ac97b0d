"""HTML: the text between block tags is a segment; the tags inside it and code are protected.

The translator gets white space collapsed, as browsers show it; text in ``pre`` is not translated. Ruby text says how to
read the words below it: a translator gets these words alone, and a translation has no ruby.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import partial

from llmcli.documents.formats.document_format import BLOCK_KINDS, DocumentFormat, declared_language
from llmcli.documents.formats.markup.html_tokenizer import HtmlAttribute, HtmlToken, parse_attributes, tokenize_html
from llmcli.documents.protected_spans import find_spans
from llmcli.documents.segments import Segment, Span, has_letters, protected_texts, split_at_protected
from llmcli.documents.text_cleaning import clean_translation, collapse_whitespace
from llmcli.documents.text_lines import line_at
from llmcli.fast_dataclass import field, slotted

_TEXT_ATTRIBUTES = frozenset(
    {"alt", "title", "placeholder", "aria-label", "aria-description", "aria-placeholder", "summary"}
)
"""Attributes that people read."""
_TEXT_META_NAMES = frozenset(
    {"description", "keywords", "og:title", "og:description", "og:image:alt", "og:site_name", "twitter:title",
     "twitter:description", "twitter:image:alt", "apple-mobile-web-app-title", "application-name"}
)  # fmt: skip
_BUTTON_TYPES = frozenset({"submit", "button", "reset"})
_SEGMENT_KINDS = {"title": "heading", "li": "item", "td": "cell", "th": "cell", "dt": "item", "dd": "item"}
_HEADING = re.compile(r"h[1-6]\Z")
_PROTECTED_KINDS = frozenset({"control", "url", "email", "placeholder", "entity"})
_ENTITY = re.compile(r"&(?:#\d{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};)")
_INVISIBLE_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\u00a0\u2002\u2003\u2009\u00ad\u200b-\u200f]\Z")
"""Invisible characters: their entities stay as they are, protected."""


@slotted
class _RunPart:
    """A part of a line of text: source text to translate, or a protected text with its kind.

    The kind "ruby" is what a translation does not have: tags of ruby, and how to read the words.
    """

    start: int
    end: int
    kind: str = ""
    token: HtmlToken | None = None
    quote: str = ""  # around the words of an attribute


@slotted
class _SplitState:
    """The state of the pass through the tokens."""

    text: str
    hidden: HiddenElements
    segments: list[Segment] = field(default_factory=list)
    run: list[_RunPart] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    block: str = ""
    in_reading: bool = False


class HtmlFormat(DocumentFormat):
    """HTML, or with ``is_xml`` its form in XML."""

    name = "html"

    def __init__(self, *, is_xml: bool = False) -> None:
        self._is_xml = is_xml

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the text of a page that people read: body text, titles, alternative texts, descriptions."""
        del target
        walk = _SplitState(text, HiddenElements(text))
        for token in tokenize_html(text, is_xml=self._is_xml):
            if walk.hidden.is_open:
                _handle_hidden(walk, token)
            elif token.kind == "text":
                walk.run.append(_RunPart(token.start, token.end, "ruby" if walk.in_reading else ""))
            elif token.kind == "raw":
                _add_raw_text(walk, token)
            elif token.kind == "other":
                walk.run.append(_RunPart(token.start, token.end, "tag", token))
            else:
                _handle_tag(walk, token)
                if walk.hidden.resume(token):
                    _end_segment(walk)
        _end_segment(walk)
        return sorted(walk.segments, key=lambda segment: segment.start)

    def check(self, text: str) -> str:
        """Return an error for tokens without an end; browsers accept all others."""
        raw = ""
        for token in tokenize_html(text, is_xml=self._is_xml):
            if not token.closed:
                return f"line {line_at(text, token.start)}: a tag or comment has no end"
            raw = token.name if token.kind == "raw" and token.end == len(text) else ""
        return f"<{raw}> has no end" if raw else ""

    def replace_language(self, text: str, segments: Sequence[Segment], source: str, target: str) -> str:
        """Return a page whose root element has the language ``target``, if it had ``source``."""
        del segments
        root = next((token for token in tokenize_html(text) if token.kind == "open"), None)
        if root is None or root.name != "html":
            return text
        declared = declared_language(source)
        pairs = [pair for pair in parse_attributes(text, root) if pair.name in {"lang", "xml:lang"}]
        for pair in reversed(pairs):
            if re.fullmatch(declared, text[pair.start : pair.end]):
                text = text[: pair.start] + target + text[pair.end :]
        return text

    def bilingual_separator(self, text: str, segment: Segment) -> str:
        """Return what separates a segment from its translation: for a block, a line break tag."""
        return "<br>" if segment.kind in BLOCK_KINDS else super().bilingual_separator(text, segment)


def _handle_hidden(walk: _SplitState, token: HtmlToken) -> None:
    """Skip a token inside an element that is not translated; an inline element becomes a protected text."""
    if walk.hidden.skip(token):
        _handle_tag(walk, token)
    elif walk.hidden.is_inline and not walk.hidden.is_open:
        walk.run.append(_RunPart(walk.hidden.start, token.end, "code"))


def _add_raw_text(walk: _SplitState, token: HtmlToken) -> None:
    one_line_only = "\n" not in walk.text[token.start : token.end]  # line ends are significant there
    if token.name == "title" or (token.name == "textarea" and one_line_only):
        walk.run.append(_RunPart(token.start, token.end))


def _handle_tag(walk: _SplitState, token: HtmlToken) -> None:
    pairs = parse_attributes(walk.text, token) if token.kind in {"open", "empty"} else []
    inline = token.name in INLINE_ELEMENTS
    if not inline:
        _end_segment(walk)
        walk.block = token.name if token.kind == "open" else ""
    if token.kind == "open" and token.name not in VOID_ELEMENTS and is_hidden(walk.text, token, pairs):
        walk.hidden.open(token, inline=inline)
        return
    if token.name in _RUBY_ELEMENTS or (walk.in_reading and inline):
        _add_ruby(walk, token)
        return
    words = _text_attributes(walk.text, token, pairs)
    if not inline:
        walk.segments += [
            found for pair in words if (found := _attribute_segment(walk.text, pair, _heading_path(walk)))
        ]
        return
    at = token.start
    for pair in words:
        walk.run += [_RunPart(at, pair.start, "tag", token), _RunPart(pair.start, pair.end, quote=pair.quote)]
        at = pair.end
    walk.run.append(_RunPart(at, token.end, "tag", token))


def _add_ruby(walk: _SplitState, token: HtmlToken) -> None:
    """Add a tag that a translation does not have; it may begin or end a reading."""
    if token.name in _RUBY_ELEMENTS:
        walk.in_reading = token.name in _READINGS and token.kind == "open"
    walk.run.append(_RunPart(token.start, token.end, "ruby"))


def _text_attributes(text: str, token: HtmlToken, pairs: list[HtmlAttribute]) -> list[HtmlAttribute]:
    """Return the attributes of a tag that people read, in order; an attribute without quotes is skipped."""
    values = {pair.name: text[pair.start : pair.end].lower() for pair in pairs}
    if values.get("translate") == "no" or not token.closed:
        return []
    read = set(_TEXT_ATTRIBUTES)
    if token.name == "meta":
        read = {"content"} if {values.get("name"), values.get("property")} & _TEXT_META_NAMES else set()
    elif token.name == "input" and values.get("type") in _BUTTON_TYPES:
        read.add("value")
    elif token.name in {"option", "optgroup", "track"}:
        read.add("label")
    return [pair for pair in pairs if pair.name in read and pair.quote and has_letters(text[pair.start : pair.end])]


def _attribute_segment(text: str, pair: HtmlAttribute, path: tuple[str, ...]) -> Segment | None:
    return _make_segment(text, [_RunPart(pair.start, pair.end)], "attribute", path, pair.quote)


def _heading_path(walk: _SplitState) -> tuple[str, ...]:
    return tuple(words for _, words in walk.headings)


def _end_segment(walk: _SplitState) -> None:
    """End the segment at the border of a block."""
    walk.in_reading = False
    run, walk.run = _trim_run(walk.text, walk.run), []
    heading = bool(_HEADING.match(walk.block))
    level = int(walk.block[1]) if heading else 0
    if heading and run:
        walk.headings = [above for above in walk.headings if above[0] < level]
    kind = "heading" if heading else _SEGMENT_KINDS.get(walk.block, "paragraph")
    if any(not part.kind and not part.quote and has_letters(walk.text[part.start : part.end]) for part in run):
        segment = _make_segment(walk.text, run, kind, _heading_path(walk))
        walk.segments += [segment] if segment else []
        walk.headings += [(level, segment.text)] if segment and heading else []
    else:  # an image alone
        walk.segments += [
            segment
            for part in run
            if part.quote
            and (segment := _make_segment(walk.text, [part], "attribute", _heading_path(walk), part.quote))
        ]


def _trim_run(text: str, run: list[_RunPart]) -> list[_RunPart]:
    """Drop blanks at the ends and tags around the whole, so that the rest begins and ends with words."""
    parts = list(run)
    first, last = 0, len(parts)
    partner = _matching_tags(parts)
    while first < last:
        head, tail = parts[first], parts[last - 1]
        if _is_blank(text, head) or _is_unpaired_tag(head, partner, first):
            first += 1
        elif _is_blank(text, tail) or _is_unpaired_tag(tail, partner, last - 1):
            last -= 1
        elif partner.get(first) == last - 1:
            first, last = first + 1, last - 1
        else:
            break
    return parts[first:last]


def _matching_tags(parts: list[_RunPart]) -> dict[int, int]:
    """Return the matching tags in both directions, by their indices."""
    found: dict[int, int] = {}
    open_ones: dict[str, list[int]] = {}
    for index, part in enumerate(parts):
        token = part.token
        if token is None or part.start != token.start or part.end != token.end:
            continue
        if token.kind == "open" and token.name not in VOID_ELEMENTS:
            open_ones.setdefault(token.name, []).append(index)
        elif token.kind == "close" and open_ones.get(token.name):
            start = open_ones[token.name].pop()
            found[start], found[index] = index, start
    return found


def _is_blank(text: str, part: _RunPart) -> bool:
    return not part.kind and text[part.start : part.end].isspace()


def _is_unpaired_tag(part: _RunPart, partner: dict[int, int], index: int) -> bool:
    token = part.token
    whole = token is not None and part.start == token.start and part.end == token.end
    return bool(whole and token and index not in partner)


def _make_segment(text: str, run: list[_RunPart], kind: str, path: tuple[str, ...], quote: str = "") -> Segment | None:
    start, end = run[0].start, run[-1].end
    if not run[0].kind:
        start += len(text[start : run[0].end]) - len(text[start : run[0].end].lstrip())
    if not run[-1].kind:
        end = max(start, run[-1].start) + len(text[max(start, run[-1].start) : end].rstrip())
    read, spans, at = [], [], 0
    for part in run:
        if part.kind == "ruby":
            continue
        piece = text[max(part.start, start) : min(part.end, end)]
        words, inner = (piece, [Span(0, len(piece), part.kind)]) if part.kind else _decode_text(piece)
        spans += [Span(at + span.start, at + span.end, span.kind) for span in inner]
        read.append(words)
        at += len(words)
    found = "".join(read)
    if not has_letters(found, spans):
        return None
    words = found.strip()
    kept = text[start:end] if any(part.kind == "ruby" for part in run) else ""
    encode = partial(_encode, wanted=protected_texts(found, spans), quote=quote, same=(words, kept))
    first = len(found) - len(found.lstrip())
    spans = [Span(span.start - first, span.end - first, span.kind) for span in spans]
    return Segment(start, end, words, encode, tuple(spans), kind, path)


def _decode_text(written: str) -> tuple[str, list[Span]]:
    """Return text with its entities decoded, and the protected spans in it."""
    words = collapse_whitespace(_ENTITY.sub(_decode_entity, written))
    return words, find_spans(words, _PROTECTED_KINDS)


def _decode_entity(match: re.Match[str]) -> str:
    read = html.unescape(match.group())
    return match.group() if not read or _INVISIBLE_CHARACTER.match(read) or (read.isspace() and read != " ") else read


def _encode(translation: str, *, wanted: tuple[str, ...], quote: str, same: tuple[str, str]) -> str:
    """Return a translation as HTML; ``same`` is the text of the segment, and what the document has if that has ruby."""
    parts: list[str] = []
    if same[1] and translation.strip() == same[0]:
        return same[1]
    inside = quote
    for words, kept in split_at_protected(translation.strip(), wanted):
        if not kept:
            escaped = html.escape(collapse_whitespace(clean_translation(words)), quote=False)
            parts.append(escaped.replace('"', "&quot;").replace("'", "&#x27;") if inside else escaped)
            continue
        markup = words.startswith(("<", '"', "'")) or _ENTITY.fullmatch(words)
        if words.startswith("<") or (inside and words.endswith((">", '"', "'"))):
            inside = quote if words.endswith(">") else words[-1]
        parts.append(words if markup else html.escape(words, quote=bool(inside)))
    return "".join(parts)


FORMAT = HtmlFormat()
XHTML = HtmlFormat(is_xml=True)


INLINE_ELEMENTS = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "br", "cite", "data", "del", "dfn", "em", "font", "i", "img",
     "input", "ins", "label", "mark", "meter", "nobr", "output", "progress", "q", "rb", "rbc", "rp", "rt", "rtc", "ruby", "s", "slot",
     "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "wbr", "code", "kbd", "samp", "var",
     "math", "svg", "picture", "source", "audio", "video", "canvas", "object", "noscript", "map", "area", "embed"}
)  # fmt: skip
_READINGS = frozenset({"rt", "rp", "rtc"})
_RUBY_ELEMENTS = _READINGS | {"ruby", "rb", "rbc"}
VOID_ELEMENTS = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)  # fmt: skip
_UNTRANSLATED_ELEMENTS = frozenset(
    {"code", "kbd", "samp", "var", "svg", "math", "pre", "script", "style", "iframe", "object", "canvas", "xmp"}
)  # fmt: skip
"""Elements in which nothing is translated."""


@slotted
class _TranslateYesElement:
    """An element with translate="yes" inside a hidden one: its open namesakes, and the outer hidden elements."""

    name: str
    enclosing_hidden: list[str]
    depth: int = 1


def is_hidden(text: str, token: HtmlToken, pairs: Sequence[HtmlAttribute]) -> bool:
    """Whether an element is not translated; ``pairs`` are the attributes of its opening tag."""
    if token.name in _UNTRANSLATED_ELEMENTS:
        return True
    values = {pair.name: text[pair.start : pair.end].lower() for pair in pairs}
    return values.get("translate") == "no" or "notranslate" in values.get("class", "").split()


def _is_translate_yes(text: str, token: HtmlToken) -> bool:
    pairs = parse_attributes(text, token)
    values = {pair.name: text[pair.start : pair.end].lower() for pair in pairs}
    return (
        values.get("translate") in {"yes", ""} and token.name not in VOID_ELEMENTS and not is_hidden(text, token, pairs)
    )


class HiddenElements:
    """The hidden element that a pass through the tokens of ``text`` is in.

    ``start``: the offset where the last hidden element began; ``is_inline``: whether that element is inline.
    """

    def __init__(self, text: str) -> None:
        self.start = 0
        self.is_inline = False
        self._text = text
        self._open: list[str] = []  # from the outermost hidden element inwards
        self._translated: list[_TranslateYesElement] = []

    @property
    def is_open(self) -> bool:
        """Whether the pass is inside a hidden element."""
        return bool(self._open)

    def open(self, token: HtmlToken, *, inline: bool) -> None:
        """Enter a hidden element."""
        self._open, self.start, self.is_inline = [token.name], token.start, inline

    def skip(self, token: HtmlToken) -> bool:
        """Advance inside a hidden element; return whether the token is visible since the hidden text ends before it."""
        outer = self._open[0]
        if outer == "p" and token.kind == "open" and token.name not in INLINE_ELEMENTS:
            self._open = []  # a paragraph without a closing tag ends there
            return True
        if (
            not self.is_inline
            and outer not in _UNTRANSLATED_ELEMENTS
            and token.kind == "open"
            and _is_translate_yes(self._text, token)
        ):
            self._translated.append(_TranslateYesElement(token.name, self._open))
            self._open = []
            return True
        if token.kind == "open" and token.name == outer:
            self._open.append(outer)
        elif token.kind == "close" and token.name == outer:
            self._open.pop()
        return False

    def resume(self, token: HtmlToken) -> bool:
        """After a visible tag: return whether it ends a translated element in a hidden one, which is then reentered."""
        if self._open or not self._translated or self._translated[-1].name != token.name or token.kind == "empty":
            return False
        self._translated[-1].depth += 1 if token.kind == "open" else -1
        if self._translated[-1].depth:
            return False
        self._open, self.is_inline = self._translated.pop().enclosing_hidden, False
        return True
