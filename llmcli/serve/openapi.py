"""The OpenAPI document that describes the server's protocol, field by field.

It is written by hand, close to the modules of ``openai_api/`` and ``anthropic_api/`` that read the fields; tests
compare the two. Source of the format: the OpenAPI Specification 3.1.
"""

from __future__ import annotations

from typing import Any

from llmcli import __version__
from llmcli.anthropic_api.anthropic_http_errors import MESSAGES_PATH, speaks_anthropic
from llmcli.openai_api import fields, responses_request, scoring, tool_calls
from llmcli.openai_api.batches import BATCH_URLS

_JsonObject = dict[str, Any]
_STRING: _JsonObject = {"type": "string"}
_BOOLEAN: _JsonObject = {"type": "boolean"}


def _number(low: float, high: float, *, above: bool = False) -> _JsonObject:
    return {"type": "number", "exclusiveMinimum" if above else "minimum": low, "maximum": high}


def _integer(low: int, high: int) -> _JsonObject:
    return {"type": "integer", "minimum": low, "maximum": high}


def _strings(most: int) -> _JsonObject:
    return {"oneOf": [_STRING, {"type": "array", "items": _STRING, "maxItems": most}]}


_MODEL: _JsonObject = {"model": {**_STRING, "description": "A name from GET /v1/models (default: the default model)."}}
_MESSAGES: _JsonObject = {
    "messages": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role"],
            "properties": {
                "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
                "content": {"oneOf": [_STRING, {"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
                "tool_calls": {"type": "array", "items": {"type": "object"}},
                "tool_call_id": _STRING,
            },
        },
    }
}
_TOOLS: _JsonObject = {
    "tools": {"type": "array", "items": {"type": "object"}, "maxItems": tool_calls.MAX_TOOLS},
    "tool_choice": {"oneOf": [{"enum": ["none", "auto", "required"]}, {"type": "object"}]},
    "parallel_tool_calls": _BOOLEAN,
}
_SAMPLING: _JsonObject = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1, above=True),
    "top_k": _integer(1, fields.MAX_INT32),
    "min_p": _number(0, 1),
    "repeat_penalty": _number(0, 10, above=True),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "seed": _integer(0, 2**32 - 1),
}
_GENERATION: _JsonObject = {
    **_SAMPLING,
    "max_tokens": _integer(1, fields.MAX_INT32),
    "max_completion_tokens": _integer(1, fields.MAX_INT32),
    "n": _integer(1, fields.MAX_CHOICES),
    "stop": _strings(fields.MAX_STOP_STRINGS),
    "stream": _BOOLEAN,
    "stream_options": {"type": "object", "properties": {"include_usage": _BOOLEAN}},
    "response_format": {"type": "object", "properties": {"type": {"enum": ["text", "json_object", "json_schema"]}}},
    "ignore_eos": _BOOLEAN,
}
_EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh"]
_CHAT: _JsonObject = {
    **_MODEL,
    **_MESSAGES,
    **_GENERATION,
    **_TOOLS,
    "logprobs": _BOOLEAN,
    "top_logprobs": _integer(0, fields.MAX_TOP_LOGPROBS),
    "reasoning_effort": {"enum": _EFFORTS},
    "chat_template_kwargs": {
        "type": "object",
        "properties": {"enable_thinking": _BOOLEAN},
        "additionalProperties": False,
    },
}
_COMPLETION: _JsonObject = {
    **_MODEL,
    **_GENERATION,
    "prompt": _strings(fields.MAX_PROMPTS),
    "logprobs": _integer(0, fields.MAX_TOP_LOGPROBS),
    "echo": {"const": False},
    "best_of": _integer(1, fields.MAX_CHOICES),
}
_RESPONSE_PROMPT: _JsonObject = {
    **_MODEL,
    **_TOOLS,
    "input": {"oneOf": [_STRING, {"type": "array", "items": {"type": "object"}, "minItems": 1}]},
    "instructions": _STRING,
    "text": {"type": "object", "properties": {"format": {"type": "object"}, "verbosity": {"const": "medium"}}},
    "reasoning": {"type": "object", "properties": {"effort": {"enum": _EFFORTS}, "summary": {"const": "auto"}}},
    "truncation": {"const": "disabled"},
    "previous_response_id": {"type": "null"},
    "conversation": {"type": "null"},
}
_RESPONSES: _JsonObject = {
    **_RESPONSE_PROMPT,
    **_SAMPLING,
    "max_output_tokens": _integer(1, fields.MAX_INT32),
    "stream": _BOOLEAN,
    "stream_options": {"type": "object", "properties": {"include_obfuscation": {"const": False}}},
    "include": _strings(responses_request.MAX_INCLUDED),
    "top_logprobs": _integer(0, fields.MAX_TOP_LOGPROBS),
    "background": {"const": False},
    "metadata": {"type": "object"},
    "ignore_eos": _BOOLEAN,
}
_BLOCKS: _JsonObject = {"oneOf": [_STRING, {"type": "array", "items": {"type": "object"}}]}
_MESSAGE_PROMPT: _JsonObject = {
    **_MODEL,
    "messages": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {"role": {"enum": ["user", "assistant", "system"]}, "content": _BLOCKS},
        },
    },
    "system": _BLOCKS,
    "tools": {"type": "array", "items": {"type": "object"}, "maxItems": tool_calls.MAX_TOOLS},
    "tool_choice": {"type": "object", "properties": {"type": {"enum": ["auto", "any", "tool", "none"]}}},
    "thinking": {"type": "object", "properties": {"type": {"enum": ["enabled", "adaptive", "disabled"]}}},
    "output_config": {"type": "object", "properties": {"format": {"type": "object"}}},
    "cache_control": {"type": "object"},
}
_MESSAGE: _JsonObject = {
    **_MESSAGE_PROMPT,
    **_SAMPLING,
    "max_tokens": _integer(1, fields.MAX_INT32),
    "stop_sequences": {"type": "array", "items": _STRING, "maxItems": fields.MAX_STOP_STRINGS},
    "stream": _BOOLEAN,
    "metadata": {"type": "object", "properties": {"user_id": _STRING}},
    "service_tier": {"enum": ["auto", "standard_only"]},
    "ignore_eos": _BOOLEAN,
}
_TOKENS: _JsonObject = {"type": "array", "items": {"type": "integer"}}
_EMBEDDINGS: _JsonObject = {
    **_MODEL,
    "input": {"oneOf": [_STRING, _TOKENS, {"type": "array", "items": {"oneOf": [_STRING, _TOKENS]}}]},
    "encoding_format": {"enum": ["float", "base64"]},
    "dimensions": {"type": "integer", "minimum": 1},
    "pooling": {"enum": ["mean", "last"]},
}
_LABELS: _JsonObject = {
    scoring.LABELS_FIELD: {**_BOOLEAN, "description": "Use the weights that label on this machine (default: false)."}
}
_SCORE: _JsonObject = {
    **_MODEL,
    **_MESSAGES,
    **_LABELS,
    "candidates": _strings(fields.MAX_CANDIDATES),
    "hidden_states": _BOOLEAN,
    "state_layers": {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": scoring.MAX_STATE_LAYERS},
}
_COUNT: _JsonObject = {**_MODEL, **_MESSAGES, **_TOOLS, **_LABELS, "prompt": _STRING}
_INFO: _JsonObject = {**_MODEL, **_LABELS}

POST_PATHS: dict[str, tuple[str, _JsonObject, list[str]]] = {
    "/v1/chat/completions": ("Answer a conversation, as server-sent events if stream is true.", _CHAT, ["messages"]),
    "/v1/completions": ("Continue texts without a chat template.", _COMPLETION, ["prompt"]),
    "/v1/responses": ("Answer a conversation over OpenAI's Responses API; nothing is stored.", _RESPONSES, ["input"]),
    "/v1/responses/input_tokens": ("Count the tokens of a response's input.", _RESPONSE_PROMPT, ["input"]),
    MESSAGES_PATH: ("Answer a conversation over Anthropic's Messages API.", _MESSAGE, ["max_tokens", "messages"]),
    f"{MESSAGES_PATH}/count_tokens": ("Count the tokens of a conversation.", _MESSAGE_PROMPT, ["messages"]),
    "/v1/embeddings": ("Return a vector of length 1 for each text.", _EMBEDDINGS, ["input"]),
    "/v1/score": (
        "Return each candidate's log-probability as the next turn, and hidden states; one of both is required.",
        _SCORE,
        ["messages"],
    ),
    "/v1/count": ("Count the tokens of a conversation or a prompt.", _COUNT, []),
    "/v1/info": ("Return the context, the layers and the weights of a model, which is loaded.", _INFO, []),
}
"""Paths that take a body: what they do, their fields, and the required fields."""
_GET_PATHS = {
    "/health": "Check that the server runs; needs no token.",
    "/openapi.json": "Return this document.",
    "/v1/models": "List the models on this machine.",
    "/v1/models/{name}": "Return one model.",
}
_BATCH_BODY: _JsonObject = {
    "type": "object",
    "properties": {
        "input_file_id": _STRING,
        "endpoint": {"enum": list(BATCH_URLS)},
        "completion_window": {"const": "24h"},
        "metadata": {"type": "object", "additionalProperties": _STRING},
    },
    "required": ["input_file_id", "endpoint", "completion_window"],
}
_UPLOAD_BODY: _JsonObject = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"const": "batch"}},
    "required": ["file", "purpose"],
}
_BATCH_OPERATIONS: dict[str, dict[str, tuple[str, _JsonObject | None]]] = {
    "/v1/files": {
        "get": ("List the files, the newest first.", None),
        "post": ("Store a file of requests for 24 hours.", {"multipart/form-data": {"schema": _UPLOAD_BODY}}),
    },
    "/v1/files/{id}": {"get": ("Return a file.", None), "delete": ("Delete a file.", None)},
    "/v1/files/{id}/content": {"get": ("Return the content of a file.", None)},
    "/v1/batches": {
        "get": ("List the batches, the newest first.", None),
        "post": ("Answer the requests of a file.", {"application/json": {"schema": _BATCH_BODY}}),
    },
    "/v1/batches/{id}": {"get": ("Return a batch.", None)},
    "/v1/batches/{id}/cancel": {"post": ("End a batch when the requests that run are answered.", None)},
}
"""Paths of a server with batches: what each method does, and the body that it takes."""
_ERROR_DESCRIPTIONS = {
    "400": "A field is wrong; param names it.",
    "401": "The token is missing or wrong.",
    "403": "The host name or origin is not allowed.",
    "404": "This server has no such model.",
    "413": "The body is too large.",
    "429": "Too many requests are running; Retry-After says when to retry.",
    "503": "The server is shutting down, or no worker is available.",
}
_OVERLOADED = {"503": "529"}
"""The status that Anthropic's protocol has instead."""


def build_document(*, batches: bool = False) -> _JsonObject:
    """Return the document of a server, with ``batches`` or without."""
    paths: _JsonObject = {path: {"get": _build_operation(path, says)} for path, says in _GET_PATHS.items()}
    paths["/v1/models/{name}"]["get"]["parameters"] = [
        {"name": "name", "in": "path", "required": True, "schema": _STRING}
    ]
    paths["/health"]["get"]["security"] = []
    for path, (says, properties, required) in POST_PATHS.items():
        schema = {"type": "object", "properties": properties, "required": required}
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths[path] = {"post": {**_build_operation(path, says), "requestBody": body}}
    for path, operations in _BATCH_OPERATIONS.items() if batches else ():
        paths[path] = {method: _build_batch_operation(path, *told) for method, told in operations.items()}
    error = {"type": "object", "properties": {"message": _STRING, "type": _STRING, "param": _STRING, "code": _STRING}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "llm serve", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "schemas": {
                "Error": {"type": "object", "properties": {"error": error}},
                "AnthropicError": {
                    "type": "object",
                    "properties": {
                        "type": {"const": "error"},
                        "error": {"type": "object", "properties": {"type": _STRING, "message": _STRING}},
                    },
                },
            },
        },
        "security": [{"token": []}, {"api_key": []}],
    }


def _build_batch_operation(path: str, says: str, content: _JsonObject | None) -> _JsonObject:
    parameters = [{"name": "id", "in": "path", "required": True, "schema": _STRING}] if "{id}" in path else []
    body = {} if content is None else {"requestBody": {"required": True, "content": content}}
    return {**_build_operation(path, says), "parameters": parameters, **body}


def _build_operation(path: str, says: str) -> _JsonObject:
    anthropic = speaks_anthropic(path, {})
    name = "AnthropicError" if anthropic else "Error"
    problem = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    responses: _JsonObject = {
        (_OVERLOADED.get(status, status) if anthropic else status): {"description": words, "content": problem}
        for status, words in _ERROR_DESCRIPTIONS.items()
    }
    return {"summary": says, "responses": {"200": {"description": "The answer."}, **responses}}
