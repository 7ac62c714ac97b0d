"""JSON whose text stays: numbers as they were spelled, and objects that get new fields beside the others."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from json.decoder import JSONDecoder
from typing import Any, Self

from llmcli.errors import BadDocument

_MAX_INT_DIGITS = 4_300
"""Python converts longer integers only in a time that grows with the square (``sys.int_info``)."""
_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = JSONDecoder(parse_int=str, parse_float=str)  # only where values end is of interest
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)  # json.dumps would make one for each value


class SpelledNumber(float):
    """A number that Python does not print as it was spelled: 1e400, 1.50, one of 23 decimals or 5,000 digits."""

    __slots__ = ("spelling",)
    spelling: str

    def __new__(cls, spelling: str) -> Self:
        """Return the nearest float."""
        number = super().__new__(cls, spelling)
        number.spelling = spelling
        return number

    def __repr__(self) -> str:
        """Return the number as it was spelled."""
        return self.spelling

    __str__ = __repr__


def parse_json(text: str) -> tuple[Any, list[str]]:
    """Return a value, and the keys that occur more than once in an object of it; the last one counts.

    Raises ``json.JSONDecodeError`` and ``RecursionError``.
    """
    repeated: list[str] = []

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            repeated.extend(name for name in value if counts[name] > 1)
        return value

    value = json.loads(text, parse_float=parse_float, parse_int=parse_int, object_pairs_hook=make_object)
    return value, repeated


def parse_json_at(text: str, line: int) -> Any:
    """Return the value in a text that begins in this line of its document. Raises ``BadDocument``."""
    try:
        return json.loads(text, parse_int=parse_int, parse_float=parse_float)
    except json.JSONDecodeError as error:
        raise BadDocument(line=error.lineno + line - 1, detail=f"not JSON: {error.msg}") from error
    except RecursionError as error:
        raise BadDocument(detail="its JSON is nested too deeply") from error


def parse_float(spelling: str) -> float:
    """Return a number of JSON with a fraction or an exponent, for ``json.loads``."""
    number = float(spelling)
    return number if repr(number) == spelling else SpelledNumber(spelling)


def parse_int(spelling: str) -> int | float:
    """Return an integer of JSON, for ``json.loads``."""
    return SpelledNumber(spelling) if spelling == "-0" or len(spelling) > _MAX_INT_DIGITS else int(spelling)


class _JsonText(str):
    """A part of JSON, not a value."""

    __slots__ = ()


def dump_value(value: Any) -> str:
    """Return a value of an input as JSON in one line, with numbers as they were spelled, however deep it is nested."""
    parts: list[str] = []
    ahead = [value]
    while ahead:
        each = ahead.pop()
        if isinstance(each, _JsonText):
            parts.append(each)
        elif isinstance(each, SpelledNumber):
            parts.append(each.spelling)
        elif isinstance(each, dict) and each:
            members = [part for name, below in each.items() for part in (_JsonText(f", {dump_text(name)}: "), below)]
            members[0] = _JsonText(members[0][2:])
            ahead += [_JsonText("}"), *reversed(members), _JsonText("{")]
        elif isinstance(each, list) and each:
            items = [part for below in each for part in (_COMMA, below)][1:]
            ahead += [_JsonText("]"), *reversed(items), _JsonText("[")]
        else:
            parts.append(dump_text(each))
    return "".join(parts)


_COMMA = _JsonText(", ")


def dump_text(value: Any) -> str:
    """Return a value as JSON in one line; a lone surrogate stays escaped."""
    text = _ENCODER.encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, default=str)
    return text


def as_json_value(value: Any) -> Any:
    """Return a value of another format as JSON has it: a text for a date, null for NaN and infinities."""
    return json.loads(dump_text(value), parse_constant=lambda _name: None)


def add_fields(text: str, fields: Mapping[str, Any]) -> str:
    """Return the object ``text`` with new fields at its end; those that it has get a new value in their place."""
    text, there = text.strip(), set[str]()
    if fields:
        parts, at = list[str](), 0
        for name, start, end in object_members(text):
            if name in fields:
                parts += text[at:start], dump_text(fields[name])
                at = end
                there.add(name)
        text = "".join(parts) + text[at:]
    new = dump_text({name: value for name, value in fields.items() if name not in there})[1:-1]
    if not new:
        return text
    head = text[:-1].rstrip()
    return f"{head}{'' if head == '{' else ', '}{new}{text[len(head) :]}"


def object_members(text: str, at: int = 0) -> Iterator[tuple[str, int, int]]:
    """Yield the names of the members of the valid object at an offset, and where their values begin and end."""
    at = _skip_blanks(text, at + 1)
    while text[at] == '"':
        name, at = _DECODER.raw_decode(text, at)
        start = _skip_blanks(text, _skip_blanks(text, at) + 1)
        end = _DECODER.raw_decode(text, start)[1]
        yield name, start, end
        at = _skip_blanks(text, end)
        if text[at] == ",":
            at = _skip_blanks(text, at + 1)


def _skip_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    assert found is not None
    return found.end()
