"""The fields of a request in OpenAI's protocol, read strictly: of the right type and in range, or a 400 that names them.

Source: the OpenAI API reference, "Create chat completion" and "Create completion"; ``top_k``,
``min_p`` and ``repeat_penalty`` as llama-server, vLLM and Ollama have them, ``chat_template_kwargs`` as llama-server, vLLM
and SGLang.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from llmcli.types import Message, Role, Sampling, ToolCall

OPTIONS_HEADER = "llm-options"
"""The header in which our own server says how the engine is to be made (``wire.dump_options``, as JSON)."""
MOST_ANSWERS = 16
MOST_STOPS = 16
MOST_ALTERNATIVES = 20
MOST_CANDIDATES = 1024
MOST_PROMPTS = 64
LONGEST = 2**31 - 1
_DEEPEST = 64
_NOTES = ("prompt_cache_key", "safety_identifier", "user")
"""Texts that change nothing about an answer."""
_TIERS = frozenset({None, "auto", "default"})
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}


class BadField(Exception):
    """The field ``param`` is wrong; ``message`` says how."""

    def __init__(self, param: str | None, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


class Fields:
    """The fields of a body; each is asked for once, and ``done`` refuses those that nobody asked for."""

    def __init__(self, body: Any) -> None:
        """Raises ``BadField`` for what is no JSON object."""
        if not isinstance(body, dict):
            raise BadField(None, "the body is not a JSON object")
        self._body: Mapping[str, Any] = body
        self._asked: set[str] = set()

    def get(self, name: str) -> Any:
        """Return a field as it is; None where it is not given."""
        self._asked.add(name)
        return self._body.get(name)

    def done(self) -> None:
        """Raise ``BadField`` when there are others: an answer that ignores a wish is a wrong one."""
        for name in _NOTES:
            self.text(name)
        self.mapping("metadata")
        if self.switch("store"):
            raise BadField("store", "store is not supported: nothing is kept here")
        if self.text("service_tier") not in _TIERS:
            raise BadField("service_tier", "service_tier is not supported, unless it is auto or default")
        self.rest()

    def rest(self) -> None:
        """Raise ``BadField`` when there are fields that nobody asked for."""
        for name, value in self._body.items():
            if name not in self._asked and value is not None:
                raise BadField(name, f"{name} is not supported")

    def number(self, name: str, low: float, high: float, *, above: bool = False) -> float | None:
        """Return a number from ``low`` (or ``above`` it) to ``high``; None where it is not given."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadField(name, f"{name} is not a number")
        if not ((low < value if above else low <= value) and value <= high):  # nor does NaN pass
            raise BadField(name, f"{name} must be {'above' if above else 'from'} {low:g} to {high:g}")
        return float(value)

    def whole(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number from ``low`` to ``high``; None where it is not given."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadField(name, f"{name} is not a whole number")
        if not low <= value <= high:
            raise BadField(name, f"{name} must be from {low} to {high}")
        return value

    def switch(self, name: str) -> bool:
        """Return true or false; false where it is not given."""
        value = self.get(name)
        if not isinstance(value, bool | None):
            raise BadField(name, f"{name} is not true or false")
        return bool(value)

    def text(self, name: str) -> str | None:
        """Return a text; None where it is not given."""
        value = self.get(name)
        if not isinstance(value, str | None):
            raise BadField(name, f"{name} is not a text")
        return value

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """Return some texts, none of them empty; one may stand alone."""
        value = self.get(name)
        values = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(text, str) and text for text in values):
            raise BadField(name, f"{name} is not a text or a list of texts, none of them empty")
        if len(values) > most:
            raise BadField(name, f"{name} has more than {most} texts")
        return tuple(values)

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return an object; None where it is not given."""
        value = self.get(name)
        if not isinstance(value, dict | None):
            raise BadField(name, f"{name} is not an object")
        return value

    def template_switch(self, name: str) -> bool | None:
        """Return the only argument that chat templates are given, true or false; None where it is not given."""
        given = self.mapping("chat_template_kwargs") or {}
        for other in given:
            if other != name:
                raise BadField(f"chat_template_kwargs.{other}", f"chat_template_kwargs has no {other!r} here")
        value = given.get(name)
        if not isinstance(value, bool | None):
            raise BadField(f"chat_template_kwargs.{name}", f"chat_template_kwargs.{name} is not true or false")
        return value

    def messages(self) -> tuple[Message, ...]:
        """Return the conversation, of texts only."""
        value = self.get("messages")
        if not isinstance(value, list) or not value:
            raise BadField("messages", "messages is not a list with a message")
        messages = tuple(_message(item, f"messages[{number}]") for number, item in enumerate(value))
        called: set[str] = set()
        for number, message in enumerate(messages):
            called.update(call.id for call in message.calls)
            if message.role is Role.TOOL and message.call_id not in called:
                raise BadField(f"messages[{number}].tool_call_id", "it answers no call of the messages before it")
        return messages

    def streamed(self) -> tuple[bool, bool]:
        """Return whether the answer is streamed, and whether the stream ends with the token counts."""
        stream, options = self.switch("stream"), self.mapping("stream_options")
        if options is None:
            return stream, False
        if not stream:
            raise BadField("stream_options", "stream_options needs stream to be true")

        def read(fields: Fields) -> bool:
            if fields.switch("include_obfuscation"):
                raise BadField("include_obfuscation", "include_obfuscation is not supported")
            return fields.switch("include_usage")

        return stream, within("stream_options", options, read)

    def schema(self) -> Mapping[str, Any] | None:
        """Return the JSON schema that ``response_format`` asks for; None for plain text."""
        wanted = self.mapping("response_format")
        return None if wanted is None else within("response_format", wanted, _schema)

    def sampling(self) -> Sampling:
        """Return how tokens are drawn; the temperature is 1 unless given, as the protocol says."""
        usual = Sampling()
        temperature = self.number("temperature", 0, 2)
        top_p = self.number("top_p", 0, 1, above=True)
        min_p = self.number("min_p", 0, 1)
        penalties = [self.number(name, -2, 2) for name in ("frequency_penalty", "presence_penalty")]
        return Sampling(
            temperature=1.0 if temperature is None else temperature,
            top_k=self.whole("top_k", 1, LONGEST) or usual.top_k,
            top_p=usual.top_p if top_p is None else top_p,
            min_p=usual.min_p if min_p is None else min_p,
            repeat_penalty=self.number("repeat_penalty", 0, 10, above=True) or usual.repeat_penalty,
            frequency_penalty=penalties[0] or 0.0,
            presence_penalty=penalties[1] or 0.0,
            seed=self.whole("seed", 0, 2**32 - 1),
        )

    def longest(self) -> int | None:
        """Return the most tokens of an answer."""
        newer = self.whole("max_completion_tokens", 1, LONGEST)
        older = self.whole("max_tokens", 1, LONGEST)
        return older if newer is None else newer


def _schema(fields: Fields) -> Mapping[str, Any] | None:
    kind = fields.get("type")
    if kind in ("text", None):
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        raise BadField("type", "type is none of text, json_object, json_schema")

    def read(inner: Fields) -> Mapping[str, Any]:
        for name in ("name", "description"):
            inner.text(name)
        inner.switch("strict")  # it always is
        schema = inner.mapping("schema")
        if schema is None:
            raise BadField("schema", "schema is not an object")
        check_depth(schema, "schema")
        return schema

    return within("json_schema", fields.get("json_schema"), read)  # type: ignore[no-any-return]


def _message(item: Any, where: str) -> Message:
    return within(where, item, _read_message)  # type: ignore[no-any-return]


def _read_message(fields: Fields) -> Message:
    given = fields.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise BadField("role", f"role is none of {', '.join(_ROLES)}")
    calls: tuple[ToolCall, ...] = ()
    call_id = ""
    if role is Role.ASSISTANT:
        calls = _calls(fields.get("tool_calls"))
        fields.text("reasoning_content")  # of an earlier answer; what was thought is not shown to the model again
        if fields.get("annotations"):
            raise BadField("annotations", "annotations is not supported")
    if role is Role.TOOL:
        call_id = fields.get("tool_call_id")
        fields.text("name")
    if not isinstance(call_id, str):
        raise BadField("tool_call_id", "tool_call_id is not a text")
    content = fields.get("content")
    if content is None and calls:
        content = ""
    if isinstance(content, list):
        content = "".join(within(f"content[{number}]", part, _part) for number, part in enumerate(content))
    if not isinstance(content, str):
        raise BadField("content", "content is not a text")
    return Message(role, content, calls, call_id)


def _calls(given: Any) -> tuple[ToolCall, ...]:
    """Return the calls of an assistant's turn."""
    if not isinstance(given, list | None):
        raise BadField("tool_calls", "tool_calls is not a list")
    return tuple(within(f"tool_calls[{number}]", call, _call) for number, call in enumerate(given or ()))


def _call(fields: Fields) -> ToolCall:
    fields.whole("index", 0, LONGEST)  # a trace of the stream that it came in
    if fields.text("type") not in {None, "function"}:
        raise BadField("type", "type is not function")
    identity = fields.text("id")
    if identity is None:
        raise BadField("id", "id is not a text")
    return within("function", fields.get("function"), lambda inner: _function(inner, identity))  # type: ignore[no-any-return]


def _function(fields: Fields, identity: str) -> ToolCall:
    """Return a call; its arguments are JSON in a text."""
    name = fields.text("name")
    if name is None:
        raise BadField("name", "name is not a text")
    try:
        arguments = json.loads(fields.get("arguments") or "{}")
    except (ValueError, TypeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise BadField("arguments", "arguments is no object")
    check_depth(arguments, "arguments")
    return ToolCall(identity, name, arguments)


def _part(fields: Fields) -> str:
    text = fields.text("text") if fields.get("type") == "text" else None
    if text is None:
        raise BadField("text", "text is missing, or this is another thing than a text")
    return text


def check_depth(value: Any, name: str) -> None:
    """Refuse JSON that nests so deeply that what walks through it might not come back. Raises ``BadField``."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise BadField(name, f"{name} nests deeper than {_DEEPEST} levels")


def parsed(read: Callable[[Fields], Any], body: Any) -> Any:
    """Return what ``read`` makes of a body, all of whose fields it asked for. Raises ``BadField``."""
    fields = Fields(body)
    result = read(fields)
    fields.done()
    return result


def within(where: str, value: Any, read: Callable[[Fields], Any]) -> Any:
    """Return what ``read`` makes of an object that stands at ``where`` in a body. Raises ``BadField``."""
    if not isinstance(value, dict):
        raise BadField(where, f"{where} is not an object")
    fields = Fields(value)
    try:
        result = read(fields)
        fields.rest()
    except BadField as problem:
        raise BadField(f"{where}.{problem.param}", f"{where}.{problem.message}") from problem
    return result
