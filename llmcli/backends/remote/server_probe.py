"""Probes a server: it gets one word in each way that llm uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.backends.base import run_requests
from llmcli.backends.remote.load_balancing_backend import different_models
from llmcli.backends.remote.protocols.wire_protocol import ServerModel
from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.errors import (
    LlmError,
    MissingError,
    ProcessStopped,
    RemoteError,
    RequestRejected,
    TimedOut,
    Unauthorized,
    UntrustedServer,
)
from llmcli.errors.network_errors import BadRequest, NotOnServers
from llmcli.fast_dataclass import frozen, replace
from llmcli.types import (
    Embeddings,
    Event,
    Finished,
    FinishReason,
    Message,
    ReasoningDelta,
    Request,
    Role,
    Sampling,
    TextDelta,
    TokenLogprobs,
)

_WORD = "Hello"
_MAX_TOKENS = 64
_MIN_SPLIT_TOKENS = 4
"""Tokens of an answer that a streaming server sends in more than one piece."""
_TOOL_NAME = "report_word"
_TOOL_SCHEMA = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
_TOOL = {
    "type": "function",
    "function": {"name": _TOOL_NAME, "description": "Reports a word.", "parameters": _TOOL_SCHEMA},
}
_ANSWER_SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": ["hello"]}},
    "required": ["word"],
    "additionalProperties": False,
}


@frozen
class ProbeResult:
    """Whether ``check`` works, None if unknown; ``detail`` is the reason, or ``error`` is what came instead."""

    check: str
    works: bool | None
    detail: str = ""
    error: LlmError | None = None


def probe_server(backend: RemoteBackend) -> Iterator[ProbeResult]:
    """Yield what works: answers, streams, schemas, tools, log-probabilities, embeddings, and the length of the context.

    Raises the error of the first answer: without one there is nothing to find out.
    """
    events, finished = _ask(backend, _request())
    model = backend.info().model
    yield ProbeResult("answer", works=True, detail="; ".join(finished.warnings) or f"the model is {model}")
    yield _judge_stream(events, finished)
    for check, probe in (
        ("schema", _probe_schema),
        ("tools", _probe_tools),
        ("logprobs", _probe_logprobs),
        ("embeddings", _probe_embeddings),
        ("context", _probe_context),
    ):
        try:
            works, detail = probe(backend)
        except (ProcessStopped, TimedOut):
            raise
        except LlmError as error:
            yield ProbeResult(check, works=None, error=error)
        else:
            yield ProbeResult(check, works, detail)


def probe_servers(backends: Sequence[RemoteBackend]) -> Iterator[tuple[str, ProbeResult]]:
    """Yield the address of each server with what works there, and at the end whether all have the same model.

    Servers that do not answer are results, too. Raises the error of the first one if none answers.
    """
    errors, models = [], []
    for backend in backends:
        try:
            for result in probe_server(backend):
                yield backend.server.base_url, result
            models.append((backend, backend.identify(RemoteCall())))
        except (ProcessStopped, TimedOut):
            raise
        except LlmError as error:
            errors.append(error)
            if len(errors) == len(backends):
                raise errors[0] from None
            yield backend.server.base_url, ProbeResult("answer", works=False, error=error)
    yield "all", _compare_models(models)


def _compare_models(models: Sequence[tuple[RemoteBackend, ServerModel]]) -> ProbeResult:
    (first, model), *others = models
    for other, differing in others:
        if differing.differs_from(model):
            error = different_models(first, model, other, differing)
            if first.server.mixed:
                return ProbeResult("models", works=False, detail=f"{error.detail.partition('.')[0]} (mixed: true)")
            return ProbeResult("models", works=False, error=error)
    number = f"{len(models)} servers have" if others else "1 server has"
    return ProbeResult("models", works=True, detail=f"{number} {model}")


def _request(**changes: Any) -> Request:
    plain = Request("probe", (Message(Role.USER, _WORD),), sampling=Sampling(temperature=0.0), max_tokens=_MAX_TOKENS)
    return replace(plain, **changes)


def _ask(backend: RemoteBackend, request: Request) -> tuple[list[Event], Finished]:
    """Return the events of an answer and its end. Raises the error of a request that failed."""
    *events, finished = run_requests(backend, [request])
    assert isinstance(finished, Finished)
    if finished.reason is FinishReason.TIMEOUT:
        raise TimedOut
    if finished.error is not None:
        raise finished.error
    return events, finished


def _judge_stream(events: list[Event], finished: Finished) -> ProbeResult:
    pieces = sum(isinstance(event, TextDelta | ReasoningDelta) for event in events)
    if pieces > 1:
        return ProbeResult("stream", works=True, detail=f"the answer came in {pieces} pieces")
    if finished.usage.completion_tokens >= _MIN_SPLIT_TOKENS:
        return ProbeResult("stream", works=False, detail="the answer came as a whole")
    return ProbeResult("stream", works=None, detail="the answer was too short to tell")


def _probe_schema(backend: RemoteBackend) -> tuple[bool | None, str]:
    try:
        _ask(backend, _request(schema=_ANSWER_SCHEMA))
    except RequestRejected:
        raise
    except RemoteError:
        return False, "its answers do not match the schema, not even when the prompt states it"
    field = backend.schema_field
    if field is None:
        return False, "llm states the schema in the prompt and checks the answer"
    return True, f"enforced by {field}"


def _probe_tools(backend: RemoteBackend) -> tuple[bool | None, str]:
    request = _request(messages=(Message(Role.USER, f"{_WORD}. Report this word with {_TOOL_NAME}."),), tools=(_TOOL,))
    try:
        _, finished = _ask(backend, request)
    except RemoteError as error:
        return False, error.detail
    called = bool(finished.tool_calls)
    return called, "the model called a tool" if called else "the model called no tool"


def _probe_logprobs(backend: RemoteBackend) -> tuple[bool | None, str]:
    instead = "labels are counted from several answers"
    if backend.describe_model().details is not None:
        instead = "labels are those of a command on its machine"
    if not backend.offers_logprobs:
        return False, f"the protocol has none; {instead}"
    try:
        events, _ = _ask(backend, _request(logprobs=1))
    except BadRequest:  # it refuses the fields
        return False, instead
    if any(isinstance(event, TokenLogprobs) for event in events):
        return True, instead if backend.describe_model().details is not None else "labels are scored by them"
    return False, instead


def _probe_embeddings(backend: RemoteBackend) -> tuple[bool | None, str]:
    try:
        (found, *_), _ = _ask(backend, _request(messages=(), embeds=(_WORD,)))
    except UntrustedServer:
        raise
    except (NotOnServers, RemoteError, MissingError, Unauthorized):  # no such path, not with this model, or no vectors
        return False, "no embeddings"
    assert isinstance(found, Embeddings)
    return True, f"vectors of {len(found.vectors[0])} numbers"


def _probe_context(backend: RemoteBackend) -> tuple[bool | None, str]:
    context = backend.info().context
    if backend.server.context is not None:
        return True, f"{context} tokens, as configured"
    if backend.describe_model().context is not None:
        return True, f"{context} tokens, as the server says"
    return None, f"the server does not say; llm assumes {context} tokens, unless you set context"
