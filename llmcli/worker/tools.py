"""Tools in OpenAI's protocol: what a request may call, a grammar for a call that has to come, and calls in an answer.

Source: the OpenAI API reference, "Create chat completion" (``tools``, ``tool_choice``). The ways in which models write a
call: ``<tool_call>{...}</tool_call>`` (Hermes, Qwen), or an answer that is nothing but a JSON object, or a list of them,
with a name and ``arguments`` or ``parameters`` (Llama, Mistral, and what we tell models whose template knows no tools).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmcli.engine.output import held_back
from llmcli.types import ToolCall
from llmcli.worker.fields import BadField, Fields, check_depth

MOST_TOOLS = 128
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_FUNCTION = {"name", "description", "parameters", "strict"}
_MODES = ("none", "auto", "required")


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools that a model is shown, and those of which it must call one (``forced``; empty: it may)."""

    tools: tuple[Mapping[str, Any], ...] = ()
    forced: tuple[str, ...] = ()
    parallel: bool = True

    @property
    def names(self) -> frozenset[str]:
        """What can be called."""
        return frozenset(tool["function"]["name"] for tool in self.tools)

    def schema(self) -> Mapping[str, Any] | None:
        """Return the JSON schema of a call that has to come, None where none has to."""
        if not self.forced:
            return None
        calls, shared = [], {}
        for number, tool in enumerate(self.tools):
            function = tool["function"]
            if function["name"] in self.forced:
                arguments, own = _moved(function.get("parameters") or {"type": "object"}, f"tool{number}_")
                shared.update(own)
                calls.append(_call_schema(function["name"], arguments))
        return {**(calls[0] if len(calls) == 1 else {"anyOf": calls}), **({"$defs": shared} if shared else {})}


NONE = Toolbox()


def _call_schema(name: str, arguments: Any) -> dict[str, Any]:
    properties = {"name": {"const": name}, "arguments": arguments}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _moved(schema: Mapping[str, Any], prefix: str) -> tuple[Any, dict[str, Any]]:
    """Return a schema whose references stay right when its definitions stand at the root of another, and these."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        if not isinstance(value, Mapping):
            return value
        moved = {key: walk(inner) for key, inner in value.items()}
        reference = moved.get("$ref")
        if isinstance(reference, str):
            moved["$ref"] = re.sub(r"^#/(?:\$defs|definitions)/", f"#/$defs/{prefix}", reference)
        return moved

    plain = {key: value for key, value in schema.items() if key not in {"$defs", "definitions", "$schema"}}
    both = [schema.get(key) for key in ("definitions", "$defs")]
    definitions = {name: value for part in both if isinstance(part, Mapping) for name, value in part.items()}
    return walk(plain), {f"{prefix}{name}": walk(value) for name, value in definitions.items()}


def read(fields: Fields) -> Toolbox:
    """Return what a request says about tools. Raises ``BadField``."""
    given, choice, parallel = fields.get("tools"), fields.get("tool_choice"), fields.get("parallel_tool_calls")
    if not isinstance(parallel, bool | None):
        raise BadField("parallel_tool_calls", "parallel_tool_calls is not true or false")
    if given is None:
        if choice not in {None, "none", "auto"} if isinstance(choice, str | None) else True:
            raise BadField("tool_choice", "tool_choice needs tools")
        return Toolbox()
    if not isinstance(given, list) or len(given) > MOST_TOOLS:
        raise BadField("tools", f"tools is not a list of at most {MOST_TOOLS} tools")
    check_depth(given, "tools")
    tools = tuple(_tool(tool, f"tools[{number}]") for number, tool in enumerate(given))
    box = Toolbox(tools, parallel=parallel is not False)
    if len(box.names) != len(tools):
        raise BadField("tools", "two tools have the same name")
    forced = _forced(choice, box.names)
    return Toolbox() if forced is None else Toolbox(tools, forced, box.parallel)


def _tool(tool: Any, where: str) -> Mapping[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function":
        raise BadField(where, f'{where} is not {{"type": "function", "function": {{...}}}}')
    if not isinstance(function.get("name"), str) or not _NAME.fullmatch(function["name"]):
        raise BadField(f"{where}.function.name", f"{where}.function.name is not 1 to 64 letters, digits, _ and -")
    for place, given, known in ((where, tool, {"type", "function"}), (f"{where}.function", function, _FUNCTION)):
        for name in given.keys() - known:
            raise BadField(f"{place}.{name}", f"{place}.{name} is not supported")
    for name, kind in (("description", str), ("parameters", dict), ("strict", bool)):
        if not isinstance(function.get(name), kind | None):
            raise BadField(f"{where}.function.{name}", f"{where}.function.{name} has another type")
    shown = {name: function[name] for name in ("name", "description", "parameters") if function.get(name) is not None}
    return {"type": "function", "function": {"description": "", "parameters": {"type": "object"}, **shown}}


def _forced(choice: Any, names: frozenset[str]) -> tuple[str, ...] | None:
    """Return the names of which one has to be called; None: tools are out of the question."""
    if choice is None or isinstance(choice, str):
        mode = choice or "auto"
        if mode not in _MODES:
            raise BadField("tool_choice", f"tool_choice is none of {', '.join(_MODES)}")
        if not names and mode == "required":
            raise BadField("tool_choice", "tool_choice needs tools")
        return None if mode == "none" or not names else tuple(sorted(names)) if mode == "required" else ()
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or name not in names:
        raise BadField("tool_choice", "tool_choice names no function of tools")
    return (name,)


class CallReader:
    """Tells calls from text in an answer, as it comes: what may be a call is held back until that is certain."""

    def __init__(self, box: Toolbox) -> None:
        self._names = box.names
        self._parallel = box.parallel
        self._held = ""
        self._fresh = True  # nothing was let out: the whole answer may be a call
        self._called = 0

    def feed(self, text: str) -> list[str | ToolCall]:
        """Take a piece of answer; return what is certain, in its order."""
        if not self._names:
            return [text] if text else []
        self._held += text
        return self._pieces(last=False)

    def flush(self) -> list[str | ToolCall]:
        """Return what is left at the end."""
        return self._pieces(last=True)

    def _pieces(self, *, last: bool) -> list[str | ToolCall]:
        pieces: list[str | ToolCall] = []
        while self._held:
            start = self._held.lstrip()
            if self._fresh and not self._called and (start[:1] in {"{", "["} or not start):
                if last:
                    pieces += self._whole()
                break
            before, found, after = self._held.partition(_OPEN)
            if not found:
                keep = 0 if last else held_back(self._held, [_OPEN])
                self._let_out(pieces, self._held[: len(self._held) - keep])
                self._held = self._held[len(self._held) - keep :]
                break
            inner, closed, rest = after.partition(_CLOSE)
            if not (closed or last):
                self._let_out(pieces, before)
                self._held = found + after
                break
            self._let_out(pieces, before)
            self._held = rest
            self._take(pieces, inner, found + inner + closed)
        return pieces

    def _let_out(self, pieces: list[str | ToolCall], text: str) -> None:
        if text and not (text.isspace() and (self._called or self._fresh)):  # white space around calls is no answer
            pieces.append(text)
            self._fresh = False

    def _whole(self) -> list[str | ToolCall]:
        """Return the answer that may be nothing but calls."""
        pieces: list[str | ToolCall] = []
        text, self._held = self._held, ""
        self._take(pieces, text, text)
        return pieces

    def _take(self, pieces: list[str | ToolCall], text: str, otherwise: str) -> None:
        """Take the calls that ``text`` is; where it is none it stays what it was."""
        calls = self._calls(text)
        if not calls:
            pieces.append(otherwise)
            self._fresh = False
        for name, arguments in calls:
            if self._parallel or not self._called:
                self._called += 1
                pieces.append(ToolCall(f"call_{secrets.token_hex(12)}", name, arguments))

    def _calls(self, text: str) -> list[tuple[str, Mapping[str, Any]]]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return []
        values = value if isinstance(value, list) else [value]
        found: list[tuple[str, Mapping[str, Any]]] = []
        for item in values:
            function = item.get("function", item) if isinstance(item, dict) else None
            if not isinstance(function, dict):
                return []
            name = function.get("name")
            if not isinstance(name, str) or name not in self._names:
                return []
            arguments = function.get("arguments", function.get("parameters", {}))
            if not isinstance(arguments, dict):
                return []
            found.append((name, arguments))
        return found
