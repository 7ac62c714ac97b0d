"""Anthropic's Messages, which other servers offer too.

Source: the Claude API reference, "Create a Message", "Streaming messages", "Errors", "Stop reasons", "Structured
outputs" and "Thinking", API version 2026-10-21. That version refuses sampling parameters; other servers take them, so
the temperature is sent until it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmcli.backends.remote.protocols.answer_parser import AnswerParser
from llmcli.backends.remote.protocols.wire_protocol import (
    OptionalField,
    ProtocolRequest,
    ServerModel,
    TokenCountCall,
    clean_json,
    clean_text,
    is_count,
    parse_count,
    restrict_schema,
    split_system,
)
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.error_mapping import ErrorFields, map_stream_error, parse_error_fields
from llmcli.config.backend_config import ServerConfig
from llmcli.fast_dataclass import replace
from llmcli.types import UNKNOWN_USAGE, Event, FinishReason, Message, Request, Role, Sampling, Usage

API_VERSION = "2026-10-21"
_MAX_TEMPERATURE = 1.0
_UNKNOWN_FIELD_HINT = "extra input|not permitted|deprecated|not supported|unsupported"
"""What an error says about a field that the server does not take, and not about a value that is too high."""
_DEFAULT_MAX_TOKENS, _SMALL_MAX_TOKENS = 32_000, 4096
"""The limit of an answer without one, which the protocol requires; the second is for models that take no larger one."""
_MIN_THINKING_TOKENS, _MAX_THINKING_TOKENS = 1024, 16_000
_THINKING_ALLOWANCE_TOKENS = 4096
"""What a model that thinks in any case may use for that, beyond the limit of its answer."""
_SCHEMA_FIELDS = ("output_config", "tool_choice")
"""What carries a schema: the format of the answer, and a tool that has to be called, for older models."""
_TOOL_NAME = "answer"
_CACHE_MARK = {"type": "ephemeral"}
_END_REASONS = frozenset({"end_turn", "stop_sequence", "tool_use"})


class AnthropicMessages:
    """Messages; see ``WireProtocol``."""

    default_context = 200_000
    models_path = "/models?limit=1000"
    offers_logprobs = False
    embeddings_path = completions_path = None

    def headers(self, key: ApiKey) -> dict[str, str]:
        """Return the key and the version of the API."""
        return {"anthropic-version": API_VERSION} | ({"x-api-key": key.secret} if key.secret else {})

    def build_request(
        self,
        request: Request,
        model: str,
        refused: frozenset[str],
        *,
        schema: Mapping[str, Any] | None = None,
        stream: bool = True,
    ) -> ProtocolRequest:
        """Return the body of a message, with the fields that the server supports."""
        told, turns = split_system(request.messages)
        said = [turn for turn in turns if turn.content.strip() or turn.tool_calls or turn.role is Role.TOOL]
        body: dict[str, Any] = {"model": model, "messages": _dump_turns(said or turns)}  # blank texts are refused
        optional: list[OptionalField] = []
        system = [{"type": "text", "text": text} for text in told if text.strip()]
        if system:
            body["system"] = system
        if "cache_control" not in refused:
            _mark_cached(body, public_prefix=request.public_prefix)
            optional.append(OptionalField("cache_control"))
        if stream:
            body["stream"] = True
        stops = [stop for stop in request.stop if stop.strip()]
        if stops:
            body["stop_sequences"] = stops
        _add_tools(body, request)
        if schema is not None:
            self._add_schema(body, optional, schema, refused)
        _add_limit(body, optional, request.max_tokens, refused)
        can_think = "tool_choice" not in body and not (turns and turns[-1].role is Role.TOOL)
        _add_thinking(body, optional, refused, wanted=request.reasoning and can_think)
        if body.get("thinking", {}).get("type") not in {"adaptive", "enabled"}:
            _add_sampling(body, optional, request.sampling, refused)
        return ProtocolRequest(model, "/messages", body, tuple(optional))

    def _add_schema(
        self,
        body: dict[str, Any],
        optional: list[OptionalField],
        schema: Mapping[str, Any],
        refused: frozenset[str],
    ) -> None:
        field = self.schema_field(refused)
        if field == "output_config":
            body["output_config"] = {"format": {"type": "json_schema", "schema": restrict_schema(schema)}}
            optional.append(OptionalField(field, r"\boutput_config\b|\bschema\b|structured output"))
        elif field is not None:
            tool = {"name": _TOOL_NAME, "description": "Gives the answer.", "input_schema": dict(schema)}
            body["tools"] = [tool]
            body["tool_choice"] = {"type": "tool", "name": _TOOL_NAME}
            optional.append(OptionalField(field, r"\btool_choice\b|\btools\b|input_schema"))

    def build_count(self, request: Request, model: ServerModel) -> TokenCountCall:
        """Return the request of "Count tokens in a Message"."""
        whole = self.build_request(request, model.name, frozenset({"cache_control"}), stream=False).body
        names = ("model", "messages", "system", "tools", "tool_choice")
        body = {name: whole[name] for name in names if name in whole}
        return TokenCountCall("/messages/count_tokens", body, "input_tokens")

    def schema_field(self, refused: frozenset[str]) -> str | None:
        """Return the first of the two ways to enforce a schema that is not refused."""
        return next((name for name in _SCHEMA_FIELDS if name not in refused), None)

    def make_parser(self, request: Request, server: ServerConfig, key: ApiKey) -> AnswerParser:
        """Return a parser of events.

        Stop strings without visible characters are refused, so they are looked for here.
        """
        return MessageEventParser(request, server, key, stops=tuple(stop for stop in request.stop if not stop.strip()))

    def parse_error(self, loaded: Any) -> ErrorFields:
        """Return what an error says."""
        return parse_error_fields(loaded)

    def parse_models(self, listed: Mapping[str, Any]) -> list[ServerModel]:
        """Return the models, with the tokens that they read."""
        entries = listed.get("data")
        return [
            ServerModel(str(entry["id"]), "", parse_count(entry.get("max_input_tokens")) or None)
            for entry in entries or ()
            if isinstance(entry, Mapping) and "id" in entry
        ]


def _mark_cached(body: dict[str, Any], *, public_prefix: bool) -> None:
    """Mark where the part ends that later requests repeat: the instructions with their examples, or a conversation."""
    turns = body["messages"]
    if len(turns) > 1:
        turns[-2 if public_prefix else -1]["content"][-1]["cache_control"] = _CACHE_MARK
    elif "system" in body:
        body["system"][-1]["cache_control"] = _CACHE_MARK


def _add_limit(
    body: dict[str, Any], optional: list[OptionalField], wanted: int | None, refused: frozenset[str]
) -> None:
    """Add the limit of the answer; a model that thinks in any case gets more, since thinking counts."""
    if wanted is not None:
        body["max_tokens"] = wanted + (_THINKING_ALLOWANCE_TOKENS if "thinking.disabled" in refused else 0)
        return
    name, body["max_tokens"] = f"max_tokens.{_DEFAULT_MAX_TOKENS}", _DEFAULT_MAX_TOKENS
    if name in refused:
        body["max_tokens"] = _SMALL_MAX_TOKENS
    else:
        optional.append(OptionalField(name, r"\bmax_tokens\b"))


def _add_thinking(
    body: dict[str, Any], optional: list[OptionalField], refused: frozenset[str], *, wanted: bool
) -> None:
    """Ask for thinking, or for none; models differ in the ways that they know."""
    budget = min(body["max_tokens"] // 2, _MAX_THINKING_TOKENS)
    ways: list[dict[str, Any]] = [{"type": "disabled"}]
    if wanted:
        ways = [{"type": "adaptive", "display": "summarized"}]
        ways += [{"type": "enabled", "budget_tokens": budget}] if budget >= _MIN_THINKING_TOKENS else []
    for way in ways:
        name = f"thinking.{way['type']}"
        if name not in refused:
            body["thinking"] = way
            optional.append(OptionalField(name, "thinking"))
            return


def _add_sampling(
    body: dict[str, Any], optional: list[OptionalField], sampling: Sampling, refused: frozenset[str]
) -> None:
    usual = Sampling()
    changed = {
        name: getattr(sampling, name)
        for name in ("top_p", "top_k")
        if getattr(sampling, name) not in {None, getattr(usual, name)}
    }
    for name, value in ({"temperature": sampling.temperature} | changed).items():
        if name not in refused:
            body[name] = value
            too_high = name == "temperature" and value > _MAX_TEMPERATURE
            optional.append(OptionalField(name, hint=_UNKNOWN_FIELD_HINT if too_high else ""))


def _add_tools(body: dict[str, Any], request: Request) -> None:
    """Add the tools. A conversation with calls requires them, so without tools those that were called are named."""
    if request.tools:
        body["tools"] = [_dump_tool(tool["function"]) for tool in request.tools]
        return
    called = dict.fromkeys(call.name for message in request.messages for call in message.tool_calls)
    if called:
        body["tools"] = [_dump_tool({"name": name}) for name in called]
        body["tool_choice"] = {"type": "none"}


def _dump_tool(function: Mapping[str, Any]) -> dict[str, Any]:
    described = {"description": function["description"]} if function.get("description") else {}
    return {"name": function["name"], **described, "input_schema": function.get("parameters") or {"type": "object"}}


def _dump_turns(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Return turns as blocks; the results of parallel calls must be in one turn of the user."""
    dumped: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        role = "assistant" if turn.role is Role.ASSISTANT else "user"
        if turn.role is Role.TOOL and number and turns[number - 1].role is Role.TOOL:
            dumped[-1]["content"] += _dump_blocks(turn)
        else:
            dumped.append({"role": role, "content": _dump_blocks(turn)})
    return dumped


def _dump_blocks(turn: Message) -> list[dict[str, Any]]:
    text = clean_text(turn.content)
    if turn.role is Role.TOOL:
        content = {"content": text} if text.strip() else {}
        return [{"type": "tool_result", "tool_use_id": turn.tool_call_id, **content}]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text.strip() or not turn.tool_calls else []
    blocks += (
        {"type": "tool_use", "id": call.id, "name": call.name, "input": clean_json(call.arguments)}
        for call in turn.tool_calls
    )
    return blocks


class MessageEventParser(AnswerParser):
    """Parses the events of a message."""

    _prompt_usage = UNKNOWN_USAGE

    def parse_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of one event; unknown kinds and pings say nothing."""
        kind = chunk.get("type")
        if kind == "error":
            raise map_stream_error(self._server, self._key, parse_error_fields(chunk))
        if kind == "message_start":
            message = _mapping(chunk.get("message"))
            self.model = message.get("model")
            self._parse_usage(message.get("usage"), final=False)
        elif kind == "content_block_start":
            yield from self._parse_block(_mapping(chunk.get("content_block")), chunk.get("index"), whole=False)
        elif kind == "content_block_delta":
            yield from self._parse_delta(_mapping(chunk.get("delta")), chunk.get("index"))
        elif kind == "message_delta":
            self._parse_usage(chunk.get("usage"), final=True)
            self._parse_stop(_mapping(chunk.get("delta")))
        elif kind == "message_stop":
            self.is_done = True

    def parse_response(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of an answer that came whole. Raises ``RemoteError`` for an empty one."""
        blocks = answer.get("content")
        if not isinstance(blocks, list):
            self._fail("its answer is empty")
        self.model = answer.get("model")
        self._parse_usage(answer.get("usage"), final=True)
        for number, block in enumerate(blocks):
            yield from self._parse_block(_mapping(block), number, whole=True)
        self._parse_stop(answer)

    def _parse_block(self, block: Mapping[str, Any], index: Any, *, whole: bool) -> Iterator[Event]:
        """Yield the events of a block; at its start it is empty, as a rule, and the input of a tool comes later.

        The input of the tool that carries a schema is the answer.
        """
        yield from self._reasoning_events(block.get("thinking"))
        yield from self._answer_events(block.get("text"))
        if block.get("type") != "tool_use":
            return
        if self._request.tools:
            self._add_call(index, call_id=block.get("id"), name=block.get("name"))
            if whole:
                self._set_call_arguments(index, block.get("input"))
        elif whole:
            yield from self._answer_events(json.dumps(block.get("input"), ensure_ascii=False))

    def _parse_delta(self, delta: Mapping[str, Any], index: Any) -> Iterator[Event]:
        """Yield the events of a piece of a block; signatures of thinking and citations are not needed here."""
        kind = delta.get("type")
        if kind == "text_delta":
            yield from self._answer_events(delta.get("text"))
        elif kind == "thinking_delta":
            yield from self._reasoning_events(delta.get("thinking"))
        elif kind == "input_json_delta" and self._request.tools:
            self._add_call(index, arguments=delta.get("partial_json"))
        elif kind == "input_json_delta":
            yield from self._answer_events(delta.get("partial_json"))

    def _parse_usage(self, given: Any, *, final: bool) -> None:
        """Take the counts of an event; those of later events are sums, and replace earlier ones.

        The output of an event that is not ``final``, the start of the message, says nothing about the answer.
        """
        usage = _mapping(given)
        fresh, written, cached = (
            parse_count(usage.get(name))
            for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        )
        if fresh + written + cached:
            self._prompt_usage = Usage(fresh + written + cached, cached)
        if final and is_count(usage.get("output_tokens")):
            self._usage = replace(self._prompt_usage, completion_tokens=usage["output_tokens"])

    def _parse_stop(self, said: Mapping[str, Any]) -> None:
        reason = said.get("stop_reason")
        if reason in _END_REASONS:
            self._end(FinishReason.STOP)
        elif reason == "max_tokens":
            self._end(FinishReason.LENGTH, limit="max_tokens")
        elif reason == "model_context_window_exceeded":
            self._end(FinishReason.LENGTH, limit="context")
        elif reason == "refusal":
            details = _mapping(said.get("stop_details"))
            told = [str(details[name]) for name in ("category", "explanation") if details.get(name)]
            self._refuse(": ".join(told) or "it gives no reason")
        elif isinstance(reason, str):  # pause_turn, or one that is new
            self._break_off(reason)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
