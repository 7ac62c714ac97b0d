"""The fields of a request in OpenAI's protocol, read strictly: a wrong type or range is a 400 that names the field.

Source: the OpenAI API reference, "Create chat completion" and "Create completion"; ``top_k``,
``min_p`` and ``repeat_penalty`` as llama-server, vLLM and Ollama have them, ``chat_template_kwargs`` as llama-server,
vLLM and SGLang.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from llmcli.types import Message, RepetitionPolicy, Role, Sampling, ToolCall

OPTIONS_HEADER = "llm-options"
"""The header in which our own server passes engine options (``protocol.dump_options``, as JSON)."""
MODEL_HEADER = "llm-model"
"""The header in which our own server passes the name of the model that answers show, as JSON."""
MAX_CHOICES = 16
MAX_STOP_STRINGS = 16
MAX_TOP_LOGPROBS = 20
MAX_CANDIDATES = 1024
MAX_PROMPTS = 64
MAX_INT32 = 2**31 - 1
_MAX_NESTING_LEVELS = 64
_IGNORED_STRINGS = ("prompt_cache_key", "safety_identifier", "user")
"""Fields that do not change an answer."""
_SERVICE_TIERS = frozenset({None, "auto", "default"})
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}


class FieldError(Exception):
    """The field ``param`` is wrong; ``message`` says how."""

    def __init__(self, param: str | None, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


class Fields:
    """The fields of a body; each is read once, and ``reject_unknown`` refuses fields that were not read."""

    def __init__(self, body: Any) -> None:
        """Raises ``FieldError`` for anything but a JSON object."""
        if not isinstance(body, dict):
            raise FieldError(None, "the body is not a JSON object")
        self._body: Mapping[str, Any] = body
        self._read_names: set[str] = set()

    def get(self, name: str) -> Any:
        """Return a field unchanged; None if it is absent."""
        self._read_names.add(name)
        return self._body.get(name)

    def reject_unknown(self) -> None:
        """Raise ``FieldError`` for any other field: an answer that ignores a parameter is wrong."""
        for name in _IGNORED_STRINGS:
            self.string(name)
        self.mapping("metadata")
        if self.boolean("store"):
            raise FieldError("store", "store is not supported: this server stores nothing")
        if self.string("service_tier") not in _SERVICE_TIERS:
            raise FieldError("service_tier", "service_tier must be auto or default")
        self.reject_unread()

    def reject_unread(self) -> None:
        """Raise ``FieldError`` for a field that was not read."""
        for name, value in self._body.items():
            if name not in self._read_names and value is not None:
                raise FieldError(name, f"{name} is not supported")

    def number(self, name: str, low: float, high: float, *, above: bool = False) -> float | None:
        """Return a number from ``low`` (or ``above`` it) to ``high``; None if it is absent."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FieldError(name, f"{name} is not a number")
        if not ((low < value if above else low <= value) and value <= high):  # nor does NaN pass
            raise FieldError(name, f"{name} must be {'above' if above else 'from'} {low:g} to {high:g}")
        return float(value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number from ``low`` to ``high``; None if it is absent."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise FieldError(name, f"{name} is not a whole number")
        if not low <= value <= high:
            raise FieldError(name, f"{name} must be from {low} to {high}")
        return value

    def boolean(self, name: str) -> bool:
        """Return true or false; false if it is absent."""
        value = self.get(name)
        if not isinstance(value, bool | None):
            raise FieldError(name, f"{name} is not true or false")
        return bool(value)

    def string(self, name: str) -> str | None:
        """Return a string; None if it is absent."""
        value = self.get(name)
        if not isinstance(value, str | None):
            raise FieldError(name, f"{name} is not a string")
        return value

    def strings(self, name: str, most: int) -> tuple[str, ...]:
        """Return non-empty strings; a single string counts as a list of one."""
        value = self.get(name)
        values = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(text, str) and text for text in values):
            raise FieldError(name, f"{name} is not a non-empty string or a list of them")
        if len(values) > most:
            raise FieldError(name, f"{name} has more than {most} strings")
        return tuple(values)

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return an object; None if it is absent."""
        value = self.get(name)
        if not isinstance(value, dict | None):
            raise FieldError(name, f"{name} is not an object")
        return value

    def chat_template_flag(self, name: str) -> bool | None:
        """Return the only supported argument of chat templates, true or false; None if it is absent."""
        given = self.mapping("chat_template_kwargs") or {}
        for other in given:
            if other != name:
                raise FieldError(f"chat_template_kwargs.{other}", f"chat_template_kwargs.{other} is not supported")
        value = given.get(name)
        if not isinstance(value, bool | None):
            raise FieldError(f"chat_template_kwargs.{name}", f"chat_template_kwargs.{name} is not true or false")
        return value

    def messages(self) -> tuple[Message, ...]:
        """Return the conversation; only text content is supported."""
        value = self.get("messages")
        if not isinstance(value, list) or not value:
            raise FieldError("messages", "messages is not a non-empty list")
        messages = tuple(_parse_message_at(item, f"messages[{number}]") for number, item in enumerate(value))
        called: set[str] = set()
        for number, message in enumerate(messages):
            called.update(call.id for call in message.tool_calls)
            if message.role is Role.TOOL and message.tool_call_id not in called:
                raise FieldError(f"messages[{number}].tool_call_id", "no earlier message makes this tool call")
        return messages

    def stream_options(self) -> tuple[bool, bool]:
        """Return whether the answer is streamed, and whether the stream ends with the token counts."""
        stream, options = self.boolean("stream"), self.mapping("stream_options")
        if options is None:
            return stream, False
        if not stream:
            raise FieldError("stream_options", "stream_options requires stream: true")

        def read(fields: Fields) -> bool:
            if fields.boolean("include_obfuscation"):
                raise FieldError("include_obfuscation", "include_obfuscation is not supported")
            return fields.boolean("include_usage")

        return stream, parse_nested("stream_options", options, read)

    def response_schema(self) -> Mapping[str, Any] | None:
        """Return the JSON schema that ``response_format`` asks for; None for plain text."""
        wanted = self.mapping("response_format")
        return None if wanted is None else parse_nested("response_format", wanted, _parse_response_format)

    def sampling(self) -> Sampling:
        """Return the sampling options; the default temperature is 1, as the protocol says."""
        usual = Sampling()
        temperature = self.number("temperature", 0, 2)
        top_p = self.number("top_p", 0, 1, above=True)
        min_p = self.number("min_p", 0, 1)
        penalties = [self.number(name, -2, 2) for name in ("frequency_penalty", "presence_penalty")]
        return Sampling(
            temperature=1.0 if temperature is None else temperature,
            top_k=self.integer("top_k", 1, MAX_INT32) or usual.top_k,
            top_p=usual.top_p if top_p is None else top_p,
            min_p=usual.min_p if min_p is None else min_p,
            repeat_penalty=self.number("repeat_penalty", 0, 10, above=True) or usual.repeat_penalty,
            frequency_penalty=penalties[0] or 0.0,
            presence_penalty=penalties[1] or 0.0,
            seed=self.integer("seed", 0, 2**32 - 1),
        )

    def max_tokens(self) -> int | None:
        """Return the maximum length of an answer in tokens."""
        newer = self.integer("max_completion_tokens", 1, MAX_INT32)
        older = self.integer("max_tokens", 1, MAX_INT32)
        return older if newer is None else newer

    def repetition(self, max_tokens: int | None) -> RepetitionPolicy:
        """Return which repetition ends an answer: none if the client set a limit of its own, or wants no end."""
        is_limited = max_tokens is not None or self.boolean("ignore_eos")
        return RepetitionPolicy.OFF if is_limited else RepetitionPolicy.ANSWER


def _parse_response_format(fields: Fields) -> Mapping[str, Any] | None:
    if fields.get("type") != "json_schema":
        return None if fields.get("type") is None else parse_answer_format(fields)
    return parse_nested("json_schema", fields.get("json_schema"), _parse_named_schema)  # type: ignore[no-any-return]  # ``parse_nested`` returns Any


def parse_answer_format(fields: Fields) -> Mapping[str, Any] | None:
    """Return the schema of the format of an answer, None for text. Raises ``FieldError``."""
    kind = fields.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        raise FieldError("type", "type must be text, json_object or json_schema")
    return _parse_named_schema(fields)


def _parse_named_schema(fields: Fields) -> Mapping[str, Any]:
    for name in ("name", "description"):
        fields.string(name)
    fields.boolean("strict")  # it always is
    return parse_schema(fields)


def parse_schema(fields: Fields) -> Mapping[str, Any]:
    """Return the field ``schema``. Raises ``FieldError``."""
    schema = fields.mapping("schema")
    if schema is None:
        raise FieldError("schema", "schema is not an object")
    check_nesting(schema, "schema")
    return schema


def _parse_message_at(item: Any, where: str) -> Message:
    return parse_nested(where, item, _parse_message)  # type: ignore[no-any-return]  # ``parse_nested`` returns Any


def _parse_message(fields: Fields) -> Message:
    given = fields.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise FieldError("role", f"role must be one of {', '.join(_ROLES)}")
    calls: tuple[ToolCall, ...] = ()
    call_id = ""
    if role is Role.ASSISTANT:
        calls = _parse_tool_calls(fields.get("tool_calls"))
        fields.string("reasoning_content")  # the model does not see the reasoning of earlier answers again
        if fields.get("annotations"):
            raise FieldError("annotations", "annotations is not supported")
    if role is Role.TOOL:
        call_id = fields.get("tool_call_id")
        fields.string("name")
    if not isinstance(call_id, str):
        raise FieldError("tool_call_id", "tool_call_id is not a string")
    content = fields.get("content")
    if content is None and calls:
        content = ""
    if isinstance(content, list):
        content = "".join(
            parse_nested(f"content[{number}]", part, _parse_content_part) for number, part in enumerate(content)
        )
    if not isinstance(content, str):
        raise FieldError("content", "content is not a string")
    return Message(role, content, calls, call_id)


def _parse_tool_calls(given: Any) -> tuple[ToolCall, ...]:
    """Return the tool calls of an assistant message."""
    if not isinstance(given, list | None):
        raise FieldError("tool_calls", "tool_calls is not a list")
    return tuple(
        parse_nested(f"tool_calls[{number}]", call, _parse_tool_call) for number, call in enumerate(given or ())
    )


def _parse_tool_call(fields: Fields) -> ToolCall:
    fields.integer("index", 0, MAX_INT32)  # left over from the stream that it came in
    if fields.string("type") not in {None, "function"}:
        raise FieldError("type", "type must be function")
    identity = fields.string("id")
    if identity is None:
        raise FieldError("id", "id is not a string")
    return parse_nested("function", fields.get("function"), lambda inner: parse_called_function(inner, identity))  # type: ignore[no-any-return]  # as above


def parse_called_function(fields: Fields, identity: str) -> ToolCall:
    """Return the call with the id ``identity``; its arguments are a JSON string. Raises ``FieldError``."""
    name = fields.string("name")
    if name is None:
        raise FieldError("name", "name is not a string")
    try:
        arguments = json.loads(fields.get("arguments") or "{}")
    except (ValueError, TypeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise FieldError("arguments", "arguments is not an object")
    check_nesting(arguments, "arguments")
    return ToolCall(identity, name, arguments)


def _parse_content_part(fields: Fields) -> str:
    text = fields.string("text") if fields.get("type") == "text" else None
    if text is None:
        raise FieldError("text", "the type is not text, or text is missing")
    return text


def check_nesting(value: Any, name: str) -> None:
    """Refuse JSON nested so deeply that a recursive walk could overflow the stack. Raises ``FieldError``."""
    level = [value]
    for _ in range(_MAX_NESTING_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise FieldError(name, f"{name} nests deeper than {_MAX_NESTING_LEVELS} levels")


def load_json(body: bytes | bytearray) -> Any:
    """Parse a body as JSON. Raises ``FieldError`` if it is not."""
    try:
        return json.loads(body)
    except RecursionError as problem:
        raise FieldError(None, "the body is nested too deeply") from problem
    except ValueError as problem:
        raise FieldError(None, f"the body is not JSON: {str(problem).partition(';')[0]}") from problem


def parse_body(read: Callable[[Fields], Any], body: Any) -> Any:
    """Return what ``read`` makes of a body. Raises ``FieldError``, also for fields that ``read`` did not read."""
    fields = Fields(body)
    result = read(fields)
    fields.reject_unknown()
    return result


def parse_nested(where: str, value: Any, read: Callable[[Fields], Any]) -> Any:
    """Return what ``read`` makes of the object at ``where`` in a body. Raises ``FieldError``."""
    if not isinstance(value, dict):
        raise FieldError(where, f"{where} is not an object")
    fields = Fields(value)
    try:
        result = read(fields)
        fields.reject_unread()
    except FieldError as problem:
        raise FieldError(f"{where}.{problem.param}", f"{where}.{problem.message}") from problem
    return result
