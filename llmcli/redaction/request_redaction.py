"""Put placeholders into all texts of a request: messages, tools, schema, labels and candidates."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llmcli.fast_dataclass import frozen, replace
from llmcli.redaction.normalization import fold
from llmcli.redaction.placeholders import (
    MAX_PLACEHOLDER_CHARS,
    PLACEHOLDER,
    TAG,
    TAG_BEGUN,
    TAG_START,
    Placeholder,
    disfigured_pattern,
)
from llmcli.redaction.redactor import Redactor, UsedPlaceholders
from llmcli.types import Message, Request, Role

NOTE = (
    f"Codes such as {TAG}_EMAIL_1 stand for private text. Wherever you use that text, copy its code exactly as it is."
)
"""Added to the system message, if there is one, of a request with placeholders."""
_SYNTAX_KEYS = frozenset({"$ref", "$schema", "$id", "$anchor", "pattern", "format", "type", "contentEncoding"})
"""Keys of a JSON schema whose values are syntax, not text."""
_VALUE_KEYS = frozenset({"const", "default", "enum", "example", "examples"})
"""Keys of a JSON schema whose values are data, numbers included."""
_Change = Callable[[str], str]


@frozen
class RedactedRequest:
    """A request as it is sent, and its placeholders.

    ``carried``: how often the answer must contain each of them, by number. ``stop``: the stop strings to look for in
    the restored answer.
    """

    request: Request
    used: UsedPlaceholders
    carried: Counter[int]
    stop: tuple[str, ...] = ()


def redact_request(redactor: Redactor, request: Request) -> RedactedRequest:
    """Replace all private values in ``request``; a request without any stays the same."""
    texts = list(_texts(request))
    redactor.learn(texts)
    used = UsedPlaceholders()

    def change(text: str) -> str:
        return redactor.redact(text, used)

    redacted = replace(
        request,
        messages=tuple(_redact_message(message, change) for message in request.messages),
        prompt=None if request.prompt is None else change(request.prompt),
        embeds=tuple(map(change, request.embeds)),
        candidates=tuple(map(change, request.candidates)),
        labels=tuple(map(change, request.labels)),
        schema=None if request.schema is None else _redact_schema(request.schema, change),
        tools=tuple(_redact_schema(tool, change) for tool in request.tools),
    )
    kept = tuple(stop for stop in request.stop if not (redactor.find(stop) or _may_meet_placeholder(stop)))
    if not used:
        private_stop = any(redactor.find(stop) for stop in request.stop)
        unchanged = replace(request, stop=kept) if private_stop else request
        return RedactedRequest(unchanged, used, Counter(), request.stop if private_stop else ())
    carried = [piece for piece in redactor.split(request.carries, used) if isinstance(piece, Placeholder)]
    return RedactedRequest(
        replace(redacted, messages=_with_note(redacted.messages), stop=kept, carries=""),
        used,
        Counter(placeholder.number for placeholder in carried),
        request.stop,
    )


def _texts(request: Request) -> Iterator[str]:
    """Yield all texts of a request."""
    for message in request.messages:
        yield message.content
        for call in message.tool_calls:
            yield call.name
            yield from _strings(call.arguments)
    if request.prompt is not None:
        yield request.prompt
    yield from request.embeds
    yield from request.candidates
    yield from request.labels
    yield from _strings(request.schema)
    yield from _strings(request.tools)
    yield from request.stop


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _SYNTAX_KEYS:
                yield key
                yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _redact_message(message: Message, change: _Change) -> Message:
    calls = tuple(
        replace(call, name=change(call.name), arguments=_redact_json(call.arguments, change))
        for call in message.tool_calls
    )
    return replace(message, content=change(message.content), tool_calls=calls)


def _redact_json(value: Any, change: _Change) -> Any:
    """Apply ``change`` to all strings of a JSON value, keys too, and to numbers, which it replaces with numbers."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = change(f"[{value}]")[1:-1]  # an array, so that the number is found to stand without quotes
        return value if text == str(value) else int(text) if text.isdigit() else text
    if isinstance(value, Mapping):
        return {change(key): _redact_json(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_json(inner, change) for inner in value]
    return value


def _redact_schema(schema: Any, change: _Change) -> Any:
    """Apply ``change`` to all strings of a schema or a tool that are not syntax."""
    if isinstance(schema, Mapping):
        return {
            change(key): inner if key in _SYNTAX_KEYS and isinstance(inner, str) else redact(inner, change)
            for key, inner in schema.items()
            for redact in (_redact_json if key in _VALUE_KEYS else _redact_schema,)
        }
    if isinstance(schema, list | tuple):
        return [_redact_schema(inner, change) for inner in schema]
    return change(schema) if isinstance(schema, str) else schema


def _may_meet_placeholder(stop: str) -> bool:
    """Return whether a stop string could match a part of a placeholder, so that the server must not see it."""
    edges = f"{stop[:1]}{stop[-1:]}"
    return any(character.isalnum() or character in "_\\-" for character in edges) or TAG in stop.upper()


def _with_note(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Append ``NOTE`` to the system message, if there is one."""
    if not messages or messages[0].role is not Role.SYSTEM:
        return messages
    first, *rest = messages
    return (replace(first, content=f"{first.content}\n\n{NOTE}"), *rest)


_MAX_CLOSING_CHARS = 9
_DIGITS_BEGUN = re.compile(r"[0-9]+\Z")
_MAX_HELD_CHARS = MAX_PLACEHOLDER_CHARS
_WITH_DIGITS = re.compile(rf"{PLACEHOLDER.pattern}|(?P<digits>[0-9]+)")
_MARKUP = re.compile(r"\*{1,3}|~~|`{1,2}|</?[A-Za-z]{1,6}>")
_LETTERS = re.compile(r"[^\W\d_]+")
_SPACE = re.compile(r"\s")
_RESTORED = "\0"
"""Stands for a restored value where disfigured placeholders are searched."""


class Restorer:
    """Restores the values of one answer. ``in_json``: they are inserted into JSON strings."""

    def __init__(self, used: UsedPlaceholders, *, in_json: bool = False) -> None:
        self._used = used
        self._in_json = in_json
        self._kinds = {placeholder.kind.upper() for placeholder in used.by_number.values()}
        self._pattern = _WITH_DIGITS if used.by_digits else PLACEHOLDER
        self._held = ""
        self._cut = False
        self._unrestored: list[str] = []
        self.restored: Counter[int] = Counter()
        """How often each placeholder was restored, by number."""
        self.damaged: list[str] = []
        """Damaged placeholders, as the model wrote them."""

    def feed(self, text: str) -> str:
        """Take a piece; return the text that is final."""
        text = self._held + text
        end = self._final_chars(fold(text))
        self._held = text[end:]
        return self._restore(text[:end])

    def _final_chars(self, text: str) -> int:
        """Return how many characters of a folded text belong to no placeholder that may go on."""
        start = max(0, len(text) - _MAX_HELD_CHARS)
        for tag in TAG_START.finditer(text, start):
            match = PLACEHOLDER.match(text, tag.start())
            if match is None or not match["number"] or match.end() + _MAX_CLOSING_CHARS > len(text):
                return tag.start()
        begun = (self._used.by_digits and _DIGITS_BEGUN.search(text, start)) or TAG_BEGUN.search(text, start)
        return begun.start() if begun else len(text)

    def finish(self, *, cut: bool = False) -> str:
        """Return the remaining text.

        ``cut``: the answer was truncated, so a placeholder at its end may be incomplete.
        """
        self._cut = cut
        text, self._held = self._held, ""
        restored = self._restore(text)
        self._report_disfigured()
        return restored

    def _report_disfigured(self) -> None:
        """Add what remains of the text and has the characters of a placeholder, with others between them."""
        remains, self._unrestored = fold("".join(self._unrestored)), []
        for match in disfigured_pattern(self._kinds).finditer(remains) if self._kinds else ():
            written = match.group()
            is_code = "_" in written or written.isupper()
            if is_code and not any(damaged in written or written in damaged for damaged in map(fold, self.damaged)):
                self.damaged.append(written)

    def restore_json(self, value: Any) -> Any:
        """Return a JSON value that is complete, with the values restored in its strings, keys and numbers."""
        if isinstance(value, str):
            restored = self._restore(value)
            self._report_disfigured()
            return restored
        if isinstance(value, Mapping):
            return {self.restore_json(key): self.restore_json(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.restore_json(inner) for inner in value]
        if isinstance(value, int) and str(value) in self._used.by_digits:
            return int(self._restore(str(value)))
        return value

    def _restore(self, text: str) -> str:
        pieces: list[str] = []
        at = 0
        for match in self._pattern.finditer(fold(text)):
            said = text[match.start() : match.end()]
            replacement = self._replacement(match, said)
            pieces += [text[at : match.start()], said if replacement is None else replacement]
            self._unrestored += [text[at : match.start()], said if replacement is None else _RESTORED]
            at = match.end()
        self._unrestored.append(text[at:])
        return "".join([*pieces, text[at:]])

    def _replacement(self, match: re.Match[str], said: str) -> str | None:
        """Return the value for a match, which stands in the answer as ``said``; None if it stays."""
        placeholder = self._meant(match, said)
        if placeholder is None:
            return None
        self.restored[placeholder.number] += 1
        value = _as_json_text(placeholder.value) if self._in_json else placeholder.value
        return value if "digits" in match.re.groupindex and match["digits"] else _with_markup(match, value)

    def _meant(self, match: re.Match[str], said: str) -> Placeholder | None:
        """Return the placeholder that a match refers to, None for other text; a damaged placeholder is recorded."""
        if said.isdigit():
            return self._used.by_digits.get(match.group())
        words = _LETTERS.findall(match["kind"] or match["name"] or "")
        kind = "".join(words).upper()
        number, code, separator = match["number"], match["code"], match["first"]
        is_ours = kind in self._kinds or (not number and words[0].upper() in self._kinds)
        joined = not _SPACE.search(code)
        is_code = joined and bool(separator) and (bool(kind) or "-" not in separator)
        placeholder = self._used.by_number.get(int(number)) if number else None
        if placeholder is not None and (
            (placeholder.kind.upper() == kind and ("\n" not in code or "_" in code))
            or (is_code and not is_ours and (match["second"] or not kind))
        ):
            return placeholder
        is_incomplete = self._cut and match.end() == len(match.string)
        if is_code and (is_ours or (number and code.startswith(TAG))) and not is_incomplete:
            start = match.start("code") - match.start()
            self.damaged.append(said[start : start + len(code)])
        return None


def _with_markup(match: re.Match[str], value: str) -> str:
    """Return a value with the markup around its code, except for a mark whose counterpart stands inside of the code."""
    first, last = match["open"] or "", match["close"] or ""
    if len(_MARKUP.findall(match["code"])) % 2 and bool(first) != bool(last):
        return value
    return f"{first}{value}{last}"


def restore_error(used: UsedPlaceholders, error: Exception) -> Exception:
    """Put the values back into the texts of an error, since its reader knows only them."""
    restore = Restorer(used).restore_json
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, restore(value))
    error.args = tuple(map(restore, error.args))
    return error


def _as_json_text(value: str) -> str:
    """Escape a value for a JSON string. A value that is valid there stays, since it may come from a JSON document."""
    try:
        json.loads(f'"{value}"')
    except ValueError:
        return json.dumps(value, ensure_ascii=False)[1:-1]
    return value


class StopFilter:
    """Ends an answer at the first of ``stop``, which may be split over pieces."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self._held = ""
        self.stopped = False
        self.stop_string: str | None = None

    def feed(self, text: str) -> str:
        """Take a piece; return the final text before a stop string."""
        if self.stopped:
            return ""
        text = self._held + text
        places = [(text.find(stop), stop) for stop in self._stop if stop in text]
        if places:
            place, self.stop_string = min(places)
            self.stopped, self._held = True, ""
            return text[:place]
        held = max((_partial_stop_length(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """Return the rest."""
        text, self._held = self._held, ""
        return text


def _partial_stop_length(text: str, stop: str) -> int:
    """Return the length of the longest suffix of ``text`` that is a prefix of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
