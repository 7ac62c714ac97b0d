"""The conversation in Anthropic's protocol: a system prompt, and turns of blocks.

Source: the Claude API reference, "Messages" (``system``, ``messages``). Turns of the same role that follow each other are
one, as there. The texts of a user's turn are joined by an empty line, those of the assistant's as they stand, so that an
answer that is sent back equals the text that the model wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmcli.openai_api.fields import FieldError, Fields, check_nesting, parse_nested
from llmcli.types import Message, Role, ToolCall

_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_ERROR_PREFIX = "Error: "
"""The prefix of a tool's result that is an error; chat templates have no other way to mark it."""

_Block = str | ToolCall | Message
"""A text, a call, or the result of one."""


def parse_system(given: Any) -> tuple[Message, ...]:
    """Return the system prompt as a message. Raises ``FieldError``."""
    if given is None:
        return ()
    text = _parse_texts(given, "system")
    return (Message(Role.SYSTEM, text),) if text else ()


def parse_turns(given: Any) -> tuple[Message, ...]:
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
