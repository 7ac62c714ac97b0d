"""HTML: the text between block tags is a segment, the tags inside it are protected, and so is all that is code.

White space is collapsed for the translator, as browsers do; in ``pre`` nothing is translated.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from functools import partial

from llmcli.documents.formats.html_tokens import Attribute, Token, attributes, tokens
from llmcli.documents.protected import find
from llmcli.documents.segments import (
    LineNumbers,
    Segment,
    Span,
    clean,
    has_letters,
    one_line,
    pieces,
    texts_of,
)  # fmt: skip

name = "html"

_INLINE = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "b",
        "bdi",
        "bdo",
        "big",
        "br",
        "cite",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "img",
        "input",
        "ins",
        "label",
        "mark",
        "meter",
        "nobr",
        "output",
        "progress",
        "q",
        "rp",
        "rt",
        "ruby",
        "s",
        "slot",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "wbr",
        "code",
        "kbd",
        "samp",
        "var",
        "math",
        "svg",
        "picture",
        "source",
        "audio",
        "video",
        "canvas",
        "object",
        "noscript",
        "map",
        "area",
        "embed",
    ]
)
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
_OPAQUE = frozenset(
    [
        "code",
        "kbd",
        "samp",
        "var",
        "svg",
        "math",
        "pre",
        "script",
        "style",
        "iframe",
        "object",
        "canvas",
        "xmp",
    ]
)
"""Elements in which nothing is translated."""
_WORDS = frozenset({"alt", "title", "placeholder", "aria-label", "aria-description", "aria-placeholder", "summary"})
"""Attributes that people read."""
_META = frozenset(
    {"description", "keywords", "og:title", "og:description", "og:image:alt", "og:site_name", "twitter:title",
     "twitter:description", "twitter:image:alt", "apple-mobile-web-app-title", "application-name"}
)  # fmt: skip
_BUTTONS = frozenset({"submit", "button", "reset"})
_KINDS = {"title": "heading", "li": "item", "td": "cell", "th": "cell", "dt": "item", "dd": "item"}
_HEADING = re.compile(r"h[1-6]\Z")
_TEXT = frozenset({"url", "email", "placeholder", "entity"})
_ENTITY = re.compile(r"&(?:#\d{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};)")
_KEPT = re.compile(r"[\u00a0\u2002\u2003\u2009\u00ad\u200b-\u200f]\Z")
"""Characters that nobody would see: their entities stay as they are, protected."""


@dataclass(slots=True)
class _Part:
    """What stands in a line of text: words (as they are written), or a protected text of a kind."""

    start: int
    end: int
    kind: str = ""
    token: Token | None = None
    quote: str = ""  # around the words of an attribute


@dataclass(slots=True)
class _Shown:
    """An element with translate="yes" in what is hidden: how many of its name are open, and what was hidden."""

    name: str
    hidden: list[str]
    depth: int = 1


@dataclass(slots=True)
class _Walk:
    """Where the walk through the tokens stands."""

    text: str
    segments: list[Segment] = field(default_factory=list)
    run: list[_Part] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)  # elements from the one inwards in which nothing is translated
    hidden_at: int = 0
    hidden_inline: bool = False
    shown: list[_Shown] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    block: str = ""


def split(text: str, target: str) -> list[Segment]:
    """Return what is read of a page: text, titles, alternative texts, descriptions."""
    del target
    walk = _Walk(text)
    for token in tokens(text):
        if walk.hidden:
            _pass_by(walk, token)
        elif token.kind == "text":
            walk.run.append(_Part(token.start, token.end))
        elif token.kind == "raw":
            _raw(walk, token)
        elif token.kind == "other":
            walk.run.append(_Part(token.start, token.end, "tag", token))
        else:
            _tag(walk, token)
            _hide_again(walk, token)
    _flush(walk)
    return sorted(walk.segments, key=lambda segment: segment.start)


def check(text: str) -> str:
    """HTML has no errors that browsers stop at; what does not end is told."""
    raw = ""
    for token in tokens(text):
        if not token.closed:
            return f"line {LineNumbers(text).at(token.start)}: a tag or comment does not end"
        raw = token.name if token.kind == "raw" and token.end == len(text) else ""
    return f"<{raw}> does not end" if raw else ""


def _pass_by(walk: _Walk, token: Token) -> None:
    """Inside an element that is not translated: wait for its end."""
    outer = walk.hidden[0]
    if outer == "p" and token.kind == "open" and token.name not in _INLINE:  # a paragraph ends there, without its tag
        walk.hidden = []
        _tag(walk, token)
        return
    if not walk.hidden_inline and outer not in _OPAQUE and token.kind == "open" and _is_shown(walk.text, token):
        walk.shown.append(_Shown(token.name, walk.hidden))
        walk.hidden = []
        _tag(walk, token)
        return
    if token.kind == "open" and token.name == outer:
        walk.hidden.append(outer)
    elif token.kind == "close" and token.name == outer:
        walk.hidden.pop()
    if walk.hidden:
        return
    if walk.hidden_inline:
        walk.run.append(_Part(walk.hidden_at, token.end, "code"))


def _is_shown(text: str, token: Token) -> bool:
    pairs = attributes(text, token)
    values = {pair.name: text[pair.start : pair.end].lower() for pair in pairs}
    return values.get("translate") in {"yes", ""} and token.name not in _VOID and not _is_hidden(text, token, pairs)


def _hide_again(walk: _Walk, token: Token) -> None:
    """Where an element ends that was shown within a hidden one, go on hiding."""
    if walk.hidden or not walk.shown or walk.shown[-1].name != token.name:
        return
    walk.shown[-1].depth += 1 if token.kind == "open" else -1
    if walk.shown[-1].depth == 0:
        _flush(walk)
        walk.hidden, walk.hidden_inline = walk.shown.pop().hidden, False


def _raw(walk: _Walk, token: Token) -> None:
    one_line_only = "\n" not in walk.text[token.start : token.end]  # line ends count there
    if token.name == "title" or (token.name == "textarea" and one_line_only):
        walk.run.append(_Part(token.start, token.end))


def _tag(walk: _Walk, token: Token) -> None:
    pairs = attributes(walk.text, token) if token.kind == "open" else []
    inline = token.name in _INLINE
    if not inline:
        _flush(walk)
        walk.block = token.name if token.kind == "open" else ""
    if token.kind == "open" and token.name not in _VOID and _is_hidden(walk.text, token, pairs):
        walk.hidden, walk.hidden_at, walk.hidden_inline = [token.name], token.start, inline
        return
    words = _words(walk.text, token, pairs)
    if not inline:
        walk.segments += [found for pair in words if (found := _attribute(walk.text, pair, _path(walk)))]
        return
    at = token.start
    for pair in words:
        walk.run += [_Part(at, pair.start, "tag", token), _Part(pair.start, pair.end, quote=pair.quote)]
        at = pair.end
    walk.run.append(_Part(at, token.end, "tag", token))


def _is_hidden(text: str, token: Token, pairs: list[Attribute]) -> bool:
    if token.name in _OPAQUE:
        return True
    values = {pair.name: text[pair.start : pair.end].lower() for pair in pairs}
    return values.get("translate") == "no" or "notranslate" in values.get("class", "").split()


def _words(text: str, token: Token, pairs: list[Attribute]) -> list[Attribute]:
    """Return the attributes of a tag that people read, in order; one without quotes is left alone."""
    values = {pair.name: text[pair.start : pair.end].lower() for pair in pairs}
    if values.get("translate") == "no" or not token.closed:
        return []
    read = set(_WORDS)
    if token.name == "meta":
        read = {"content"} if {values.get("name"), values.get("property")} & _META else set()
    elif token.name == "input" and values.get("type") in _BUTTONS:
        read.add("value")
    elif token.name in {"option", "optgroup", "track"}:
        read.add("label")
    return [pair for pair in pairs if pair.name in read and pair.quote and has_letters(text[pair.start : pair.end])]


def _attribute(text: str, pair: Attribute, path: tuple[str, ...]) -> Segment | None:
    return _segment(text, [_Part(pair.start, pair.end)], "attribute", path, pair.quote)


def _path(walk: _Walk) -> tuple[str, ...]:
    return tuple(words for _, words in walk.headings)


def _flush(walk: _Walk) -> None:
    """End the segment at a block's border."""
    run, walk.run = _trimmed(walk.text, walk.run), []
    heading = bool(_HEADING.match(walk.block))
    level = int(walk.block[1]) if heading else 0
    if heading and run:
        walk.headings = [above for above in walk.headings if above[0] < level]
    kind = "heading" if heading else _KINDS.get(walk.block, "paragraph")
    if any(not part.kind and not part.quote and has_letters(walk.text[part.start : part.end]) for part in run):
        segment = _segment(walk.text, run, kind, _path(walk))
        walk.segments += [segment] if segment else []
        walk.headings += [(level, segment.text)] if segment and heading else []
    else:  # an image alone
        walk.segments += [
            segment
            for part in run
            if part.quote and (segment := _segment(walk.text, [part], "attribute", _path(walk), part.quote))
        ]


def _trimmed(text: str, run: list[_Part]) -> list[_Part]:
    """Leave out blanks at the ends, and tags around the whole: what is left begins and ends with words."""
    parts = list(run)
    first, last = 0, len(parts)
    partner = _partners(parts)
    while first < last:
        head, tail = parts[first], parts[last - 1]
        if _is_blank(text, head) or _stands_alone(head, partner, first):
            first += 1
        elif _is_blank(text, tail) or _stands_alone(tail, partner, last - 1):
            last -= 1
        elif partner.get(first) == last - 1:
            first, last = first + 1, last - 1
        else:
            break
    return parts[first:last]


def _partners(parts: list[_Part]) -> dict[int, int]:
    """Return which tag closes which, both ways, by their places."""
    found: dict[int, int] = {}
    open_ones: dict[str, list[int]] = {}
    for index, part in enumerate(parts):
        token = part.token
        if token is None or part.start != token.start or part.end != token.end:
            continue
        if token.kind == "open" and token.name not in _VOID:
            open_ones.setdefault(token.name, []).append(index)
        elif token.kind == "close" and open_ones.get(token.name):
            start = open_ones[token.name].pop()
            found[start], found[index] = index, start
    return found


def _is_blank(text: str, part: _Part) -> bool:
    return not part.kind and text[part.start : part.end].isspace()


def _stands_alone(part: _Part, partner: dict[int, int], index: int) -> bool:
    token = part.token
    whole = token is not None and part.start == token.start and part.end == token.end
    return bool(whole and token and index not in partner)


def _segment(text: str, run: list[_Part], kind: str, path: tuple[str, ...], quote: str = "") -> Segment | None:
    start, end = run[0].start, run[-1].end
    if not run[0].kind:
        start += len(text[start : run[0].end]) - len(text[start : run[0].end].lstrip())
    if not run[-1].kind:
        end = max(start, run[-1].start) + len(text[max(start, run[-1].start) : end].rstrip())
    read, spans, at = [], [], 0
    for part in run:
        piece = text[max(part.start, start) : min(part.end, end)]
        words, inner = (piece, [Span(0, len(piece), part.kind)]) if part.kind else _read(piece)
        spans += [Span(at + span.start, at + span.end, span.kind) for span in inner]
        read.append(words)
        at += len(words)
    found = "".join(read)
    if not has_letters(found, spans):
        return None
    encode = partial(_encode, wanted=texts_of(found, spans), quote=quote)
    return Segment(start, end, found, encode, tuple(spans), kind, path)


def _read(written: str) -> tuple[str, list[Span]]:
    """Return text as it is read, and what is protected in it."""
    words = one_line(_ENTITY.sub(_character, written))
    return words, find(words, _TEXT)


def _character(match: re.Match[str]) -> str:
    read = html.unescape(match.group())
    return match.group() if _KEPT.match(read) or (read.isspace() and read != " ") else read


def _encode(translation: str, *, wanted: tuple[str, ...], quote: str) -> str:
    parts: list[str] = []
    inside = quote
    for words, kept in pieces(translation.strip(), wanted):
        if not kept:
            escaped = html.escape(one_line(clean(words)), quote=False)
            parts.append(escaped.replace('"', "&quot;").replace("'", "&#x27;") if inside else escaped)
            continue
        markup = words.startswith(("<", '"', "'")) or _ENTITY.fullmatch(words)
        if words.startswith("<") or (inside and words.endswith((">", '"', "'"))):
            inside = quote if words.endswith(">") else words[-1]
        parts.append(words if markup else html.escape(words, quote=bool(inside)))
    return "".join(parts)
