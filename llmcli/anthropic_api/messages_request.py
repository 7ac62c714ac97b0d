"""Parsing of bodies in Anthropic's protocol into ``Request``s, strictly: a field that is unknown is refused by name.

Source: the Claude API reference, "Messages" and "Count tokens in a Message". ``ignore_eos``, ``seed``, ``min_p`` and
the penalties are extensions, as in chat completions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmcli.openai_api.fields import (
    MAX_INT32,
    MAX_STOP_STRINGS,
    FieldError,
    Fields,
    check_nesting,
    parse_nested,
    parse_schema,
)
from llmcli.openai_api.requests import ParsedRequest
from llmcli.openai_api.tool_calls import ToolChoice, parse_function_tools
from llmcli.types import Message, Priority, Request, Role, ToolCall

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
    messages = (*_parse_system(fields.get("system")), *_parse_turns(fields.get("messages")))
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
    return parse_schema(fields)


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
        return ToolChoice(tools, required, allow_parallel)  # type: ignore[arg-type]  # the name of a tool is set

    return parse_nested("tool_choice", choice, read)  # type: ignore[no-any-return]  # ``parse_nested`` returns Any


def _read_tool_hints(tool: Fields) -> None:
    tool.mapping("cache_control")
    tool.boolean("eager_input_streaming")
    if tool.boolean("defer_loading"):
        raise FieldError("defer_loading", "defer_loading is not supported")


_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_ERROR_PREFIX = "Error: "
"""The prefix of a tool's result that is an error; chat templates have no other way to mark it."""

_Block = str | ToolCall | Message
"""A text, a call, or the result of one."""


def _parse_system(given: Any) -> tuple[Message, ...]:
    """Return the system prompt as a message. Raises ``FieldError``."""
    if given is None:
        return ()
    text = _parse_texts(given, "system")
    return (Message(Role.SYSTEM, text),) if text else ()


def _parse_turns(given: Any) -> tuple[Message, ...]:
    """Return the conversation, which ends with the user. Raises ``FieldError``."""
    if not isinstance(given, list) or not given:
        raise FieldError("messages", "messages is not a non-empty list")
    turns: list[tuple[Role, list[_Block]]] = []
    for number, item in enumerate(given):
        role, blocks = parse_nested(f"messages[{number}]", item, _parse_turn)
        if turns and turns[-1][0] is role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if turns[-1][0] is Role.ASSISTANT:
        words = "messages ends with an assistant message, which cannot be continued; end it with a user message"
        raise FieldError("messages", words)
    messages = tuple(message for role, blocks in turns for message in _iter_messages(role, blocks))
    _check_results(messages)
    return messages


def _parse_turn(fields: Fields) -> tuple[Role, list[_Block]]:
    given, content = fields.get("role"), fields.get("content")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise FieldError("role", f"role must be one of {', '.join(_ROLES)}")
    if isinstance(content, str):
        return role, [content]
    if not isinstance(content, list):
        raise FieldError("content", "content is not a string or a list of blocks")
    blocks = [
        parse_nested(f"content[{number}]", block, lambda inner: _parse_block(inner, role))
        for number, block in enumerate(content)
    ]
    return role, [block for block in blocks if block is not None]


def _parse_block(fields: Fields, role: Role) -> _Block | None:
    """Return the content of a block; None for reasoning, which the model does not see again."""
    kind = fields.string("type")
    fields.mapping("cache_control")
    if kind == "text":
        return _read_text(fields)
    if kind == "tool_use" and role is Role.ASSISTANT:
        return _parse_tool_use(fields)
    if kind == "tool_result" and role is Role.USER:
        return _parse_tool_result(fields)
    if kind in {"thinking", "redacted_thinking"} and role is Role.ASSISTANT:
        for name in ("thinking", "signature", "data"):
            fields.string(name)
        return None
    raise FieldError("type", f"type {kind!r} is not supported in a message of the role {role.value}")


def _read_text(fields: Fields) -> str:
    text = fields.string("text")
    if text is None:
        raise FieldError("text", "text is missing")
    if fields.get("citations"):
        raise FieldError("citations", "citations is not supported")
    return text


def _parse_tool_use(fields: Fields) -> ToolCall:
    identity, name, arguments = fields.string("id"), fields.string("name"), fields.mapping("input")
    fields.get("caller")
    if identity is None or name is None or arguments is None:
        missing = "id" if identity is None else "name" if name is None else "input"
        raise FieldError(missing, f"{missing} is missing")
    check_nesting(arguments, "input")
    return ToolCall(identity, name, arguments)


def _parse_tool_result(fields: Fields) -> Message:
    identity, content = fields.string("tool_use_id"), fields.get("content")
    if identity is None:
        raise FieldError("tool_use_id", "tool_use_id is missing")
    text = "" if content is None else _parse_texts(content, "content")
    return Message(Role.TOOL, _ERROR_PREFIX + text if fields.boolean("is_error") else text, (), identity)


def _parse_texts(given: Any, where: str) -> str:
    """Return a text, or the texts of a list of text blocks, as one."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        raise FieldError(where, f"{where} is not a string or a list of text blocks")

    def read(fields: Fields) -> str:
        fields.mapping("cache_control")
        if fields.get("type") != "text":
            raise FieldError("type", f"type {fields.get('type')!r} is not supported: only text is")
        return _read_text(fields)

    return "\n\n".join(parse_nested(f"{where}[{number}]", block, read) for number, block in enumerate(given))


def _iter_messages(role: Role, blocks: list[_Block]) -> Iterator[Message]:
    """Yield the messages of a turn: results of tools first, as the protocol requires."""
    yield from (block for block in blocks if isinstance(block, Message))
    texts = [block for block in blocks if isinstance(block, str)]
    calls = tuple(block for block in blocks if isinstance(block, ToolCall))
    text = ("" if role is Role.ASSISTANT else "\n\n").join(texts)
    if texts or calls or not blocks:
        yield Message(role, text, calls)


def _check_results(messages: tuple[Message, ...]) -> None:
    called: set[str] = set()
    for message in messages:
        called.update(call.id for call in message.tool_calls)
        if message.role is Role.TOOL and message.tool_call_id not in called:
            words = f"messages: no earlier message has the tool_use that {message.tool_call_id!r} is the result of"
            raise FieldError("messages", words)
