"""Several servers behind one name, as one backend: each request goes to one of them, and to another one if that fails.

All must have the same model with the same weights, as far as they say, unless they may be mixed. A server that fails is
set aside, and asked for its model with growing pauses until it answers again, since it may have another one then.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from llmcli.backends.remote.protocols.wire_protocol import ServerModel
from llmcli.backends.remote.remote_backend import RemoteBackend, estimate_tokens
from llmcli.backends.remote.remote_job import RemoteJob
from llmcli.backends.remote.request_router import Assignment, RequestRouter, RoutedServer
from llmcli.backends.remote.transport.cancellation import Cancelled, CancelToken
from llmcli.backends.remote.transport.cost_budget import CostBudget
from llmcli.backends.remote.transport.retries import RetryPolicy
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import ConfigError, LlmError, TemporaryFailure
from llmcli.errors.network_errors import RateLimited, ServerStalled, ServerUnreachable
from llmcli.interrupt import Interrupt
from llmcli.types import (
    BackendInfo,
    BackendStats,
    CandidateScores,
    Embeddings,
    Event,
    Finished,
    Request,
    RequestProgress,
    ServerStats,
    Usage,
)

SINGLE_TRY = RetryPolicy(max_tries=1, max_connect_tries=1)
"""How each server is tried: after a failure, the request goes to another one."""
_STARTUP_GRACE_S = 3.0
"""Seconds after the first answer at the start for which a job waits for the other servers."""
_POLL_S = 0.05

T = TypeVar("T")


class LoadBalancingBackend:
    """A backend (see ``backends.base``) on ``members``, the servers of ``server``; a ``RemoteHost`` for its jobs."""

    def __init__(
        self,
        server: ServerConfig,
        members: Sequence[RemoteBackend],
        interrupt: Interrupt,
        retry_policy: RetryPolicy,
        *,
        budget: CostBudget | None = None,
    ) -> None:
        """Nothing is sent yet.

        ``members`` try a request once (``SINGLE_TRY``), ``retry_policy`` is that of this backend.

        ``budget`` counts and limits what requests cost at all of them; None where their price is not known.
        """
        self.server = server
        self.budget = budget
        self.max_concurrency = sum(member.max_concurrency for member in members)
        self._members = members
        self._interrupt = interrupt
        self._retry_policy = retry_policy
        self._router = RequestRouter(len(members), f"{server.name} ({server.address})")
        self._closing = CancelToken()
        self._connecting = threading.Lock()
        self._models: dict[RoutedServer, ServerModel] = {}

    # ---- Backend --------------------------------------------------------------------------------------------------

    def info(self) -> BackendInfo:
        """What the servers report about their model; the shortest of their contexts.

        Raises ``ConfigError`` if they have different models, the error of a server if none answers, and as
        ``RemoteBackend.info``.
        """
        models = self._connect()
        infos = [self._members[server.number].info() for server in models]
        names = sorted({info.model for info in infos})
        weights = sorted({model.weights for model in models.values() if model.weights})
        model_id = "#".join([self.server.identity, *names, *weights])
        return BackendInfo(" and ".join(names), model_id, min(info.context for info in infos))

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt lengths in tokens, as a server that answers counts them; see ``RemoteBackend.count``."""
        servers = sorted(self._connect(), key=lambda server: not server.is_up)
        for server in servers[:-1]:
            with suppress(TemporaryFailure):
                return self._members[server.number].count(requests)
        return self._members[servers[-1].number].count(requests)

    def open(self) -> RemoteJob:
        """Open a job. Raises as ``info``."""
        self._connect()
        return RemoteJob(self)

    def stats(self) -> BackendStats:
        """How the servers were used, and what each of them answered."""
        servers = [
            ServerStats(
                self._members[server.number].server.base_url,
                server.answered,
                server.failed,
                "" if server.is_up or server.error is None else _describe(server.error),
            )
            for server in self._router.servers
        ]
        said = [choice for member in self._members for choice in member.stats().choices]
        said += [f"{each.address} is set aside: {each.problem}" for each in servers if each.problem]
        cost = None if self.budget is None else self.budget.spent
        width = self._router.peak_running or None
        return BackendStats(width=width, choices=tuple(said), cost=cost, servers=tuple(servers))

    def close(self) -> None:
        """Close the connections, and try no server again."""
        self._closing.cancel()
        for member in self._members:
            member.close()

    # ---- for jobs -------------------------------------------------------------------------------------------------

    def check_interrupt(self) -> None:
        """Raise the error of an interrupt or of the deadline, if there is one."""
        self._interrupt.check()

    def stream(self, call: CancelToken, request: Request, put: Callable[[Event], None]) -> Finished:
        """Pass on the pieces of an answer and return its end; see ``RemoteBackend.stream``.

        A gathered answer is passed on when it is complete, so that it can be repeated on another server until then.
        """
        held: list[Event] = []

        def hold(event: Event) -> None:
            if isinstance(event, RequestProgress):
                put(event)
            else:
                held.append(event)

        def send(member: RemoteBackend, attempt: CancelToken) -> tuple[Finished, Usage]:
            held.clear()
            finished = member.stream(attempt, request, hold if request.gathered else put)
            return finished, finished.usage

        finished = self._route(call, request, send)
        for event in held:
            put(event)
        return finished

    def generate_structured(self, call: CancelToken, request: Request) -> tuple[list[Event], Finished]:
        """Return JSON of the request's schema, or one of its labels; see ``RemoteBackend.generate_structured``."""

        def send(member: RemoteBackend, attempt: CancelToken) -> tuple[tuple[list[Event], Finished], Usage]:
            events, finished = member.generate_structured(attempt, request)
            return (events, finished), finished.usage

        return self._route(call, request, send)

    def score(self, call: CancelToken, request: Request) -> tuple[CandidateScores, Usage]:
        """Return the scores of candidates; see ``RemoteBackend.score``."""
        return self._route(call, request, lambda member, attempt: _with_usage(member.score(attempt, request)))

    def embed(self, call: CancelToken, request: Request) -> tuple[Embeddings, Usage]:
        """Return the vectors of texts; see ``RemoteBackend.embed``."""
        return self._route(call, request, lambda member, attempt: _with_usage(member.embed(attempt, request)))

    def _route(
        self, call: CancelToken, request: Request, send: Callable[[RemoteBackend, CancelToken], tuple[T, Usage]]
    ) -> T:
        """Return what ``send`` returns for one of the servers; after a temporary failure, for another one."""
        prompt_tokens = estimate_tokens(request)
        failed: set[RoutedServer] = set()
        tries = 0
        while True:
            with call.child() as attempt:
                assignment = self._router.assign(request, prompt_tokens, attempt, failed)
                usage = None
                try:
                    answer, usage = send(self._members[assignment.server.number], attempt)
                except Cancelled:
                    call.check()  # raises if the request was cancelled; here it was taken from a silent server
                except TemporaryFailure as error:
                    self._handle_failure(assignment, error)
                    failed.add(assignment.server)
                    tries += not isinstance(error, RateLimited)
                    if tries >= self._retry_policy.max_tries or (attempt.delivered and not request.gathered):
                        raise
                else:
                    return answer
                finally:
                    self._router.release(assignment, usage)

    # ---- failing servers ------------------------------------------------------------------------------------------

    def _handle_failure(self, assignment: Assignment, error: TemporaryFailure) -> None:
        """Set the server of a failed attempt aside, unless it is only busy: it then gets fewer requests at once."""
        member = self._members[assignment.server.number]
        if isinstance(error, RateLimited) and error.retry_after is None and member.concurrency_limit > 1:
            return
        is_silent = isinstance(error, ServerUnreachable | ServerStalled)
        if self._router.set_aside(assignment, error, cancel_unanswered=is_silent):
            self._start_recovery(assignment.server)

    def _start_recovery(self, server: RoutedServer) -> None:
        threading.Thread(target=self._recover, args=(server,), name="recovery", daemon=True).start()

    def _recover(self, server: RoutedServer) -> None:
        """Ask a server that is set aside for its model, with growing pauses, until it may be used again."""
        with suppress(Cancelled), self._closing.child() as call:
            while True:
                call.sleep(self._retry_policy.pause(server.failures, server.pause or None))
                try:
                    model = self._members[server.number].identify(call)
                    self._check_model(server, model, self._models)
                except Cancelled:
                    raise
                except TemporaryFailure as error:
                    self._router.record_failure(server, error)
                except Exception as error:  # noqa: BLE001 (raised to the requests that no other server answers)
                    self._router.record_failure(server, error, is_dropped=True)
                    return
                else:
                    self._models = {**self._models, server: model}
                    self._router.restore(server)
                    return

    # ---- models ---------------------------------------------------------------------------------------------------

    def _connect(self) -> Mapping[RoutedServer, ServerModel]:
        """Ask all servers at once for their models, the first time; return the models of those that answered.

        Servers that do not answer are set aside. Raises as ``info``.
        """
        with self._connecting:
            if not self._models:
                found, errors = self._ask_models()
                if not found:
                    raise errors[min(errors, key=lambda server: server.number)]
                models: dict[RoutedServer, ServerModel] = {}
                for server, model in sorted(found.items(), key=lambda pair: pair[0].number):
                    self._check_model(server, model, models)
                    models[server] = model
                for server in self._router.servers:
                    if server not in found:
                        self._router.record_failure(server, errors.get(server) or self._startup_error(server))
                        self._start_recovery(server)
                self._models = models
            return self._models

    def _ask_models(self) -> tuple[dict[RoutedServer, ServerModel], dict[RoutedServer, TemporaryFailure]]:
        """Return the models of the servers, and the failures of others. Raises every other error."""
        answers: queue.SimpleQueue[tuple[RoutedServer, ServerModel | Exception]] = queue.SimpleQueue()
        found: dict[RoutedServer, ServerModel] = {}
        errors: dict[RoutedServer, TemporaryFailure] = {}
        asking = CancelToken(self._interrupt.deadline)
        until: float | None = None

        def ask(server: RoutedServer) -> None:
            try:
                with asking.child() as call:
                    answers.put((server, self._members[server.number].identify(call)))
            except Exception as error:  # noqa: BLE001 (raised in the caller's thread)
                answers.put((server, error))

        for server in self._router.servers:
            threading.Thread(target=ask, args=(server,), name="remote", daemon=True).start()
        try:
            while len(found) + len(errors) < len(self._members) and (until is None or time.monotonic() < until):
                self._interrupt.check()
                try:
                    server, answer = answers.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
                if isinstance(answer, ServerModel):
                    found[server] = answer
                    until = until or time.monotonic() + _STARTUP_GRACE_S
                elif isinstance(answer, TemporaryFailure):
                    errors[server] = answer
                else:
                    self._interrupt.check()
                    raise answer
        finally:
            asking.cancel()
        return found, errors

    def _startup_error(self, server: RoutedServer) -> TemporaryFailure:
        label = self._members[server.number].server.label
        return ServerStalled(
            label, detail=f"it did not answer within {_STARTUP_GRACE_S:g} seconds after another server"
        )

    def _check_model(self, server: RoutedServer, model: ServerModel, known: Mapping[RoutedServer, ServerModel]) -> None:
        """Raise ``ConfigError`` if the model of a server differs from a ``known`` one, also from its own before."""
        other = next((other for other, has in known.items() if model.differs_from(has)), None)
        if other is not None and not self.server.mixed:
            raise different_models(self._members[other.number], known[other], self._members[server.number], model)


def different_models(
    one: RemoteBackend, model: ServerModel, other: RemoteBackend, differing: ServerModel
) -> ConfigError:
    """Return the error for servers behind one name with different models."""
    said = f"{one.server.base_url} has {model}, and {other.server.base_url} has {differing}"
    detail = f"the servers have different models: {said}. To use them together: mixed: true"
    return ConfigError(f"backends.{one.server.name}.base_urls", detail=detail)


def _with_usage(answer: tuple[T, Usage]) -> tuple[tuple[T, Usage], Usage]:
    return answer, answer[1]


def _describe(error: Exception) -> str:
    return (error.detail if isinstance(error, LlmError) else "") or str(error) or type(error).__name__
