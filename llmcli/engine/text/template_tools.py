"""Tools in a conversation: in the form of chat templates, and as text for templates without tools.

Source: Hugging Face's ``apply_chat_template`` (``tools``, ``tool_calls``, role ``tool``). Names, descriptions, schemas,
arguments and results are untrusted text like messages, so control tokens in them are escaped too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.types import Message, Role

TemplateMessage = dict[str, Any]
Tool = Mapping[str, Any]

_TOOLS_INTRODUCTION = (
    "You can call functions. To call one, answer with nothing but a JSON object: "
    '{"name": "the function\'s name", "arguments": {...}}. Otherwise answer in words. The functions:'
)


def to_template_message(message: Message) -> TemplateMessage:
    """Return a message in the form that templates expect."""
    turn: TemplateMessage = {"role": str(message.role), "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.role is Role.TOOL:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def has_tool_calls(turns: Sequence[TemplateMessage]) -> bool:
    """Return whether the conversation contains tool calls or their results."""
    return any(turn["role"] == Role.TOOL or "tool_calls" in turn for turn in turns)


def supports_tools(source: str, turns: Sequence[TemplateMessage], tools: Sequence[Tool]) -> bool:
    """Return whether a template supports ``tools`` and the calls in ``turns``, by the words in its source."""
    return (not tools or re.search(r"\btools\b", source) is not None) and (
        not has_tool_calls(turns) or "tool_calls" in source
    )


def tools_as_text(turns: Sequence[TemplateMessage], tools: Sequence[Tool]) -> list[TemplateMessage]:
    """Return the conversation with tools described in the system message, calls as text, results from the user."""
    converted: list[TemplateMessage] = []
    for turn in turns:
        role, content = turn["role"], turn["content"]
        if role == Role.TOOL:
            role, content = str(Role.USER), f"The function returned: {content}"
        for call in turn.get("tool_calls", ()):
            content += ("\n" if content else "") + json.dumps(call["function"], ensure_ascii=False)
        if converted and converted[-1]["role"] == role == Role.USER:  # many templates require alternating turns
            converted[-1]["content"] += "\n\n" + content
        else:
            converted.append({"role": role, "content": content})
    if tools:
        functions = [json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools]
        description = "\n".join([_TOOLS_INTRODUCTION, *functions])
        if converted and converted[0]["role"] == Role.SYSTEM:
            description = f"{converted.pop(0)['content']}\n\n{description}"
        converted.insert(0, {"role": str(Role.SYSTEM), "content": description})
    return converted


def iter_texts(value: Any) -> Iterator[str]:
    """Yield all texts in JSON values, the keys of objects too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from iter_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from iter_texts(inner)


def escape_all(tokenizer: Tokenizer, template: str, value: Any) -> tuple[Any, str]:
    """Return JSON values with every control-token text in them escaped, and the escape character."""
    texts, mark = tokenizer.escape_control_tokens(list(iter_texts(value)), template)
    return _replace_texts(value, iter(texts)), mark


def _replace_texts(value: Any, texts: Iterator[str]) -> Any:
    """Return ``value`` with its texts replaced, in the order of ``iter_texts``."""
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, Mapping):
        return {next(texts): _replace_texts(inner, texts) for inner in value.values()}
    if isinstance(value, list):
        return [_replace_texts(inner, texts) for inner in value]
    return value
