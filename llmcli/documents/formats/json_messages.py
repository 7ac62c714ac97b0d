"""JSON message files: the string values, never the keys; nested objects, ARB's and browser extensions' notes.

The scanner is its own, for the offsets, and does not recurse. Source of the grammar: RFC 8259.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import partial

from llmcli.documents.formats import messages
from llmcli.documents.segments import LineNumbers, Segment, has_letters, texts_of
from llmcli.errors import BadDocument

name = "json"

_TOKEN = re.compile(
    r"[ \t\r\n]*+(?:(?P<string>\"(?:[^\"\\\x00-\x1f]++|\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4}))*+\")"
    r"|(?P<sign>[{}\[\],:])|(?P<scalar>-?(?:0|[1-9]\d*+)(?:\.\d++)?(?:[eE][+-]?\d++)?|true|false|null)|(?P<end>\Z))"
)
_PATH = 100
"""Keys of a path that are kept: more would make the time grow with the square of the depth."""
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.")
_LONGEST = 16 << 20
"""Characters that the standard library may parse: one call of it holds back signals for a second per 100 MB."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_MEANINGFUL = re.compile(r"(?i)\\u(?:[89a-f][0-9a-f]|0[1-9a-f]|00[8-9a-f])[0-9a-f]")


@dataclass(slots=True)
class _Container:
    """An object or an array that is open: its closing bracket, the key or index of the value to come."""

    closer: str
    key: str = ""
    count: int = 0
    expects: str = "first"  # "first" (or the end), "item", "key", "colon", "value", "comma"


@dataclass(slots=True)
class _String:
    """A string value: the offsets of what stands between its quotes, the keys down to it, what it means."""

    start: int
    end: int
    path: tuple[str, ...]
    text: str


def split(text: str, target: str) -> list[Segment]:
    """Return the string values that hold words."""
    del target
    strings = _strings(text)
    notes = {string.path: string.text for string in strings if _is_note(string.path)}
    read = [string for string in strings if has_letters(string.text) and not _SURROGATE.search(string.text)]
    if any(string.path[-1:] == ("message",) for string in read if len(string.path) == 2) and all(  # noqa: PLR2004
        len(string.path) > 1 for string in read
    ):  # a browser extension's messages.json: {"key": {"message": ..., "description": ...}}
        read = [string for string in read if string.path[1:] == ("message",)]
    read = [string for string in read if not any(key.startswith(("@", "$")) for key in string.path)]
    icu = any(messages.is_icu(string.text) for string in read)
    ascii_only = bool(_MEANINGFUL.search(text)) and text.removeprefix("\ufeff").isascii()
    found: list[Segment] = []
    for string in read:
        note = notes.get((*string.path[:-1], f"@{string.path[-1]}", "description"), "") if string.path else ""
        note = note or (notes.get((*string.path[:-1], "description"), "") if string.path[-1:] == ("message",) else "")
        found += _segments(text, string, note, icu=icu, ascii_only=ascii_only)
    return found


def check(text: str) -> str:
    """Parse with the standard library."""
    body = text.removeprefix("\ufeff")
    if not body.strip(" \t\r\n"):
        return ""
    if len(body) > _LONGEST:
        return _scanned(text)
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}: {error.msg}"
    except RecursionError:  # nested deeper than the library can go
        return _scanned(text)
    return ""


def _scanned(text: str) -> str:
    """Do as ``check`` with our own scanner, which goes as deep as a text does, and never runs for long in native code."""
    try:
        _strings(text)
    except BadDocument as error:
        return f"line {error.line}: {error.detail}"
    return ""


def _is_note(path: tuple[str, ...]) -> bool:
    return path[-1:] == ("description",) and len(path) > 1


def _segments(text: str, string: _String, note: str, *, icu: bool, ascii_only: bool) -> list[Segment]:
    """Return the segments of a value: one, or one for each branch of a plural or select argument."""
    places = _places(text, string)
    found = []
    for branch in messages.branches(string.text) if icu else [messages.Branch(0, len(string.text))]:
        value = string.text[branch.start : branch.end]
        core = value.strip()
        first = branch.start + len(value) - len(value.lstrip())
        spans = messages.spans_of(core, icu=icu, branch=branch.kind)
        if not has_letters(core, spans):
            continue
        encode = partial(_encode, source=core, wanted=texts_of(core, spans), icu=icu, ascii_only=ascii_only)
        region = places(first), places(first + len(core))
        path = (*string.path, branch.selector) if branch.selector else string.path
        found.append(Segment(*region, core, encode, tuple(spans), "message", path, note))
    return found


class _Places:
    """From offsets in a value to offsets in the document."""

    def __init__(self, start: int, jumps: list[tuple[int, int]]) -> None:
        self._start = start
        self._jumps = jumps  # (offset in the value behind an escape, offset in the document less that)

    def __call__(self, offset: int) -> int:
        index = bisect_right(self._jumps, (offset, 1 << 62))
        return offset + (self._jumps[index - 1][1] if index else self._start)


def _places(text: str, string: _String) -> _Places:
    jumps, read = [], string.start
    value_at = 0
    for match in _ESCAPE.finditer(text, string.start, string.end):
        value_at += match.start() - read + 1
        read = match.end()
        jumps.append((value_at, read - value_at))
    return _Places(string.start, jumps)


def _encode(translation: str, *, source: str, wanted: tuple[str, ...], icu: bool, ascii_only: bool) -> str:
    words = messages.write(translation.strip(), source, wanted, icu=icu)
    return json.dumps(words, ensure_ascii=ascii_only)[1:-1]


def _strings(text: str) -> list[_String]:
    """Return the string values in order; raises ``BadDocument`` for what is not JSON."""
    at = int(text.startswith("\ufeff"))
    reader = _Reader()
    started = False
    while True:
        match = _TOKEN.match(text, at)
        kind = match.lastgroup if match else None
        if match is None or kind is None:
            raise _bad(text, at + len(text[at:]) - len(text[at:].lstrip()), "not JSON")
        start, at = match.start(kind), match.end()
        if kind == "end":
            if reader.open:
                raise _bad(text, start, f"the end is missing: {reader.open[-1].closer}")
            return reader.found
        if started and not reader.open:
            raise _bad(text, start, "more after the end of the value")
        started = True
        words = match.group(kind)
        if not reader.take(kind, words, start):
            raise _bad(text, start, f"{words[:20]} was not expected here")


@dataclass(slots=True)
class _Reader:
    """What was read so far: the containers that are open with the keys down to the value to come, and the strings."""

    open: list[_Container] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    found: list[_String] = field(default_factory=list)

    def take(self, kind: str, words: str, start: int) -> bool:
        """Take one token; False where the grammar does not allow it."""
        top = self.open[-1] if self.open else None
        if top is None:
            return self._value(kind, words, start)
        if words == top.closer and kind == "sign":
            self.open.pop()
            del self.keys[len(self.open) :]
            return top.expects in {"first", "comma"}
        if kind == "sign" and words in ",:":
            allowed = top.expects == ("comma" if words == "," else "colon")
            top.expects = {",": "key" if top.closer == "}" else "item", ":": "value"}[words]
            return allowed
        if top.closer == "}" and top.expects in {"first", "key"}:
            top.key, top.expects = json.loads(words) if kind == "string" else "", "colon"
            return kind == "string"
        if top.expects not in {"first", "item", "value"}:
            return False
        if top.closer == "]":
            top.key, top.count = str(top.count), top.count + 1
        top.expects = "comma"
        self.keys[len(self.open) - 1 :] = [top.key]
        return self._value(kind, words, start)

    def _value(self, kind: str, words: str, start: int) -> bool:
        if kind == "string":
            path = tuple(self.keys[:_PATH])
            self.found.append(_String(start + 1, start + len(words) - 1, path, json.loads(words)))
        elif kind == "sign":
            self.open.append(_Container("}" if words == "{" else "]"))
            return words in "{["
        return True


def _bad(text: str, at: int, detail: str) -> BadDocument:
    return BadDocument(line=LineNumbers(text).at(at), detail=detail)
