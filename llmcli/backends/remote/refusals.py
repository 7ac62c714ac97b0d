"""What the answers of a server mean that are no success, and what they say is wrong with a request."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from llmcli.backends.remote.keys import Key
from llmcli.backends.remote.limiter import Busy
from llmcli.errors import (
    ContextOverflow,
    KeyRefused,
    LlmError,
    MissingError,
    Refused,
    RemoteError,
    TryAgain,
    UnavailableError,
    Untrusted,
)
from llmcli.servers import Server

_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,3})?")
_LONGEST = 300
_TOO_LONG = re.compile(r"context[ _](?:length|window|size)|too long|maximum.{0,30}tokens", re.IGNORECASE)
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_UNKNOWN_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)


class BadRequest(Refused):
    """A request that the server does not take as it is; ``param`` is the field that it names, "" where it names none."""

    def __init__(self, subject: str, *, param: str = "", detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.param = param


def problem(body: bytes) -> tuple[str, str, str]:
    """Return message, code and field of an error in OpenAI's shape, or in one of the others that there are."""
    try:
        loaded: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", "", ""
    if isinstance(loaded, list):  # Google's
        loaded = loaded[0] if loaded else {}
    return fields_of(loaded)


def fields_of(loaded: Any) -> tuple[str, str, str]:
    """Return message, code and field of an error that was read."""
    given = loaded.get("error", loaded) if isinstance(loaded, Mapping) else {}
    if isinstance(given, str):
        return given, "", ""
    if not isinstance(given, Mapping):
        return "", "", ""
    message = given.get("message") or given.get("detail") or given.get("error") or ""
    if not isinstance(message, str):
        message = json.dumps(message, ensure_ascii=False)  # FastAPI's list of what is wrong
    code = given.get("code") or given.get("type") or ""
    return message, str(code), str(given.get("param") or "")


def refusal(server: Server, key: Key, model: str, status: int, *, headers: Mapping[str, str], body: bytes) -> LlmError:  # noqa: PLR0911 (a table)
    """Return the error for a status that is none of success; ``headers`` with lower-case names."""
    message, code, param = problem(body)
    said = short(key.hidden_in(message)) or f"HTTP status {status}"
    label = server.label
    if status < 300:  # noqa: PLR2004
        return RemoteError(label, detail=f"no answer came with HTTP status {status}")
    if 300 <= status < 400:  # noqa: PLR2004
        where = short(key.hidden_in(headers.get("location", "elsewhere")))
        return Untrusted(label, detail=f"it redirects to {where}, and nothing is sent on to there")
    if status in (401, 403):
        return KeyRefused(label, key=key.origin, detail=said)
    if status == 404:  # noqa: PLR2004
        if message and model and _UNKNOWN_MODEL.search(message):
            return MissingError(model, kind="remote model", detail=said)
        return Refused(label, detail=f"{said} at {server.base_url}; does base_url end where it should?")
    if status == 429 and code in _SPENT:  # noqa: PLR2004
        return UnavailableError(label, detail=said)
    if status in (429, 503, 529):
        return Busy(label, retry_after=_retry_after(headers), detail=said)
    if status in (408, 409, 425) or status >= 500:  # noqa: PLR2004
        return TryAgain(label, retry_after=_retry_after(headers), detail=said)
    if status == 413 or code == "context_length_exceeded" or _TOO_LONG.search(message):  # noqa: PLR2004
        return ContextOverflow(label, detail=said)
    return BadRequest(label, param=param, detail=said)


def in_stream(server: Server, key: Key, error: Any) -> LlmError:
    """Return the error that a server put into a stream."""
    message, code, _ = fields_of({"error": error})
    said = short(key.hidden_in(message)) or "it broke off"
    if code == "context_length_exceeded" or _TOO_LONG.search(message):
        return ContextOverflow(server.label, detail=said)
    return Refused(server.label, detail=said) if "invalid" in code else TryAgain(server.label, detail=said)


def not_json(error: Exception) -> str:
    """Return why something is no JSON, without the line that it would be confused with one of ours."""
    return f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else short(str(error))


def short(text: str) -> str:
    """Return the words of a server on one line, cut where they go on for ever."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."


def named_field(refused: BadRequest, sent: Collection[str]) -> str | None:
    """Return which of the fields that were sent the server does not take, as far as it says so."""
    first = re.split(r"[.\[]", refused.param)[0]
    if first in sent:
        return first
    found = [name for name in sent if re.search(rf"\b{re.escape(name)}\b", refused.detail)]
    return max(found, key=len, default=None)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait: Retry-After (RFC 9110, section 10.2.3), in seconds or a date."""
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
