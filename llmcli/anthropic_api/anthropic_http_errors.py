"""Errors in the format of Anthropic's protocol: a status and a JSON object.

Source: the Claude API reference, "Errors".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from llmcli.openai_api.http_errors import dump_exception

MESSAGES_PATH = "/v1/messages"
_VERSION_HEADER = "anthropic-version"
"""The header with which Anthropic's clients name the version of their protocol; every version is accepted."""
_OVERLOADED_STATUS = 529
_TYPE_BY_STATUS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    _OVERLOADED_STATUS: "overloaded_error",
}
_UNAVAILABLE_STATUS = 503
_INTERNAL_ERROR_STATUS = 500


def speaks_anthropic(path: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request is one of Anthropic's protocol, by its path or by the header of its clients."""
    return path == MESSAGES_PATH or path.startswith(f"{MESSAGES_PATH}/") or _VERSION_HEADER in headers


def _convert_error(status: int, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the status and the body for an error in OpenAI's format; its message names the field that is wrong."""
    status = _OVERLOADED_STATUS if status == _UNAVAILABLE_STATUS else status
    kind = _TYPE_BY_STATUS.get(status)
    if kind is None:
        kind = "invalid_request_error" if status < _INTERNAL_ERROR_STATUS else "api_error"
    return status, {"type": "error", "error": {"type": kind, "message": body["error"]["message"]}}


def dump_error_event(problem: Exception) -> dict[str, Any]:
    """Return the event that ends a stream because of an error."""
    return _convert_error(*dump_exception(problem))[1]


_FIRST_ERROR_STATUS = 400


def to_anthropic_error(response: Response) -> Response:
    """Return an error response in OpenAI's format in Anthropic's, with its other headers; another response as it is."""
    if response.status_code < _FIRST_ERROR_STATUS or not isinstance(response, JSONResponse):
        return response
    status, body = _convert_error(response.status_code, json.loads(bytes(response.body)))
    own_headers = {"content-length", "content-type"}
    kept = {name: value for name, value in response.headers.items() if name not in own_headers}
    return JSONResponse(body, status, kept)


def adapt_error(response: Response, scope: Scope) -> Response:
    """Return an error response in OpenAI's format in that of the client."""
    return to_anthropic_error(response) if speaks_anthropic(scope["path"], Headers(scope=scope)) else response
