"""JSON message files: the string values, never the keys; nested objects, and the notes of ARB and browser extensions.

A message that is one plural argument of ICU, and keys of i18next ("item_one", "item_other"), get the plural forms of
the target language. Its own scanner finds the offsets, without recursion. Source of the grammar: RFC 8259.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.formats.message_files import icu_messages
from llmcli.documents.formats.message_files.plural_categories import CATEGORIES, PluralItem, plural_segments
from llmcli.documents.segments import Segment, has_letters, protected_texts
from llmcli.documents.text_cleaning import write_translation
from llmcli.documents.text_lines import blanks_before, line_at
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, slotted

_BLANKS = r"[ \t\r\n]*+"
_STRING = r"\"(?:[^\"\\\x00-\x1f]++|\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4}))*+\""
_TOKEN = re.compile(
    rf"{_BLANKS}(?:(?P<string>{_STRING})"
    r"|(?P<sign>[{}\[\],:])|(?P<scalar>-?(?:0|[1-9]\d*+)(?:\.\d++)?(?:[eE][+-]?\d++)?|true|false|null)|(?P<end>\Z))"
)
_MEMBER = re.compile(rf"{_BLANKS}(?P<key>{_STRING}){_BLANKS}:{_BLANKS}(?P<value>{_STRING}){_BLANKS}(?P<comma>,?)")
"""A key with a string, what most of a message file is: one match instead of four."""
_DAMAGED = "the source is not a valid ICU message: its braces are not balanced"
_MAX_PATH_KEYS = 100
"""Number of keys of a path that are kept: with more, the time would grow with the square of the depth."""
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.")
_MAX_STDLIB_CHARS = 16 << 20
"""Number of characters that the standard library may parse: one call delays signals by a second per 100 MB."""
_CONTROL = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NON_ASCII_ESCAPE = re.compile(r"(?i)\\u(?:[89a-f][0-9a-f]|0[1-9a-f]|00[8-9a-f])[0-9a-f]")


@slotted
class _Container:
    """An open object or array: its closing bracket, and the key or index of the next value."""

    closer: str
    key: str = ""
    key_start: int = -1
    count: int = 0
    expects: str = "first"  # "first" (or the end), "item", "key", "colon", "value", "comma"


@slotted
class StringValue:
    """A string value: the offsets between its quotes, its path of keys, its decoded text, and where its key begins."""

    start: int
    end: int
    path: tuple[str, ...]
    text: str
    key_start: int = -1


class JsonFormat(DocumentFormat):
    """JSON message files."""

    name = "json"
    can_interleave = False
    is_keyed = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the string values that contain words."""
        strings = parse_strings(text)
        notes = {string.path: string.text for string in strings if _is_note(string.path)}
        read = [string for string in strings if has_letters(string.text) and not _SURROGATE.search(string.text)]
        if any(string.path[-1:] == ("message",) for string in read if len(string.path) == 2) and all(  # noqa: PLR2004 (a key and "message")
            len(string.path) > 1 for string in read
        ):  # a browser extension's messages.json: {"key": {"message": ..., "description": ...}}
            read = [string for string in read if string.path[1:] == ("message",)]
        read = [string for string in read if not any(key.startswith(("@", "$")) for key in string.path)]
        icu = any(icu_messages.is_icu(string.text) for string in read)
        ascii_only = escapes_non_ascii(text)
        found: list[Segment] = []
        for string in read:
            note = notes.get((*string.path[:-1], f"@{string.path[-1]}", "description"), "") if string.path else ""
            note = note or (
                notes.get((*string.path[:-1], "description"), "") if string.path[-1:] == ("message",) else ""
            )
            found += _value_segments(text, string, note, target, icu=icu, ascii_only=ascii_only)
        return _add_plural_keys(text, {string.path: string for string in strings}, found, target)

    def check(self, text: str) -> str:
        """Parse with the standard library."""
        body = text.removeprefix("\ufeff")
        if not body.strip(" \t\r\n"):
            return ""
        if len(body) > _MAX_STDLIB_CHARS:
            return _check_with_scanner(text)
        try:
            json.loads(body, parse_int=str, parse_float=str)  # a number may have any length
        except json.JSONDecodeError as error:
            return f"line {error.lineno}: {error.msg}"
        except RecursionError:  # nested deeper than the library can parse
            return _check_with_scanner(text)
        return ""

    def replace_language(self, text: str, segments: Sequence[Segment], source: str, target: str) -> str:
        """Return an ARB file with its @@locale replaced."""
        del segments
        language = re.escape(source.partition("-")[0]) or "[A-Za-z]{2,3}"
        found = re.search(rf'("@@locale"\s*:\s*"){language}(?:[_-]\w+)*"', text)
        if found is None:
            return text
        return f'{text[: found.start()]}{found[1]}{target.replace("-", "_")}"{text[found.end() :]}'


def _check_with_scanner(text: str) -> str:
    """Check as ``check`` with the scanner of this module, which has no depth limit and makes no long native calls."""
    try:
        parse_strings(text)
    except BadDocument as error:
        return f"line {error.line}: {error.detail}"
    return ""


def _is_note(path: tuple[str, ...]) -> bool:
    return path[-1:] == ("description",) and len(path) > 1


def _value_segments(
    text: str, string: StringValue, note: str, language: str, *, icu: bool, ascii_only: bool
) -> list[Segment]:
    """Return the segments of a value: one, or one for each branch of a plural or select argument."""
    places = map_offsets(text, string)
    if icu_messages.is_damaged(string.text):
        region = string.start, string.end
        return [
            Segment(*region, string.text.strip(), str, kind="message", path=string.path, note=note, damage=_DAMAGED)
        ]
    branches = icu_messages.split_branches(string.text) if icu else [icu_messages.MessageBranch(0, len(string.text))]
    found, items = [], {}
    for branch in branches:
        value = string.text[branch.start : branch.end]
        core = value.strip()
        first = branch.start + len(value) - len(value.lstrip())
        spans = icu_messages.find_message_spans(core, icu=icu, branch=branch.kind)
        region = places(first), places(first + len(core))
        encode = partial(
            _encode,
            source=core,
            wanted=protected_texts(core, spans),
            quote=icu_messages.choose_quoting(core, branch.kind) if icu else str,
            ascii_only=ascii_only,
            written=text[slice(*region)],
        )
        path = (*string.path, branch.selector) if branch.selector else string.path
        segment = Segment(*region, core, encode, tuple(spans), "message", path, note)
        own = segment if has_letters(core, spans) else None
        found += [own] if own else []
        if branch.kind == "plural":
            items[branch.selector] = _branch_item(text, string.text, branch, places, region, own)
    if branches[0].kind != "plural" or len(items) < len(branches):
        return found
    return plural_segments(items, language)


def _branch_item(
    text: str,
    value: str,
    branch: icu_messages.MessageBranch,
    places: OffsetMap,
    region: tuple[int, int],
    segment: Segment | None,
) -> PluralItem:
    insertion, end = places(branch.selector_start), places(branch.end) + 1
    blanks = text[places(branch.selector_start - len(blanks_before(value, branch.selector_start))) : insertion]
    before, after = text[insertion + len(branch.selector) : region[0]], text[region[1] : end] + blanks
    return PluralItem(
        segment,
        text[slice(*region)],
        insertion - len(blanks),
        end,
        insertion,
        lambda category: (category + before, after),
    )


def _add_plural_keys(
    text: str, strings: Mapping[tuple[str, ...], StringValue], segments: Sequence[Segment], language: str
) -> list[Segment]:
    """Return the segments with those of the plural forms that keys of i18next lack: item_one, item_other."""
    groups: dict[tuple[str, ...], dict[str, PluralItem]] = {}
    for segment in segments:
        base, _, category = segment.path[-1].rpartition("_") if segment.path else ("", "", "")
        string = strings.get(segment.path)
        if string is None or not base or category not in CATEGORIES or base.endswith("_ordinal"):
            continue
        key = _TOKEN.match(text, string.key_start)
        if key and (key["string"] or "").endswith(f'{category}"'):
            item = _key_item(text, key["string"][: -len(category) - 1], string, segment, category)
            groups.setdefault((*segment.path[:-1], base), {})[category] = item
    plurals = {key: items for key, items in groups.items() if "other" in items and len(items) > 1}
    if not plurals:
        return list(segments)
    grouped = {item.segment.path for items in plurals.values() for item in items.values() if item.segment}
    found = [segment for segment in segments if segment.path not in grouped]
    for items in plurals.values():
        found += plural_segments(items, language, keeps_all=True)
    return sorted(found, key=lambda segment: (segment.start, segment.end))


def _key_item(text: str, key: str, string: StringValue, segment: Segment, category: str) -> PluralItem:
    """Return the plural form of a key that begins with ``key`` in the document."""
    between = text[string.key_start + len(key) + len(category) : segment.start]
    after = text[segment.end : string.end + 1] + "," + blanks_before(text, string.key_start)
    written = text[segment.start : segment.end]
    return PluralItem(
        segment, written, string.key_start, string.end + 1, string.key_start, lambda each: (key + each + between, after)
    )


class OffsetMap:
    """Maps offsets in a value to offsets in the document."""

    def __init__(self, start: int, jumps: list[tuple[int, int]]) -> None:
        self._start = start
        self._escape_shifts = jumps  # (offset in the value after an escape, difference to the offset in the document)

    def __call__(self, offset: int) -> int:
        index = bisect_right(self._escape_shifts, (offset, 1 << 62))
        return offset + (self._escape_shifts[index - 1][1] if index else self._start)


def map_offsets(text: str, string: StringValue) -> OffsetMap:
    """Return where the characters of a string's value are in the document."""
    if string.end - string.start == len(string.text):  # no escapes: each is longer than its character
        return OffsetMap(string.start, [])
    jumps, read = [], string.start
    value_at = 0
    for match in _ESCAPE.finditer(text, string.start, string.end):
        value_at += match.start() - read + 1
        read = match.end()
        jumps.append((value_at, read - value_at))
    return OffsetMap(string.start, jumps)


def _encode(
    translation: str,
    *,
    source: str,
    wanted: tuple[str, ...],
    quote: Callable[[str], str],
    ascii_only: bool,
    written: str,
) -> str:
    words = write_translation(translation, source, wanted, quote)
    return encode_string(words, ascii_only=ascii_only, written=written)


def escapes_non_ascii(text: str) -> bool:
    """Whether a document is ASCII, with escapes for all other characters."""
    return bool(_NON_ASCII_ESCAPE.search(text)) and text.removeprefix("\ufeff").isascii()


def encode_string(words: str, *, ascii_only: bool, written: str) -> str:
    """Return the content of a JSON string that replaces the content ``written``.

    Controls that JSON allows unescaped are escaped unless ``written`` has them so.
    """
    done = json.dumps(words, ensure_ascii=ascii_only)[1:-1]
    return _CONTROL.sub(lambda match: match[0] if match[0] in written else f"\\u{ord(match[0]):04x}", done)


def parse_strings(text: str) -> list[StringValue]:
    """Return the string values in order; raises ``BadDocument`` for invalid JSON."""
    at = int(text.startswith("\ufeff"))
    reader = _JsonScanner()
    started = False
    while True:
        while reader.expects_key and (member := _MEMBER.match(text, at)):
            at = reader.accept_member(member)
        match = _TOKEN.match(text, at)
        kind = match.lastgroup if match else None
        if match is None or kind is None:
            raise _syntax_error(text, at + len(text[at:]) - len(text[at:].lstrip()), "not JSON")
        start, at = match.start(kind), match.end()
        if kind == "end":
            if reader.open_containers:
                raise _syntax_error(text, start, f"missing at the end: {reader.open_containers[-1].closer}")
            return reader.strings
        if started and not reader.open_containers:
            raise _syntax_error(text, start, "unexpected text after the end of the value")
        started = True
        words = match.group(kind)
        if not reader.accept_token(kind, words, start):
            raise _syntax_error(text, start, f"unexpected {words[:20]}")


@slotted
class _JsonScanner:
    """What was read so far: the open containers, the keys down to the next value, and the strings."""

    open_containers: list[_Container] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    strings: list[StringValue] = field(default_factory=list)

    @property
    def expects_key(self) -> bool:
        """Whether the next token may be the key of an object."""
        top = self.open_containers[-1] if self.open_containers else None
        return top is not None and top.closer == "}" and top.expects in {"first", "key"}

    def accept_member(self, member: re.Match[str]) -> int:
        """Accept a key with a string and the comma behind it, if there is one; return where they end."""
        top = self.open_containers[-1]
        key, value, comma = member.groups()
        top.key, top.key_start = _decode_string(key), member.start("key")
        top.expects = "key" if comma else "comma"
        self.keys[len(self.open_containers) - 1 :] = [top.key]
        self._add_value("string", value, member.start("value"))
        return member.end()

    def accept_token(self, kind: str, words: str, start: int) -> bool:
        """Accept one token; return False if the grammar does not allow it."""
        top = self.open_containers[-1] if self.open_containers else None
        if top is None:
            return self._add_value(kind, words, start)
        if words == top.closer and kind == "sign":
            self.open_containers.pop()
            del self.keys[len(self.open_containers) :]
            return top.expects in {"first", "comma"}
        if kind == "sign" and words in ",:":
            allowed = top.expects == ("comma" if words == "," else "colon")
            top.expects = {",": "key" if top.closer == "}" else "item", ":": "value"}[words]
            return allowed
        if top.closer == "}" and top.expects in {"first", "key"}:
            top.key, top.key_start, top.expects = _decode_string(words) if kind == "string" else "", start, "colon"
            return kind == "string"
        if top.expects not in {"first", "item", "value"}:
            return False
        if top.closer == "]":
            top.key, top.count = str(top.count), top.count + 1
        top.expects = "comma"
        self.keys[len(self.open_containers) - 1 :] = [top.key]
        return self._add_value(kind, words, start)

    def _add_value(self, kind: str, words: str, start: int) -> bool:
        if kind == "string":
            path = tuple(self.keys[:_MAX_PATH_KEYS])
            key_start = self.open_containers[-1].key_start if self.open_containers else -1
            self.strings.append(StringValue(start + 1, start + len(words) - 1, path, _decode_string(words), key_start))
        elif kind == "sign":
            self.open_containers.append(_Container("}" if words == "{" else "]"))
            return words in "{["
        return True


def _decode_string(words: str) -> str:
    """Return the value of a string token. Most have no escapes, and a file may have a million."""
    return json.loads(words) if "\\" in words else words[1:-1]


def _syntax_error(text: str, at: int, detail: str) -> BadDocument:
    return BadDocument(line=line_at(text, at), detail=detail)


FORMAT = JsonFormat()
