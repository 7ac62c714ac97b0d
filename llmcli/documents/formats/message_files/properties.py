r"""Java's .properties: the values. Source of the grammar: java.util.Properties.load, java.text.MessageFormat.

A value with an argument like {0} is a MessageFormat pattern: its apostrophes are doubled in the file, but not for the
translator. In a pure ASCII file, translations are written with \uXXXX, so that any encoding can read them.
"""

from __future__ import annotations

import re
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.formats.markup.message_markdown import protect_markdown
from llmcli.documents.formats.message_files import icu_messages
from llmcli.documents.protected_spans import MESSAGE_KINDS, find_spans
from llmcli.documents.segments import Segment, Span, has_letters, protected_texts
from llmcli.documents.text_cleaning import write_translation
from llmcli.documents.text_lines import line_at
from llmcli.errors import BadDocument

_LINE = re.compile(
    r"[ \t\f]*+(?:(?P<comment>[#!][^\r\n]*+)|(?P<key>(?:[^\\\r\n:= \t\f]|\\(?:\r\n|[\s\S]))++)"
    r"(?P<separator>[ \t\f]*+[:=]?[ \t\f]*+(?:\\(?:\r\n|\r|\n)[ \t\f]*+)*+)(?P<value>(?:[^\\\r\n]++|\\(?:\r\n|[\s\S]|\Z))*+)"
    r"|(?P<nothing>[:=]?[^\r\n]*+))(?:\r\n|\r|\n|\Z)"
)
_ESCAPE = re.compile(r"\\(?:u(?P<code>[0-9a-fA-F]{4})|(?P<joint>(?:\r\n|\r|\n)[ \t\f]*)|(?P<sign>[\s\S]|\Z))")
_BAD_UNICODE = re.compile(r"(?<!\\)(?:\\\\)*+\\u(?![0-9a-fA-F]{4})")
_SIGNS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_ARGUMENT = re.compile(r"\{\d{1,3}\s*(?:,[^{}]*)?\}")
_CHOICE = re.compile(r"\{\d{1,3}\s*,\s*choice\b")
_QUOTED = re.compile(r"'[{}][^']*'")
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class PropertiesFormat(DocumentFormat):
    """Java's properties files."""

    name = "properties"
    can_interleave = False
    is_keyed = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the values that contain words, with the comments before them as notes."""
        del target
        _check_unicode_escapes(text)
        ascii_only = text.removeprefix("\ufeff").isascii()
        segments: list[Segment] = []
        comments: list[str] = []
        at = int(text.startswith("\ufeff"))
        while at < len(text):
            match = _LINE.match(text, at)
            if match is None or match.end() == at:
                break
            if match["comment"]:
                comments.append(match["comment"][1:].strip())
            elif match["key"] is not None:
                segment = _value_segment(text, match, "\n".join(filter(None, comments)), ascii_only=ascii_only)
                segments += [segment] if segment else []
                comments = []
            else:
                comments = []
            at = match.end()
        return segments

    def check(self, text: str) -> str:
        r"""Report what Java refuses: a \u without four hexadecimal digits."""
        try:
            _check_unicode_escapes(text)
        except BadDocument as error:
            return f"line {error.line}: {error.detail}"
        return ""


def _check_unicode_escapes(text: str) -> None:
    for match in _LINE.finditer(text):
        if match["key"] is None:
            continue
        if bad := _BAD_UNICODE.search(match.group()):
            line = line_at(text, match.start() + bad.start())
            raise BadDocument(line=line, detail="\\u without four hexadecimal digits")


def _value_segment(text: str, match: re.Match[str], note: str, *, ascii_only: bool) -> Segment | None:
    start, end = match.span("value")
    written = text[start:end]
    value = _decode(written)
    pattern = bool(_ARGUMENT.search(value))
    icu = icu_messages.is_icu(value)
    if pattern and not icu:
        value = value.replace("''", "'")
    core = value.strip()
    if pattern and _CHOICE.search(value):
        return None  # nested patterns: better left untranslated than broken
    if any("\ud800" <= character <= "\udfff" for character in core):
        return None
    spans = _value_spans(core, pattern=pattern, icu=icu)
    if not has_letters(core, spans):
        return None
    edges = value[: len(value) - len(value.lstrip())], value[len(value.rstrip()) :]
    encode = partial(
        _encode,
        source=core,
        wanted=protected_texts(core, spans),
        edges=edges,
        pattern=pattern and not icu,
        icu=icu,
        ascii_only=ascii_only,
        written=match["value"],
    )
    path = (_decode(match["key"]),)
    return Segment(start, end, core, encode, tuple(spans), "message", path, note)


def _value_spans(core: str, *, pattern: bool, icu: bool) -> list[Span]:
    if icu or not pattern:
        return icu_messages.find_message_spans(core, icu=icu)
    spans = find_spans(core, MESSAGE_KINDS)
    quoted = [Span(*match.span(), "placeholder") for match in _QUOTED.finditer(core)]
    found: list[Span] = []
    for span in sorted([*quoted, *spans], key=lambda span: (span.start, -span.end)):
        if not found or span.start >= found[-1].end:
            found.append(span)
    return found if "'" in core else protect_markdown(core, found)  # what is protected cannot double an apostrophe


def _decode(written: str) -> str:
    if "\\" not in written:
        return written
    read = _ESCAPE.sub(_character, written)
    return _SURROGATES.sub(lambda pair: pair.group().encode("utf-16", "surrogatepass").decode("utf-16"), read)


def _character(match: re.Match[str]) -> str:
    if match["code"]:
        return chr(int(match["code"], 16))
    return "" if match["joint"] is not None else _SIGNS.get(match["sign"], match["sign"])


def _encode(
    translation: str,
    *,
    source: str,
    wanted: tuple[str, ...],
    edges: tuple[str, str],
    pattern: bool,
    icu: bool,
    ascii_only: bool,
    written: str,
) -> str:
    quote = icu_messages.choose_quoting(source) if icu else _quote_pattern if pattern else str
    words = write_translation(translation, source, wanted, quote)
    whole = (edges[0] + words + edges[1]).replace("\\", "\\\\")
    for sign, character in _SIGNS.items():
        whole = whole.replace(character, f"\\{sign}")
    if whole[:1] in {" ", "=", ":"}:
        whole = "\\" + whole
    whole = _CONTROL.sub(lambda found: found[0] if found[0] in written else f"\\u{ord(found[0]):04x}", whole)
    return "".join(map(_escape_non_ascii, whole)) if ascii_only else whole


def _quote_pattern(words: str) -> str:
    """Return words quoted so that MessageFormat takes them literally."""
    return re.sub(r"[{}]", r"'\g<0>'", words.replace("'", "''"))


def _escape_non_ascii(character: str) -> str:
    if character.isascii():
        return character
    data = character.encode("utf-16-be")
    return "".join(f"\\u{data[at]:02x}{data[at + 1]:02x}" for at in range(0, len(data), 2))


FORMAT = PropertiesFormat()
