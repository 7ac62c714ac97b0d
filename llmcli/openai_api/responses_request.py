"""Parsing of bodies of ``POST /v1/responses`` and ``/v1/responses/input_tokens``, strictly (``fields``).

Source: the OpenAI API reference, "Create a model response" and "Get input token counts". ``top_k``, ``min_p``,
``repeat_penalty``, the penalties, ``seed`` and ``ignore_eos`` are extensions, as in chat completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.fast_dataclass import field, frozen
from llmcli.openai_api.fields import (
    MAX_INT32,
    MAX_TOP_LOGPROBS,
    FieldError,
    Fields,
    parse_answer_format,
    parse_called_function,
    parse_nested,
)
from llmcli.openai_api.requests import ParsedRequest, is_reasoning_effort
from llmcli.openai_api.tool_calls import Tool, ToolChoice, parse_function_tools, parse_required_names
from llmcli.types import Message, Priority, Request, Role, ToolCall

_LOGPROBS = "message.output_text.logprobs"
_INCLUDABLE = frozenset({_LOGPROBS, "reasoning.encrypted_content"})
"""What may be included. The second has no effect, since reasoning is in the response as text."""

MAX_INCLUDED = 16


@frozen
class ParsedResponseRequest(ParsedRequest):
    """A parsed request with the fields that its response repeats."""

    repeated_fields: Mapping[str, Any] = field(default_factory=dict)


def parse_response_request(fields: Fields) -> ParsedResponseRequest:
    """Return the request. Raises ``FieldError``."""
    if fields.boolean("background"):
        raise FieldError("background", "background is not supported: this server stores nothing")
    tool_choice, schema, messages, reasoning = _parse_prompt(fields)
    longest = fields.integer("max_output_tokens", 1, MAX_INT32)
    base = Request(
        "0",
        messages,
        sampling=fields.sampling(),
        max_tokens=longest,
        schema=schema if schema is not None else tool_choice.call_schema(),
        priority=Priority.INTERACTIVE,
        reasoning=reasoning,
        logprobs=_parse_logprobs(fields),
        tools=tool_choice.tools,
        ignore_eos=fields.boolean("ignore_eos"),
        repetition=fields.repetition(longest),
    )
    stream, _ = fields.stream_options()
    repeated = _repeated_fields(fields, base)
    return ParsedResponseRequest(
        (base,), fields.string("model"), stream=stream, tool_choice=tool_choice, repeated_fields=repeated
    )


def parse_input_count(fields: Fields) -> ParsedRequest:
    """Return the request whose prompt is to be counted. Raises ``FieldError``."""
    tool_choice, _, messages, reasoning = _parse_prompt(fields)
    base = Request("0", messages, reasoning=reasoning, tools=tool_choice.tools)
    return ParsedRequest((base,), fields.string("model"))


def _parse_prompt(fields: Fields) -> tuple[ToolChoice, Mapping[str, Any] | None, tuple[Message, ...], bool]:
    """Return the tools, the schema of the answer, the messages, and whether a thinking model is to think."""
    _refuse_stored_state(fields)
    tool_choice, schema = _parse_tools(fields), _parse_text_config(fields)
    if schema is not None and tool_choice.tools:
        raise FieldError("text.format", "text.format and tools go together only if tool_choice is none")
    instructions, messages = fields.string("instructions"), _parse_input(fields.get("input"))
    if instructions:
        messages = (Message(Role.SYSTEM, instructions), *messages)
    return tool_choice, schema, messages, _parse_reasoning(fields)


def _refuse_stored_state(fields: Fields) -> None:
    """Refuse fields that need stored responses."""
    for name in ("previous_response_id", "conversation"):
        if fields.get(name) is not None:
            words = f"{name} is not supported: this server stores nothing; send the earlier items in input"
            raise FieldError(name, words)
    if fields.string("truncation") not in {None, "disabled"}:
        raise FieldError("truncation", "truncation must be disabled")


def _parse_logprobs(fields: Fields) -> int | None:
    """Return the number of most likely tokens to include with each token; None: no log-probabilities are included."""
    included = fields.strings("include", MAX_INCLUDED)
    for number, name in enumerate(included):
        if name not in _INCLUDABLE:
            raise FieldError(f"include[{number}]", f"include[{number}]: {name!r} is not supported")
    count = fields.integer("top_logprobs", 0, MAX_TOP_LOGPROBS) or 0
    if count and _LOGPROBS not in included:
        raise FieldError("top_logprobs", f"top_logprobs requires include: {_LOGPROBS}")
    return count if _LOGPROBS in included else None


def _parse_tools(fields: Fields) -> ToolChoice:
    tools = parse_function_tools(fields, "function", "parameters", lambda _: None)
    choice, parallel = fields.get("tool_choice"), fields.get("parallel_tool_calls")
    if not isinstance(parallel, bool | None):
        raise FieldError("parallel_tool_calls", "parallel_tool_calls is not true or false")
    if isinstance(choice, dict):
        choice = parse_nested("tool_choice", choice, _parse_named_choice)
    required = parse_required_names(choice, ToolChoice(tools).tool_names)
    return ToolChoice() if required is None else ToolChoice(tools, required, parallel is not False)


def _parse_named_choice(fields: Fields) -> dict[str, Any]:
    """Return the choice of a function as chat completions have it."""
    return {"type": fields.string("type"), "function": {"name": fields.string("name")}}


def _parse_text_config(fields: Fields) -> Mapping[str, Any] | None:
    """Return the JSON schema that ``text.format`` asks for; None for plain text."""
    config = fields.mapping("text")

    def read(inner: Fields) -> Mapping[str, Any] | None:
        if inner.string("verbosity") not in {None, "medium"}:
            raise FieldError("verbosity", "verbosity must be medium")
        given = inner.mapping("format")
        return None if given is None else parse_nested("format", given, parse_answer_format)

    return None if config is None else parse_nested("text", config, read)


def _parse_reasoning(fields: Fields) -> bool:
    """Return whether a thinking model is to think: only if the request gives an effort."""
    given = fields.mapping("reasoning")

    def read(inner: Fields) -> bool:
        if inner.string("summary") not in {None, "auto"}:
            raise FieldError("summary", "summary must be auto: reasoning is never summarized")
        return is_reasoning_effort(inner, "effort")

    return given is not None and bool(parse_nested("reasoning", given, read))


def _repeated_fields(fields: Fields, base: Request) -> dict[str, Any]:
    """Return the fields of the request that its response repeats, with the values that are used."""
    choice, parallel = fields.get("tool_choice"), fields.get("parallel_tool_calls")
    metadata = fields.mapping("metadata") or {}
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise FieldError(f"metadata.{name}", f"metadata.{name} is not a string")
    return {
        "instructions": fields.get("instructions"),
        "max_output_tokens": base.max_tokens,
        "metadata": metadata,
        "parallel_tool_calls": parallel is not False,
        "reasoning": {"effort": (fields.get("reasoning") or {}).get("effort"), "summary": None},
        "temperature": base.sampling.temperature,
        "text": {"format": (fields.get("text") or {}).get("format") or {"type": "text"}},
        "tool_choice": "auto" if choice is None else choice,
        "tools": [_dump_tool(tool) for tool in fields.get("tools") or ()],
        "top_logprobs": base.logprobs or 0,
        "top_p": base.sampling.top_p,
    }


def _dump_tool(given: Tool) -> dict[str, Any]:
    return {"description": None, "strict": True, "parameters": {}, **given, "type": "function"}


_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM, "developer": Role.SYSTEM}
_TEXT_PARTS = frozenset({"input_text", "output_text", "text"})


def _parse_input(given: Any) -> tuple[Message, ...]:
    """Return the conversation. Raises ``FieldError``."""
    if isinstance(given, str):
        return (Message(Role.USER, given),)
    if not isinstance(given, list) or not given:
        raise FieldError("input", "input is not a string or a non-empty list of items")
    messages: list[Message] = []
    called: set[str] = set()
    for number, item in enumerate(given):
        parsed = parse_nested(f"input[{number}]", item, _parse_item)
        if isinstance(parsed, ToolCall):
            called.add(parsed.id)
            _append_call(messages, parsed)
        elif parsed is not None:
            if parsed.role is Role.TOOL and parsed.tool_call_id not in called:
                raise FieldError(
                    f"input[{number}].call_id", f"input[{number}].call_id is not the id of an earlier call"
                )
            messages.append(parsed)
    if not messages:
        raise FieldError("input", "input has no messages")
    return tuple(messages)


def _append_call(messages: list[Message], call: ToolCall) -> None:
    """Add a call to the assistant's turn that it belongs to, or to a new one."""
    if messages and messages[-1].role is Role.ASSISTANT:
        before = messages.pop()
        messages.append(Message(Role.ASSISTANT, before.content, (*before.tool_calls, call)))
    else:
        messages.append(Message(Role.ASSISTANT, "", (call,)))


def _parse_item(fields: Fields) -> Message | ToolCall | None:
    """Return an item; None for reasoning, which the model does not see again."""
    kind = fields.string("type")
    for name in ("id", "status"):
        fields.string(name)
    if kind in (None, "message"):
        return _parse_message_item(fields)
    if kind == "function_call":
        call_id = fields.string("call_id")
        if call_id is None:
            raise FieldError("call_id", "call_id is missing")
        return parse_called_function(fields, call_id)
    if kind == "function_call_output":
        call_id = fields.string("call_id")
        return Message(Role.TOOL, _parse_text(fields.get("output"), "output"), (), call_id or "")
    if kind == "reasoning":
        for name in ("summary", "content", "encrypted_content"):
            fields.get(name)
        return None
    if kind == "item_reference":
        raise FieldError("type", "type item_reference is not supported: this server stores nothing; send the item")
    raise FieldError("type", f"type {kind!r} is not supported")


def _parse_message_item(fields: Fields) -> Message:
    given = fields.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise FieldError("role", f"role must be one of {', '.join(_ROLES)}")
    fields.string("phase")
    return Message(role, _parse_text(fields.get("content"), "content"))


def _parse_text(given: Any, where: str) -> str:
    """Return a text, or the texts of a list of parts, as one."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        raise FieldError(where, f"{where} is not a string or a list of parts")
    return "".join(parse_nested(f"{where}[{number}]", part, _parse_part) for number, part in enumerate(given))


def _parse_part(fields: Fields) -> str:
    kind = fields.string("type")
    if kind not in _TEXT_PARTS:
        raise FieldError("type", f"type {kind!r} is not supported: only text is")
    text = fields.string("text")
    if text is None:
        raise FieldError("text", "text is missing")
    fields.get("logprobs")
    if fields.get("annotations"):
        raise FieldError("annotations", "annotations is not supported")
    return text
