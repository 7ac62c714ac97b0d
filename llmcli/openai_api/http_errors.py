"""Errors in the format of OpenAI's protocol, the same for all endpoints: a status and a JSON object."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from starlette.responses import JSONResponse

from llmcli.errors import (
    BadModelFile,
    ContextOverflow,
    InputError,
    LlmError,
    MissingError,
    ModelNotDownloaded,
    OutOfMemory,
    ProcessStopped,
    RequestRejected,
    TemporaryFailure,
    Unsupported,
    UsageError,
)
from llmcli.errors.network_errors import BadRequest

_STATUS_BY_ERROR = (
    (ContextOverflow, 400), (UsageError, 400), (BadModelFile, 400), (InputError, 400), (MissingError, 404),
    (ModelNotDownloaded, 404), (RequestRejected, 400), (Unsupported, 501), (TemporaryFailure, 503), (ProcessStopped, 503), (OutOfMemory, 507),
)  # fmt: skip
_INTERNAL_ERROR_STATUS = 500
_FIELD_BY_SUBJECT = {"schema": "response_format", "grammar": "response_format", "input": "input"}
"""The request field for each subject that the engine reports as bad."""
_PATH_STARTS = ("/", "./", "../", "~")


def dump_error(status: int, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Return the body of an error response."""
    kind = "invalid_request_error" if status < _INTERNAL_ERROR_STATUS else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def dump_exception(problem: Exception, prompt: str = "messages") -> tuple[int, dict[str, Any]]:
    """Return the status and the body for an ``LlmError``; for another exception only its class is named.

    ``prompt`` is the field to blame when the prompt is too long. A file has its name only: clients do not see the paths
    of this machine.
    """
    status = next((status for kind, status in _STATUS_BY_ERROR if isinstance(problem, kind)), _INTERNAL_ERROR_STATUS)
    subject, detail = getattr(problem, "subject", ""), getattr(problem, "detail", "")
    if subject.startswith(_PATH_STARTS):
        path, subject = subject, PurePath(subject).name
        detail = detail.replace(path, subject)
    if isinstance(problem, ContextOverflow):
        message = f"the prompt has {problem.tokens} tokens, the context {problem.context}"
        message = message if problem.tokens else f"{subject}: {detail}"  # a server's words
        return status, dump_error(status, message, param=prompt, code="context_length_exceeded")
    if isinstance(problem, MissingError | ModelNotDownloaded):
        words = f"there is no model {subject!r} here"
        if isinstance(problem, ModelNotDownloaded):
            words += f"; to download it on its machine: llm models pull {shlex.quote(subject)}"
        return status, dump_error(status, words, param="model", code="model_not_found")
    param = _FIELD_BY_SUBJECT.get(subject) if isinstance(problem, InputError) else None
    if isinstance(problem, BadRequest):
        param = problem.param or None
    name = problem.type_name if isinstance(problem, LlmError) else type(problem).__name__
    words = ": ".join(text for text in (subject, detail) if text) or name
    return status, dump_error(status, words, param=param)


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


def exception_response(problem: Exception, prompt: str) -> JSONResponse:
    """Return the response for an exception; ``prompt`` as in ``dump_exception``."""
    status, body = dump_exception(problem, prompt)
    return JSONResponse(body, status)
