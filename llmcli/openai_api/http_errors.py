"""Error responses in the format of OpenAI's protocol (see ``error_body``)."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

from llmcli.openai_api.error_body import dump_error, dump_exception


def error_response(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error in OpenAI's format."""
    return JSONResponse(dump_error(status, message, param=param, code=code), status, headers)


def exception_response(problem: Exception, prompt: str = "messages") -> JSONResponse:
    """Return the response for an exception; ``prompt`` as in ``dump_exception``."""
    status, body = dump_exception(problem, prompt)
    return JSONResponse(body, status)
