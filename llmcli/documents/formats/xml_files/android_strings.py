r"""Android's string resources: strings, arrays and plurals, with the comments before them as notes.

The translator reads what the phone shows: blanks collapsed, "\'" as an apostrophe. Not translated: what says
translatable="false", and references to other resources. Source: "String resources" (developer.android.com).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.documents.formats.document_format import DocumentFormat, find_problem
from llmcli.documents.formats.message_files.plural_categories import PluralItem, plural_segments
from llmcli.documents.formats.xml_files.xml_content import ContentSyntax, read_content
from llmcli.documents.formats.xml_files.xml_elements import XmlAttribute, XmlElement, find_elements
from llmcli.documents.segments import Segment
from llmcli.documents.text_cleaning import collapse_whitespace
from llmcli.documents.text_lines import blanks_before

_RESOURCES = frozenset({"string", "string-array", "plurals"})
_ESCAPE = re.compile(r"\\(?:u(?P<code>[0-9a-fA-F]{4})|(?P<sign>.))|(?P<quote>\")")
_KEPT = r"(?<!\\)(?:\\u(?:00[0189][0-9a-fA-F]|0020|00[aA][0dD]|20(?:0|6)[0-9a-fA-F]|202[89a-fA-F]|[dD][89a-fA-F][0-9a-fA-F]{2}))+"
"""Escapes of blanks, of invisible characters, and of halves of a character."""
_SIGNS = {"n": "\n", "t": "\t"}
_TO_ESCAPE = re.compile(r"[\\'\"\n\t]|^[@?]")
_REFERENCE = re.compile(r"[@?][\w.:+]+/[\w.]+\Z")
_QUOTED = re.compile(r"\s*\"(?P<words>(?:[^\"\\]|\\.)*+)\"\s*\Z", re.DOTALL)


def _decode(written: str) -> str:
    return _ESCAPE.sub(_decode_escape, collapse_whitespace(written))


def _decode_escape(match: re.Match[str]) -> str:
    if match["code"]:
        return chr(int(match["code"], 16))
    return "" if match["quote"] else _SIGNS.get(match["sign"], match["sign"])


def _encode_words(words: str) -> str:
    return _TO_ESCAPE.sub(lambda match: {"\n": "\\n", "\t": "\\t"}.get(match[0], "\\" + match[0]), words)


def _is_placeholder(name: str, attributes: dict[str, XmlAttribute]) -> bool:
    """Whether an element is xliff:g, which holds what is not translated."""
    del attributes
    return name == "g"


_SYNTAX = ContentSyntax(_is_placeholder, _decode, _encode_words, _KEPT, has_printf=True)


class AndroidStringsFormat(DocumentFormat):
    """Android's string resources."""

    name = "android"
    can_interleave = False
    is_keyed = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the strings, the items of arrays, and the plural forms that the target language needs."""
        found: list[Segment] = []
        for element in find_elements(text, "resources", _RESOURCES):
            if element.get("translatable") != "false":
                found += _resource_segments(text, element, target)
        return found

    def check(self, text: str) -> str:
        """Parse the XML again."""
        return find_problem(find_elements(text, "resources", _RESOURCES))


def _resource_segments(text: str, element: XmlElement, language: str) -> Iterator[Segment]:
    name = element.get("name")
    if element.local_name == "string":
        if segment := _text_segment(text, element, (name,), element.comment):
            yield segment
        return
    items = [item for item in element.children if item.local_name == "item"]
    if element.local_name == "plurals":
        forms = {item.get("quantity"): _plural_item(text, item, element) for item in items}
        yield from plural_segments(forms, language)
        return
    for number, item in enumerate(items):
        if segment := _text_segment(text, item, (name, str(number)), item.comment or element.comment):
            yield segment


def _plural_item(text: str, item: XmlElement, plurals: XmlElement) -> PluralItem:
    path = (plurals.get("name"), item.get("quantity"))
    segment = _text_segment(text, item, path, item.comment or plurals.comment)
    start, end = (segment.start, segment.end) if segment else (item.content_start, item.content_end)
    blanks = blanks_before(text, item.start)
    quantity = item.attributes.get("quantity")

    def around(category: str) -> tuple[str, str]:
        assert quantity is not None
        return f"{text[item.start : quantity.start]}{category}{text[quantity.end : start]}", text[
            end : item.end
        ] + blanks

    return PluralItem(segment, text[start:end], item.start - len(blanks), item.end, item.start, around)


def _text_segment(text: str, element: XmlElement, path: tuple[str, ...], note: str) -> Segment | None:
    start, end = element.content_start, element.content_end
    quoted = _QUOTED.match(text, start, end)
    if quoted:
        start, end = quoted.span("words")
    content = read_content(text, start, end, _SYNTAX)
    return None if _REFERENCE.match(content.text) else content.message_segment(path, note)


FORMAT = AndroidStringsFormat()
