"""The differences between the protocols of servers: requests, schemas, answers, errors and lists of models.

Connections, keys, consent, retries, concurrency and limits are the same for all of them, so they are not here. Keywords
that a server's subset of JSON Schema lacks are left out, and still checked in the answer (``schema_validation``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from llmcli.backends.remote.protocols.answer_parser import AnswerParser
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.error_mapping import ErrorFields
from llmcli.config.backend_config import ServerConfig
from llmcli.errors.network_errors import BadRequest
from llmcli.fast_dataclass import frozen, replace
from llmcli.types import BackendInfo, Message, Request, Role

DEFAULT_CONTEXT_TOKENS = 8192
"""Tokens of context assumed for a server that does not report them."""


@frozen
class OptionalField:
    """A part of a body that is left out once the server refused it; ``name`` is what is remembered of it.

    ``words`` is a pattern of the errors about it, "" for its name. An error must match ``hint`` too: a value that is
    too large says nothing about the field.
    """

    name: str
    words: str = ""
    hint: str = ""


@frozen
class ProtocolRequest:
    """A request as it is sent: the path below the base URL, the body, and what of the body may be left out."""

    model: str
    path: str
    body: Mapping[str, Any]
    optional: tuple[OptionalField, ...] = ()


@frozen
class TokenCountCall:
    """A request for the length of a prompt; ``field`` of the answer holds it. ``root``: the path is below the host."""

    path: str
    body: Mapping[str, Any]
    field: str
    root: bool = False


@frozen
class ServerModel:
    """What the server reports about the model: its name, its owner (which server it is), and the context in tokens.

    ``weights``: what tells its weights from others, as far as the server says; "" for nothing. ``details``: what our
    own server says about its model; None for others.
    """

    name: str
    owner: str = ""
    context: int | None = None
    weights: str = ""
    details: BackendInfo | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.weights})" if self.weights else self.name

    def differs_from(self, other: ServerModel) -> bool:
        """Whether it is another model, by what servers say; an owner or directory before a name does not count."""
        names = {each.name.rpartition("/")[2] for each in (self, other)}
        return len(names) > 1 or bool(self.weights and other.weights and self.weights != other.weights)


OWNER_LLMCLI, OWNER_LLAMA_CPP, OWNER_OLLAMA, OWNER_VLLM = "llmcli", "llamacpp", "library", "vllm"
"""The owner that these servers report for their models."""


class WireProtocol(Protocol):
    """The protocol of a server."""

    default_context: int
    """Tokens of context where the server does not report them."""
    models_path: str
    """The path of the list of models."""
    offers_logprobs: bool
    """Whether answers may come with the log-probabilities of their tokens."""
    embeddings_path: str | None
    """The path of embeddings, as OpenAI has them; None where the protocol has none."""
    completions_path: str | None
    """The path of completions of a prompt without a chat template; None where the protocol has none."""

    def headers(self, key: ApiKey) -> dict[str, str]:
        """Return the headers of each request: the key, where there is one, and the version of the protocol."""
        ...

    def build_request(
        self,
        request: Request,
        model: str,
        refused: frozenset[str],
        *,
        schema: Mapping[str, Any] | None = None,
        stream: bool = True,
    ) -> ProtocolRequest:
        """Return the request, without the fields that are ``refused``; the answer is JSON of ``schema``, if given."""
        ...

    def build_count(self, request: Request, model: ServerModel) -> TokenCountCall | None:
        """Return the request for the length of the prompt, None where the server is not known to count."""
        ...

    def schema_field(self, refused: frozenset[str]) -> str | None:
        """Return the name of the field that carries a schema, None where the server refuses all of them."""
        ...

    def make_parser(self, request: Request, server: ServerConfig, key: ApiKey) -> AnswerParser:
        """Return the parser of one answer."""
        ...

    def parse_error(self, loaded: Any) -> ErrorFields:
        """Return what the parsed body of an error says."""
        ...

    def parse_models(self, listed: Mapping[str, Any]) -> list[ServerModel]:
        """Return the models of a list."""
        ...


def wants_logprobs(request: Request) -> bool:
    """Return whether log-probabilities are what a request asks for, so that they are no fields that may be left out.

    To score candidates, they are one way of several.
    """
    return request.logprobs is not None and not request.candidates


def find_refused_field(refused: BadRequest, optional: Iterable[OptionalField]) -> OptionalField | None:
    """Return which of the optional fields the server does not accept, as far as it says so."""
    first = re.split(r"[.\[]", refused.param)[0]
    named = [
        field
        for field in optional
        if field.name == first
        or (first and field.words and re.search(field.words, refused.param))
        or re.search(field.words or rf"\b{re.escape(field.name)}\b", refused.detail)
    ]
    found = max(named, key=lambda field: (field.name == first, len(field.name)), default=None)
    return found if found is not None and re.search(found.hint, refused.detail, re.IGNORECASE) else None


def clean_text(text: str) -> str:
    """Return ``text`` as UTF-8 can carry it: characters that are no text become question marks."""
    return text.encode("utf-8", "replace").decode()


def clean_json(value: Any) -> Any:
    """Return a JSON value whose texts UTF-8 can carry."""
    return json.loads(dump_json(value))


def dump_json(value: Any) -> str:
    """Return a value as JSON that UTF-8 can carry."""
    return clean_text(json.dumps(value, ensure_ascii=False))


def split_system(messages: Sequence[Message]) -> tuple[list[str], list[Message]]:
    """Return the system messages, and the turns between user and assistant, of which there is one at least.

    Results of tools keep their role; those that answer no call are turns of the user.
    """
    told = [message for message in messages if message.role is Role.SYSTEM]
    turns = [
        replace(message, role=Role.USER) if message.role is Role.TOOL and not message.tool_call_id else message
        for message in messages
        if message.role is not Role.SYSTEM
    ]
    if not turns:
        return [], [replace(message, role=Role.USER) for message in told]
    return [clean_text(message.content) for message in told], turns


def parse_count(value: Any) -> int:
    """Return a number of tokens that a server reports; 0 for what is no such number."""
    return value if is_count(value) else 0


def is_count(value: Any) -> bool:
    """Return whether ``value`` is a number of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_BOUNDS = frozenset(
    {
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
        "uniqueItems",
    }
)
"""Keywords that Anthropic's structured outputs refuse."""
_OPENAPI_KEYWORDS = frozenset(
    {
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    }
)
"""Keywords of the OpenAPI schema that Gemini's ``responseSchema`` takes."""
_SCHEMAS_BY_NAME = frozenset({"properties", "$defs", "definitions"})
_SCHEMA_LISTS = frozenset({"anyOf", "allOf", "prefixItems"})
_MAX_DEPTH_LEVELS = 64


def restrict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without bounds, in which objects with named keys have no others."""
    return _rewrite(schema, _drop_bounds)


def openapi_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the keywords of OpenAPI 3.0 alone; what a reference points to is not enforced."""
    return _rewrite(schema, _keep_openapi)


def _drop_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {("anyOf" if name == "oneOf" else name): value for name, value in schema.items() if name not in _BOUNDS}
    if "properties" in kept and kept.get("additionalProperties", True) is True:
        kept["additionalProperties"] = False
    return kept


def _keep_openapi(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in schema.items() if name in _OPENAPI_KEYWORDS}
    if "oneOf" in schema:
        kept["anyOf"] = schema["oneOf"]
    if "const" in schema:
        kept["enum"] = [schema["const"]]
    return kept


def _rewrite(
    schema: Mapping[str, Any], keep: Callable[[Mapping[str, Any]], dict[str, Any]], depth: int = 0
) -> dict[str, Any]:
    """Return ``schema`` and all schemas in it as ``keep`` changes them."""

    def inner(value: Any) -> Any:
        return _rewrite(value, keep, depth + 1) if isinstance(value, Mapping) and depth < _MAX_DEPTH_LEVELS else value

    kept = keep(schema)
    for name, value in kept.items():
        if name in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            kept[name] = {key: inner(part) for key, part in value.items()}
        elif name in _SCHEMA_LISTS and isinstance(value, list):
            kept[name] = [inner(part) for part in value]
        elif name in {"items", "additionalProperties"}:
            kept[name] = inner(value)
    return kept
