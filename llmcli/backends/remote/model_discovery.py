"""A server's model, its program, and the length of the model's context."""

from __future__ import annotations

from collections.abc import Mapping

from llmcli.backends.remote.chat_client import ChatClient
from llmcli.backends.remote.protocols.openai_chat import parse_context
from llmcli.backends.remote.protocols.wire_protocol import OWNER_LLAMA_CPP, ServerModel, WireProtocol
from llmcli.backends.remote.server_capabilities import ServerCapabilities
from llmcli.backends.remote.transport.cancel import CancelToken
from llmcli.errors import LlmError, RequestRejected, TemporaryFailure, UsageError
from llmcli.frozen_dataclass import replace


def query_model(
    client: ChatClient,
    protocol: WireProtocol,
    call: CancelToken,
    requested: str | None,
    capabilities: ServerCapabilities | None = None,
) -> ServerModel:
    """Ask the server for its models; return the one that is ``requested``, or the only one.

    ``capabilities`` of the requested model remember that the server has no list.
    Raises ``UsageError`` when it has several and none was named, and as ``HttpClient.open_response``.
    """
    if requested and capabilities and protocol.models_path in capabilities.refused_fields:
        return ServerModel(requested)
    try:
        listed = protocol.parse_models(client.get_json(call, protocol.models_path))
    except TemporaryFailure:
        raise
    except LlmError as error:
        if requested is None:
            raise
        if capabilities and isinstance(error, RequestRejected):
            capabilities.add_refused_path(protocol.models_path)
        return ServerModel(requested)  # some servers have no such path, or refuse it to this key
    models = {model.name: model for model in listed}
    name = requested or _require_single_model(list(models), client.server.label)
    model = models.get(name, ServerModel(name))
    if model.owner == OWNER_LLAMA_CPP:
        return replace(model, context=_query_llama_server_context(client, call) or model.context)
    return model


def list_model_names(client: ChatClient, protocol: WireProtocol, call: CancelToken) -> list[str]:
    """Return the names of the server's models; none where it does not list them."""
    try:
        return [model.name for model in protocol.parse_models(client.get_json(call, protocol.models_path))]
    except LlmError:
        return []


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
    return parse_context(settings) if isinstance(settings, Mapping) else None
