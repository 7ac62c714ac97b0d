"""Parsing of bodies in Anthropic's protocol into ``Request``s, strictly: a field that is unknown is refused by name.

Source: the Claude API reference, "Messages" and "Count tokens in a Message". ``ignore_eos``, ``seed``, ``min_p`` and the
penalties are extensions, as in chat completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.anthropic_api.message_turns import parse_system, parse_turns
from llmcli.openai_api.fields import MAX_INT32, MAX_STOP_STRINGS, FieldError, Fields, check_nesting, parse_nested
from llmcli.openai_api.function_tools import parse_function_tools
from llmcli.openai_api.requests import ParsedRequest
from llmcli.openai_api.tool_calls import ToolChoice
from llmcli.types import Message, Priority, Request

_SERVICE_TIERS = frozenset({None, "auto", "standard_only"})
_EFFORTS = frozenset({None, "low", "medium", "high", "xhigh", "max"})
_MIN_THINKING_TOKENS = 1024
_CHOICE_TYPES = ("auto", "any", "tool", "none")


def parse_message_request(body: Any) -> ParsedRequest:
    """Return the body of ``POST /v1/messages``. Raises ``FieldError``."""
    return _parse_whole(body, read_message_fields)


def parse_count_request(body: Any) -> ParsedRequest:
    """Return the body of ``POST /v1/messages/count_tokens``. Raises ``FieldError``."""
    return _parse_whole(body, read_count_fields)


def _parse_whole(body: Any, read: Any) -> ParsedRequest:
    fields = Fields(body)
    parsed: ParsedRequest = read(fields)
    fields.reject_unread()
    return parsed


def read_message_fields(fields: Fields) -> ParsedRequest:
    """Return the request that the fields of a message describe."""
    longest = fields.integer("max_tokens", 1, MAX_INT32)
    if longest is None:
        raise FieldError("max_tokens", "max_tokens is missing")
    if fields.string("service_tier") not in _SERVICE_TIERS:
        raise FieldError("service_tier", "service_tier must be auto or standard_only")
    metadata = fields.mapping("metadata")
    if metadata is not None:
        parse_nested("metadata", metadata, lambda inner: inner.string("user_id"))
    messages, tool_choice, schema, reasoning = _parse_prompt(fields, longest)
    stream = fields.boolean("stream")
    base = Request(
        "0",
        messages,
        sampling=fields.sampling(),
        stop=_parse_stop_sequences(fields),
        max_tokens=longest,
        schema=schema if schema is not None else tool_choice.call_schema(),
        priority=Priority.INTERACTIVE,
        reasoning=reasoning,
        tools=tool_choice.tools,
        ignore_eos=fields.boolean("ignore_eos"),
        progress=stream,  # a stream begins with the number of prompt tokens, which is in the first report
    )
    return ParsedRequest((base,), fields.string("model"), stream=stream, tool_choice=tool_choice)


def read_count_fields(fields: Fields) -> ParsedRequest:
    """Return the request whose prompt is to be counted."""
    messages, tool_choice, _, reasoning = _parse_prompt(fields, MAX_INT32)
    return ParsedRequest(
        (Request("0", messages, reasoning=reasoning, tools=tool_choice.tools),), fields.string("model")
    )


def _parse_prompt(
    fields: Fields, max_tokens: int
) -> tuple[tuple[Message, ...], ToolChoice, Mapping[str, Any] | None, bool]:
    """Return messages, tools, the schema of the answer, and whether the model is to think."""
    fields.mapping("cache_control")  # every prefix is cached
    messages = (*parse_system(fields.get("system")), *parse_turns(fields.get("messages")))
    tool_choice, output = _parse_tools(fields), fields.mapping("output_config")
    schema = None if output is None else parse_nested("output_config", output, _parse_output_config)
    if schema is not None and tool_choice.tools:
        raise FieldError(
            "output_config.format", "output_config.format and tools go together only if tool_choice is none"
        )
    thinking = fields.mapping("thinking")
    reasoning = thinking is not None and parse_nested(
        "thinking", thinking, lambda inner: _parse_thinking(inner, max_tokens)
    )
    return messages, tool_choice, schema, bool(reasoning)


def _parse_stop_sequences(fields: Fields) -> tuple[str, ...]:
    if isinstance(fields.get("stop_sequences"), str):
        raise FieldError("stop_sequences", "stop_sequences is not a list of strings")
    return fields.strings("stop_sequences", MAX_STOP_STRINGS)


def _parse_output_config(fields: Fields) -> Mapping[str, Any] | None:
    if fields.string("effort") not in _EFFORTS:  # a hint that has no effect on these models
        raise FieldError("effort", "effort must be one of low, medium, high, xhigh, max")
    given = fields.mapping("format")
    return None if given is None else parse_nested("format", given, _parse_output_format)


def _parse_output_format(fields: Fields) -> Mapping[str, Any]:
    if fields.get("type") != "json_schema":
        raise FieldError("type", "type must be json_schema")
    schema = fields.mapping("schema")
    if schema is None:
        raise FieldError("schema", "schema is not an object")
    check_nesting(schema, "schema")
    return schema


def _parse_thinking(fields: Fields, max_tokens: int) -> bool:
    kind = fields.string("type")
    if kind == "disabled":
        return False
    if kind not in ("enabled", "adaptive"):
        raise FieldError("type", "type must be enabled, adaptive or disabled")
    if fields.string("display") not in {None, "summarized"}:
        raise FieldError("display", "display must be summarized")
    if kind == "enabled":
        budget = fields.integer("budget_tokens", _MIN_THINKING_TOKENS, MAX_INT32)
        if budget is None or budget >= max_tokens:
            raise FieldError("budget_tokens", "budget_tokens must be a number below max_tokens")
    return True


def _parse_tools(fields: Fields) -> ToolChoice:
    tools = parse_function_tools(fields, "custom", "input_schema", _read_tool_hints)
    choice = fields.mapping("tool_choice")
    if choice is None:
        return ToolChoice(tools)
    if not tools:
        raise FieldError("tool_choice", "tool_choice requires tools")

    def read(given: Fields) -> ToolChoice:
        kind, name = given.string("type"), given.string("name")
        names = ToolChoice(tools).tool_names
        if kind not in _CHOICE_TYPES:
            raise FieldError("type", f"type must be one of {', '.join(_CHOICE_TYPES)}")
        if (kind == "tool") != (name is not None) or (name is not None and name not in names):
            raise FieldError("name", "name must be the name of one of tools, and goes with the type tool only")
        allow_parallel = not given.boolean("disable_parallel_tool_use")
        if kind == "none":
            return ToolChoice()
        required = {"auto": (), "any": tuple(sorted(names)), "tool": (name,)}[kind]
        return ToolChoice(tools, required, allow_parallel)  # type: ignore[arg-type]

    return parse_nested("tool_choice", choice, read)  # type: ignore[no-any-return]


def _read_tool_hints(tool: Fields) -> None:
    tool.mapping("cache_control")
    tool.boolean("eager_input_streaming")
    if tool.boolean("defer_loading"):
        raise FieldError("defer_loading", "defer_loading is not supported")
