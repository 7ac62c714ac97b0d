"""Gemini's generateContent and its stream.

Source: the Gemini API reference, "generateContent", "streamGenerateContent", "GenerationConfig", "Candidate" and
"models.list", version v1beta.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from llmcli.backends.remote.protocols.answer_parser import AnswerParser
from llmcli.backends.remote.protocols.wire_protocol import (
    OptionalField,
    ProtocolRequest,
    ServerModel,
    TokenCountCall,
    clean_json,
    clean_text,
    is_count,
    openapi_schema,
    parse_count,
    split_system,
    wants_logprobs,
)
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.error_mapping import ErrorFields, map_stream_error, parse_error_fields
from llmcli.config.backend_config import ServerConfig
from llmcli.types import UNKNOWN_USAGE, Event, FinishReason, Message, Request, Role, Sampling, TokenLogprobs, Usage

_MAX_TEMPERATURE = 2.0
_MAX_STOPS = 5
"""Stop strings that the protocol takes; others are looked for here."""
_SCHEMA_FIELDS = ("responseJsonSchema", "responseSchema")
_TOOL_SCHEMA_FIELD = "parametersJsonSchema"
"""The field for the schema of a tool's arguments; a server that refuses it gets ``parameters``, with OpenAPI's
keywords."""
_NO_SIGNATURE = "skip_thought_signature_validator"
"""The signature of a call that another model made; source: "Thought signatures", Gemini API documentation."""
_THINKING_ALLOWANCE_TOKENS = 4096
"""What a model that thinks in any case may use for that, beyond the limit of its answer."""
_NO_THINKING = (
    ("thinking.off", {"thinkingBudget": 0}),
    ("thinking.low", {"thinkingLevel": "low"}),
    ("thinking.least", {"thinkingBudget": 128}),
)
"""How to ask for little thinking: of models that can do without, of those with levels, and of those with a least
budget."""
_WORDS = {
    "temperature": r"(?i)\btemperature\b",
    "topP": r"(?i)\btop_?p\b",
    "topK": r"(?i)\btop_?k\b",
    "seed": r"(?i)\bseed\b",
    "presencePenalty": r"(?i)penalty",
    "frequencyPenalty": r"(?i)penalty",
    "logprobs": r"(?i)log_?prob",
    "responseJsonSchema": r"(?i)schema",
    "responseSchema": r"(?i)schema",
    _TOOL_SCHEMA_FIELD: r"(?i)parameters_?json_?schema",
}
"""How errors name the fields: in snake case, in camel case, or in words."""
_THINKING_WORDS = r"(?i)thinking|thought|budget"
_LENGTH_REASONS = frozenset({"MAX_TOKENS", "CONTINUATION"})
_BROKEN_REASONS = frozenset(
    {
        "FINISH_REASON_UNSPECIFIED",
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "OTHER",
        "TOO_MANY_TOOL_CALLS",
        "UNEXPECTED_TOOL_CALL",
    }
)
"""Ends that say nothing about the content; all others are those of filters."""
_RETRY_DELAY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")


class GeminiContent:
    """Generated content; see ``WireProtocol``."""

    default_context = 1_048_576
    models_path = "/models?pageSize=1000"
    offers_logprobs = True
    embeddings_path = completions_path = None

    def headers(self, key: ApiKey) -> dict[str, str]:
        """Return the key."""
        return {"x-goog-api-key": key.secret} if key.secret else {}

    def build_request(
        self,
        request: Request,
        model: str,
        refused: frozenset[str],
        *,
        schema: Mapping[str, Any] | None = None,
        stream: bool = True,
    ) -> ProtocolRequest:
        """Return path and body, with the settings that the server supports."""
        told, turns = split_system(request.messages)
        settings = _dump_sampling(request.sampling)
        if request.logprobs is not None:
            settings["logprobs"] = request.logprobs
        if schema is not None:
            settings |= self._schema_setting(schema, refused)
        needed = frozenset({"logprobs"}) if wants_logprobs(request) else frozenset()
        settings = {name: value for name, value in settings.items() if name not in refused - needed}
        optional = [
            OptionalField(name, _WORDS[name])
            for name, value in settings.items()
            if name not in needed and not (name == "temperature" and value > _MAX_TEMPERATURE)
        ]
        if "logprobs" in settings:
            settings["responseLogprobs"] = True
        if schema is not None:
            settings["responseMimeType"] = "application/json"
        if request.stop:
            settings["stopSequences"] = list(request.stop[:_MAX_STOPS])
        if request.max_tokens is not None:
            settings["maxOutputTokens"] = request.max_tokens
        _add_thinking(settings, optional, refused, wanted=request.reasoning)
        body: dict[str, Any] = {"contents": _dump_contents(turns), "generationConfig": settings}
        if request.tools:
            declarations = [_dump_tool(tool["function"], refused) for tool in request.tools]
            body["tools"] = [{"functionDeclarations": declarations}]
            if any(_TOOL_SCHEMA_FIELD in each for each in declarations):
                optional.append(OptionalField(_TOOL_SCHEMA_FIELD, _WORDS[_TOOL_SCHEMA_FIELD]))
        if told:
            body["systemInstruction"] = {"parts": [{"text": text} for text in told]}
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return ProtocolRequest(model, f"/{_resource_name(model)}:{method}", body, tuple(optional))

    def _schema_setting(self, schema: Mapping[str, Any], refused: frozenset[str]) -> dict[str, Any]:
        field = self.schema_field(refused)
        if field is None:
            return {}
        return {field: dict(schema) if field == "responseJsonSchema" else openapi_schema(schema)}

    def build_count(self, request: Request, model: ServerModel) -> TokenCountCall:
        """Return the request of "countTokens"."""
        made = self.build_request(request, model.name, frozenset(), stream=False)
        names = ("contents", "systemInstruction", "tools")
        body = {name: made.body[name] for name in names if name in made.body}
        whole = {"generateContentRequest": {"model": unquote(_resource_name(model.name)), **body}}
        return TokenCountCall(f"/{_resource_name(model.name)}:countTokens", whole, "totalTokens")

    def schema_field(self, refused: frozenset[str]) -> str | None:
        """Return the first field for a schema that is not refused: for JSON Schema, or for that of OpenAPI."""
        return next((name for name in _SCHEMA_FIELDS if name not in refused), None)

    def make_parser(self, request: Request, server: ServerConfig, key: ApiKey) -> AnswerParser:
        """Return a parser of responses."""
        return ContentParser(request, server, key, stops=request.stop[_MAX_STOPS:])

    def parse_error(self, loaded: Any) -> ErrorFields:
        """Return what an error says: google.rpc.Status, with its details."""
        return parse_status(loaded)

    def parse_models(self, listed: Mapping[str, Any]) -> list[ServerModel]:
        """Return the models that generate content, with the tokens that they read."""
        models = [entry for entry in listed.get("models") or () if isinstance(entry, Mapping) and "name" in entry]
        return [
            ServerModel(
                str(entry["name"]).removeprefix("models/"), "", parse_count(entry.get("inputTokenLimit")) or None
            )
            for entry in models
            if "generateContent" in entry.get("supportedGenerationMethods", ["generateContent"])
        ]


def _resource_name(model: str) -> str:
    """Return the name of a model in a path: models/NAME, unless it names another collection."""
    return quote(model if "/" in model else f"models/{model}", safe="/")


def _dump_tool(function: Mapping[str, Any], refused: frozenset[str]) -> dict[str, Any]:
    """Return the declaration of a tool; a schema without properties is refused, so it is left out."""
    schema = function.get("parameters") or {}
    declared = {"name": function["name"], "description": function.get("description") or function["name"]}
    if not schema.get("properties") and "$ref" not in schema:
        return declared
    if _TOOL_SCHEMA_FIELD in refused:
        return declared | {"parameters": openapi_schema(schema)}
    return declared | {_TOOL_SCHEMA_FIELD: schema}


def _dump_contents(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Return turns with their parts; the results of parallel calls must be in one turn."""
    tool_names = {call.id: call.name for turn in turns for call in turn.tool_calls}
    contents: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        if turn.role is Role.TOOL and number and turns[number - 1].role is Role.TOOL:
            contents[-1]["parts"] += _dump_parts(turn, tool_names)
        else:
            role = "model" if turn.role is Role.ASSISTANT else "user"
            contents.append({"role": role, "parts": _dump_parts(turn, tool_names)})
    return contents


def _dump_parts(turn: Message, tool_names: Mapping[str, str]) -> list[dict[str, Any]]:
    text = clean_text(turn.content)
    if turn.role is Role.TOOL:
        result = {"name": tool_names.get(turn.tool_call_id, turn.tool_call_id), "response": {"output": text}}
        return [{"functionResponse": result}]
    parts: list[dict[str, Any]] = [{"text": text}] if text or not turn.tool_calls else []
    for number, call in enumerate(turn.tool_calls):
        signature = call.signature or ("" if number else _NO_SIGNATURE)  # only the first of parallel calls has one
        part = {"functionCall": {"name": call.name, "args": clean_json(call.arguments)}}
        parts.append(part | ({"thoughtSignature": signature} if signature else {}))
    return parts


def _dump_sampling(sampling: Sampling) -> dict[str, Any]:
    usual = Sampling()
    names = {
        "top_p": "topP",
        "top_k": "topK",
        "seed": "seed",
        "presence_penalty": "presencePenalty",
        "frequency_penalty": "frequencyPenalty",
    }
    changed = {
        theirs: getattr(sampling, ours)
        for ours, theirs in names.items()
        if getattr(sampling, ours) not in {None, getattr(usual, ours)}
    }
    return {"temperature": sampling.temperature} | changed


def _add_thinking(
    settings: dict[str, Any], optional: list[OptionalField], refused: frozenset[str], *, wanted: bool
) -> None:
    """Ask for the thoughts, or for few; models differ in the ways that they know."""
    ways = (("thinking.shown", {"includeThoughts": True}),) if wanted else _NO_THINKING
    for name, way in ways:
        if name not in refused:
            settings["thinkingConfig"] = way
            optional.append(OptionalField(name, _THINKING_WORDS))
            if name in {"thinking.low", "thinking.least"} and "maxOutputTokens" in settings:
                settings["maxOutputTokens"] += _THINKING_ALLOWANCE_TOKENS
            return


def parse_status(loaded: Any) -> ErrorFields:
    """Return what a google.rpc.Status says; the reason in its details tells more than its code."""
    message, _, _, _ = parse_error_fields(loaded)
    error = loaded.get("error") if isinstance(loaded, Mapping) else None
    if not isinstance(error, Mapping):
        return ErrorFields(message)
    code, pause, param = str(error.get("status") or ""), None, ""
    for detail in error.get("details") or ():
        if not isinstance(detail, Mapping):
            continue
        if detail.get("reason") == "API_KEY_INVALID":
            code = "API_KEY_INVALID"
        delay = _RETRY_DELAY.fullmatch(str(detail.get("retryDelay", "")))
        pause = float(delay.group(1)) if delay else pause
        for violation in detail.get("violations") or ():
            if isinstance(violation, Mapping) and "PerDay" in str(violation.get("quotaId")):
                code = "insufficient_quota"
        for violation in detail.get("fieldViolations") or ():
            param = str(violation.get("field", "")) if isinstance(violation, Mapping) else param
    return ErrorFields(message, code, param, pause)


class ContentParser(AnswerParser):
    """Parses responses, which are the same in a stream and as a whole."""

    _has_end = False

    def parse_response(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of an answer that came whole. Raises ``RemoteError`` for an empty one."""
        if not (answer.get("candidates") or answer.get("promptFeedback") or answer.get("error")):
            self._fail("its answer is empty")
        yield from self.parse_chunk(answer)

    def parse_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of a response."""
        if chunk.get("error"):
            raise map_stream_error(self._server, self._key, parse_status(chunk))
        self.model = self.model or chunk.get("modelVersion")
        feedback = chunk.get("promptFeedback")
        if isinstance(feedback, Mapping) and feedback.get("blockReason"):
            self._refuse(_describe_block("the prompt was blocked", str(feedback["blockReason"]), feedback))
        candidates = chunk.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, Mapping) and candidate.get("index", 0) == 0:
                yield from self._parse_candidate(candidate)
                self._has_end = self._has_end or bool(candidate.get("finishReason"))
        if self._has_end or self._refusal is not None:  # before, it is a sum of the tokens so far
            self._usage = _parse_usage(chunk.get("usageMetadata"))

    def _parse_candidate(self, candidate: Mapping[str, Any]) -> Iterator[Event]:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, Mapping) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, Mapping):
                pieces = self._reasoning_events if part.get("thought") is True else self._answer_events
                yield from pieces(part.get("text"))
                self._parse_call(part)
        if self._request.logprobs is not None:
            yield from _parse_logprobs(self._request.id, candidate.get("logprobsResult"))
        self._parse_finish_reason(candidate)

    def _parse_call(self, part: Mapping[str, Any]) -> None:
        """Take a call of a tool, which arrives whole."""
        call, key = part.get("functionCall"), self._calls.num_calls
        if isinstance(call, Mapping):
            self._add_call(key, call_id=call.get("id"), name=call.get("name"), signature=part.get("thoughtSignature"))
            self._set_call_arguments(key, call.get("args"))

    def _parse_finish_reason(self, candidate: Mapping[str, Any]) -> None:
        reason = candidate.get("finishReason")
        if not isinstance(reason, str) or not reason:
            return
        if reason == "STOP":
            self._end(FinishReason.STOP)
        elif reason in _LENGTH_REASONS:
            self._end(FinishReason.LENGTH)
        elif reason in _BROKEN_REASONS:
            self._break_off(reason)
        else:
            self._refuse(_describe_block("the answer was blocked", reason, candidate))


def _parse_usage(usage: Any) -> Usage:
    """Return the counts; thoughts are generated tokens too."""
    if not isinstance(usage, Mapping) or not is_count(usage.get("promptTokenCount")):
        return UNKNOWN_USAGE
    names = ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    prompt, cached, answer, thoughts = (parse_count(usage.get(name)) for name in names)
    return Usage(prompt, cached, answer + thoughts)


def _describe_block(what: str, reason: str, said: Mapping[str, Any]) -> str:
    """Return what a filter blocked and why, with the categories of its ratings."""
    ratings = said.get("safetyRatings")
    blocked = [
        str(rating.get("category"))
        for rating in (ratings if isinstance(ratings, list) else ())
        if isinstance(rating, Mapping) and rating.get("blocked") is True
    ]
    more = [*blocked, *(str(said[name]) for name in ("finishMessage", "blockReasonMessage") if said.get(name))]
    return f"{what}: {reason}" + (f" ({', '.join(more)})" if more else "")


def _parse_logprobs(request_id: str, given: Any) -> Iterator[TokenLogprobs]:
    """Yield the log-probabilities of the tokens; what is malformed counts as absent."""
    try:
        for chosen, top in zip(given["chosenCandidates"], given["topCandidates"], strict=False):
            others = tuple((str(each["token"]).encode(), float(each["logProbability"])) for each in top["candidates"])
            yield TokenLogprobs(request_id, str(chosen["token"]).encode(), float(chosen["logProbability"]), others)
    except (KeyError, TypeError, ValueError):
        return
