"""The elements of an XML document with their offsets.

expat accepts or refuses the document; then one pass through its tags, in linear time, finds where they are. Entities
are never expanded. Source of the grammar: Extensible Markup Language (XML) 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from xml.parsers import expat

from llmcli.documents.text_cleaning import collapse_whitespace
from llmcli.documents.text_lines import line_at
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, frozen, slotted
from llmcli.interrupt import check_interrupt

_MAX_DEPTH = 200
_PARSED_BYTES = 1 << 20
"""Bytes that expat parses at once: a longer native call would delay signals."""
TOKEN = re.compile(
    r"<!--(?P<comment>.*?)-->|<\?.*?\?>|<!\[CDATA\[(?P<cdata>.*?)\]\]>"
    r"|<!DOCTYPE(?:[^\[>\"']|\"[^\"]*\"|'[^']*')*+"
    r"(?:\[(?:<!--.*?-->|<\?.*?\?>|\"[^\"]*\"|'[^']*'|[^\]\"'])*+\]\s*)?>"
    r"|</(?P<close>[^\s>]+)\s*>"
    r"|<(?P<open>[^\s/>!?]+)(?P<attributes>(?:[^>\"'/]++|\"[^\"]*\"|'[^']*'|/(?!>))*+)(?P<empty>/?)>",
    re.DOTALL,
)
"""A tag, comment, instruction, CDATA section or document type of a well-formed document."""
_ATTRIBUTE = re.compile(r"\s*(?P<name>[^\s=]+)\s*=\s*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')")
REFERENCE = re.compile(r"&(?:#(?P<decimal>\d{1,7})|#x(?P<hexadecimal>[0-9a-fA-F]{1,6})|(?P<name>[^\s;&]+));")
_PREDEFINED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@frozen
class XmlAttribute:
    """An attribute; ``start`` and ``end`` are the offsets of its value, without the quotes.

    ``blanks_start`` is the offset of the blanks before it.
    """

    value: str
    start: int
    end: int
    blanks_start: int


@slotted
class XmlElement:
    """An element: from ``start`` to ``end``, with its content from ``content_start`` to ``content_end``.

    ``children`` are known inside of the elements that were asked for. ``comment`` is the one right before it.
    """

    name: str
    start: int
    content_start: int
    is_empty: bool
    parent: XmlElement | None
    attributes: dict[str, XmlAttribute]
    comment: str = ""
    content_end: int = 0
    end: int = 0
    children: list[XmlElement] = field(default_factory=list)

    @property
    def local_name(self) -> str:
        """The name without the prefix of its namespace."""
        return self.name.rpartition(":")[2]

    @property
    def prefix(self) -> str:
        """The prefix of the namespace with its colon, "" without one."""
        return self.name[: -len(self.local_name)]

    @property
    def attributes_end(self) -> int:
        """The offset where another attribute can be inserted."""
        return self.content_start - (2 if self.is_empty else 1)

    def get(self, name: str, default: str = "") -> str:
        """Return the value of an attribute."""
        found = self.attributes.get(name)
        return found.value if found else default

    def child(self, name: str) -> XmlElement | None:
        """Return the first child with this local name."""
        for each in self.children:  # of each run of a document: a generator takes longer
            if each.local_name == name:
                return each
        return None

    def lineage(self) -> Iterator[XmlElement]:
        """Yield the element and those around it, from the inside outwards."""
        element: XmlElement | None = self
        while element is not None:
            yield element
            element = element.parent


def find_elements(text: str, root: str, wanted: Collection[str]) -> Iterator[XmlElement]:
    """Yield the outermost elements with one of the local names ``wanted``, in order, with all elements inside.

    Raises ``BadDocument`` if the text is not well-formed, nested too deeply, or its root element is not ``root``; "" is
    any.
    """
    if not text.strip("\ufeff \t\r\n"):
        return
    require_well_formed(text)
    opened: list[XmlElement] = []
    collected: XmlElement | None = None
    comment = ""
    for count, match in enumerate(TOKEN.finditer(text)):
        if count % 1024 == 0:
            check_interrupt()
        if match["open"]:
            element = _open_element(match, opened, comment, root)
            if collected is not None and element.parent is not None:
                element.parent.children.append(element)
            elif element.local_name in wanted:
                collected = element
        comment = _comment_before_next(match, comment)
        if match["close"] or match["empty"]:
            element = opened.pop()
            element.content_end = match.start() if match["close"] else match.end()
            element.end = match.end()
            if element is collected:
                collected = None
                yield element


def _comment_before_next(match: re.Match[str], comment: str) -> str:
    """Return the comment that stands before what follows ``match``: a tag ends it."""
    if match["comment"] is not None:
        return match["comment"].strip()
    return "" if match["open"] or match["close"] else comment


def _open_element(match: re.Match[str], opened: list[XmlElement], comment: str, root: str) -> XmlElement:
    """Return the element that a tag opens, the last one of ``opened``."""
    start, end = match.span()
    parent = opened[-1] if opened else None
    element = XmlElement(match["open"], start, end, bool(match["empty"]), parent, parse_attributes(match), comment)
    opened.append(element)
    if parent is None and root and element.local_name != root:
        detail = f"the root element is <{element.name}>, not <{root}>"
        raise BadDocument(line=line_at(match.string, start), detail=detail)
    if len(opened) > _MAX_DEPTH:
        raise BadDocument(line=line_at(match.string, start), detail=f"nested deeper than {_MAX_DEPTH} levels")
    return element


def require_well_formed(text: str) -> None:
    """Raise ``BadDocument`` if the text is not well-formed XML, or defines entities by other entities."""

    def check_entity(_name: str, _is_parameter: int, value: str | None, *_: object) -> None:
        if value is not None and re.search("[&%]", value):
            raise BadDocument(line=parser.CurrentLineNumber, detail="it defines an entity by other entities")

    parser = expat.ParserCreate("utf-8")
    parser.EntityDeclHandler = check_entity
    parser.DefaultHandler = lambda _data: None  # with it, expat does not expand entities
    data = text.encode("utf-8", "surrogatepass")
    try:
        for at in range(0, len(data), _PARSED_BYTES):
            check_interrupt()
            parser.Parse(data[at : at + _PARSED_BYTES], False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise BadDocument(line=error.lineno, detail=expat.ErrorString(error.code)) from error


def parse_attributes(match: re.Match[str]) -> dict[str, XmlAttribute]:
    """Return the attributes of an opening tag that ``TOKEN`` matches."""
    found = {}
    if match["attributes"]:
        for pair in _ATTRIBUTE.finditer(match.string, *match.span("attributes")):
            group = "double" if pair["double"] is not None else "single"
            found[pair["name"]] = XmlAttribute(decode_references(pair[group]), *pair.span(group), pair.start())
    return found


def decode_references(written: str) -> str:
    """Return text with its references to characters decoded; an entity that the document declares stays."""
    return REFERENCE.sub(_decode_reference, written) if "&" in written else written


def _decode_reference(match: re.Match[str]) -> str:
    if match["name"]:
        return _PREDEFINED.get(match["name"], match[0])
    code = int(match["decimal"]) if match["decimal"] else int(match["hexadecimal"], 16)
    return chr(code) if code <= 0x10FFFF else match[0]  # noqa: PLR2004 - the last character of Unicode


def escape_text(text: str) -> str:
    """Return text as the content of an element."""
    return re.sub("[&<>]", lambda match: _ESCAPES[match[0]], text)


def escape_attribute(text: str) -> str:
    """Return text as the value of an attribute in double quotes."""
    return escape_text(text).replace('"', "&quot;")


def plain_content(text: str, element: XmlElement) -> str:
    """Return the words of an element without its markup, in one line."""
    words = TOKEN.sub(lambda match: match["cdata"] or "", text[element.content_start : element.content_end])
    return collapse_whitespace(decode_references(words)).strip()
