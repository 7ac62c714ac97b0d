r"""Apple's .strings files: the values, with the comments before them as notes.

Source of the grammar: "Localizing Strings" and "Old-Style ASCII Property Lists" (developer.apple.com).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat, find_problem
from llmcli.documents.formats.markup.message_markdown import protect_markdown
from llmcli.documents.formats.xml_files import stringsdict
from llmcli.documents.protected_spans import find_message_syntax
from llmcli.documents.segments import Segment, has_letters, protected_texts
from llmcli.documents.text_cleaning import double_percent, write_translation
from llmcli.documents.text_lines import line_at
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen

_TOKEN = re.compile(
    r"\s*+(?:/\*(?P<block>(?:[^*]|\*(?!/))*+)\*/|//(?P<line>[^\r\n]*+)|\"(?P<quoted>(?:[^\"\\]|\\.)*+)\""
    r"|(?P<bare>(?:[\w$:.-]|/(?![/*]))++)|(?P<sign>[=;])|(?P<end>\Z))",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:[uU](?P<code>[0-9a-fA-F]{4})|(?P<sign>.))", re.DOTALL)
_SIGNS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_KEPT = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[0-7]{3}|\\[uU][dD][89a-fA-F][0-9a-fA-F]{2})")
"""Escapes that are not decoded: bytes of the NeXTSTEP encoding, and halves of a character."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_EMPTY_NOTE = "No comment provided by engineer."


@frozen
class _StringsEntry:
    """A key and its value: the offsets between the quotes of the value, and the comments before the key."""

    key: str
    start: int
    end: int
    note: str


class AppleStringsFormat(DocumentFormat):
    """Apple's .strings files."""

    name = "strings"
    can_interleave = False
    is_keyed = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the values that contain words."""
        if _is_property_list(text):
            return stringsdict.FORMAT.split(text, target)
        return [segment for entry in _find_entries(text) if (segment := _value_segment(text, entry))]

    def check(self, text: str) -> str:
        """Parse it again."""
        if _is_property_list(text):
            return stringsdict.FORMAT.check(text)
        return find_problem(_find_entries(text))


def _is_property_list(text: str) -> bool:
    """Whether a file is a property list in XML, as it may be too."""
    return text[:1000].lstrip("\ufeff \t\r\n").startswith("<")


def _find_entries(text: str) -> Iterator[_StringsEntry]:
    """Yield the pairs of keys and quoted values. Raises ``BadDocument``."""
    at = int(text.startswith("\ufeff"))
    key, notes, expects = "", list[str](), "key"
    value: tuple[int, int] | None = None
    while True:
        match = _TOKEN.match(text, at)
        kind = match.lastgroup if match else None
        if match is None or kind is None or (kind == "end" and expects != "key"):
            rest = text[at : at + 1000].lstrip()
            place = min(at + len(text[at : at + 1000]) - len(rest), len(text))
            problem = f"unexpected {rest[:20].splitlines()[0]}" if rest else f"missing at the end: {expects}"
            raise BadDocument(line=line_at(text, place), detail=problem)
        at = match.end()
        if kind in {"block", "line"}:
            notes += [match[kind].strip()] if expects == "key" else []
        elif kind == "end":
            return
        elif kind in {"quoted", "bare"} and expects in {"key", "value"}:
            if expects == "key":
                key, value, expects = match[kind], None, "="
            else:
                value, expects = (match.span(kind) if kind == "quoted" else None), ";"
        elif match[kind] == "=" and expects == "=":
            expects = "value"
        elif match[kind] == ";" and expects in {"=", ";"}:
            if value:
                yield _StringsEntry(
                    _decode(key), *value, "\n".join(note for note in notes if note and note != _EMPTY_NOTE)
                )
            notes, expects = [], "key"
        else:
            start = match.start(kind)
            raise BadDocument(line=line_at(text, start), detail=f"unexpected {match[0].strip()[:20]}")


def _value_segment(text: str, entry: _StringsEntry) -> Segment | None:
    written = text[entry.start : entry.end]
    value = _decode(written)
    core = value.strip()
    syntax, has_printf = find_message_syntax(core)
    spans = protect_markdown(core, syntax)
    if not has_letters(core, spans) or _KEPT.search(written):
        return None
    first = len(value) - len(value.lstrip())
    encode = partial(
        _encode,
        source=core,
        wanted=protected_texts(core, spans),
        edges=(value[:first], value[first + len(core) :]),
        has_printf=has_printf,
        written=written,
    )
    return Segment(entry.start, entry.end, core, encode, tuple(spans), "message", (entry.key,), entry.note)


def _decode(written: str) -> str:
    return _ESCAPE.sub(_character, written) if "\\" in written else written


def _character(match: re.Match[str]) -> str:
    return chr(int(match["code"], 16)) if match["code"] else _SIGNS.get(match["sign"], match["sign"])


def _encode(
    translation: str, *, source: str, wanted: tuple[str, ...], edges: tuple[str, str], has_printf: bool, written: str
) -> str:
    if translation.strip() == source:
        return written
    words = write_translation(translation, source, wanted, double_percent if has_printf else str)
    whole = (edges[0] + words + edges[1]).replace("\\", "\\\\").replace('"', '\\"')
    if "\n" not in written and "\r" not in written:  # else its line ends are lines of the file
        whole = whole.replace("\n", "\\n").replace("\r", "\\r")
    whole = whole if "\t" in written else whole.replace("\t", "\\t")
    return _CONTROL.sub(lambda found: found[0] if found[0] in written else f"\\U{ord(found[0]):04x}", whole)


FORMAT = AppleStringsFormat()
