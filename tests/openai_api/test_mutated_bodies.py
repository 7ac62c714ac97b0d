"""Bodies of which a part was replaced by other JSON: they are parsed, or refused as the protocol has it."""

from __future__ import annotations

import copy
import random

import pytest

from llmcli.anthropic_api.messages_request import parse_count_request, parse_message_request
from llmcli.openai_api.fields import FieldError, parse_body
from llmcli.openai_api.responses_request import parse_response_request

VALUES = (None, True, 0, -1, 1.5, "", "x", [], {}, [None], ["x"], [{}], {"type": []}, {"type": {}}, {"type": "text"})
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
MESSAGE_PROMPT = {
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "b"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "r"}]}],
        },
    ],
    "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "low"},
}
MESSAGE = {
    **MESSAGE_PROMPT,
    "max_tokens": 2000,
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "tool_choice": {"type": "none"},
}
RESPONSE = {
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "r"}]},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}],
    "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "metadata": {"a": "b"},
}


def iter_places(value, path=()):
    """Yield the path of each value in a body."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from iter_places(inner, (*path, key))


def mutate(body, path, value):
    """Return the body with another value at a place."""
    changed = copy.deepcopy(body)
    outer = changed
    for key in path[:-1]:
        outer = outer[key]
    outer[path[-1]] = value
    return changed


PARSERS = {
    "message": (parse_message_request, MESSAGE),
    "count": (parse_count_request, MESSAGE_PROMPT),
    "response": (lambda body: parse_body(parse_response_request, body), RESPONSE),
}


@pytest.mark.parametrize("name", PARSERS)
def test_any_value_at_any_place_is_parsed_or_refused_by_name(name):
    """Alone, and two at once; never with another exception. The body itself is fine."""
    parse, body = PARSERS[name]
    parse(body)
    places, chance = list(iter_places(body)), random.Random(17)
    single = [mutate(body, path, value) for path in places for value in VALUES]
    double = [
        mutate(mutate(body, path, chance.choice(VALUES)), other[:1], chance.choice(VALUES))
        for path in places
        for other in chance.sample(places, 10)
    ]
    refusals = []
    for changed in single + double:
        try:
            parse(changed)
        except FieldError as problem:
            refusals.append(problem)
    assert all(problem.message and isinstance(problem.param, str) for problem in refusals)
    assert len(refusals) > len(single) / 2
