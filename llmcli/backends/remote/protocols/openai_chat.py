"""OpenAI's chat completions, which most servers speak, and its completions of prompts without a chat template.

Source: the OpenAI API reference, "Create chat completion" and "Create completion"; ``top_k``, ``min_p``,
``repeat_penalty`` and ``chat_template_kwargs`` as llama-server, vLLM and SGLang have them. Defaults are left to the
server, which knows its model; the temperature is always sent, since prompt files choose it. So is the limit of a
completion, without which some servers end after 16 tokens and others never.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any

from llmcli.backends.remote.protocols.answer_parser import AnswerParser
from llmcli.backends.remote.protocols.wire_protocol import (
    DEFAULT_CONTEXT_TOKENS,
    OWNER_LLAMA_CPP,
    OWNER_LLMCLI,
    OWNER_VLLM,
    OptionalField,
    ProtocolRequest,
    ServerModel,
    TokenCountCall,
    clean_text,
    dump_json,
    is_count,
    parse_count,
    wants_logprobs,
)
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.error_mapping import ErrorFields, map_stream_error, parse_error_fields
from llmcli.config.backend_config import ServerConfig
from llmcli.types import UNKNOWN_USAGE, Event, FinishReason, Message, Request, Role, Sampling, TokenLogprobs, Usage

CHAT_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH = "/chat/completions", "/completions", "/embeddings"
MAX_TEMPERATURE = 2.0
"""The highest temperature of OpenAI's protocols."""
_THINK_TAGS = ("<think>", "</think>")
_MAX_TOKENS_FIELD, _NEW_MAX_TOKENS_FIELD = "max_tokens", "max_completion_tokens"
_SCHEMA_FIELD = "response_format"
_UNKNOWN_LIMIT_HINT = "unsupported|not supported|unknown|unrecognized|extra"
_LIMIT_HINTS = {
    _MAX_TOKENS_FIELD: f"{_NEW_MAX_TOKENS_FIELD}|{_UNKNOWN_LIMIT_HINT}",
    _NEW_MAX_TOKENS_FIELD: _UNKNOWN_LIMIT_HINT,
}
"""What an error says about a limit under a name that the server does not know, and not about one that is too large."""
_OPTIONAL_FIELDS = frozenset(
    {
        "chat_template_kwargs",
        "frequency_penalty",
        "logprobs",
        _MAX_TOKENS_FIELD,
        _NEW_MAX_TOKENS_FIELD,
        "min_p",
        "presence_penalty",
        "repeat_penalty",
        _SCHEMA_FIELD,
        "seed",
        "stream_options",
        "temperature",
        "top_k",
        "top_logprobs",
        "top_p",
    }
)
"""Fields that improve an answer; without response_format the schema goes into the prompt."""
_LOGPROBS_FIELDS = frozenset({"logprobs", "top_logprobs"})
_CONTEXT_FIELDS = (
    "max_model_len",
    "context_length",
    "context_window",
    "loaded_context_length",
    "max_context_length",
    "n_ctx",
)
_MIN_CONTEXT_TOKENS = 64
_DIGEST_CHARS = 12
"""Characters of a digest that tell weights apart, and can be shown."""
_META_FIELDS = ("n_params", "n_vocab", "n_embd", "size")


class OpenAIServer:
    """The common part of OpenAI's protocols; see ``WireProtocol``."""

    default_context = DEFAULT_CONTEXT_TOKENS
    models_path = "/models"
    offers_logprobs = True
    embeddings_path = EMBEDDINGS_PATH
    completions_path: str | None = None

    def headers(self, key: ApiKey) -> dict[str, str]:
        """Return the key as a bearer token."""
        return {"Authorization": f"Bearer {key.secret}"} if key.secret else {}

    def parse_error(self, loaded: Any) -> ErrorFields:
        """Return what an error says."""
        return parse_error_fields(loaded)

    def parse_models(self, listed: Mapping[str, Any]) -> list[ServerModel]:
        """Return the models, with their context under any of its known names."""
        entries = listed.get("data")
        return [
            ServerModel(
                str(entry["id"]), str(entry.get("owned_by", "")), parse_context(entry), _describe_weights(entry)
            )
            for entry in entries or ()
            if isinstance(entry, Mapping) and "id" in entry
        ]


class OpenAIChat(OpenAIServer):
    """Chat completions; see ``WireProtocol``."""

    completions_path = COMPLETIONS_PATH

    def build_request(
        self,
        request: Request,
        model: str,
        refused: frozenset[str],
        *,
        schema: Mapping[str, Any] | None = None,
        stream: bool = True,
    ) -> ProtocolRequest:
        """Return the body of a chat completion, or of a completion, with the fields that the server supports."""
        if request.prompt is not None:
            return _build_completion(request, model, refused, stream=stream)
        fields: dict[str, Any] = {
            "model": model,
            "messages": dump_messages(request.messages),
            "tools": [dict(tool) for tool in request.tools] or None,
            "stream": stream or None,
            "stream_options": {"include_usage": True} if stream else None,
            _MAX_TOKENS_FIELD: request.max_tokens,
            "stop": list(request.stop) or None,
            **_dump_sampling(request.sampling),
            "chat_template_kwargs": {"enable_thinking": request.reasoning},
            "ignore_eos": request.ignore_eos or None,
        }
        if request.logprobs is not None:
            fields |= {"logprobs": True, "top_logprobs": request.logprobs}
        if schema is not None:
            fields[_SCHEMA_FIELD] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        if _MAX_TOKENS_FIELD in refused:
            fields[_NEW_MAX_TOKENS_FIELD] = request.max_tokens
        needed = _LOGPROBS_FIELDS if wants_logprobs(request) else frozenset()
        body = {name: value for name, value in fields.items() if value is not None and name not in refused - needed}
        return ProtocolRequest(model, CHAT_PATH, body, _optional_fields(body, needed))

    def build_count(self, request: Request, model: ServerModel) -> TokenCountCall | None:
        """Return the request of llm serve, vLLM ("Tokenizer API") and llama-server (README, Anthropic's API)."""
        tools = {"tools": [dict(tool) for tool in request.tools]} if request.tools else {}
        body = {"model": model.name, "messages": dump_messages(request.messages), **tools}
        if model.owner == OWNER_LLMCLI:
            return TokenCountCall("/count", body, "tokens")
        if model.owner == OWNER_VLLM:
            return TokenCountCall("/tokenize", body, "count", root=True)
        if model.owner == OWNER_LLAMA_CPP:
            from llmcli.backends.remote.protocols.anthropic_messages import AnthropicMessages

            return AnthropicMessages().build_count(request, model)
        return None

    def schema_field(self, refused: frozenset[str]) -> str | None:
        """Return response_format, unless it is refused."""
        return None if _SCHEMA_FIELD in refused else _SCHEMA_FIELD

    def make_parser(self, request: Request, server: ServerConfig, key: ApiKey) -> AnswerParser:
        """Return a parser of chunks; all of a completion is text."""
        if request.prompt is not None:
            return CompletionParser(request, server, key)
        return ChunkParser(request, server, key, tags=_THINK_TAGS)


def _build_completion(request: Request, model: str, refused: frozenset[str], *, stream: bool) -> ProtocolRequest:
    """Return the body of a completion."""
    needed = frozenset({_MAX_TOKENS_FIELD}) | (_LOGPROBS_FIELDS if wants_logprobs(request) else frozenset())
    fields: dict[str, Any] = {
        "model": model,
        "prompt": clean_text(request.prompt or ""),
        "stream": stream or None,
        "stream_options": {"include_usage": True} if stream else None,
        _MAX_TOKENS_FIELD: request.max_tokens,
        "stop": list(request.stop) or None,
        **_dump_sampling(request.sampling),
        "logprobs": request.logprobs,
        "ignore_eos": request.ignore_eos or None,
    }
    body = {name: value for name, value in fields.items() if value is not None and name not in refused - needed}
    return ProtocolRequest(model, COMPLETIONS_PATH, body, _optional_fields(body, needed))


def _describe_weights(entry: Mapping[str, Any]) -> str:
    """Return what an entry of a list of models says about the weights, as text.

    ``llm serve`` has their digest and type, llama-server (``meta``) their numbers and size, and vLLM and SGLang
    (``root``) the repository or directory that they were loaded from.
    """
    meta = entry.get("meta")
    found = [
        str(entry.get("digest", ""))[:_DIGEST_CHARS],
        entry.get("weights"),
        *(meta.get(name) for name in _META_FIELDS if isinstance(meta, Mapping)),
        PurePosixPath(root).name if isinstance(root := entry.get("root"), str) else None,
    ]
    return " ".join(str(value) for value in found if value)


def dump_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return messages in OpenAI's format, with calls of tools and their results."""
    return [_dump_message(message) for message in messages]


def _dump_message(message: Message) -> dict[str, Any]:
    content = clean_text(message.content)
    if message.role is Role.TOOL and not message.tool_call_id:  # no call that it could answer
        return {"role": Role.USER.value, "content": content}
    fields: dict[str, Any] = {"role": message.role.value, "content": content}
    if message.tool_calls:
        fields["content"] = content or None
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": dump_json(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return fields | ({"tool_call_id": message.tool_call_id} if message.role is Role.TOOL else {})


def parse_context(entry: Mapping[str, Any]) -> int | None:
    """Return the context of an entry of a list of models, under any of the known field names."""
    for name in _CONTEXT_FIELDS:
        value = entry.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= _MIN_CONTEXT_TOKENS:
            return value
    return None


def parse_usage(answer: Mapping[str, Any]) -> Usage:
    """Return the token counts of an answer; unknown if it has none of its prompt."""
    usage = answer.get("usage")
    if not isinstance(usage, Mapping) or not is_count(usage.get("prompt_tokens")):
        return UNKNOWN_USAGE
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(usage["prompt_tokens"], parse_count(cached), parse_count(usage.get("completion_tokens")))


def _dump_sampling(sampling: Sampling) -> dict[str, Any]:
    usual = Sampling()
    names = ("top_k", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty", "seed")
    changed = {name: getattr(sampling, name) for name in names if getattr(sampling, name) != getattr(usual, name)}
    return {"temperature": sampling.temperature, **changed}


def _optional_fields(body: Mapping[str, Any], needed: frozenset[str]) -> tuple[OptionalField, ...]:
    """Return what may be left out of a body, except what is ``needed``; too large a value is none of it."""
    return tuple(
        OptionalField(name, hint=_LIMIT_HINTS.get(name, ""))
        for name in body
        if name in _OPTIONAL_FIELDS - needed and not (name == "temperature" and body[name] > MAX_TEMPERATURE)
    )


class ChunkParser(AnswerParser):
    """Parses the chunks of a chat completion."""

    _open_calls: Mapping[int | None, tuple[int, str]] = {}  # by index: the number of the call, and its id

    def parse_response(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of an answer that came whole. Raises ``RemoteError`` for an empty one."""
        if not (isinstance(answer.get("choices"), list) and answer["choices"]) and not answer.get("error"):
            self._fail("its answer is empty")
        yield from self.parse_chunk(answer)

    def parse_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of a chunk, or of a whole answer."""
        if chunk.get("error"):
            raise map_stream_error(self._server, self._key, parse_error_fields(chunk))
        self.model = self.model or chunk.get("model")
        if isinstance(chunk.get("usage"), Mapping):
            self._usage = parse_usage(chunk)
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping) or choice.get("index", 0) != 0:
                continue
            yield from self._parse_choice(choice)
            self._parse_finish_reason(choice.get("finish_reason"))

    def _parse_choice(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        delta = choice.get("delta") or choice.get("message")
        yield from self._parse_delta(delta if isinstance(delta, Mapping) else {})
        if self._request.logprobs is not None:
            yield from parse_logprobs(self._request.id, choice.get("logprobs"))

    def _parse_delta(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._reasoning_events(delta.get("reasoning_content") or delta.get("reasoning"))
        content = delta.get("content")
        for part in content if isinstance(content, list) else ({"text": content},):  # Mistral's are lists
            if isinstance(part, Mapping):
                yield from self._parse_thinking(part.get("thinking"))
                yield from self._answer_events(part.get("text"))
        self._add_refusal_text(delta.get("refusal"))
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, Mapping):
                self._parse_call(call)

    def _parse_thinking(self, parts: Any) -> Iterator[Event]:
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, Mapping):
                yield from self._reasoning_events(part.get("text"))

    def _parse_call(self, call: Mapping[str, Any]) -> None:
        """Take a piece of a call.

        Some servers number no calls, or all calls alike, so another id begins another call.
        """
        function = call.get("function")
        if not isinstance(function, Mapping):
            return
        index = call["index"] if isinstance(call.get("index"), int) else None
        call_id, name, arguments = str(call.get("id") or ""), function.get("name"), function.get("arguments")
        number, known_id = self._open_calls.get(index, (-1, ""))
        is_unnumbered = index is None and not call_id and name
        if number < 0 or is_unnumbered or (call_id and known_id and call_id != known_id):
            number, known_id = self._calls.num_calls, ""
        self._open_calls = {**self._open_calls, index: (number, known_id or call_id)}
        self._add_call(number, call_id=call_id, name=name, arguments=arguments)
        if isinstance(arguments, Mapping):
            self._set_call_arguments(number, arguments)

    def _parse_finish_reason(self, reason: Any) -> None:
        if not isinstance(reason, str) or not reason:
            return
        if reason == "content_filter":
            self._refuse("its content filter stopped the answer")
        elif reason in {"error", "abort", "network_error"}:
            self._break_off(reason)
        else:
            self._end(FinishReason.LENGTH if reason in {"length", "max_tokens"} else FinishReason.STOP)


class CompletionParser(ChunkParser):
    """Parses the chunks of a completion."""

    def _parse_choice(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._answer_events(choice.get("text"))
        if self._request.logprobs is not None:
            yield from _parse_completion_logprobs(self._request.id, choice.get("logprobs"))


def _parse_completion_logprobs(request_id: str, given: Any) -> Iterator[TokenLogprobs]:
    """Yield the log-probabilities of the tokens of a piece of a completion; llama-server has them as in chats."""
    if not isinstance(given, Mapping) or "content" in given:
        yield from parse_logprobs(request_id, given)
        return
    tokens, logprobs, tops = (given.get(name) or () for name in ("tokens", "token_logprobs", "top_logprobs"))
    try:
        for token, logprob, top in zip_longest(tokens, logprobs, tops):
            found = tuple((_encode_token(name), float(value)) for name, value in (top or {}).items())
            yield TokenLogprobs(request_id, _encode_token(token), float(logprob), found)
    except (TypeError, ValueError, AttributeError):
        return


def _encode_token(token: str) -> bytes:
    return token.encode("utf-8", "replace")


def parse_logprobs(request_id: str, given: Any) -> Iterator[TokenLogprobs]:
    """Yield the log-probabilities of the tokens of a piece of an answer; what is malformed counts as absent."""
    content = given.get("content") if isinstance(given, Mapping) else given
    for token in content if isinstance(content, list) else ():
        try:
            top = tuple(
                (_parse_token_bytes(other), float(other["logprob"])) for other in token.get("top_logprobs") or ()
            )
            yield TokenLogprobs(request_id, _parse_token_bytes(token), float(token["logprob"]), top)
        except (KeyError, TypeError, ValueError, AttributeError):
            return


def _parse_token_bytes(token: Mapping[str, Any]) -> bytes:
    given = token.get("bytes")
    return bytes(given) if isinstance(given, list) else _encode_token(str(token.get("token", "")))
