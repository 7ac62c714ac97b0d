"""From a ``Request`` to the body of a chat completion, with the fields that the server supports.

Source: the OpenAI API reference, "Create chat completion"; ``top_k``, ``min_p``, ``repeat_penalty`` and
``chat_template_kwargs`` as llama-server, vLLM and SGLang have them. Defaults are left to the server, which knows its
model; the temperature is always sent, since prompt files choose it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.backends.remote.server_capabilities import OPTIONAL_FIELDS, ServerCapabilities
from llmcli.backends.remote.transport.error_mapping import BadRequest, find_named_field
from llmcli.types import Message, Request, Sampling

_NEW_MAX_TOKENS_FIELD = "max_completion_tokens"
_MAX_TEMPERATURE = 2.0
"""The highest temperature of the protocol."""
_RENAMED_FIELD_HINTS = ("max_completion_tokens", "unsupported", "not supported", "unknown", "unrecognized", "extra")


def dump_messages(request: Request) -> list[dict[str, str]]:
    """Return the conversation."""
    return [dump_message(message) for message in request.messages]


def dump_message(message: Message) -> dict[str, str]:
    """Return one message."""
    return {"role": message.role.value, "content": message.content.encode("utf-8", "replace").decode()}


def build_chat_body(request: Request, model: str, capabilities: ServerCapabilities) -> dict[str, Any]:
    """Return the body for a streamed answer."""
    fields: dict[str, Any] = {
        "model": model,
        "messages": dump_messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.max_tokens,
        "stop": list(request.stop) or None,
        **_dump_sampling(request.sampling),
        "chat_template_kwargs": {"enable_thinking": request.reasoning},
        "ignore_eos": request.ignore_eos or None,
    }
    if request.logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": request.logprobs}
    return keep_supported_fields(fields, capabilities)


def keep_supported_fields(fields: Mapping[str, Any], capabilities: ServerCapabilities) -> dict[str, Any]:
    """Return the fields that the server supports, under the names that it supports."""
    kept = {
        name: value for name, value in fields.items() if value is not None and name not in capabilities.refused_fields
    }
    longest = fields.get("max_tokens")
    if (
        longest is not None
        and "max_tokens" in capabilities.refused_fields
        and _NEW_MAX_TOKENS_FIELD not in capabilities.refused_fields
    ):
        kept[_NEW_MAX_TOKENS_FIELD] = longest
    return kept


def _dump_sampling(sampling: Sampling) -> dict[str, Any]:
    usual = Sampling()
    names = ("top_k", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty", "seed")
    changed = {name: getattr(sampling, name) for name in names if getattr(sampling, name) != getattr(usual, name)}
    return {"temperature": sampling.temperature, **changed}


def learn_refused_field(refused: BadRequest, sent: Mapping[str, Any], capabilities: ServerCapabilities) -> str | None:
    """Record the field for which a server refused a request; return it, or None if no field may be left out.

    A field that another call has just recorded is returned too, since a retry may succeed.
    """
    field = find_named_field(
        refused, [name for name in sent if name in OPTIONAL_FIELDS or name == _NEW_MAX_TOKENS_FIELD]
    )
    if field is None:
        return None
    if field in {"max_tokens", _NEW_MAX_TOKENS_FIELD} and not any(
        word in refused.detail.lower() for word in _RENAMED_FIELD_HINTS
    ):
        return None  # it takes the field, but not so large a number
    if field == "temperature" and sent[field] > _MAX_TEMPERATURE:
        return None  # as above
    capabilities.add_refused_field(field)
    return field
