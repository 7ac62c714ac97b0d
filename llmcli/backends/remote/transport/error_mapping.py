"""Our errors, and the field that a server complains about, from the server's error responses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import (
    ContextOverflow,
    LlmError,
    MissingError,
    RemoteError,
    RequestRejected,
    TemporaryFailure,
    Unauthorized,
    UnavailableError,
    UntrustedServer,
)
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.errors.network_errors import BadRequest, RateLimited
from llmcli.network.retry_policy import parse_retry_after
from llmcli.network.statuses import is_denied_status, is_missing_status, is_temporary_status

_CONTEXT_OVERFLOW = re.compile(r"context[ _](?:length|window|size|limit)|too long|maximum.{0,30}tokens", re.IGNORECASE)
_MODEL = re.compile(r"\bmodels?\b", re.IGNORECASE)
_UNKNOWN_MODEL = re.compile(
    r"\bmodels?\b\W{0,3}\S{0,200} (?:is |was |does |do )?not (?:exist|found)\b"
    r"|\bmodel not (?:exist|found)\b"
    r"|\b(?:invalid|unknown|no such|not a valid) model(?: names?| ids?)?(?=[.!]?$|:| ['\"`]| passed in)",
    re.IGNORECASE,
)
"""How servers say with the status 400 what others say with 404: OpenAI's words, DeepSeek's, LiteLLM's and
OpenRouter's."""
_WRONG_ENDPOINT = re.compile(r"\bnot supported (?:in|by|with) the \S*/", re.IGNORECASE)
"""How OpenAI says, with the status 404, that a model answers at another path only."""
_UNKNOWN_MODEL_CODES = frozenset({"model_not_found", "invalid_model"})
_REFUSAL_CODE = re.compile(r"content_filter|invalid_prompt|policy(?:_violation)?$")
"""Codes of requests that a filter refuses because of what they say."""
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_error"})
_KEY_CODES = frozenset(
    {"authentication_error", "permission_error", "API_KEY_INVALID", "UNAUTHENTICATED", "PERMISSION_DENIED"}
)
_BUSY_CODES = frozenset(
    {"overloaded_error", "rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
)
"""Codes in a stream of what has the status 429, 503 or 529 otherwise."""


class ErrorFields(NamedTuple):
    """What a server says in the body of an error: its words, a code, the field, and the seconds to wait."""

    message: str = ""
    code: str = ""
    param: str = ""
    retry_after: float | None = None


ErrorParser = Callable[[Any], ErrorFields]
"""From the parsed body of an error to what it says."""


def parse_error_fields(loaded: Any) -> ErrorFields:
    """Return what an error in OpenAI's format, or in another common one, says."""
    given = loaded.get("error", loaded) if isinstance(loaded, Mapping) else {}
    if isinstance(given, str):
        return ErrorFields(given)
    if not isinstance(given, Mapping):
        return ErrorFields()
    message = given.get("message") or given.get("detail") or given.get("error") or ""
    if not isinstance(message, str):
        message = json.dumps(message, ensure_ascii=False)  # FastAPI's list of errors
    code = given.get("code") or given.get("type") or ""
    return ErrorFields(message, str(code), str(given.get("param") or ""))


def _load_error_body(body: bytes) -> Any:
    try:
        loaded = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(loaded, list):  # Google's
        return loaded[0] if loaded else None
    return loaded


def map_error_status(  # noqa: PLR0911 (one for each status)
    server: ServerConfig,
    key: ApiKey,
    model: str,
    status: int,
    *,
    headers: Mapping[str, str],
    body: bytes,
    parse: ErrorParser,
) -> LlmError:
    """Return the error for a status other than success; ``headers`` with lower-case names."""
    message, code, param, pause = parse(_load_error_body(body))
    told = parse_retry_after(headers)
    retry_after = pause if told is None else told
    said = shorten_message(key.redact(message)) or f"HTTP status {status}"
    label = server.label
    if status < 300:  # noqa: PLR2004 (success)
        return RemoteError(label, detail=f"it sent HTTP status {status} instead of an answer")
    if 300 <= status < 400:  # noqa: PLR2004 (redirections)
        where = shorten_message(key.redact(headers.get("location", "elsewhere")))
        return UntrustedServer(label, detail=f"it redirects to {where}; llm does not follow redirects")
    means_no_credit = status == 402  # noqa: PLR2004 (Payment Required; the code is often one of a bad request)
    by_code = _map_code(server, key, "billing_error" if means_no_credit else code, said)
    if by_code is not None:
        return by_code
    if is_denied_status(status):
        return Unauthorized(label, key=key.origin, detail=said, backend=server.name)
    if model and _is_unknown_model(status, code, message):
        return MissingError(model, kind="remote model", detail=said)
    if is_missing_status(status) or status == 501:  # noqa: PLR2004 (llama-server and llm serve without what it needs)
        hint = f" at {server.base_url}; check the path of base_url" if is_missing_status(status) else ""
        return RequestRejected(label, detail=said + hint)
    if status in (429, 503, 529):
        return RateLimited(label, retry_after=retry_after, detail=said)
    if is_temporary_status(status):
        return TemporaryFailure(label, retry_after=retry_after, detail=said)
    if status == 413 or code == "context_length_exceeded" or _CONTEXT_OVERFLOW.search(message):  # noqa: PLR2004 (Content Too Large)
        return ContextOverflow(label, detail=said)
    return BadRequest(label, param=param, detail=said)


def _is_unknown_model(status: int, code: str, message: str) -> bool:
    """Whether an error says that the server does not have the model."""
    if status == 404:  # noqa: PLR2004 (Not Found)
        return _MODEL.search(message) is not None and not _WRONG_ENDPOINT.search(message)
    return status in (400, 422) and (code in _UNKNOWN_MODEL_CODES or _UNKNOWN_MODEL.search(message) is not None)


def _map_code(server: ServerConfig, key: ApiKey, code: str, said: str) -> LlmError | None:
    """Return the error for a code that means the same with any status, and in a stream."""
    if _REFUSAL_CODE.search(code):
        return AnswerRefused(server.label, detail=said)
    if code in _KEY_CODES:
        return Unauthorized(server.label, key=key.origin, detail=said, backend=server.name)
    if code in _QUOTA_CODES:
        return UnavailableError(server.label, detail=said)
    return None


def map_stream_error(server: ServerConfig, key: ApiKey, error: ErrorFields) -> LlmError:
    """Return the error that a server put into a stream."""
    said, label = shorten_message(key.redact(error.message)) or error.code or "its answer broke off", server.label
    by_code = _map_code(server, key, error.code, said)
    if by_code is not None:
        return by_code
    if error.code in _BUSY_CODES:
        return RateLimited(label, retry_after=error.retry_after, detail=said)
    if error.code == "context_length_exceeded" or _CONTEXT_OVERFLOW.search(error.message):
        return ContextOverflow(label, detail=said)
    if "invalid" in error.code.lower():
        return RequestRejected(label, detail=said)
    return TemporaryFailure(label, detail=said)


_MAX_MESSAGE_CHARS = 300


def describe_json_error(error: Exception) -> str:
    """Return why a text is not JSON, without its line number, which could be mistaken for one of the user's file."""
    return (
        f"{error.msg} at character {error.pos}"
        if isinstance(error, json.JSONDecodeError)
        else shorten_message(str(error))
    )


def shorten_message(text: str) -> str:
    """Return a server's message on one line, shortened if need be."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE_CHARS else line[:_MAX_MESSAGE_CHARS] + "..."
