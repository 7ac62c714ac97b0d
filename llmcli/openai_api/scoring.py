"""Our own paths of OpenAI's protocol, for labels: requests and answers of our servers, and answers as clients read them.

``POST /v1/score``: the log-probability of each candidate as the next turn, and the hidden states of the conversation.
``POST /v1/info``: what the model can do. Both say which weights answer. With ``labels: true``, in ``POST /v1/count``
too, these are the weights that label on the server's machine, so a client gets the numbers that commands there get.
Floats are written so that they are read back bit by bit.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from llmcli.fast_dataclass import asdict, frozen
from llmcli.openai_api.fields import MAX_CANDIDATES, MAX_INT32, FieldError, Fields
from llmcli.openai_api.requests import ParsedRequest
from llmcli.types import (
    BackendInfo,
    CandidateScores,
    Event,
    HiddenStates,
    Priority,
    Request,
    Score,
    StateLayers,
)

SCORE_PATH, INFO_PATH = "/score", "/info"
"""Below the base URL."""
LABELS_FIELD = "labels"
"""The field that chooses the weights that label."""
MAX_STATE_LAYERS = 16
_FLOAT_BYTES = 4


def parse_score(fields: Fields) -> ParsedRequest:
    """``POST /v1/score``. Raises ``FieldError``."""
    candidates = fields.strings("candidates", MAX_CANDIDATES)
    hidden_states, layers = fields.boolean("hidden_states"), _parse_layers(fields)
    if not (candidates or hidden_states):
        raise FieldError("candidates", "candidates, a list of strings, or hidden_states: true is required")
    if layers and not hidden_states:
        raise FieldError("state_layers", "state_layers requires hidden_states: true")
    base = Request(
        "0",
        fields.messages(),
        candidates=candidates,
        priority=Priority.BULK if fields.boolean(LABELS_FIELD) else Priority.INTERACTIVE,
        hidden_states=hidden_states,
        state_layers=layers,
    )
    return ParsedRequest((base,), fields.string("model"))


def _parse_layers(fields: Fields) -> tuple[int, ...]:
    """Return the numbers of layers, in ascending order."""
    layers = fields.get("state_layers")
    if layers is None:
        return ()
    if not isinstance(layers, list) or len(layers) > MAX_STATE_LAYERS:
        raise FieldError("state_layers", f"state_layers is not a list of at most {MAX_STATE_LAYERS} numbers")
    if not all(isinstance(layer, int) and not isinstance(layer, bool) and 0 < layer <= MAX_INT32 for layer in layers):
        raise FieldError("state_layers", "state_layers holds something else than the number of a layer, from 1")
    if layers != sorted({*layers}):
        raise FieldError("state_layers", "state_layers must be in ascending order")
    return tuple(layers)


def parse_info(fields: Fields) -> ParsedRequest:
    """``POST /v1/info``. Raises ``FieldError``."""
    fields.boolean(LABELS_FIELD)  # it has chosen the weights
    return ParsedRequest((Request("0", ()),), fields.string("model"))


# ---- answers of our servers ---------------------------------------------------------------------------------------


def dump_scores(
    model: str, info: BackendInfo, events: Iterable[Event], usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the answer of ``/v1/score`` from the events of a request, which has succeeded."""
    answer: dict[str, Any] = {"model": model, **_dump_weights(info), "scores": [], "usage": usage}
    for event in events:
        if isinstance(event, CandidateScores):
            answer["scores"] = [_dump_score(score) for score in event.scores]
        elif isinstance(event, HiddenStates):
            states = {"mean": _encode(event.mean), "last": _encode(event.last), "layers": list(event.layers)}
            answer["hidden_states"] = states
    return answer


def _dump_score(score: Score) -> dict[str, Any]:
    return {"candidate": score.candidate, "logprob": score.logprob, "tokens": score.tokens}


def _encode(states: bytes) -> str:
    return base64.b64encode(states).decode()


def _dump_weights(info: BackendInfo) -> dict[str, Any]:
    """Return the digest of the model's file with its adapters, and the type of the weights that answer."""
    return {"digest": info.model_id, "weights": info.weights}


def dump_info(model: str, info: BackendInfo) -> dict[str, Any]:
    """Return the answer of ``/v1/info``."""
    layers = info.measured_layers
    return {
        "model": model,
        **_dump_weights(info),
        "context": info.context,
        "parameters": info.parameters,
        "layers": info.layers,
        "measured_layers": None if layers is None else asdict(layers),
    }


# ---- answers as clients read them -----------------------------------------------------------------------------------


@frozen
class AnsweringWeights:
    """The weights that an answer says it comes from: the digest of the model's file, and their type."""

    digest: str
    type: str

    def __str__(self) -> str:
        return f"{self.digest[:12]} {self.type}"


def parse_info_response(answer: Mapping[str, Any]) -> BackendInfo:
    """Return what an answer of ``/v1/info`` says. Raises ``ValueError``."""
    weights, measured = parse_weights(answer), answer.get("measured_layers")
    context = _parse_count(answer, "context")
    if context is None:
        raise ValueError("it has no context")
    try:
        measured_layers = None if measured is None else StateLayers.from_json(measured)
    except (KeyError, TypeError) as error:
        raise ValueError("measured_layers is wrong") from error
    return BackendInfo(
        str(answer.get("model")),
        weights.digest,
        context,
        rejects_overflow=True,
        parameters=_parse_count(answer, "parameters"),
        layers=_parse_count(answer, "layers"),
        measured_layers=measured_layers,
        weights=weights.type,
    )


def _parse_count(answer: Mapping[str, Any], name: str) -> int | None:
    value = answer.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError(f"{name} is no number from 1")


def parse_weights(answer: Mapping[str, Any]) -> AnsweringWeights:
    """Return the weights that an answer comes from. Raises ``ValueError``."""
    digest, weights = answer.get("digest"), answer.get("weights")
    if not (isinstance(digest, str) and digest and isinstance(weights, str) and weights):
        raise ValueError("it does not say which weights it comes from")
    return AnsweringWeights(digest, weights)


def parse_scores(answer: Mapping[str, Any], request: Request) -> CandidateScores:
    """Return the scores of a request's candidates. Raises ``ValueError``."""
    try:
        given = {str(each["candidate"]): (float(each["logprob"]), int(each["tokens"])) for each in answer["scores"]}
        return CandidateScores(request.id, tuple(Score(name, *given[name]) for name in request.candidates))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("it has no scores") from error


def parse_hidden_states(answer: Mapping[str, Any], request: Request) -> HiddenStates:
    """Return the hidden states of a request. Raises ``ValueError``."""
    try:
        given = answer["hidden_states"]
        mean, last = (base64.b64decode(given[name], validate=True) for name in ("mean", "last"))
        layers = tuple(map(int, given["layers"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("it has no hidden states") from error
    vectors = max(1, len(request.state_layers))
    if layers != request.state_layers or not mean or len(mean) != len(last) or len(mean) % (_FLOAT_BYTES * vectors):
        raise ValueError("it has other hidden states than those of the request")
    return HiddenStates(request.id, mean, last, layers)
