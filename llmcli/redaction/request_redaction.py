"""Put placeholders into all texts of a request: messages, tools, schema, labels and candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmcli.frozen_dataclass import frozen, replace
from llmcli.redaction.placeholders import TAG, Placeholder
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

    ``carried``: how often the answer must contain each of them, by number. ``stop``: the stop strings to look for in the restored answer.
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
        replace(call, name=change(call.name), arguments=redact_json(call.arguments, change))
        for call in message.tool_calls
    )
    return replace(message, content=change(message.content), tool_calls=calls)


def redact_json(value: Any, change: _Change) -> Any:
    """Apply ``change`` to all strings of a JSON value, including keys, and to numbers, which it replaces with numbers."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = change(f"[{value}]")[1:-1]  # an array, so that the number is found to stand without quotes
        return value if text == str(value) else int(text) if text.isdigit() else text
    if isinstance(value, Mapping):
        return {change(key): redact_json(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact_json(inner, change) for inner in value]
    return value


def _redact_schema(schema: Any, change: _Change) -> Any:
    """Apply ``change`` to all strings of a schema or a tool that are not syntax."""
    if isinstance(schema, Mapping):
        return {
            change(key): inner if key in _SYNTAX_KEYS and isinstance(inner, str) else redact(inner, change)
            for key, inner in schema.items()
            for redact in (redact_json if key in _VALUE_KEYS else _redact_schema,)
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
