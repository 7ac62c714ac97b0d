"""Errors of the server itself, in the format of the protocol that a client speaks."""

from __future__ import annotations

import json

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from llmcli.anthropic_api.anthropic_error_body import MESSAGES_PATH, dump_error_event, speaks_anthropic
from llmcli.anthropic_api.anthropic_http_errors import to_anthropic_error
from llmcli.errors import LlmError
from llmcli.openai_api.error_body import dump_exception
from llmcli.openai_api.event_builder import encode_named_event

RESPONSES_PATH = "/v1/responses"
_LINES_PER_EVENT = 3


def adapt_error(response: Response, scope: Scope) -> Response:
    """Return an error response in OpenAI's format in that of the client."""
    return to_anthropic_error(response) if speaks_anthropic(scope["path"], Headers(scope=scope)) else response


def encode_stream_error(path: str, cause: LlmError, num_lines: int) -> bytes:
    """Return what a stream of ``path`` ends with when its worker ended; ``num_lines`` of it have been sent.

    The stream then lacks its last event and a finish reason too.
    """
    if path == MESSAGES_PATH:
        return encode_named_event(dump_error_event(cause))
    body = dump_exception(cause)[1]
    if path != RESPONSES_PATH:
        return b"data: " + json.dumps(body).encode() + b"\n\n"
    error = {"type": "error", "code": "server_error", "message": body["error"]["message"], "param": None}
    return encode_named_event({**error, "sequence_number": num_lines // _LINES_PER_EVENT})
