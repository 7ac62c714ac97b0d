"""From a ``Request`` to the body of a chat completion, as far as the server takes it.

Source: the OpenAI API reference, "Create chat completion"; ``top_k``, ``min_p``, ``repeat_penalty`` and
``chat_template_kwargs`` as llama-server, vLLM and SGLang have them. What is at its default is left to the server, which
knows its model; the temperature is always said, since prompt files choose it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.backends.remote.known import OPTIONAL, Known
from llmcli.backends.remote.refusals import BadRequest, named_field
from llmcli.types import Message, Request, Sampling

_NEWER = "max_completion_tokens"
_HOTTEST = 2.0
"""The highest temperature of the protocol."""
_OTHER_NAME = ("max_completion_tokens", "unsupported", "not supported", "unknown", "unrecognized", "extra")


def messages(request: Request) -> list[dict[str, str]]:
    """Return the conversation."""
    return [dumped(message) for message in request.messages]


def dumped(message: Message) -> dict[str, str]:
    """Return one message."""
    return {"role": message.role.value, "content": message.content.encode("utf-8", "replace").decode()}


def chat(request: Request, model: str, known: Known) -> dict[str, Any]:
    """Return the body for a streamed answer."""
    fields: dict[str, Any] = {
        "model": model,
        "messages": messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.max_tokens,
        "stop": list(request.stop) or None,
        **_sampling(request.sampling),
        "chat_template_kwargs": {"enable_thinking": request.reasoning},
        "ignore_eos": request.ignore_eos or None,
    }
    if request.logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": request.logprobs}
    return taken(fields, known)


def taken(fields: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """Return the fields that the server takes, under the names that it takes."""
    kept = {name: value for name, value in fields.items() if value is not None and name not in known.refused}
    longest = fields.get("max_tokens")
    if longest is not None and "max_tokens" in known.refused and _NEWER not in known.refused:
        kept[_NEWER] = longest
    return kept


def _sampling(sampling: Sampling) -> dict[str, Any]:
    usual = Sampling()
    names = ("top_k", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty", "seed")
    changed = {name: getattr(sampling, name) for name in names if getattr(sampling, name) != getattr(usual, name)}
    return {"temperature": sampling.temperature, **changed}


def learn(refused: BadRequest, sent: Mapping[str, Any], known: Known) -> str | None:
    """Take note of the field for which a server refused what was ``sent``; return it, None where none may be left out.

    Another call may have learnt it meanwhile; then it is returned too, since the request is worth another try.
    """
    field = named_field(refused, [name for name in sent if name in OPTIONAL or name == _NEWER])
    if field is None:
        return None
    if field in {"max_tokens", _NEWER} and not any(word in refused.detail.lower() for word in _OTHER_NAME):
        return None  # it takes the field, but not so large a number
    if field == "temperature" and sent[field] > _HOTTEST:
        return None  # as above
    known.refuse(field)
    return field
