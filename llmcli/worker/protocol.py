"""The messages between client and worker: one JSON object a line, in both directions of one HTTP exchange.

The client's lines, after the first one with its options: ``{"submit": request}``, ``{"cancel": id}``, ``{"count":
[request, ...]}``, ``{"work": null}``. The worker's: ``{"loading": share}`` while it loads the model, for clients that
want that; ``{"info": ...}`` when the model is loaded, ``{"event": ...}``, the answers ``{"count": [...]}`` and
``{"work": ...}`` in the order of the questions, and ``{"failed": error}`` instead of an answer. Requests, events, and
errors are the dataclasses and exceptions of ``types`` and ``errors``, field by field.
"""

from __future__ import annotations

import binascii
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmcli import errors, fast_dataclass
from llmcli.config.engine_options import EngineOptions
from llmcli.errors import LlmError
from llmcli.types import (
    BackendInfo,
    BackendStats,
    CandidateScores,
    Event,
    Finished,
    FinishReason,
    HiddenStates,
    Message,
    Phase,
    Priority,
    ReasoningDelta,
    RepetitionPolicy,
    Request,
    RequestProgress,
    Role,
    Sampling,
    Score,
    ServerStats,
    StateLayers,
    TextDelta,
    Timings,
    TokenLogprobs,
    ToolCall,
    Usage,
)

STREAM_PATH = "/llm/session"
"""The path of the exchange."""
NDJSON_TYPE = "application/x-ndjson"


def encode_message(**message: Any) -> bytes:
    """Return one message as a line of UTF-8."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def decode_message(text: bytes) -> dict[str, Any]:
    """Return the message on a line. Raises ``ValueError``."""
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("expected an object")  # noqa: TRY004 (as for all other texts that are no message)
    return message


# ---- requests --------------------------------------------------------------------------------------------------------


def dump_request(request: Request) -> dict[str, Any]:
    """Return a request as JSON: defaults are left out, the deadline is in seconds from now."""
    fields = _non_default_fields(request)
    fields.pop("carries", None)  # it matters on the way to other machines only
    fields["messages"] = [_dump_message(message) for message in request.messages]
    if "sampling" in fields:
        fields["sampling"] = _non_default_fields(request.sampling)
    if request.deadline is not None:
        fields["deadline"] = request.deadline - time.monotonic()
    return fields


def load_request(fields: Mapping[str, Any]) -> Request:
    """Return what ``dump_request`` was given. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for other fields."""
    given = dict(fields)
    given["messages"] = tuple(_load_message(*parts) for parts in fields["messages"])
    given["sampling"] = Sampling(**fields.get("sampling", {}))
    given["priority"] = Priority(fields.get("priority", Priority.BULK))
    given["repetition"] = RepetitionPolicy(fields.get("repetition", RepetitionPolicy.OFF))
    for name in ("candidates", "stop", "tools", "labels", "state_layers", "embeds"):
        given[name] = tuple(fields.get(name, ()))
    if fields.get("deadline") is not None:
        given["deadline"] = time.monotonic() + fields["deadline"]
    return Request(**given)


def _dump_message(message: Message) -> list[Any]:
    plain: list[Any] = [message.role.value, message.content]
    if not (message.tool_calls or message.tool_call_id):
        return plain
    return [*plain, [_dump_call(call) for call in message.tool_calls], message.tool_call_id]


def _dump_call(call: ToolCall) -> list[Any]:
    return [call.id, call.name, call.arguments, *([call.signature] if call.signature else [])]


def _load_message(role: str, content: str, calls: Sequence[Any] = (), call_id: str = "") -> Message:
    return Message(Role(role), content, tuple(ToolCall(*call) for call in calls), call_id)


def _non_default_fields(instance: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are not at their defaults."""
    changed = {}
    for field in fast_dataclass.fields(instance):
        value = getattr(instance, field.name)
        if value != field.default:
            changed[field.name] = value
    return changed


def dump_options(options: EngineOptions) -> dict[str, Any]:
    """Return engine options as JSON."""
    fields = _non_default_fields(options)
    return {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}


def load_options(fields: Mapping[str, Any]) -> EngineOptions:
    """Return what ``dump_options`` was given. Raises ``TypeError``."""
    paths = {name: Path(fields[name]) for name in ("cache", "draft") if fields.get(name)}
    return EngineOptions(**{**fields, **paths})


# ---- events ----------------------------------------------------------------------------------------------------------


def dump_event(event: Event) -> dict[str, Any]:
    """Return an event as JSON, under a name for its kind."""
    kind, dump = _EVENT_DUMPERS[type(event)]
    return {kind: dump(event)}


def load_event(fields: Mapping[str, Any]) -> Event:
    """Return what ``dump_event`` was given. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for other fields."""
    ((kind, value),) = fields.items()
    return _EVENT_LOADERS[kind](value)


def _dump_text(event: TextDelta | ReasoningDelta) -> list[Any]:
    return [event.id, event.text]


def _dump_scores(event: CandidateScores) -> list[Any]:
    return [event.id, [_dump_score(score) for score in event.scores]]


def _dump_score(score: Score) -> list[Any]:
    plain: list[Any] = [score.candidate, score.logprob, score.tokens]
    return [*plain, score.token_logprobs, score.token_bytes] if score.token_logprobs else plain


def _load_scores(value: Sequence[Any]) -> CandidateScores:
    return CandidateScores(value[0], tuple(Score(*each[:3], *map(tuple, each[3:])) for each in value[1]))


def _dump_hidden_states(event: HiddenStates) -> list[Any]:
    states = (binascii.b2a_base64(state, newline=False).decode() for state in (event.mean, event.last))
    return [event.id, *states, *event.layers]


def _load_hidden_states(value: Sequence[Any]) -> HiddenStates:
    name, mean, last, *layers = value
    return HiddenStates(name, binascii.a2b_base64(mean), binascii.a2b_base64(last), tuple(layers))


def _dump_logprobs(event: TokenLogprobs) -> list[Any]:
    top = [[token.decode("latin-1"), logprob] for token, logprob in event.top]
    return [event.id, event.token.decode("latin-1"), event.logprob, top]


def _load_logprobs(value: Sequence[Any]) -> TokenLogprobs:
    name, token, logprob, top = value
    return TokenLogprobs(name, token.encode("latin-1"), logprob, tuple((t.encode("latin-1"), lp) for t, lp in top))


def _dump_progress(event: RequestProgress) -> list[Any]:
    return [event.id, event.phase.value, event.done, event.total, event.ahead]


def _load_progress(value: Sequence[Any]) -> RequestProgress:
    return RequestProgress(value[0], Phase(value[1]), *value[2:])


def _dump_finished(event: Finished) -> dict[str, Any]:
    fields = _non_default_fields(event)
    if "usage" in fields:
        fields["usage"] = event.usage.to_json()
    if "timings" in fields:
        fields["timings"] = fast_dataclass.asdict(event.timings)
    if event.tool_calls:
        fields["tool_calls"] = [_dump_call(call) for call in event.tool_calls]
    if event.error is not None:
        fields["error"] = dump_error(event.error)
    return fields


def _load_finished(fields: Mapping[str, Any]) -> Finished:
    given = dict(fields, reason=FinishReason(fields["reason"]))
    given["usage"] = Usage(**fields.get("usage", {}))
    given["timings"] = Timings(**fields.get("timings", {}))
    given["tool_calls"] = tuple(ToolCall(*call) for call in fields.get("tool_calls", ()))
    if fields.get("error") is not None:
        given["error"] = load_error(fields["error"])
    return Finished(**given)


_EVENT_KINDS: tuple[tuple[str, type[Event], Callable[[Any], Any], Callable[[Any], Event]], ...] = (
    ("text", TextDelta, _dump_text, lambda value: TextDelta(*value)),
    ("reasoning", ReasoningDelta, _dump_text, lambda value: ReasoningDelta(*value)),
    ("scores", CandidateScores, _dump_scores, _load_scores),
    ("states", HiddenStates, _dump_hidden_states, _load_hidden_states),
    ("logprobs", TokenLogprobs, _dump_logprobs, _load_logprobs),
    ("progress", RequestProgress, _dump_progress, _load_progress),
    ("finished", Finished, _dump_finished, _load_finished),
)
"""The name of each event on the wire, and what turns it into JSON and back."""
_EVENT_DUMPERS = {event: (kind, dump) for kind, event, dump, _ in _EVENT_KINDS}
_EVENT_LOADERS = {kind: load for kind, _, _, load in _EVENT_KINDS}


def dump_info(info: BackendInfo) -> dict[str, Any]:
    """Return the capabilities of a backend as JSON."""
    fields = fast_dataclass.asdict(info)
    fields["refuses"] = fields.pop("rejects_overflow")
    return fields


def load_info(fields: Mapping[str, Any]) -> BackendInfo:
    """Return what ``dump_info`` was given. Raises ``KeyError`` and ``TypeError``."""
    given = dict(fields)
    measured = given.pop("measured_layers")
    layers = None if measured is None else StateLayers.from_json(measured)
    return BackendInfo(rejects_overflow=given.pop("refuses"), measured_layers=layers, **given)


def dump_stats(work: BackendStats) -> dict[str, Any]:
    """Return the statistics of a backend as JSON."""
    return fast_dataclass.asdict(work)


def load_stats(fields: Mapping[str, Any]) -> BackendStats:
    """Return what ``dump_stats`` was given. Raises ``TypeError``."""
    choices = tuple(fields.get("choices", ()))
    servers = tuple(ServerStats(**each) for each in fields.get("servers", ()))
    return BackendStats(**{**fields, "choices": choices, "servers": servers})


# ---- errors ----------------------------------------------------------------------------------------------------------


def dump_error(error: Exception) -> dict[str, Any]:
    """Return an error as its class and its attributes; an exception of another kind becomes an ``InternalError``."""
    if not isinstance(error, LlmError):
        error = errors.InternalError("worker", detail=f"{type(error).__name__}: {error}")
    return {"class": type(error).__name__, **fast_dataclass.as_plain(vars(error))}


def _find_error_class(name: str) -> type[LlmError]:
    from llmcli.errors import incomplete_results, model_errors, network_errors, saved_state_errors

    for module in (errors, model_errors, incomplete_results, network_errors, saved_state_errors):
        kind = getattr(module, name, None)
        if isinstance(kind, type) and issubclass(kind, LlmError):
            return kind
    return errors.InternalError


def _load_attribute(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_load_attribute(each) for each in value)
    if isinstance(value, dict):
        from llmcli.errors.incomplete_results import MissingPart  # the only kind of value with fields in an error

        return MissingPart(**value)
    return value


def load_error(fields: Mapping[str, Any]) -> LlmError:
    """Return the error; one of an unknown class becomes an ``InternalError``."""
    attributes = dict(fields)
    name = str(attributes.pop("class", ""))
    kind = _find_error_class(name)
    error = kind.__new__(kind)
    LlmError.__init__(error, str(attributes.get("subject", "")), detail=str(attributes.get("detail", "")))
    for name, value in attributes.items():
        setattr(error, name, _load_attribute(value))
    return error
