"""Translation memories as TMX, the exchange format of translation tools.

Source: TMX 1.4b Specification (LISA, 2005). Inline elements of segments are dropped; their text is kept.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import BinaryIO
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from llmcli import __version__
from llmcli.control_characters import control_character_pattern
from llmcli.errors import BadDocument
from llmcli.interrupt import check_interrupt
from llmcli.store.translation_memory import TranslationUnit

_LANGUAGE_ATTRIBUTE = "{http://www.w3.org/XML/1998/namespace}lang"
_UNKNOWN_LANGUAGE = "und"
_LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_MODEL_PROPERTY = "x-llm-model"
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"


def export_tmx(entries: Iterable[TranslationUnit]) -> Iterator[str]:
    """Yield the text of a TMX file, in whole lines.

    Control characters that a terminal would interpret are written as character references, which are equivalent in XML.
    """
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<tmx version="1.4">\n'
    yield (
        f'<header creationtool="llmcli" creationtoolversion="{__version__}" segtype="paragraph" o-tmf="llmcli" '
        'adminlang="en" srclang="*all*" datatype="plaintext"/>\n<body>\n'
    )
    for entry in entries:
        changed = time.strftime(_DATE_FORMAT, time.gmtime(entry.changed))
        model = f'<prop type="{_MODEL_PROPERTY}">{_xml_text(entry.model)}</prop>' if entry.model else ""
        variants = "".join(
            f"\n<tuv xml:lang={_xml_attribute(language)}><seg>{_xml_text(text)}</seg></tuv>"
            for language, text in ((entry.source_language, entry.source), (entry.target_language, entry.translation))
        )
        yield f'<tu changedate="{changed}" srclang={_xml_attribute(entry.source_language)}>{model}{variants}\n</tu>\n'
    yield "</body>\n</tmx>\n"


def _xml_text(text: str) -> str:
    """Return a text as XML; characters that XML excludes (most controls) become spaces, a CR becomes a reference."""
    kept = "".join(
        c if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff") else " "
        for c in text
    )
    return _escape_controls(escape(kept, {"\r": "&#13;"}))


def _xml_attribute(language: str) -> str:
    return _escape_controls(quoteattr(language or _UNKNOWN_LANGUAGE))


def _escape_controls(text: str) -> str:
    return control_character_pattern().sub(lambda match: f"&#x{ord(match.group()):X};", text)


def read_tmx(stream: BinaryIO, name: str, unknown_codes: list[str] | None = None) -> Iterator[TranslationUnit]:
    """Yield the translations of a TMX file as human ones, each unit from its source language to all others.

    Translations without a valid language code are skipped; their codes are appended to ``unknown_codes``. Raises
    ``BadDocument``.
    """
    usual, root = _UNKNOWN_LANGUAGE, ""
    try:
        for event, element in ET.iterparse(stream, ("start", "end")):  # noqa: S314 (expat bounds entities)
            check_interrupt()
            tag = element.tag.rpartition("}")[2]
            root = root or tag
            if root != "tmx":
                raise BadDocument(name, detail=f"XML, but not TMX: the root element is <{root}>", kind="TMX")
            if event == "start":
                continue
            if tag == "header":
                usual = element.get("srclang", _UNKNOWN_LANGUAGE)
            elif tag == "tu":
                for entry in _parse_unit(element, element.get("srclang") or usual):
                    codes = [entry.source_language or _UNKNOWN_LANGUAGE, entry.target_language or _UNKNOWN_LANGUAGE]
                    wrong = [code for code in codes if not _LANGUAGE_CODE.fullmatch(code)]
                    if not wrong:
                        yield entry
                    elif unknown_codes is not None:
                        unknown_codes.append(wrong[0])
                element.clear()
    except ET.ParseError as error:
        raise BadDocument(name, detail=f"not XML: {error}", kind="TMX") from error


def _parse_unit(unit: ET.Element, source: str) -> Iterator[TranslationUnit]:
    texts: dict[str, str] = {}
    for variant in unit.iter():
        if variant.tag.rpartition("}")[2] == "tuv":
            segment = next((child for child in variant if child.tag.rpartition("}")[2] == "seg"), None)
            language = variant.get(_LANGUAGE_ATTRIBUTE) or variant.get("lang") or _UNKNOWN_LANGUAGE
            if segment is not None:
                texts.setdefault(language, "".join(segment.itertext()))
    first = next((language for language in texts if language.lower() == source.lower()), next(iter(texts), None))
    for language, text in texts.items():
        if first is not None and language != first and texts[first].strip() and text.strip():
            yield TranslationUnit(_normalize_code(first), _normalize_code(language), texts[first], text)


def _normalize_code(language: str) -> str:
    """Return a code in the case of BCP 47 ("EN-us" becomes "en-US"), since tools differ in how they write it."""
    first, *rest = language.replace("_", "-").split("-")
    cased = [part.upper() if len(part) == 2 else part.title() for part in rest]  # noqa: PLR2004 (a region)
    return "" if language == _UNKNOWN_LANGUAGE else "-".join([first.lower(), *cased])
