"""Apple's .stringsdict files, which are property lists: the formats of messages and their plural forms.

Source: "Localizing strings that contain plurals" (developer.apple.com).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmcli.documents.formats.document_format import DocumentFormat, find_problem
from llmcli.documents.formats.message_files.plural_categories import CATEGORIES, PluralItem, plural_segments
from llmcli.documents.formats.xml_files.xml_content import ContentSyntax, read_content
from llmcli.documents.formats.xml_files.xml_elements import (
    XmlElement,
    escape_text,
    find_elements,
    plain_content,
)
from llmcli.documents.segments import Segment
from llmcli.documents.text_lines import blanks_before
from llmcli.fast_dataclass import frozen

_RULE_KEYS = frozenset({"NSStringFormatSpecTypeKey", "NSStringFormatValueTypeKey"})
_SYNTAX = ContentSyntax(has_printf=True)


@frozen
class _Pair:
    """A key and its value."""

    key: XmlElement
    value: XmlElement


class StringsdictFormat(DocumentFormat):
    """Apple's .stringsdict files."""

    name = "stringsdict"
    can_interleave = False
    is_keyed = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the strings with words, and the plural forms that the target language needs."""
        dicts = find_elements(text, "plist", {"dict"})
        return [segment for element in dicts for segment in _dict_segments(text, element, target, ())]

    def check(self, text: str) -> str:
        """Parse the XML again."""
        return find_problem(find_elements(text, "plist", {"dict"}))


def _dict_segments(text: str, element: XmlElement, language: str, path: tuple[str, ...]) -> Iterator[Segment]:
    pairs = _read_pairs(text, element)
    forms = {key: pair for key, pair in pairs.items() if key in CATEGORIES and pair.value.local_name == "string"}
    if "NSStringFormatSpecTypeKey" in pairs and forms:
        items = {key: _plural_item(text, pair, (*path, key)) for key, pair in forms.items()}
        yield from plural_segments(items, language)
        return
    for key, pair in pairs.items():
        if pair.value.local_name == "dict":
            yield from _dict_segments(text, pair.value, language, (*path, key))
        elif pair.value.local_name == "string" and key not in _RULE_KEYS:
            segment = _string_segment(text, pair.value, (*path, key))
            if segment is not None:
                yield segment


def _read_pairs(text: str, element: XmlElement) -> Mapping[str, _Pair]:
    found: dict[str, _Pair] = {}
    key = None
    for child in element.children:
        if child.local_name == "key":
            key = child
        elif key is not None:
            found[plain_content(text, key)] = _Pair(key, child)
            key = None
    return found


def _plural_item(text: str, pair: _Pair, path: tuple[str, ...]) -> PluralItem:
    segment = _string_segment(text, pair.value, path)
    start, end = (segment.start, segment.end) if segment else (pair.value.content_start, pair.value.content_end)
    blanks = blanks_before(text, pair.key.start)

    def around(category: str) -> tuple[str, str]:
        key = text[pair.key.start : pair.key.content_start] + escape_text(category)
        return key + text[pair.key.content_end : start], text[end : pair.value.end] + blanks

    return PluralItem(segment, text[start:end], pair.key.start - len(blanks), pair.value.end, pair.key.start, around)


def _string_segment(text: str, element: XmlElement, path: tuple[str, ...]) -> Segment | None:
    content = read_content(text, element.content_start, element.content_end, _SYNTAX)
    return content.message_segment(path, element.comment)


FORMAT = StringsdictFormat()
