"""Tools in OpenAI's protocol: the tools of a request, a schema for a required call, and calls in an answer.

Source: the OpenAI API reference, "Create chat completion" (``tools``, ``tool_choice``). Models write calls in these
ways: ``<tool_call>{...}</tool_call>`` (Hermes, Qwen), or an answer that is only a JSON object, or a list of them, with
a name and ``arguments`` or ``parameters`` (Llama, Mistral, and the way we describe to models whose template does not
support tools).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from llmcli.fast_dataclass import frozen
from llmcli.openai_api.fields import FieldError, Fields, check_nesting, parse_nested
from llmcli.text_stream import partial_match_length
from llmcli.types import ToolCall

MAX_TOOLS = 128
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPEN_TAG, _CLOSE_TAG = "<tool_call>", "</tool_call>"
_FUNCTION_FIELDS = {"name", "description", "parameters", "strict"}
_CHOICE_MODES = ("none", "auto", "required")


@frozen
class ToolChoice:
    """The tools shown to a model; it must call one of ``required_names``, unless that is empty."""

    tools: tuple[Mapping[str, Any], ...] = ()
    required_names: tuple[str, ...] = ()
    allow_parallel: bool = True

    @property
    def tool_names(self) -> frozenset[str]:
        """The names of all tools."""
        return frozenset(tool["function"]["name"] for tool in self.tools)

    def call_schema(self) -> Mapping[str, Any] | None:
        """Return the JSON schema of a required call, or None."""
        if not self.required_names:
            return None
        calls, shared = [], {}
        for number, tool in enumerate(self.tools):
            function = tool["function"]
            if function["name"] in self.required_names:
                arguments, own = _prefix_definitions(function.get("parameters") or {"type": "object"}, f"tool{number}_")
                shared.update(own)
                calls.append(_call_schema(function["name"], arguments))
        return {**(calls[0] if len(calls) == 1 else {"anyOf": calls}), **({"$defs": shared} if shared else {})}


NO_TOOLS = ToolChoice()


def _call_schema(name: str, arguments: Any) -> dict[str, Any]:
    properties = {"name": {"const": name}, "arguments": arguments}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _prefix_definitions(schema: Mapping[str, Any], prefix: str) -> tuple[Any, dict[str, Any]]:
    """Return a schema, its references adapted to definitions at another schema's root, and those definitions."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        if not isinstance(value, Mapping):
            return value
        moved = {key: walk(inner) for key, inner in value.items()}
        reference = moved.get("$ref")
        if isinstance(reference, str):
            moved["$ref"] = re.sub(r"^#/(?:\$defs|definitions)/", f"#/$defs/{prefix}", reference)
        return moved

    plain = {key: value for key, value in schema.items() if key not in {"$defs", "definitions", "$schema"}}
    both = [schema.get(key) for key in ("definitions", "$defs")]
    definitions = {name: value for part in both if isinstance(part, Mapping) for name, value in part.items()}
    return walk(plain), {f"{prefix}{name}": walk(value) for name, value in definitions.items()}


def parse_tool_choice(fields: Fields) -> ToolChoice:
    """Return the tools and the tool choice of a request. Raises ``FieldError``."""
    given, choice, parallel = fields.get("tools"), fields.get("tool_choice"), fields.get("parallel_tool_calls")
    if not isinstance(parallel, bool | None):
        raise FieldError("parallel_tool_calls", "parallel_tool_calls is not true or false")
    if given is None:
        if choice not in {None, "none", "auto"} if isinstance(choice, str | None) else True:
            raise FieldError("tool_choice", "tool_choice requires tools")
        return ToolChoice()
    if not isinstance(given, list) or len(given) > MAX_TOOLS:
        raise FieldError("tools", f"tools is not a list of at most {MAX_TOOLS} tools")
    check_nesting(given, "tools")
    tools = tuple(_parse_tool(tool, f"tools[{number}]") for number, tool in enumerate(given))
    tool_choice = ToolChoice(tools, allow_parallel=parallel is not False)
    if len(tool_choice.tool_names) != len(tools):
        raise FieldError("tools", "two tools have the same name")
    forced = parse_required_names(choice, tool_choice.tool_names)
    return ToolChoice() if forced is None else ToolChoice(tools, forced, tool_choice.allow_parallel)


def _parse_tool(tool: Any, where: str) -> Mapping[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function":
        raise FieldError(where, f'{where} is not {{"type": "function", "function": {{...}}}}')
    if not isinstance(function.get("name"), str) or not _TOOL_NAME.fullmatch(function["name"]):
        raise FieldError(f"{where}.function.name", f"{where}.function.name is not 1 to 64 letters, digits, _ and -")
    for at, given, known in ((where, tool, {"type", "function"}), (f"{where}.function", function, _FUNCTION_FIELDS)):
        for name in given.keys() - known:
            raise FieldError(f"{at}.{name}", f"{at}.{name} is not supported")
    for name, kind in (("description", str), ("parameters", dict), ("strict", bool)):
        if not isinstance(function.get(name), kind | None):
            raise FieldError(f"{where}.function.{name}", f"{where}.function.{name} has the wrong type")
    shown = {name: function[name] for name in ("name", "description", "parameters") if function.get(name) is not None}
    return {"type": "function", "function": {"description": "", "parameters": {"type": "object"}, **shown}}


def parse_required_names(choice: Any, names: frozenset[str]) -> tuple[str, ...] | None:
    """Return the names of the tools, one of which must be called; None if no tool may be called."""
    if choice is None or isinstance(choice, str):
        mode = choice or "auto"
        if mode not in _CHOICE_MODES:
            raise FieldError("tool_choice", f"tool_choice must be one of {', '.join(_CHOICE_MODES)}")
        if not names and mode == "required":
            raise FieldError("tool_choice", "tool_choice requires tools")
        return None if mode == "none" or not names else tuple(sorted(names)) if mode == "required" else ()
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or name not in names:
        raise FieldError("tool_choice", "tool_choice names a function that is not in tools")
    return (name,)


class ToolCallParser:
    """Separates calls from text in a streamed answer: text that may be a call is held back until that is certain."""

    def __init__(self, tool_choice: ToolChoice) -> None:
        self._tool_names = tool_choice.tool_names
        self._allow_parallel = tool_choice.allow_parallel
        self._buffer = ""
        self._nothing_released = True  # so the whole answer may still be a call
        self._num_calls = 0

    def feed(self, text: str) -> list[str | ToolCall]:
        """Add a piece of the answer; return the text and calls that are certain, in order."""
        if not self._tool_names:
            return [text] if text else []
        self._buffer += text
        return self._drain_buffer(last=False)

    def flush(self) -> list[str | ToolCall]:
        """Return the rest at the end of the answer."""
        return self._drain_buffer(last=True)

    def _drain_buffer(self, *, last: bool) -> list[str | ToolCall]:
        pieces: list[str | ToolCall] = []
        while self._buffer:
            start = self._buffer.lstrip()
            if self._nothing_released and not self._num_calls and (start[:1] in {"{", "["} or not start):
                if last:
                    pieces += self._parse_whole_answer()
                break
            before, found, after = self._buffer.partition(_OPEN_TAG)
            if not found:
                keep = 0 if last else partial_match_length(self._buffer, [_OPEN_TAG])
                self._release_text(pieces, self._buffer[: len(self._buffer) - keep])
                self._buffer = self._buffer[len(self._buffer) - keep :]
                break
            inner, closed, rest = after.partition(_CLOSE_TAG)
            if not (closed or last):
                self._release_text(pieces, before)
                self._buffer = found + after
                break
            self._release_text(pieces, before)
            self._buffer = rest
            self._append_calls(pieces, inner, found + inner + closed)
        return pieces

    def _release_text(self, pieces: list[str | ToolCall], text: str) -> None:
        around_calls = text.isspace() and (self._num_calls or self._nothing_released)
        if text and not around_calls:
            pieces.append(text)
            self._nothing_released = False

    def _parse_whole_answer(self) -> list[str | ToolCall]:
        """Return the calls of an answer that consists of calls alone, or its text."""
        pieces: list[str | ToolCall] = []
        text, self._buffer = self._buffer, ""
        self._append_calls(pieces, text, text)
        return pieces

    def _append_calls(self, pieces: list[str | ToolCall], text: str, otherwise: str) -> None:
        """Append the calls in ``text``, or ``otherwise`` if it contains none."""
        calls = self._parse_calls(text)
        if not calls:
            pieces.append(otherwise)
            self._nothing_released = False
        for name, arguments in calls:
            if self._allow_parallel or not self._num_calls:
                self._num_calls += 1
                pieces.append(ToolCall(f"call_{secrets.token_hex(12)}", name, arguments))

    def _parse_calls(self, text: str) -> list[tuple[str, Mapping[str, Any]]]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return []
        values = value if isinstance(value, list) else [value]
        found: list[tuple[str, Mapping[str, Any]]] = []
        for item in values:
            function = item.get("function", item) if isinstance(item, dict) else None
            if not isinstance(function, dict):
                return []
            name = function.get("name")
            if not isinstance(name, str) or name not in self._tool_names:
                return []
            arguments = function.get("arguments", function.get("parameters", {}))
            if not isinstance(arguments, dict):
                return []
            found.append((name, arguments))
        return found


_NAMED_TOOL = re.compile(r"[a-zA-Z0-9_-]{1,128}")

Tool = Mapping[str, Any]
"""A tool as the engine and chat completions have it."""


def parse_function_tools(
    fields: Fields, type_name: str, schema_field: str, read_more: Callable[[Fields], None]
) -> tuple[Tool, ...]:
    """Return the field ``tools``. Raises ``FieldError``.

    ``type_name``: the type of tools that are functions.
    ``schema_field``: the field with the schema of the arguments.
    ``read_more``: reads the fields that only one of the protocols has.
    """
    given = fields.get("tools")
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MAX_TOOLS:
        raise FieldError("tools", f"tools is not a list of at most {MAX_TOOLS} tools")
    check_nesting(given, "tools")

    def read(tool: Fields) -> Tool:
        kind = tool.string("type")
        if kind not in {None, type_name}:
            raise FieldError("type", f"type {kind!r} is not supported: tools must be functions ({type_name})")
        read_more(tool)
        return _build_tool(tool, schema_field)

    tools = tuple(parse_nested(f"tools[{number}]", tool, read) for number, tool in enumerate(given))
    if len({tool["function"]["name"] for tool in tools}) != len(tools):
        raise FieldError("tools", "two tools have the same name")
    return tools


def _build_tool(tool: Fields, schema_field: str) -> Tool:
    name, description, schema = tool.string("name"), tool.string("description"), tool.mapping(schema_field)
    tool.boolean("strict")  # a required call always follows its schema
    if name is None or not _NAMED_TOOL.fullmatch(name):
        raise FieldError("name", "name is not 1 to 128 letters, digits, _ and -")
    function = {"name": name, "description": description or "", "parameters": schema or {"type": "object"}}
    return {"type": "function", "function": function}
