"""A remote server as a backend: its protocol, its model with the length of its context, and the lengths of prompts."""

from __future__ import annotations

import functools
import importlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from llmcli.backends.remote import structured_output
from llmcli.backends.remote.candidate_scoring import CandidateScorer
from llmcli.backends.remote.chat_client import ChatClient, ServerCapabilities
from llmcli.backends.remote.label_server import add_details, count_prompt, score_request
from llmcli.backends.remote.protocols.openai_chat import parse_context, parse_usage
from llmcli.backends.remote.protocols.wire_protocol import (
    OWNER_LLAMA_CPP,
    OWNER_LLMCLI,
    OWNER_OLLAMA,
    ServerModel,
    WireProtocol,
    clean_text,
    parse_count,
)
from llmcli.backends.remote.remote_job import RemoteJob, hidden_states_missing, with_progress
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.cost_budget import CostBudget
from llmcli.backends.remote.transport.http_client import HttpClient
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import (
    LlmError,
    MissingError,
    RemoteError,
    RequestRejected,
    TemporaryFailure,
    UntrustedServer,
    UsageError,
)
from llmcli.errors.network_errors import BadRequest, NotOnServers
from llmcli.fast_dataclass import replace
from llmcli.interrupt import Interrupt, run_in_thread
from llmcli.network.proxies import Proxy
from llmcli.network.retry_policy import RetryPolicy
from llmcli.openai_api.embeddings import parse_embedding_response
from llmcli.types import (
    BackendInfo,
    BackendStats,
    Embeddings,
    Event,
    Finished,
    Message,
    Request,
    Role,
    Usage,
)

DEFAULT_RETRY_POLICY = RetryPolicy()
OLLAMA_CONTEXT_TOKENS = 4096
"""Ollama's own default; it silently drops what exceeds it."""
_WORD = "Hello"
_MIN_COUNTED_SHARE, _MAX_COUNTED_SHARE = 0.5, 2.0
"""The server counts prompts whose estimate is between these shares of the context; others fit, or do not, for
certain."""

T = TypeVar("T")


class RemoteBackend:
    """A backend (see ``backends.base``) on a server, in the protocol of its ``type``."""

    budget: CostBudget | None = None

    def __init__(
        self,
        server: ServerConfig,
        key: ApiKey,
        interrupt: Interrupt,
        *,
        model: str | None = None,
        context: int | None = None,
        proxy: Proxy | None = None,
        cache: Path | None = None,
        retry_policy: RetryPolicy | None = None,
        labels: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing is sent yet. ``model`` and ``context`` override ``server``; ``cache``: see ``ServerCapabilities``.

        ``retry_policy``: None for the usual one. ``warn`` is told once that answers come from another model. ``labels``: scores and hidden states come from the weights that label
        at our own server (see ``label_server``).
        """
        self.server = server
        self.max_concurrency = server.concurrency
        self.labels = labels
        self._interrupt = interrupt
        self._requested_model = model or server.model
        self._context = context or server.context
        self._cache = cache
        self._protocol = find_protocol(server.type)
        self._client = HttpClient(
            server, key, proxy, headers=self._protocol.headers(key), parse_error=self._protocol.parse_error
        )
        self._chat_client = ChatClient(self._client, key, retry_policy or DEFAULT_RETRY_POLICY, self._protocol)
        self._warn = warn
        self._lock = threading.Lock()
        self._finding = threading.Lock()
        self._model: ServerModel | None = None
        self._capabilities: ServerCapabilities | None = None
        self._token_counter = _TokenCounter(self._chat_client)
        self._scorer: CandidateScorer | None = None

    # ---- Backend --------------------------------------------------------------------------------------------------

    def info(self) -> BackendInfo:
        """What the server reports about its model.

        Raises ``UsageError`` when it has several and none was named, and as ``HttpClient.open_response``.
        """
        model = self.configured_model or self._model or self._run_interruptible(self._find_model)
        usual = OLLAMA_CONTEXT_TOKENS if model.owner == OWNER_OLLAMA else self._protocol.default_context
        context = self._context or model.context or usual
        if self.labels and model.details is not None:
            return replace(model.details, model=model.name, context=context)
        return BackendInfo(model.name, f"{self.server.base_url}#{model.name}", context)

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt lengths in tokens: estimates, but near the context the server counts, if it can.

        They are exact if the server counted all of them, as our own does for labels.
        """
        model = self._model
        if self.labels and model is not None and model.details is not None:
            return [
                self._run_interruptible(functools.partial(self._count_exactly, request)) for request in requests
            ], True
        context, exact, counts = self.info().context, True, []
        for request in requests:
            size, counted = estimate_tokens(request), None
            if request.prompt is None and _MIN_COUNTED_SHARE * context < size < _MAX_COUNTED_SHARE * context:
                counted = self._count_prompt(request)
            counts.append(size if counted is None else counted)
            adds_schema = request.schema is not None or bool(request.labels)  # in the prompt, at some servers
            exact = exact and counted is not None and not adds_schema
        return counts, exact

    def open(self) -> RemoteJob:
        """Open a job."""
        return RemoteJob(self)

    def stats(self) -> BackendStats:
        """How the server was used: the most requests at once, and the fields it does not support."""
        limiter = self._chat_client.limiter
        refused = self._capabilities.refused_fields if self._capabilities else frozenset()
        paths = sorted(name for name in refused if name.startswith("/"))
        said = [f"{self.server.label}: requests at once: {limiter.peak_running} (at most {self.max_concurrency})"]
        if limiter.limit < self.max_concurrency:
            said.append(f"{self.server.label} was too busy; llm now sends {limiter.limit} requests at once")
        if refused - {*paths}:
            fields = ", ".join(sorted(refused - {*paths}))
            said.append(f"{self.server.label} refuses these fields, so they are left out: {fields}")
        if paths:
            said.append(f"{self.server.label} refuses these paths, so they are not used: {', '.join(paths)}")
        return BackendStats(width=limiter.peak_running or None, choices=tuple(said))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # ---- for probes -----------------------------------------------------------------------------------------------

    @property
    def schema_field(self) -> str | None:
        """The field by which the server enforces a schema, None if it refuses all of them."""
        refused = self._capabilities.refused_fields if self._capabilities else frozenset()
        return self._protocol.schema_field(refused)

    @property
    def offers_logprobs(self) -> bool:
        """Whether answers may come with the log-probabilities of their tokens."""
        return self._protocol.offers_logprobs

    def describe_model(self) -> ServerModel:
        """Return what the server reports about its model. Raises as ``info``."""
        return self._model or self._run_interruptible(self._find_model)

    # ---- for LoadBalancingBackend --------------------------------------------------------------------------------

    @property
    def configured_model(self) -> ServerModel | None:
        """The model if it was named with its context, so that the server need not be asked; for labels it is."""
        if self.labels:
            return None
        return ServerModel(self._requested_model) if self._requested_model and self._context else None

    @property
    def concurrency_limit(self) -> int:
        """How many requests the server takes at once, as far as it has shown."""
        return self._chat_client.limiter.limit

    def identify(self, call: RemoteCall) -> ServerModel:
        """Ask the server which model it has now, with its weights if it knows them. Raises as ``info``.

        Requests go on naming the one that it had before until ``use_model``.
        """
        model = self._ask_model(call)
        if self._model is None:
            self.use_model(model)
        return model

    def use_model(self, model: ServerModel) -> None:
        """Name this model in later requests."""
        with self._lock:
            self._model = model

    def answer_word(self, call: RemoteCall, request: Request) -> Usage:
        """Let the server answer one word in the way of ``request``: an embedding, a prompt, a score, or else a chat.

        Raises as ``stream``.
        """
        with suppress(LlmError):
            if request.embeds:
                return self.embed(call, Request("word", (), embeds=(_WORD,)))[1]
            if request.prompt is not None:
                return self.stream(call, Request("word", (), prompt=_WORD, max_tokens=1), lambda _event: None).usage
        if self._gives_labels:
            return self.score(call, Request("word", (Message(Role.USER, _WORD),), candidates=(_WORD,)))[1]
        chat = Request("word", (Message(Role.USER, _WORD),), max_tokens=1)
        return self.stream(call, chat, lambda _event: None).usage

    # ---- for jobs -------------------------------------------------------------------------------------------------

    def check_interrupt(self) -> None:
        """Raise the error of an interrupt or of the deadline, if there is one."""
        self._interrupt.check()

    @property
    def model_warning(self) -> str:
        """The warning about the first answer that names another model, "" if there was none."""
        return self._chat_client.model_check.warning

    def report_warnings(self) -> None:
        """Warn that answers name another model, once. The consumer of a job calls this."""
        if self.model_warning and self._warn is not None:
            warn, self._warn = self._warn, None
            warn(self.model_warning)

    def stream(self, call: RemoteCall, request: Request, put: Callable[[Event], None]) -> Finished:
        """Pass on the pieces of an answer and return its end; see ``ChatClient.stream_events``.

        Raises ``NotOnServers`` for a prompt without a template where the server has no completions.
        """
        hand_on = with_progress(request, put)

        def stream_by(name: str, capabilities: ServerCapabilities) -> Finished:
            if request.prompt is None:
                return self._chat_client.stream_events(call, request, capabilities, name, hand_on)
            with self._require_endpoint("completions", self._protocol.completions_path):
                return self._chat_client.stream_events(call, request, capabilities, name, hand_on)

        return self._request_answer(call, stream_by)

    def generate_structured(self, call: RemoteCall, request: Request) -> tuple[list[Event], Finished]:
        """Return JSON of the request's schema, or one of its labels; see ``structured_output.generate_json``."""
        return self._request_answer(
            call,
            lambda name, known: structured_output.generate_json(self._chat_client, call, request, name, known),
        )

    def score(self, call: RemoteCall, request: Request) -> tuple[list[Event], Usage]:
        """Return the scores of candidates, and hidden states; see ``label_server`` and ``CandidateScorer``.

        Raises ``NotOnServers`` for hidden states where the server gives none.
        """
        model = self._find_model(call)
        if self._gives_labels:
            return self._request_answer(
                call, lambda _name, _known: score_request(self._chat_client, call, request, model, labels=True)
            )
        if request.hidden_states:
            raise hidden_states_missing(self.server)

        def score_by(name: str, capabilities: ServerCapabilities) -> tuple[list[Event], Usage]:
            with self._lock:
                if self._scorer is None:
                    self._scorer = CandidateScorer(self._chat_client, replace(model, name=name), capabilities)
            scores, usage = self._scorer.score_candidates(call, request)
            return [scores], usage

        return self._request_answer(call, score_by)

    @property
    def _gives_labels(self) -> bool:
        """Whether the server gives the labels of its own machine, as far as it is known."""
        return self.labels and self._model is not None and self._model.details is not None

    def embed(self, call: RemoteCall, request: Request) -> tuple[Embeddings, Usage]:
        """Return the vectors that the server computes of texts.

        Raises ``NotOnServers`` where it computes none, and as ``HttpClient.open_response``.
        """

        def embed_by(name: str, _capabilities: ServerCapabilities) -> tuple[Embeddings, Usage]:
            fields = {"model": name, "input": list(map(clean_text, request.embeds)), "dimensions": request.dimensions}
            body = {field: value for field, value in fields.items() if value is not None}
            with self._require_endpoint("embeddings", self._protocol.embeddings_path) as path:
                answer = self._chat_client.post_json(call, path, body, model=name)
            usage = parse_usage(answer)
            call.settle(usage)
            try:
                vectors = parse_embedding_response(answer, len(request.embeds))
            except ValueError as error:
                raise RemoteError(self.server.label, detail=f"its answer has no embeddings: {error}") from error
            return Embeddings(request.id, vectors), usage

        return self._request_answer(call, embed_by)

    @contextmanager
    def _require_endpoint(self, what: str, path: str | None) -> Iterator[str]:
        """Give the ``path`` of ``what``. Raises ``NotOnServers`` if the protocol has none, or the server says so."""
        label = self.server.label
        if path is None:
            needed = f"{what} need a server of OpenAI's protocol (type: openai)"
            raise NotOnServers(what, detail=f"{label} is of type {self.server.type}; {needed}")
        try:
            yield path
        except BadRequest:
            raise
        except RequestRejected as error:  # no such path, or not with this model
            raise NotOnServers(what, detail=f"{label} has none: {error.detail}") from error

    def _request_answer(self, call: RemoteCall, send: Callable[[str, ServerCapabilities], T]) -> T:
        """Return what ``send`` returns for the model's name. An error about a missing model names those that exist."""
        name = self._requested_model or self._find_model(call).name
        with self._lock:
            capabilities = self._load_capabilities(name)
        try:
            answer = send(name, capabilities)
        except MissingError as error:
            names = _list_model_names(self._chat_client, self._protocol, call)
            raise MissingError(error.subject, kind=error.kind, suggestions=names, detail=error.detail) from error
        capabilities.record_answer()
        self._chat_client.model_check.check_last(
            call, name, lambda: self._list_names_again(call, capabilities.refused_fields)
        )
        return answer

    def _list_names_again(self, call: RemoteCall, refused: frozenset[str]) -> list[str]:
        """Return the names of the models for a server whose list was not needed so far; none if it refuses that."""
        path = self._protocol.models_path
        return [] if path in refused else _list_model_names(self._chat_client, self._protocol, call)

    # ---- knowledge about the server ----------------------------------------------------------------------------------

    def _load_capabilities(self, name: str) -> ServerCapabilities:
        if self._capabilities is None:
            self._capabilities = ServerCapabilities(self.server.base_url, name, self._cache, protocol=self.server.type)
        return self._capabilities

    def _find_model(self, call: RemoteCall) -> ServerModel:
        """Return the model of the server, which is asked once. Raises as ``info``."""
        with self._finding:
            if self._model is None:
                self.use_model(self._ask_model(call))
            assert self._model is not None
            return self._model

    def _ask_model(self, call: RemoteCall) -> ServerModel:
        """Ask the server which models it has. Raises as ``info``."""
        name = self._requested_model
        with self._lock:
            capabilities = self._load_capabilities(name) if name else None
        model = query_model(self._chat_client, self._protocol, call, name, capabilities)
        if model.owner != OWNER_LLMCLI:
            return model
        return add_details(self._chat_client, call, model, labels=self.labels)

    # ---- counting -------------------------------------------------------------------------------------------------

    def _count_prompt(self, request: Request) -> int | None:
        """Return the tokens of a prompt as the server counts them, None if it does not."""

        def ask(call: RemoteCall) -> int | None:
            model = self._find_model(call)
            with self._lock:
                capabilities = self._load_capabilities(model.name)
            return self._token_counter.count(call, request, model, capabilities)

        return self._run_interruptible(ask)

    def _count_exactly(self, request: Request, call: RemoteCall) -> int:
        return count_prompt(self._chat_client, call, request, self._find_model(call))

    def _run_interruptible(self, question: Callable[[RemoteCall], T]) -> T:
        """Run ``question`` in a thread and return its result, so that an interrupt ends the wait."""
        call = RemoteCall(self._interrupt.deadline)
        try:
            return run_in_thread(self._interrupt, lambda: question(call))
        except Exception:  # an interrupt cancels the question: it is the cause; any other error goes on to the caller
            self._interrupt.check()
            raise
        finally:
            call.cancel()


def query_model(
    client: ChatClient,
    protocol: WireProtocol,
    call: RemoteCall,
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
    client.model_check.set_listed(model.name for model in listed)
    models = {model.name: model for model in listed}
    name = requested or _require_single_model(list(models), client.server.label)
    model = models.get(name) or ServerModel(name, _common_owner(listed))
    if model.owner == OWNER_LLAMA_CPP:
        return replace(model, context=_query_llama_server_context(client, call) or model.context)
    return model


def _common_owner(listed: Sequence[ServerModel]) -> str:
    """Return that our own server has listed the models, since it knows others by aliases; "" for another server."""
    return OWNER_LLMCLI if {model.owner for model in listed} == {OWNER_LLMCLI} else ""


def _list_model_names(client: ChatClient, protocol: WireProtocol, call: RemoteCall) -> list[str]:
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


def _query_llama_server_context(client: ChatClient, call: RemoteCall) -> int | None:
    """Return the context that llama-server gives one request, which its list of models does not report."""
    try:
        settings = client.get_json(call, "/props", root=True).get("default_generation_settings")
    except LlmError:
        return None
    return parse_context(settings) if isinstance(settings, Mapping) else None


class _TokenCounter:
    """Counts prompts on one server, until the server refuses to, which ``capabilities`` remember."""

    def __init__(self, chat_client: ChatClient) -> None:
        self._chat_client = chat_client
        self._is_refused = False

    def count(
        self, call: RemoteCall, request: Request, model: ServerModel, capabilities: ServerCapabilities
    ) -> int | None:
        """Return the tokens of a prompt, None where the server does not count.

        Raises as ``HttpClient.open_response``.
        """
        made = None if self._is_refused else self._chat_client.protocol.build_count(request, model)
        if made is None or made.path in capabilities.refused_fields:
            return None
        try:
            answer = self._chat_client.post_json(call, made.path, made.body, model=model.name, root=made.root)
        except UntrustedServer:
            raise
        except RequestRejected:  # no such path, or not for this model: an estimate will do
            capabilities.add_refused_path(made.path)
            return None
        except RemoteError:
            self._is_refused = True
            return None
        return parse_count(answer.get(made.field)) or None


_ASCII_CHARS_PER_TOKEN, _TOKENS_PER_MESSAGE, _TOKENS_PER_REQUEST = 3.5, 8, 16


def estimate_tokens(request: Request) -> int:
    """Return an estimate of the tokens in a request's prompt, too high rather than too low.

    English has more than 4 characters per token and code about 3; in current vocabularies, a character of another
    script takes at most one token.
    """
    total = _TOKENS_PER_REQUEST + sum(map(_estimate_text, (request.prompt or "", *request.embeds)))
    for message in request.messages:
        total += _estimate_text(message.content) + _TOKENS_PER_MESSAGE
        for call in message.tool_calls:
            total += _estimate_text(json.dumps([call.name, call.arguments], ensure_ascii=False)) + _TOKENS_PER_MESSAGE
    for tool in request.tools:
        total += _estimate_text(json.dumps(tool, ensure_ascii=False)) + _TOKENS_PER_MESSAGE
    return int(total)


def _estimate_text(text: str) -> float:
    other = 0 if text.isascii() else sum(not character.isascii() for character in text)
    return (len(text) - other) / _ASCII_CHARS_PER_TOKEN + other


_PROTOCOLS = {
    "openai": ("openai_chat", "OpenAIChat"),
    "openai-responses": ("openai_responses", "OpenAIResponses"),
    "anthropic": ("anthropic_messages", "AnthropicMessages"),
    "gemini": ("gemini_content", "GeminiContent"),
}


def find_protocol(server_type: str) -> WireProtocol:
    """Return the protocol called ``server_type``, one of ``backend_config.BACKEND_TYPES``."""
    module, name = _PROTOCOLS[server_type]
    protocol: WireProtocol = getattr(importlib.import_module(f"llmcli.backends.remote.protocols.{module}"), name)()
    return protocol
