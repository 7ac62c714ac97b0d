"""The entries of a gettext PO file with the offsets of their strings. Source: the gettext manual, "PO Files"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, slotted

_LINE = re.compile(r"(?P<words>[^\r\n]*)(?P<end>\r\n|\r|\n|\Z)")
_STRING = r"\"(?:[^\"\\\r\n]++|\\[^\r\n])*+\""
_FIELD = re.compile(
    rf"\s*(?P<keyword>msgctxt|msgid_plural|msgid|msgstr(?:\[(?P<number>\d)\])?)\s*(?P<string>{_STRING})\s*\Z"
)
_CONTINUATION = re.compile(rf"\s*(?P<string>{_STRING})\s*\Z")
_ESCAPE = re.compile(r"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9a-fA-F]{1,2})|(?P<sign>.))")
_SIGNS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CONTROL = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")
_CONTROL_SIGNS = {character: sign for sign, character in _SIGNS.items()}


@slotted
class PoString:
    """A string with its keyword: offsets from the first quote to behind the last; ``row`` is the line's beginning."""

    keyword: str
    line_start: int
    start: int
    end: int
    value: str
    line_values: list[str]


@slotted
class PoComment:
    """A comment line with its line end."""

    start: int
    end: int
    text: str


@slotted
class PoEntry:
    """A message: its comments and its strings by keyword."""

    line: int
    comments: list[PoComment] = field(default_factory=list)
    fields: dict[str, PoString] = field(default_factory=dict)

    def value(self, keyword: str) -> str:
        """Return a string, "" if there is none."""
        return self.fields[keyword].value if keyword in self.fields else ""

    @property
    def flags(self) -> set[str]:
        """The flags of the message: fuzzy, c-format."""
        return {flag.strip() for comment in self.comments if comment.text.startswith("#,")
                for flag in comment.text[2:].split(",")}  # fmt: skip

    @property
    def strings(self) -> list[PoString]:
        """The existing translations, in order."""
        return [found for keyword, found in self.fields.items() if keyword.startswith("msgstr")]


def parse_entries(text: str) -> Iterator[PoEntry]:
    """Yield the entries that are not obsolete; raises ``BadDocument``."""
    entry = PoEntry(1)
    at = int(text.startswith("\ufeff"))
    for number, match in enumerate(_LINE.finditer(text, at), 1):
        words = match["words"]
        if words.lstrip().startswith("#"):
            if entry.fields:
                yield _finish_entry(entry)
                entry = PoEntry(number)
            entry.comments.append(PoComment(match.start(), match.end(), words.lstrip()))
        elif words.strip():
            found = _FIELD.match(words)
            if found and entry.strings and not found["keyword"].startswith("msgstr"):
                yield _finish_entry(entry)
                entry = PoEntry(number)
            _add_line(entry, words, match.start(), number, found)
    if entry.fields:
        yield _finish_entry(entry)


def _add_line(entry: PoEntry, words: str, row: int, number: int, found: re.Match[str] | None) -> None:
    """Add a line to the entry: a new string, or a continuation of the last one."""
    more = None if found else _CONTINUATION.match(words)
    match = found or more
    if match is None or (more and not entry.fields):
        raise BadDocument(line=number, detail=f"unexpected line in a PO file: {words.strip()[:60]}")
    start, end = row + match.start("string"), row + match.end("string")
    piece = unescape_string(match["string"][1:-1])
    if found:
        keyword = found["keyword"]
        if keyword in entry.fields:
            raise BadDocument(line=number, detail=f"{keyword} twice")
        if not entry.fields:
            entry.line = number
        entry.fields[keyword] = PoString(keyword, row, start, end, piece, [piece])
        return
    last = entry.fields[next(reversed(entry.fields))]
    last.end = end
    last.line_values.append(piece)
    last.value = ""


def _finish_entry(entry: PoEntry) -> PoEntry:
    """Concatenate strings that span several lines; raises ``BadDocument`` if a part of the message is missing."""
    for found in entry.fields.values():
        found.value = "".join(found.line_values)
    names = [name for name in entry.fields if name.startswith("msgstr")]
    wanted = [f"msgstr[{index}]" for index in range(len(names))] if "msgid_plural" in entry.fields else ["msgstr"]
    if "msgid" not in entry.fields or not names or names != wanted:
        missing = "msgid" if "msgid" not in entry.fields else wanted[0] if wanted else "msgstr[0]"
        raise BadDocument(line=entry.line, detail=f"a message without {missing}, or with strings out of order")
    return entry


def unescape_string(written: str) -> str:
    """Return the decoded value of a string."""
    return _ESCAPE.sub(_character, written) if "\\" in written else written


def _character(match: re.Match[str]) -> str:
    if match["octal"]:
        return chr(int(match["octal"], 8))
    return chr(int(match["hex"], 16)) if match["hex"] else _SIGNS.get(match["sign"], match["sign"])


def quote_string(value: str, newline: str, *, width: int = 0, room: int = 0) -> str:
    """Return a quoted string; strings of several lines begin with an empty one; ``width`` 0 breaks at line ends only.

    ``room``: the width of what precedes it on its line.
    """
    lines = [line for line in re.split(r"(?<=\n)", value) if line] or [value]
    written = [piece for line in lines for piece in _wrap_line(escape_string(line), width)]
    if len(written) == 1 and (not width or room + len(written[0]) <= width):
        return f'"{written[0]}"'
    return newline.join(['""', *(f'"{piece}"' for piece in written)])


def escape_string(text: str) -> str:
    """Return text escaped for use between quotes."""
    for sign, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(sign, written)
    return _CONTROL.sub(_write_control, text)


def _write_control(match: re.Match[str]) -> str:
    sign = _CONTROL_SIGNS.get(match.group())
    return f"\\{sign}" if sign else f"\\{ord(match.group()):03o}"  # three digits: a digit may follow


def _wrap_line(line: str, width: int) -> list[str]:
    if not width or len(line) <= width:
        return [line]
    pieces: list[str] = []
    for word in re.findall(r"[^ ]+ *| +", line):
        if pieces and len(pieces[-1]) + len(word) <= width:
            pieces[-1] += word
        else:
            pieces.append(word)
    return pieces
