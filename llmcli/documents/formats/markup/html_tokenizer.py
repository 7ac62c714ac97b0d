"""The tokens of HTML with their offsets, as the HTML standard's tokenizer splits them, in linear time.

The standard library's parser rescans constructs without an end, which takes minutes on a hostile megabyte. Here such a
construct is one token up to the end of the text, as in the HTML standard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.fast_dataclass import frozen, replace

RAW_TEXT_ELEMENTS = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
"""Elements whose content holds no tags."""

_TEMPLATE_TAG = r"\{\{[^{}]{1,200}\}\}|\{%[^{}]{1,200}%\}"
"""What a template engine replaces: a quotation mark in it ends no value."""
_DOUBLE, _SINGLE = (rf"(?:[^{quote}{{]++|{_TEMPLATE_TAG}|\{{)*+" for quote in "\"'")
_ATTRIBUTE = rf"[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:\"{_DOUBLE}(?:\"|\Z)|'{_SINGLE}(?:'|\Z)|(?![\"'])[^\s>]++|(?=>)))?+"
_TOKEN = re.compile(
    r"<!--(?:-?>|.*?(?:--!?>|(?P<open_comment>\Z)))"
    r"|<!\[CDATA\[.*?(?:\]\]>|\Z)"
    r"|<\?(?:php\b|=).*?(?:\?>|\Z)|<%.*?(?:%>|\Z)"
    r"|<(?:[!?]|/(?![a-zA-Z>]))[^>]*+(?:>|\Z)|</>"
    rf"|<(?P<close>/?)(?P<name>[a-zA-Z][^\s/>]*+)(?P<attributes>(?:[\s/]++|{_ATTRIBUTE})*+)(?:>|(?P<open_tag>\Z))",
    re.DOTALL,
)
_PAIR = re.compile(
    rf"(?P<name>[^\s/>][^\s/>=]*+)(?:\s*+=\s*+(?:\"(?P<double>{_DOUBLE})(?:\"|\Z)|'(?P<single>{_SINGLE})(?:'|\Z)"
    r"|(?![\"'])(?P<bare>[^\s>]++)|(?=>)))?+"
)


@frozen
class HtmlToken:
    """``kind``: "text", "raw" (content of a raw element), "open", "close", "empty" (both, in XML), "other" (comments).

    ``name``: of the element, in lower case. ``closed``: whether the token ends before the text does.
    """

    kind: str
    start: int
    end: int
    name: str = ""
    closed: bool = True


@frozen
class HtmlAttribute:
    """An attribute; ``start`` and ``end`` are the offsets of its value, ``quote`` is its quotation mark."""

    name: str
    start: int
    end: int
    quote: str


def tokenize_html(text: str, *, is_xml: bool = False) -> Iterator[HtmlToken]:
    """Yield the tokens; concatenated they equal the text. In XML, "/>" ends an element: in HTML, it means nothing."""
    at = 0
    while at < len(text):
        match = _TOKEN.search(text, at)
        if match is None:
            yield HtmlToken("text", at, len(text))
            return
        if match.start() > at:
            yield HtmlToken("text", at, match.start())
        at = match.end()
        token = _tag_token(match)
        if is_xml and token.kind == "open" and match[0].endswith("/>"):
            token = replace(token, kind="empty")
        yield token
        if token.kind == "open" and token.name in RAW_TEXT_ELEMENTS:
            end = _find_raw_text_end(text, at, token.name)
            if end > at:
                yield HtmlToken("raw", at, end, token.name)
            at = end


def parse_attributes(text: str, token: HtmlToken) -> list[HtmlAttribute]:
    """Return the attributes of an opening tag; of duplicates, the first counts."""
    found: dict[str, HtmlAttribute] = {}
    for match in _PAIR.finditer(text, token.start + 1 + len(token.name), token.end - token.closed):
        name = match["name"].lower()
        group = next((group for group in ("double", "single", "bare") if match[group] is not None), "")
        start, end = match.span(group) if group else (match.end(), match.end())
        quote = {"double": '"', "single": "'"}.get(group, "")
        found.setdefault(name, HtmlAttribute(name, start, end, quote))
    return list(found.values())


def _tag_token(match: re.Match[str]) -> HtmlToken:
    start, end = match.span()
    if not match["name"]:
        return HtmlToken("other", start, end, closed=match["open_comment"] is None)
    kind = "close" if match["close"] else "open"
    return HtmlToken(kind, start, end, match["name"].lower(), closed=match["open_tag"] is None)


def _find_raw_text_end(text: str, at: int, name: str) -> int:
    match = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(text, at)
    return match.start() if match else len(text)
