"""Details of a model, scores and hidden states that only our own server gives, from the weights that label there.

Labels from them are those of a command on the server's machine, bit by bit. Each answer says which weights it comes
from, so that none is mixed with others after a restart. Other servers have neither path.
"""

from __future__ import annotations

from typing import Any

from llmcli.backends.remote.chat_client import ChatClient
from llmcli.backends.remote.protocols.openai_chat import dump_messages, parse_usage
from llmcli.backends.remote.protocols.wire_protocol import ServerModel
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.errors import ConfigError, RemoteError, RequestRejected
from llmcli.errors.network_errors import BadRequest
from llmcli.fast_dataclass import replace
from llmcli.openai_api import scoring
from llmcli.openai_api.scoring import INFO_PATH, LABELS_FIELD, SCORE_PATH
from llmcli.types import Event, Request, Usage


def add_details(client: ChatClient, call: RemoteCall, model: ServerModel, *, labels: bool) -> ServerModel:
    """Return ``model`` with what its server says about it, which loads it; unchanged if the server is older than that.

    ``labels``: about the weights that label there. Raises as ``HttpClient.open_response``.
    """
    body = {"model": model.name, **_label_fields(labels=labels)}
    try:
        answer = client.post_json(call, INFO_PATH, body, model=model.name)
        call.settle(Usage())
    except BadRequest:
        raise
    except RequestRejected:  # no such path, which is not kept: a newer version has it
        return model
    try:
        details = scoring.parse_info_response(answer)
    except ValueError as error:
        raise RemoteError(client.server.label, detail=f"its description of the model is wrong: {error}") from error
    return replace(model, context=details.context, weights=str(scoring.parse_weights(answer)), details=details)


def score_request(
    client: ChatClient, call: RemoteCall, request: Request, model: ServerModel, *, labels: bool
) -> tuple[list[Event], Usage]:
    """Return the scores of a request's candidates and its hidden states.

    ``labels``: from the weights that label there, which must be those of ``model``: raises ``ConfigError`` for others.
    Raises as ``HttpClient.open_response``.
    """
    fields = {
        "model": model.name,
        "messages": dump_messages(request.messages),
        "candidates": list(request.candidates) or None,
        "hidden_states": request.hidden_states or None,
        "state_layers": list(request.state_layers) or None,
        **_label_fields(labels=labels),
    }
    body = {name: value for name, value in fields.items() if value is not None}
    answer = client.post_json(call, SCORE_PATH, body, model=model.name)
    usage = parse_usage(answer)
    call.settle(usage)
    try:
        if labels:
            _require_weights(client, answer, model)
        events: list[Event] = []
        if request.hidden_states:
            events.append(scoring.parse_hidden_states(answer, request))
        if request.candidates:
            events.append(scoring.parse_scores(answer, request))
    except ValueError as error:
        raise RemoteError(client.server.label, detail=f"its answer is wrong: {error}") from error
    return events, usage


def count_prompt(client: ChatClient, call: RemoteCall, request: Request, model: ServerModel) -> int:
    """Return the tokens of a prompt for the weights that label. Raises as ``HttpClient.open_response``."""
    body = {"model": model.name, "messages": dump_messages(request.messages), **_label_fields(labels=True)}
    answer = client.post_json(call, "/count", body, model=model.name)
    call.settle(Usage())
    count = answer.get("tokens")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise RemoteError(client.server.label, detail="its answer has no number of tokens")
    return count


def _label_fields(*, labels: bool) -> dict[str, Any]:
    return {LABELS_FIELD: True} if labels else {}


def _require_weights(client: ChatClient, answer: Any, model: ServerModel) -> None:
    """Raise ``ConfigError`` for an answer from other weights than those of ``model``; ``ValueError`` if none are named."""
    weights = scoring.parse_weights(answer)
    if model.details is None or (weights.digest, weights.type) != (model.details.model_id, model.details.weights):
        raise ConfigError(
            client.server.label, detail=f"it had {model}, and has {replace(model, weights=str(weights))} now"
        )
