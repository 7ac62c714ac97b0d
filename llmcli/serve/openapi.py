"""The description of the protocol for programs: an OpenAPI document of what the server answers, field by field.

It is written by hand, close to ``worker/fields.py`` and ``worker/wishes.py``, which read the fields; tests compare the
two, so that it says what is true. Source of the form: the OpenAPI Specification 3.1.
"""

from __future__ import annotations

from typing import Any

from llmcli import __version__
from llmcli.worker import fields, tools

_Json = dict[str, Any]
_TEXT: _Json = {"type": "string"}
_SWITCH: _Json = {"type": "boolean"}


def _number(low: float, high: float, *, above: bool = False) -> _Json:
    return {"type": "number", "exclusiveMinimum" if above else "minimum": low, "maximum": high}


def _whole(low: int, high: int) -> _Json:
    return {"type": "integer", "minimum": low, "maximum": high}


def _texts(most: int) -> _Json:
    return {"oneOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": most}]}


_MODEL: _Json = {"model": {**_TEXT, "description": "A name of GET /v1/models; the default model without it."}}
_MESSAGES: _Json = {
    "messages": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role"],
            "properties": {
                "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
                "content": {"oneOf": [_TEXT, {"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
                "tool_calls": {"type": "array", "items": {"type": "object"}},
                "tool_call_id": _TEXT,
            },
        },
    }
}
_TOOLS: _Json = {
    "tools": {"type": "array", "items": {"type": "object"}, "maxItems": tools.MOST_TOOLS},
    "tool_choice": {"oneOf": [{"enum": ["none", "auto", "required"]}, {"type": "object"}]},
    "parallel_tool_calls": _SWITCH,
}
_GENERATION: _Json = {
    "max_tokens": _whole(1, fields.LONGEST),
    "max_completion_tokens": _whole(1, fields.LONGEST),
    "n": _whole(1, fields.MOST_ANSWERS),
    "stop": _texts(fields.MOST_STOPS),
    "stream": _SWITCH,
    "stream_options": {"type": "object", "properties": {"include_usage": _SWITCH}},
    "temperature": _number(0, 2),
    "top_p": _number(0, 1, above=True),
    "top_k": _whole(1, fields.LONGEST),
    "min_p": _number(0, 1),
    "repeat_penalty": _number(0, 10, above=True),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "seed": _whole(0, 2**32 - 1),
    "response_format": {"type": "object", "properties": {"type": {"enum": ["text", "json_object", "json_schema"]}}},
    "ignore_eos": _SWITCH,
}
_CHAT: _Json = {
    **_MODEL,
    **_MESSAGES,
    **_GENERATION,
    **_TOOLS,
    "logprobs": _SWITCH,
    "top_logprobs": _whole(0, fields.MOST_ALTERNATIVES),
    "reasoning_effort": {"enum": ["none", "minimal", "low", "medium", "high", "xhigh"]},
    "chat_template_kwargs": {
        "type": "object",
        "properties": {"enable_thinking": _SWITCH},
        "additionalProperties": False,
    },
}
_COMPLETION: _Json = {
    **_MODEL,
    **_GENERATION,
    "prompt": _texts(fields.MOST_PROMPTS),
    "logprobs": _whole(0, fields.MOST_ALTERNATIVES),
    "echo": {"const": False},
    "best_of": _whole(1, fields.MOST_ANSWERS),
}
_TOKENS: _Json = {"type": "array", "items": {"type": "integer"}}
_EMBEDDINGS: _Json = {
    **_MODEL,
    "input": {"oneOf": [_TEXT, _TOKENS, {"type": "array", "items": {"oneOf": [_TEXT, _TOKENS]}}]},
    "encoding_format": {"enum": ["float", "base64"]},
    "dimensions": {"type": "integer", "minimum": 1},
}
_SCORE: _Json = {**_MODEL, **_MESSAGES, "candidates": _texts(fields.MOST_CANDIDATES)}
_COUNT: _Json = {**_MODEL, **_MESSAGES, **_TOOLS, "prompt": _TEXT}

POSTS: dict[str, tuple[str, _Json, list[str]]] = {
    "/v1/chat/completions": ("Answer a conversation; with stream as server-sent events.", _CHAT, ["messages"]),
    "/v1/completions": ("Continue texts as they stand, without a chat template.", _COMPLETION, ["prompt"]),
    "/v1/embeddings": ("Return a vector of length 1 for each text.", _EMBEDDINGS, ["input"]),
    "/v1/score": ("Return the log-probability of each candidate as the next turn.", _SCORE, ["messages", "candidates"]),
    "/v1/count": ("Return how many tokens a conversation is, or a prompt.", _COUNT, []),
}
"""Paths that take a body: what they do, their fields, and those that have to be there."""
_GETS = {
    "/health": "Say that the server runs; needs no token.",
    "/openapi.json": "Return this document.",
    "/v1/models": "List the models on this machine.",
    "/v1/models/{name}": "Return one of them.",
}
_ERRORS = {
    "400": "A field is wrong; param names it.",
    "401": "The token is missing or wrong.",
    "403": "Another host name or origin than those that are let in.",
    "404": "There is no such model here.",
    "413": "The body is too large.",
    "429": "Too many requests are running; Retry-After says when to ask again.",
    "503": "The server is ending, or no worker can be had now.",
}


def document() -> _Json:
    """Return the document."""
    paths: _Json = {path: {"get": _operation(says)} for path, says in _GETS.items()}
    paths["/v1/models/{name}"]["get"]["parameters"] = [
        {"name": "name", "in": "path", "required": True, "schema": _TEXT}
    ]
    paths["/health"]["get"]["security"] = []
    for path, (says, properties, required) in POSTS.items():
        schema = {"type": "object", "properties": properties, "required": required}
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths[path] = {"post": {**_operation(says), "requestBody": body}}
    error = {"type": "object", "properties": {"message": _TEXT, "type": _TEXT, "param": _TEXT, "code": _TEXT}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "llm serve", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": {"type": "object", "properties": {"error": error}}},
        },
        "security": [{"token": []}],
    }


def _operation(says: str) -> _Json:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: _Json = {status: {"description": words, "content": problem} for status, words in _ERRORS.items()}
    return {"summary": says, "responses": {"200": {"description": "The answer."}, **responses}}
