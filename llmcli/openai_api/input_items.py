"""The input of the Responses API: a text, or items of a conversation.

Source: the OpenAI API reference, "Create a model response" (``input``). Items of earlier responses are accepted
unchanged; their ids and states have no meaning, since nothing is stored.
"""

from __future__ import annotations

from typing import Any

from llmcli.openai_api.fields import FieldError, Fields, parse_called_function, parse_nested
from llmcli.types import Message, Role, ToolCall

_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM, "developer": Role.SYSTEM}
_TEXT_PARTS = frozenset({"input_text", "output_text", "text"})


def parse_input(given: Any) -> tuple[Message, ...]:
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
