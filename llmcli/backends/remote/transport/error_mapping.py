"""From a server's error responses to our errors, and to the field that a server complains about."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from llmcli.backend_config import ServerConfig
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.concurrency_limiter import RateLimited
from llmcli.backends.remote.transport.server_message import shorten_message
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

_RETRY_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,3})?")
_CONTEXT_OVERFLOW = re.compile(r"context[ _](?:length|window|size)|too long|maximum.{0,30}tokens", re.IGNORECASE)
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_UNKNOWN_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)


class BadRequest(RequestRejected):
    """A request that the server refuses; ``param`` is the field that it names, "" if it names none."""

    def __init__(self, subject: str, *, param: str = "", detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.param = param


def parse_error_body(body: bytes) -> tuple[str, str, str]:
    """Return message, code and field of an error in OpenAI's format, or in another known one."""
    try:
        loaded: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", "", ""
    if isinstance(loaded, list):  # Google's
        loaded = loaded[0] if loaded else {}
    return parse_error_fields(loaded)


def parse_error_fields(loaded: Any) -> tuple[str, str, str]:
    """Return message, code and field of a parsed error."""
    given = loaded.get("error", loaded) if isinstance(loaded, Mapping) else {}
    if isinstance(given, str):
        return given, "", ""
    if not isinstance(given, Mapping):
        return "", "", ""
    message = given.get("message") or given.get("detail") or given.get("error") or ""
    if not isinstance(message, str):
        message = json.dumps(message, ensure_ascii=False)  # FastAPI's list of errors
    code = given.get("code") or given.get("type") or ""
    return message, str(code), str(given.get("param") or "")


def map_error_status(  # noqa: PLR0911 (one for each status)
    server: ServerConfig, key: ApiKey, model: str, status: int, *, headers: Mapping[str, str], body: bytes
) -> LlmError:
    """Return the error for a status other than success; ``headers`` with lower-case names."""
    message, code, param = parse_error_body(body)
    said = shorten_message(key.redact(message)) or f"HTTP status {status}"
    label = server.label
    if status < 300:  # noqa: PLR2004
        return RemoteError(label, detail=f"it sent HTTP status {status} instead of an answer")
    if 300 <= status < 400:  # noqa: PLR2004
        where = shorten_message(key.redact(headers.get("location", "elsewhere")))
        return UntrustedServer(label, detail=f"it redirects to {where}; llm does not follow redirects")
    if status in (401, 403):
        return Unauthorized(label, key=key.origin, detail=said)
    if status == 404:  # noqa: PLR2004
        if message and model and _UNKNOWN_MODEL.search(message):
            return MissingError(model, kind="remote model", detail=said)
        return RequestRejected(label, detail=f"{said} at {server.base_url}; check the path of base_url")
    if status == 429 and code in _QUOTA_CODES:  # noqa: PLR2004
        return UnavailableError(label, detail=said)
    if status in (429, 503, 529):
        return RateLimited(label, retry_after=_parse_retry_after(headers), detail=said)
    if status in (408, 409, 425) or status >= 500:  # noqa: PLR2004
        return TemporaryFailure(label, retry_after=_parse_retry_after(headers), detail=said)
    if status == 413 or code == "context_length_exceeded" or _CONTEXT_OVERFLOW.search(message):  # noqa: PLR2004
        return ContextOverflow(label, detail=said)
    return BadRequest(label, param=param, detail=said)


def map_stream_error(server: ServerConfig, key: ApiKey, error: Any) -> LlmError:
    """Return the error that a server put into a stream."""
    message, code, _ = parse_error_fields({"error": error})
    said = shorten_message(key.redact(message)) or "its answer broke off"
    if code == "context_length_exceeded" or _CONTEXT_OVERFLOW.search(message):
        return ContextOverflow(server.label, detail=said)
    return (
        RequestRejected(server.label, detail=said) if "invalid" in code else TemporaryFailure(server.label, detail=said)
    )


def find_named_field(refused: BadRequest, sent: Collection[str]) -> str | None:
    """Return the sent field that the server reports as not accepted, None if it names none."""
    first = re.split(r"[.\[]", refused.param)[0]
    if first in sent:
        return first
    found = [name for name in sent if re.search(rf"\b{re.escape(name)}\b", refused.detail)]
    return max(found, key=len, default=None)


def _parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait: Retry-After (RFC 9110, section 10.2.3), in seconds or a date."""
    value = headers.get("retry-after", "").strip()
    if _RETRY_SECONDS.fullmatch(value):
        return float(value)
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
