"""Tools in a conversation: as chat templates take them, and in words for templates that do not.

Source: Hugging Face's ``apply_chat_template`` (``tools``, ``tool_calls``, role ``tool``). Names, descriptions, schemas,
arguments and results are somebody's texts like all others, so control tokens in them are broken too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmcli.engine.tokens import Tokenizer
from llmcli.types import Message, Role

Turn = dict[str, Any]
Tool = Mapping[str, Any]

_INTRODUCTION = (
    "You can call functions. To call one, answer with nothing but a JSON object: "
    '{"name": "the function\'s name", "arguments": {...}}. Otherwise answer in words. The functions:'
)


def turn_of(message: Message) -> Turn:
    """Return a message as templates know it."""
    turn: Turn = {"role": str(message.role), "content": message.content}
    if message.calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.calls
        ]
    if message.role is Role.TOOL:
        turn["tool_call_id"] = message.call_id
    return turn


def has_calls(turns: Sequence[Turn]) -> bool:
    """Return whether anything in the conversation has to do with tools."""
    return any(turn["role"] == Role.TOOL or "tool_calls" in turn for turn in turns)


def understands(source: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> bool:
    """Return whether a template knows what it would be given, by the words in it."""
    return (not tools or re.search(r"\btools\b", source) is not None) and (
        not has_calls(turns) or "tool_calls" in source
    )


def in_words(turns: Sequence[Turn], tools: Sequence[Tool]) -> list[Turn]:
    """Return the conversation without tools: they are described to the system, calls are texts, results the user's."""
    told: list[Turn] = []
    for turn in turns:
        role, content = turn["role"], turn["content"]
        if role == Role.TOOL:
            role, content = str(Role.USER), f"The function returned: {content}"
        for call in turn.get("tool_calls", ()):
            content += ("\n" if content else "") + json.dumps(call["function"], ensure_ascii=False)
        if told and told[-1]["role"] == role == Role.USER:  # many templates want turns to alternate
            told[-1]["content"] += "\n\n" + content
        else:
            told.append({"role": role, "content": content})
    if tools:
        functions = [json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools]
        description = "\n".join([_INTRODUCTION, *functions])
        if told and told[0]["role"] == Role.SYSTEM:
            description = f"{told.pop(0)['content']}\n\n{description}"
        told.insert(0, {"role": str(Role.SYSTEM), "content": description})
    return told


def texts_in(value: Any) -> Iterator[str]:
    """Yield all texts in JSON values, the keys of objects too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def neutral(tokenizer: Tokenizer, template: str, value: Any) -> tuple[Any, str]:
    """Return JSON values with every control-token text in them broken, and the character that breaks them."""
    texts, mark = tokenizer.neutralize(list(texts_in(value)), template)
    return _rebuilt(value, iter(texts)), mark


def _rebuilt(value: Any, texts: Iterator[str]) -> Any:
    """Return ``value`` with other texts, in the order of ``texts_in``."""
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, Mapping):
        return {next(texts): _rebuilt(inner, texts) for inner in value.values()}
    if isinstance(value, list):
        return [_rebuilt(inner, texts) for inner in value]
    return value
