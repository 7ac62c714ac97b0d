"""What OpenAI's protocol says when something is wrong: one shape, whoever found it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from starlette.responses import JSONResponse

from llmcli.errors import (
    BadModelFile,
    ContextOverflow,
    InputError,
    MissingError,
    ModelNotHere,
    OutOfMemory,
    Stopped,
    TryAgain,
    Unsupported,
    UsageError,
)

_STATUS = (
    (ContextOverflow, 400), (UsageError, 400), (BadModelFile, 400), (InputError, 400), (MissingError, 404),
    (ModelNotHere, 404), (Unsupported, 501), (TryAgain, 503), (Stopped, 503), (OutOfMemory, 507),
)  # fmt: skip
_OURS = 500
_FIELDS = {"schema": "response_format", "grammar": "response_format", "input": "input"}
"""By what the engine finds bad, the field that it stands in."""


def error(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error in OpenAI's shape."""
    kind = "invalid_request_error" if status < _OURS else "server_error"
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": code}}, status, headers)


def failed(problem: Exception, prompt: str = "messages") -> JSONResponse:
    """Return the response for an error of ours; of another exception nothing but its class is told.

    ``prompt`` is the field that what was too long stands in.
    """
    status = next((status for kind, status in _STATUS if isinstance(problem, kind)), _OURS)
    subject, detail = getattr(problem, "subject", ""), getattr(problem, "detail", "")
    if isinstance(problem, ContextOverflow):
        message = f"the prompt has {problem.tokens} tokens, the context {problem.context}"
        return error(status, message, param=prompt, code="context_length_exceeded")
    if isinstance(problem, MissingError | ModelNotHere):
        words = f"there is no model {subject!r} here"
        if isinstance(problem, ModelNotHere):
            words += f"; on this machine, llm models pull {shlex.quote(subject)} fetches it"
        return error(status, words, param="model", code="model_not_found")
    param = _FIELDS.get(subject) if isinstance(problem, InputError) else None
    words = ": ".join(text for text in (subject, detail) if text) or type(problem).__name__
    return error(status, words, param=param)
