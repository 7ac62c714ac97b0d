"""OpenAI's Responses, for servers or models that have only that.

Source: the OpenAI API reference, "Create a model response" and "Streaming events". Nothing is stored at the server
(``store`` false). The protocol has no stop strings, so they are looked for here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmcli.backends.remote.protocols.answer_parser import AnswerParser
from llmcli.backends.remote.protocols.openai_chat import (
    MAX_TEMPERATURE,
    OpenAIServer,
    parse_logprobs,
)
from llmcli.backends.remote.protocols.wire_protocol import (
    OptionalField,
    ProtocolRequest,
    ServerModel,
    TokenCountCall,
    clean_text,
    dump_json,
    is_count,
    parse_count,
    split_system,
    wants_logprobs,
)
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.error_mapping import map_stream_error, parse_error_fields
from llmcli.config.backend_config import ServerConfig
from llmcli.types import Event, FinishReason, Message, Request, Role, Sampling, Usage

_MIN_OUTPUT_TOKENS = 16
"""The smallest limit that OpenAI accepts."""
_REASONING_ALLOWANCE_TOKENS = 4096
"""What a model that reasons in any case may use for that, beyond the limit of its answer."""
_SCHEMA_FIELD = "text"
_LOGPROBS_FIELD = OptionalField("logprobs", "logprobs|include")
_EFFORTS = ("none", "low")
"""The least effort of models that can answer without reasoning, and of those that cannot."""
_REASONING_EVENTS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_ITEM_EVENTS = frozenset({"response.output_item.added", "response.output_item.done"})
_END_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


class OpenAIResponses(OpenAIServer):
    """Responses; see ``WireProtocol``."""

    def build_request(
        self,
        request: Request,
        model: str,
        refused: frozenset[str],
        *,
        schema: Mapping[str, Any] | None = None,
        stream: bool = True,
    ) -> ProtocolRequest:
        """Return the body of a response, with the fields that the server supports."""
        told, turns = split_system(request.messages)
        body: dict[str, Any] = {"model": model, "input": _dump_items(turns), "store": False}
        optional = [OptionalField("store")]
        if told:
            body["instructions"] = "\n\n".join(told)
        if request.tools:
            body["tools"] = [_dump_tool(tool) for tool in request.tools]
        if stream:
            body["stream"] = True
        if request.max_tokens is not None:
            body["max_output_tokens"] = max(request.max_tokens, _MIN_OUTPUT_TOKENS)
        for name, value in _dump_sampling(request.sampling).items():
            body[name] = value
            if not (name == "temperature" and value > MAX_TEMPERATURE):
                optional.append(OptionalField(name))
        if schema is not None:
            body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": False}}
            optional.append(OptionalField(_SCHEMA_FIELD, r"\btext\.format\b|json_schema"))
        if request.logprobs is not None and (wants_logprobs(request) or _LOGPROBS_FIELD.name not in refused):
            body |= {"include": ["message.output_text.logprobs"], "top_logprobs": request.logprobs}
            optional += [] if wants_logprobs(request) else [_LOGPROBS_FIELD]
        _add_reasoning(body, optional, refused, wanted=request.reasoning)
        body = {name: value for name, value in body.items() if name not in refused}
        sent = tuple(field for field in optional if field.name not in refused)
        return ProtocolRequest(model, "/responses", body, sent)

    def build_count(self, request: Request, model: ServerModel) -> TokenCountCall:
        """Return the request of "Get input token counts"."""
        whole = self.build_request(request, model.name, frozenset(), stream=False).body
        body = {name: whole[name] for name in ("model", "input", "instructions", "tools") if name in whole}
        return TokenCountCall("/responses/input_tokens", body, "input_tokens")

    def schema_field(self, refused: frozenset[str]) -> str | None:
        """Return text, unless it is refused."""
        return None if _SCHEMA_FIELD in refused else _SCHEMA_FIELD

    def make_parser(self, request: Request, server: ServerConfig, key: ApiKey) -> AnswerParser:
        """Return a parser of events."""
        return ResponseEventParser(request, server, key, stops=request.stop)


def _dump_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool as the protocol has it; it is strict unless it says otherwise, which not every schema allows."""
    return {"type": "function", "strict": False, **tool["function"]}


def _dump_items(turns: Iterable[Message]) -> list[dict[str, Any]]:
    """Return turns as items: calls of tools and their results are items of their own."""
    items: list[dict[str, Any]] = []
    for turn in turns:
        content = clean_text(turn.content)
        if turn.role is Role.TOOL:
            items.append({"type": "function_call_output", "call_id": turn.tool_call_id, "output": content})
            continue
        if content or not turn.tool_calls:
            items.append({"role": turn.role.value, "content": content})
        items += (
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": dump_json(call.arguments),
            }
            for call in turn.tool_calls
        )
    return items


def _dump_sampling(sampling: Sampling) -> dict[str, Any]:
    top_p = {} if sampling.top_p == Sampling().top_p else {"top_p": sampling.top_p}
    return {"temperature": sampling.temperature, **top_p}


def _add_reasoning(
    body: dict[str, Any], optional: list[OptionalField], refused: frozenset[str], *, wanted: bool
) -> None:
    """Ask a model that reasons for a summary of that, or to reason little; others refuse the field."""
    ways = {f"reasoning.{effort}": {"effort": effort} for effort in _EFFORTS}
    for name, way in ({"reasoning.summary": {"summary": "auto"}} if wanted else ways).items():
        if name not in refused:
            body["reasoning"] = way
            optional.append(OptionalField(name, "reasoning|effort|summar"))
            if name == "reasoning.low" and "max_output_tokens" in body:
                body["max_output_tokens"] += _REASONING_ALLOWANCE_TOKENS
            return


class ResponseEventParser(AnswerParser):
    """Parses the events of a response."""

    _commentary: frozenset[int] = frozenset()  # indices of messages that are no part of the answer

    def parse_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of one event."""
        kind = chunk.get("type")
        if kind == "error" or (kind is None and chunk.get("error")):
            raise map_stream_error(self._server, self._key, parse_error_fields(chunk))
        self.model = self.model or _mapping(chunk.get("response")).get("model")
        if kind in _ITEM_EVENTS:
            self._parse_item_event(chunk)
        elif kind == "response.function_call_arguments.delta":
            self._add_call(chunk.get("output_index"), arguments=chunk.get("delta"))
        elif kind == "response.output_text.delta":
            yield from self._parse_text_delta(chunk)
        elif kind in _REASONING_EVENTS:
            yield from self._reasoning_events(chunk.get("delta"))
        elif kind == "response.refusal.delta":
            self._add_refusal_text(chunk.get("delta"))
        elif kind in _END_EVENTS:
            response = chunk.get("response")
            self._parse_end(response if isinstance(response, Mapping) else {})
            self.is_done = True

    def _parse_item_event(self, chunk: Mapping[str, Any]) -> None:
        index, item = chunk.get("output_index"), chunk.get("item")
        if isinstance(item, Mapping) and item.get("phase") == "commentary":
            self._commentary |= {parse_count(index)}
        self._parse_call(index, item)

    def _parse_text_delta(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        if parse_count(chunk.get("output_index")) in self._commentary:
            yield from self._reasoning_events(chunk.get("delta"))
            return
        yield from self._answer_events(chunk.get("delta"))
        if self._request.logprobs is not None:
            yield from parse_logprobs(self._request.id, chunk.get("logprobs"))

    def parse_response(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of an answer that came whole. Raises ``RemoteError`` for an empty one."""
        output = answer.get("output")
        if not isinstance(output, list):
            self._fail("its answer is empty")
        self.model = answer.get("model")
        for number, item in enumerate(output):
            if isinstance(item, Mapping) and item.get("type") in {"message", "reasoning"}:
                yield from self._parse_item(item)
            self._parse_call(number, item)
        self._parse_end(answer)

    def _parse_item(self, item: Mapping[str, Any]) -> Iterator[Event]:
        if item.get("type") == "reasoning" or item.get("phase") == "commentary":
            for part in _mappings(item.get("summary") or item.get("content")):
                yield from self._reasoning_events(part.get("text"))
            return
        for part in _mappings(item.get("content")):
            self._add_refusal_text(part.get("refusal"))
            yield from self._answer_events(part.get("text"))
            if self._request.logprobs is not None:
                yield from parse_logprobs(self._request.id, part.get("logprobs"))

    def _parse_call(self, key: Any, item: Any) -> None:
        """Take a call of a tool; its arguments are complete at the end of the item, and empty at its beginning."""
        if isinstance(item, Mapping) and item.get("type") == "function_call":
            self._add_call(key, call_id=item.get("call_id"), name=item.get("name"))
            if item.get("arguments"):
                self._set_call_arguments(key, item["arguments"])

    def _parse_end(self, response: Mapping[str, Any]) -> None:
        """Take usage and reason from the response as a whole. Raises the error that it reports."""
        usage = response.get("usage")
        if isinstance(usage, Mapping) and is_count(usage.get("input_tokens")):
            details = usage.get("input_tokens_details")
            cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
            self._usage = Usage(usage["input_tokens"], parse_count(cached), parse_count(usage.get("output_tokens")))
        status, details = response.get("status"), response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, Mapping) else None
        if status == "failed" or response.get("error"):
            raise map_stream_error(self._server, self._key, parse_error_fields(response))
        if reason == "content_filter":
            self._refuse("its content filter stopped the answer")
        elif status == "incomplete" and reason == "max_output_tokens":
            self._end(FinishReason.LENGTH)
        elif status == "completed":
            self._end(FinishReason.STOP)
        else:
            self._break_off(str(reason or status or "it did not say why"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
