"""Tools that are functions, each a flat object, as the Responses API and Anthropic's Messages API have them.

Source: the OpenAI API reference, "Create a model response" (``tools``); the Claude API reference, "Messages" (``tools``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from llmcli.openai_api.fields import FieldError, Fields, check_nesting, parse_nested
from llmcli.openai_api.tool_calls import MAX_TOOLS

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")

Tool = Mapping[str, Any]
"""A tool as the engine and chat completions have it."""


def parse_function_tools(
    fields: Fields, type_name: str, schema_field: str, read_more: Callable[[Fields], None]
) -> tuple[Tool, ...]:
    """Return the field ``tools``. Raises ``FieldError``.

    ``type_name``: the type of tools that are functions; ``schema_field``: the field with the schema of the arguments;
    ``read_more`` reads the fields that only one of the protocols has.
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
    if name is None or not _TOOL_NAME.fullmatch(name):
        raise FieldError("name", "name is not 1 to 128 letters, digits, _ and -")
    function = {"name": name, "description": description or "", "parameters": schema or {"type": "object"}}
    return {"type": "function", "function": function}
