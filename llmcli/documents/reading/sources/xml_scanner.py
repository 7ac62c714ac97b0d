"""XML of untrusted files: no entities are defined, and depth and number of elements are bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from llmcli.errors import BadDocument

MAX_XML_DEPTH = 200
"""Levels of nested elements."""
MAX_XML_ELEMENTS = 5_000_000
"""Elements of one XML file."""


def scan_xml(
    data: bytes,
    what: str,
    start: Callable[[str, Mapping[str, str]], object] | None = None,
    end: Callable[[str], object] | None = None,
    text: Callable[[str], object] | None = None,
) -> int:
    """Parse ``data``, calling back for each element with its local name, and attributes named "namespace}name".

    Returns the number of elements. Raises ``BadDocument`` if it is not well-formed, defines entities or exceeds the limits; ``what`` names it then.
    """
    depth = count = 0

    def on_start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal depth, count
        depth += 1
        count += 1
        if depth > MAX_XML_DEPTH:
            raise BadDocument(detail=f"{what} is nested deeper than {MAX_XML_DEPTH} levels")
        if count > MAX_XML_ELEMENTS:
            raise BadDocument(detail=f"{what} has more than {MAX_XML_ELEMENTS:,} elements")
        if start is not None:
            start(name.rpartition("}")[2], attributes)

    def on_end(name: str) -> None:
        nonlocal depth
        depth -= 1
        if end is not None:
            end(name.rpartition("}")[2])

    def refuse_entity(*_: object) -> None:
        raise BadDocument(detail=f"{what} defines entities, which documents have no need of")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = on_start, on_end
    parser.EntityDeclHandler = refuse_entity
    if text is not None:
        parser.CharacterDataHandler = text
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: an unknown encoding
        raise BadDocument(detail=f"{what} is not well-formed: {error}") from error
    return count


def parse_xml(data: bytes, what: str) -> Element:
    """Return the root of an XML file, names as in ``scan_xml``. Raises what ``scan_xml`` raises."""
    builder = TreeBuilder()
    scan_xml(data, what, lambda name, attributes: builder.start(name, dict(attributes)), builder.end, builder.data)
    return builder.close()
