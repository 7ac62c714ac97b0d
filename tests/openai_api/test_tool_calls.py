"""Tools: calls found in text however it is split, grammars for calls, and conversations with calls."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.engine.text.chat_template import to_template_message, tools_as_text
from llmcli.openai_api.fields import FieldError, Fields
from llmcli.openai_api.tool_calls import ToolCallParser, parse_tool_choice
from llmcli.types import Message, Role, ToolCall

F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {}}}}}
G = {"type": "function", "function": {"name": "g"}}
CALL = '{"name": "f", "arguments": {"x": 1}}'


def box(**fields):
    return parse_tool_choice(Fields({"tools": [F, G], **fields}))


def said(text, size, **fields):
    """Return the result of a parser for a text in pieces: joined texts, and calls as pairs."""
    reader, out = ToolCallParser(box(**fields)), []
    for start in range(0, len(text), size):
        out += reader.feed(text[start : start + size])
    joined = []
    for piece in out + reader.flush():
        if isinstance(piece, ToolCall):
            joined.append((piece.name, dict(piece.arguments)))
        elif joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


@all_rows("size", [1, 3, 1000])
@all_rows(
    ("text", "pieces"),
    [
        ("hello {x} <tool", ["hello {x} <tool"]),
        (CALL, [("f", {"x": 1})]),
        (f"  [{CALL}, {CALL}]\n", [("f", {"x": 1}), ("f", {"x": 1})]),
        ('{"name": "g", "parameters": {}}', [("g", {})]),
        (f"<tool_call>\n{CALL}\n</tool_call>", [("f", {"x": 1})]),
        (f"Let me see. <tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>\n",
         ["Let me see. ", ("f", {"x": 1}), ("f", {"x": 1})]),
        (f"<tool_call>{CALL}", [("f", {"x": 1})]),
        ('{"name": "unknown", "arguments": {}}', ['{"name": "unknown", "arguments": {}}']),
        ('{"name": "f", "arguments": 5}', ['{"name": "f", "arguments": 5}']),
        ('{"name": ["f"]}', ['{"name": ["f"]}']),
        ("<tool_call>nonsense</tool_call>", ["<tool_call>nonsense</tool_call>"]),
        ('{"name": "f", "argu', ['{"name": "f", "argu']),
        ("", []),
    ],
)  # fmt: skip
def test_calls_are_parsed_from_text(text, pieces, size):
    """The same for every split; anything but a call of a known tool stays text."""
    assert said(text, size) == pieces


def test_without_parallel_calls_the_first_one_counts():
    """As the request says."""
    assert said(f"[{CALL}, {CALL}]", 5, parallel_tool_calls=False) == [("f", {"x": 1})]


@pytest.mark.parametrize(
    ("choice", "shown", "forced"),
    [(None, 2, ()), ("auto", 2, ()), ("none", 0, ()), ("required", 2, ("f", "g")),
     ({"type": "function", "function": {"name": "g"}}, 2, ("g",))],
)  # fmt: skip
def test_choices(choice, shown, forced):
    """The tools that the model sees, and those that it must call."""
    made = box(tool_choice=choice)
    assert (len(made.tools), made.required_names) == (shown, forced) and (made.call_schema() is None) == (not forced)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": 5}, {"tools": [5]}, {"tools": [{}]}, {"tools": [F, F]}, {"tools": [F] * 129}, {"tool_choice": "maybe"},
        {"tool_choice": {"type": "function", "function": {"name": "h"}}}, {"tool_choice": 5}, {"tool_choice": []},
        {"tools": [{"type": "function", "function": {"name": "a b"}}]}, {"parallel_tool_calls": 1},
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": 5}}]},
        {"tools": None, "tool_choice": "required"}, {"tools": None, "tool_choice": {}},
    ],
)  # fmt: skip
def test_bad_tools_are_refused(fields):
    """By name."""
    with pytest.raises(FieldError) as caught:
        box(**fields)
    assert caught.value.param


def test_deep_nesting_is_refused():
    """Recursion through a schema always ends."""
    deep: dict = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(FieldError):
        box(tools=[{"type": "function", "function": {"name": "a", "parameters": deep}}])


def test_references_stay_valid():
    """Definitions of two tools do not collide at the root of the schema for a call."""

    def tool(name, kind):
        schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": kind}}}
        return {"type": "function", "function": {"name": name, "parameters": schema}}

    schema = box(tools=[tool("f", "string"), tool("g", "integer")], tool_choice="required").call_schema()
    assert schema["$defs"] == {"tool0_A": {"type": "string"}, "tool1_A": {"type": "integer"}}
    assert [o["properties"]["arguments"]["properties"]["x"]["$ref"] for o in schema["anyOf"]] == [
        "#/$defs/tool0_A", "#/$defs/tool1_A"
    ]  # fmt: skip


def test_tools_as_text_keep_alternating_turns():
    """For templates without tools."""
    turns = [
        to_template_message(Message(Role.USER, "q")),
        to_template_message(Message(Role.ASSISTANT, "", (ToolCall("1", "f", {"x": 1}), ToolCall("2", "g", {})))),
        to_template_message(Message(Role.TOOL, "one", tool_call_id="1")),
        to_template_message(Message(Role.TOOL, "two", tool_call_id="2")),
    ]
    told = tools_as_text(turns, [F, G])
    assert [turn["role"] for turn in told] == ["system", "user", "assistant", "user"]
    assert '"f"' in told[0]["content"] and '"x": 1' in told[2]["content"]
    assert "one" in told[3]["content"] and "two" in told[3]["content"]
