"""A server's model, its program, and the length of the model's context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmcli.backends.remote.chat_client import ChatClient
from llmcli.backends.remote.transport.cancel import CancelToken
from llmcli.errors import LlmError, RequestRejected, TemporaryFailure, UsageError

OWNER_LLMCLI, OWNER_LLAMA_CPP, OWNER_OLLAMA = "llmcli", "llamacpp", "library"
"""The owner that these servers report for their models."""
_CONTEXT_FIELDS = (
    "max_model_len",
    "context_length",
    "context_window",
    "loaded_context_length",
    "max_context_length",
    "n_ctx",
)


@dataclass(frozen=True, slots=True)
class ServerModel:
    """What the server reports about the model: its name, its owner (which server it is), and the context in tokens."""

    name: str
    owner: str = ""
    context: int | None = None


def query_model(client: ChatClient, call: CancelToken, requested: str | None) -> ServerModel:
    """Ask the server for its models; return the one that is ``requested``, or the only one.

    Raises ``UsageError`` when it has several and none was named, and as ``HttpClient.open_response``.
    """
    try:
        listed = client.get_json(call, "/models").get("data")
    except TemporaryFailure:
        raise
    except LlmError:
        if requested is None:
            raise
        return ServerModel(requested)  # some servers have no such path, or refuse it to this key
    entries = {str(entry["id"]): entry for entry in listed or () if isinstance(entry, Mapping) and "id" in entry}
    name = requested or _require_single_model(list(entries), client.server.label)
    entry = entries.get(name, {})
    owner = str(entry.get("owned_by", ""))
    if owner == OWNER_LLAMA_CPP:
        return ServerModel(name, owner, _query_llama_server_context(client, call) or _parse_context(entry))
    return ServerModel(name, owner, _parse_context(entry))


def _require_single_model(names: list[str], label: str) -> str:
    if not names:
        raise RequestRejected(label, detail="it lists no models")
    if len(names) > 1:
        raise UsageError(f"{label} has several models", detail=f"Name one: -m {' or '.join(names[:9])}")
    return names[0]


def _query_llama_server_context(client: ChatClient, call: CancelToken) -> int | None:
    """Return the context that llama-server gives one request, which its list of models does not report."""
    try:
        settings = client.get_json(call, "/props", root=True).get("default_generation_settings")
    except LlmError:
        return None
    return _parse_context(settings) if isinstance(settings, Mapping) else None


def _parse_context(entry: Mapping[str, Any]) -> int | None:
    """Return the context of an entry of a list of models, under any of the known field names."""
    for name in _CONTEXT_FIELDS:
        value = entry.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 64:  # noqa: PLR2004
            return value
    return None
