"""HTML: the text of the main content, as plain Markdown, in sections by its headings."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmcli.documents.reading.document import decode_utf8
from llmcli.documents.reading.passages import Section
from llmcli.documents.reading.sources.section_builder import SectionBuilder
from llmcli.errors import BadDocument, NotUtf8

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_INVISIBLE = (
    "script, style, noscript, template, svg, iframe, object, audio, video, canvas, head, button, select, textarea, "
    '[hidden], [aria-hidden="true"], [style*="display:none"], [style*="display: none"], '
    '[style*="visibility:hidden"], [style*="visibility: hidden"]'
)
_NAVIGATION = 'nav, footer, aside, menu, [role="navigation"], [role="contentinfo"], [role="search"], [role="banner"]'
# elements with the main content, and the share of the visible text that they need: with less it is elsewhere
_MAIN_CONTENT = (("main", 0.25), ('[role="main"]', 0.25), ("article", 0.6))
_BLOCK_NAMES = (
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure footer "
    "form header hgroup hr legend main nav ol p section summary table tbody tfoot thead tr ul"
)
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_HEADING_LEVELS = {f"h{level}": level for level in range(1, 7)}
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([a-zA-Z\d._:-]{1,40})", re.IGNORECASE)
_SNIFFED_BYTES = 4096
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# elements without content, and those that the next one of their kind ends
_VOID_NAMES = "area base br col embed hr img input link meta source track wbr p li dt dd td th tr thead tbody tfoot"
_NEVER_NESTED = frozenset(_VOID_NAMES.split())
MAX_HTML_DEPTH = 5_000
"""Open elements; the time that the HTML standard's algorithm takes grows with their square."""
MAX_ATTRIBUTES = 200
"""Attributes of an element that are parsed: each is compared with all others of it."""
# a start tag up to its ">", or to the end; the values of attributes may hold one in quotes
_START_TAG = re.compile(r"""<[a-zA-Z](?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+""")
_ATTRIBUTE = re.compile(r"""[\s/]++[^\s/>=]++(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"']*+))?+""")
_MIN_LONG_TAG_CHARS = 2 * MAX_ATTRIBUTES
_TEXT, _ELEMENT = "-text", ""


def read_html(data: bytes, name: str) -> Iterator[Section]:
    """Yield the sections of an HTML file's main content. Raises ``NotUtf8`` if it declares no other encoding."""
    yield from html_sections(decode_html(data, name))


def decode_html(data: bytes, name: str) -> str:
    """Return HTML as text: UTF-8, else the encoding that it declares. Raises ``BinaryInput`` and ``NotUtf8``."""
    try:
        return decode_utf8(data, name)[0]
    except NotUtf8 as error:
        declared = _CHARSET.search(data, 0, _SNIFFED_BYTES)
        encoding = declared[1].decode("ascii") if declared else "utf-8"
        if encoding.lower().replace("-", "") == "utf8":
            raise
        try:
            return data.decode(encoding, "replace")
        except LookupError:  # an encoding that Python does not know
            raise NotUtf8(name, offset=error.offset, detail=encoding) from error


def html_sections(html: str, *, whole: bool = False) -> Iterator[Section]:
    """Yield the sections of HTML; ``whole``: navigation, footers and side notes are content as well.

    If there is no heading of the first level, the title of the page is the outermost heading. Raises ``BadDocument``
    for HTML that is nested deeper than ``MAX_HTML_DEPTH``.
    """
    from selectolax.lexbor import LexborHTMLParser

    _check_depth(html)
    tree = LexborHTMLParser(limit_attributes(html))
    title = tree.css_first("title")
    title_text = " ".join(title.text().split()) if title is not None else ""
    for node in tree.css(_INVISIBLE if whole else f"{_INVISIBLE}, {_NAVIGATION}"):
        node.decompose()
    root = _content_root(tree, whole=whole)
    if root is None:
        return
    builder = SectionBuilder("" if whole or root.css_first("h1") is not None else title_text)
    _walk(root, builder)
    yield from builder.finish()


def _check_depth(html: str) -> None:
    depth = 0
    for tag in _TAG.finditer(html):
        if tag[2].lower() not in _NEVER_NESTED:
            depth = max(0, depth - 1) if tag[1] else depth + 1
            if depth > MAX_HTML_DEPTH:
                raise BadDocument(detail=f"its HTML is nested deeper than {MAX_HTML_DEPTH:,} elements")


def limit_attributes(html: str) -> str:
    """Return HTML whose elements have at most ``MAX_ATTRIBUTES`` attributes; the others say nothing about its text."""
    return _START_TAG.sub(_shorten_tag, html)


def _shorten_tag(tag: re.Match[str]) -> str:
    text = tag[0]
    if len(text) < _MIN_LONG_TAG_CHARS:
        return text
    attributes = itertools.islice(_ATTRIBUTE.finditer(text), MAX_ATTRIBUTES)
    end = max((attribute.end() for attribute in attributes), default=len(text))
    return text[:end] if _ATTRIBUTE.search(text, end) else text


def _content_root(tree: LexborHTMLParser, *, whole: bool) -> LexborNode | None:
    """Return the element with the main content, or the body."""
    body = tree.body or tree.root
    if body is None or whole:
        return body
    size = len(body.text())
    for selector, min_share in _MAIN_CONTENT:
        found = tree.css(selector)
        if len(found) == 1 and len(found[0].text()) >= min_share * size:
            return found[0]
    return body


def _walk(root: LexborNode, builder: SectionBuilder) -> None:
    """Pass the nodes below ``root`` to the builder, in document order and without recursion: depth is unbounded."""
    node = root
    while True:
        tag = node.tag or _ELEMENT
        if tag == _TEXT:
            builder.add_text(node.text_content or "")
        else:
            _start(tag, node, builder)
        child = node.child if tag != _TEXT else None
        if child is not None:
            node = child
            continue
        while True:
            if tag != _TEXT:
                _end(tag, builder)
            if node.mem_id == root.mem_id:
                return
            following = node.next
            if following is not None:
                node = following
                break
            parent = node.parent
            if parent is None:
                return
            node, tag = parent, parent.tag or _ELEMENT


def _start(tag: str, node: LexborNode, builder: SectionBuilder) -> None:
    if tag == "br":
        builder.break_line()
    elif tag in {"td", "th"}:
        builder.start_cell()
    elif tag == "tr":
        builder.start_row(is_layout=node.css_first("table, h1, h2, h3, pre") is not None)
    elif tag in {"ul", "ol"}:
        builder.start_list()
    elif tag == "li":
        builder.start_item()
    elif tag == "pre":
        builder.start_code()
    elif tag in _HEADING_LEVELS or tag in _BLOCKS:
        builder.end_block()


def _end(tag: str, builder: SectionBuilder) -> None:
    if tag in _HEADING_LEVELS:
        builder.end_heading(_HEADING_LEVELS[tag])
    elif tag in {"td", "th"}:
        builder.end_cell()
    elif tag == "tr":
        builder.end_row()
    elif tag in {"ul", "ol"}:
        builder.end_list()
    elif tag == "li":
        builder.end_item()
    elif tag == "pre":
        builder.end_code()
    elif tag in _BLOCKS:
        builder.end_block()
