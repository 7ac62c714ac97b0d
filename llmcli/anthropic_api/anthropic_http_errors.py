"""Error responses in the format of Anthropic's protocol (see ``anthropic_error_body``)."""

from __future__ import annotations

import json

from starlette.responses import JSONResponse, Response

from llmcli.anthropic_api.anthropic_error_body import convert_error

_FIRST_ERROR_STATUS = 400


def to_anthropic_error(response: Response) -> Response:
    """Return an error response in OpenAI's format in Anthropic's, with its other headers; another response as it is."""
    if response.status_code < _FIRST_ERROR_STATUS or not isinstance(response, JSONResponse):
        return response
    status, body = convert_error(response.status_code, json.loads(bytes(response.body)))
    own_headers = {"content-length", "content-type"}
    kept = {name: value for name, value in response.headers.items() if name not in own_headers}
    return JSONResponse(body, status, kept)
