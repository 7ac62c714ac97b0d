"""One server, or several behind one name, as one backend: a request that fails is repeated, elsewhere if possible.

All must have the same model with the same weights, as far as they say, unless they may be mixed. A server that fails is
set aside, and asked with growing pauses for its model, since it may have another one then, and for one word, until it
answers both.

Of a job, a request that fails is distinguished from a server that fails: the server is asked for one word. Where it
answers that, the request alone fails. Where no server does, the job ends.
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
from llmcli.backends.remote.transport.cost_budget import CostBudget
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.backends.remote.transport.retries import ConcurrencyLimiter, Retrier
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import (
    ConfigError,
    LlmError,
    MissingError,
    RemoteError,
    TemporaryFailure,
    Unauthorized,
    UnavailableError,
    Unsupported,
    UntrustedServer,
)
from llmcli.errors.incomplete_results import NoLabelAnswered
from llmcli.errors.network_errors import BadRequest, RateLimited, ServerStalled, ServerUnreachable
from llmcli.fast_dataclass import field, replace, slotted
from llmcli.interrupt import Interrupt
from llmcli.network.cancellation import Cancelled
from llmcli.network.retry_policy import RetryPolicy
from llmcli.types import (
    BackendInfo,
    BackendStats,
    Embeddings,
    Event,
    Finished,
    Priority,
    Request,
    RequestProgress,
    ServerStats,
    Usage,
)

SINGLE_TRY = RetryPolicy(max_tries=1, max_connect_tries=1)
"""How a server is tried: after a failure, the request may go to another one."""
_STARTUP_GRACE_S = 3.0
"""Seconds after the first answer at the start for which a job waits for the other servers."""
_POLL_S = 0.05

_PERMANENT_PROBLEMS = Unauthorized | MissingError | UnavailableError | UntrustedServer | ConfigError
"""A refused key, a model that does not exist, a quota that is used up, a certificate, another model."""
_SERVER_PROBLEMS = TemporaryFailure | RemoteError | _PERMANENT_PROBLEMS
_STARTUP_FAILURES = TemporaryFailure | RemoteError | UnavailableError
"""What a server may answer at the start while the others do the work: nothing, a web page, that its quota is used up."""

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
        budget: CostBudget | None,
    ) -> None:
        """Nothing is sent yet.

        ``members`` try a request once (``SINGLE_TRY``), ``retry_policy`` is that of this backend.

        ``budget`` counts and limits what requests cost at all of them; None where their price is not known.
        """
        self.server = server
        self.budget = budget
        self.labels = any(member.labels for member in members)
        self.max_concurrency = sum(member.max_concurrency for member in members)
        self._members = members
        self._interrupt = interrupt
        self._retry_policy = retry_policy
        label = f"{server.name} ({server.address})" if server.base_urls else server.label
        self._router = RequestRouter(len(members), label, interrupt=interrupt)
        self._questions = Retrier(ConcurrencyLimiter(len(members), retry_policy.max_pause_s), retry_policy)
        self._closing = RemoteCall()
        self._connecting = threading.Lock()
        self._models: dict[RoutedServer, ServerModel] = {}

    # ---- Backend --------------------------------------------------------------------------------------------------

    def info(self) -> BackendInfo:
        """What the server reports about its model; several: the shortest of their contexts.

        Raises ``ConfigError`` if they have different models, the error of a server if none answers, and as
        ``RemoteBackend.info``.
        """
        models = self._connect()
        if not self.server.base_urls:
            return self._members[0].info()
        infos = [self._members[server.number].info() for server in models]
        context = min(info.context for info in infos)
        if self.labels and all(model.details is not None for model in models.values()):
            return replace(infos[0], context=context)
        names = sorted({info.model for info in infos})
        weights = sorted({model.weights for model in models.values() if model.weights})
        model_id = "#".join([self.server.identity, *names, *weights])
        return BackendInfo(" and ".join(names), model_id, context)

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt lengths in tokens, as a server that answers counts them; see ``RemoteBackend.count``."""
        for server in sorted(self._connect(), key=lambda server: not server.is_up):
            with suppress(TemporaryFailure):
                return self._members[server.number].count(requests)
        return [estimate_tokens(request) for request in requests], False

    def open(self) -> RemoteJob:
        """Open a job. Raises as ``info``."""
        self._connect()
        return RemoteJob(self)

    def stats(self) -> BackendStats:
        """How the servers were used, and what each of several answered."""
        servers = [
            ServerStats(
                self._members[server.number].server.base_url,
                server.answered,
                server.failed,
                "" if server.is_up or server.error is None else _describe(server.error),
                self._members[server.number].model_warning,
            )
            for server in self._router.servers
        ]
        said = [choice for member in self._members for choice in member.stats().choices]
        said += [f"{each.address} is set aside: {each.problem}" for each in servers if each.problem]
        cost, num_unknown = (None, 0) if self.budget is None else (self.budget.spent, self.budget.num_unknown)
        width = self._router.peak_running or None
        listed = tuple(servers) if self.server.base_urls else ()
        return BackendStats(width=width, choices=tuple(said), cost=cost, servers=listed, num_unknown_costs=num_unknown)

    def close(self) -> None:
        """Close the connections, and try no server again."""
        self._closing.cancel()
        for member in self._members:
            member.close()

    # ---- for jobs -------------------------------------------------------------------------------------------------

    def report_warnings(self) -> None:
        """Warn of servers whose answers name another model, of each once."""
        for member in self._members:
            member.report_warnings()

    def check_interrupt(self) -> None:
        """Raise the error of an interrupt or of the deadline, if there is one."""
        self._interrupt.check()

    def stream(self, call: RemoteCall, request: Request, put: Callable[[Event], None]) -> Finished:
        """Pass on the pieces of an answer and return its end; see ``RemoteBackend.stream``.

        A gathered answer is passed on when it is complete, so that it can be repeated on another server until then.
        """
        held: list[Event] = []

        def hold(event: Event) -> None:
            if isinstance(event, RequestProgress):
                put(event)
            else:
                held.append(event)

        def send(member: RemoteBackend, attempt: RemoteCall) -> tuple[Finished, Usage]:
            held.clear()
            finished = member.stream(attempt, request, hold if request.gathered else put)
            return finished, finished.usage

        finished = self._route(call, request, send)
        for event in held:
            put(event)
        return finished

    def generate_structured(self, call: RemoteCall, request: Request) -> tuple[list[Event], Finished]:
        """Return JSON of the request's schema, or one of its labels; see ``RemoteBackend.generate_structured``."""

        def send(member: RemoteBackend, attempt: RemoteCall) -> tuple[tuple[list[Event], Finished], Usage]:
            events, finished = member.generate_structured(attempt, request)
            return (events, finished), finished.usage

        return self._route(call, request, send)

    def score(self, call: RemoteCall, request: Request) -> tuple[list[Event], Usage]:
        """Return the scores of candidates, and hidden states; see ``RemoteBackend.score``."""
        return self._route(call, request, lambda member, attempt: _with_usage(member.score(attempt, request)))

    def embed(self, call: RemoteCall, request: Request) -> tuple[Embeddings, Usage]:
        """Return the vectors of texts; see ``RemoteBackend.embed``."""
        return self._route(call, request, lambda member, attempt: _with_usage(member.embed(attempt, request)))

    def _route(
        self, call: RemoteCall, request: Request, send: Callable[[RemoteBackend, RemoteCall], tuple[T, Usage]]
    ) -> T:
        """Return what ``send`` returns for one of the servers; after a failure that may pass, try again.

        Raises the error of the last try, and as ``RequestRouter.assign``.
        """
        prompt_tokens = estimate_tokens(request)
        failures = _RequestFailures(self._router.num_answered)
        while True:
            with call.child() as attempt:
                attempt.may_resend = not failures.servers
                assignment = self._router.assign(request, prompt_tokens, attempt, failures.servers)
                usage, error = None, None
                try:
                    answer, usage = send(self._members[assignment.server.number], attempt)
                except Cancelled:
                    call.check()  # raises if the request was cancelled; here it was taken from a silent server
                    continue
                except LlmError as failure:
                    error = failure
                else:
                    for warning in attempt.warnings:
                        call.add_warning(warning)
                    return answer
                finally:
                    self._router.release(assignment, usage, failed=error is not None and _concerns_server(error))
            failures.add(assignment.server, error, self._router.num_answered, 1 + attempt.num_resent)
            if (attempt.delivered and not request.gathered) or not _concerns_server(error):
                raise error
            if not self._may_repeat(call, request, assignment, failures, error):
                raise error

    # ---- failing servers ------------------------------------------------------------------------------------------

    def _may_repeat(
        self,
        call: RemoteCall,
        request: Request,
        assignment: Assignment,
        failures: _RequestFailures,
        error: LlmError,
    ) -> bool:
        """Return whether a request that failed is repeated, after a pause if all servers have failed it.

        The server is set aside if it answers no other request, either.
        """
        policy, is_interactive = self._retry_policy, request.priority is Priority.INTERACTIVE
        pause = policy.next_pause(error, failures.count)
        problem = self._find_problem(call, request, assignment, error, is_last=failures.count >= policy.max_tries)
        if problem is not None:
            self._set_aside(assignment, problem, request, failures.count)
            if not is_interactive:
                if isinstance(problem, RateLimited) and failures.count >= policy.max_tries:
                    failures.count = 0
                return failures.count < policy.max_tries
        elif isinstance(error, RateLimited) and failures.count == policy.max_tries and not is_interactive:
            return True  # the server has been busy until now: what it refused was not this request
        if pause is not None and len(failures.servers) == len(self._members):
            call.sleep(pause)
        return pause is not None

    def _find_problem(
        self, call: RemoteCall, request: Request, assignment: Assignment, error: LlmError, *, is_last: bool
    ) -> LlmError | None:
        """Return why the server is set aside, None if it answers other requests.

        An interactive request does not wait for a question about that. A server that is busy gets fewer requests at
        once first.
        """
        member = self._members[assignment.server.number]
        if request.priority is Priority.INTERACTIVE:
            return error if isinstance(error, TemporaryFailure) and len(self._members) > 1 else None
        if isinstance(error, RateLimited) and not is_last:
            return error if error.retry_after is not None or member.concurrency_limit == 1 else None
        if isinstance(error, ServerUnreachable | ServerStalled):
            return error
        may_have_restarted = isinstance(error, TemporaryFailure)
        try:
            with call.child() as question:
                self._check_server(assignment.server, question, request, names_model=may_have_restarted)
        except LlmError as problem:
            return problem
        self._router.restore(assignment.server)
        return None

    def _check_server(
        self, server: RoutedServer, call: RemoteCall, request: Request | None, *, names_model: bool = True
    ) -> Usage:
        """Ask a server for its model, and for one word in the way of ``request``; return what the word took.

        Raises errors that concern the server.
        """
        member = self._members[server.number]
        if names_model:
            model = member.identify(call)
            self._check_model(server, model, self._models)
            member.use_model(model)
            self._models = {**self._models, server: model}
        try:
            return Usage() if request is None else member.answer_word(call, request)
        except LlmError as error:
            if _concerns_server(error):
                raise
            return Usage()

    def _set_aside(self, assignment: Assignment, problem: LlmError, request: Request, tries: int) -> None:
        """Set a server aside until it answers again, or for ever if it refuses the key, or has no such model."""
        server, is_dropped = assignment.server, isinstance(problem, _PERMANENT_PROBLEMS)
        is_silent = isinstance(problem, ServerUnreachable | ServerStalled)
        is_new = self._router.set_aside(assignment, problem, cancel_unanswered=is_silent, is_dropped=is_dropped)
        if is_new and not is_dropped:
            is_interactive = request.priority is Priority.INTERACTIVE
            self._start_recovery(server, None if is_interactive else request, tries)

    def _start_recovery(self, server: RoutedServer, request: Request | None = None, tries: int = 1) -> None:
        threading.Thread(target=self._recover, args=(server, request, tries), name="recovery", daemon=True).start()

    def _recover(self, server: RoutedServer, request: Request | None, tries: int) -> None:
        """Ask a server that is set aside, with growing pauses, until it may be used again.

        It is asked for its model, and for a word in the way of ``request``, which has failed there so many times. A
        server that is busy is not asked at first.
        """
        is_busy = isinstance(server.error, RateLimited) and server.failures < self._retry_policy.max_tries
        with suppress(Cancelled), self._closing.child() as call:
            while True:
                call.sleep(self._retry_policy.pause(max(server.failures, tries), server.pause or None))
                if server.is_up:
                    return
                if is_busy:
                    self._router.restore(server, is_busy=True)
                    return
                try:
                    usage = self._check_server(server, call, request)
                except Cancelled:
                    raise
                except Exception as error:  # noqa: BLE001 (raised to the requests that no other server answers)
                    is_dropped = not isinstance(error, LlmError) or isinstance(error, _PERMANENT_PROBLEMS)
                    self._router.record_failure(server, error, is_dropped=is_dropped)
                    if is_dropped:
                        return
                else:
                    if self.budget is not None:
                        self.budget.charge(usage)
                    self._router.restore(server)
                    return

    # ---- models ---------------------------------------------------------------------------------------------------

    def _connect(self) -> Mapping[RoutedServer, ServerModel]:
        """Ask all servers at once for their models, the first time; return the models of those that answered.

        Servers that do not answer are set aside. A single one is not asked if its model and context are configured.
        Raises as ``info``.
        """
        with self._connecting:
            named = self._members[0].configured_model
            if not self._models and len(self._members) == 1 and named is not None:
                self._models = {self._router.servers[0]: named}
            if not self._models:
                found, errors = self._ask_models()
                if not found:
                    raise self._find_startup_error(errors)
                models: dict[RoutedServer, ServerModel] = {}
                for server, model in sorted(found.items(), key=lambda pair: pair[0].number):
                    self._check_model(server, model, models)
                    models[server] = model
                for server in self._router.servers:
                    if server not in found:
                        error = errors.get(server) or self._startup_error(server)
                        is_dropped = isinstance(error, _PERMANENT_PROBLEMS)
                        self._router.record_failure(server, error, is_dropped=is_dropped)
                        if not is_dropped:
                            self._start_recovery(server)
                self._models = models
            return self._models

    def _ask_models(self) -> tuple[dict[RoutedServer, ServerModel], dict[RoutedServer, LlmError]]:
        """Return the models of the servers, and ``_STARTUP_FAILURES`` of others. Raises every other error."""
        answers: queue.SimpleQueue[tuple[RoutedServer, ServerModel | Exception]] = queue.SimpleQueue()
        found: dict[RoutedServer, ServerModel] = {}
        errors: dict[RoutedServer, LlmError] = {}
        asking = RemoteCall(self._interrupt.deadline)
        until: float | None = None

        def ask(server: RoutedServer) -> None:
            try:
                member = self._members[server.number]
                with asking.child() as call:
                    answers.put((server, self._questions.run(call, lambda: member.identify(call))))
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
                elif isinstance(answer, _STARTUP_FAILURES) and not isinstance(answer, UntrustedServer):
                    errors[server] = answer
                else:
                    self._interrupt.check()
                    raise answer
        finally:
            asking.cancel()
        return found, errors

    def _find_startup_error(self, errors: Mapping[RoutedServer, LlmError]) -> LlmError:
        """Return the error of servers of which none has told its model: several that answer something else are useless.

        A server that does not answer may come back.
        """
        first = errors[min(errors, key=lambda server: server.number)]
        if len(errors) == 1 or not all(isinstance(error, RemoteError) for error in errors.values()):
            return first
        return UnavailableError(self._router.label, detail=f"no server has a list of models: {_describe(first)}")

    def _startup_error(self, server: RoutedServer) -> TemporaryFailure:
        label = self._members[server.number].server.label
        return ServerStalled(
            label, detail=f"it did not answer within {_STARTUP_GRACE_S:g} seconds after another server"
        )

    def _check_model(self, server: RoutedServer, model: ServerModel, known: Mapping[RoutedServer, ServerModel]) -> None:
        """Raise ``ConfigError`` if the model of a server differs from a ``known`` one, also from its own before."""
        other = next((other for other, has in known.items() if self._differ(model, has)), None)
        if other is not None and not self.server.mixed:
            raise different_models(self._members[other.number], known[other], self._members[server.number], model)

    def _differ(self, model: ServerModel, other: ServerModel) -> bool:
        """Whether two models differ; for labels also if only one of the servers gives those of its own machine."""
        return model.differs_from(other) or (self.labels and (model.details is None) is not (other.details is None))


def different_models(
    one: RemoteBackend, model: ServerModel, other: RemoteBackend, differing: ServerModel
) -> ConfigError:
    """Return the error for servers behind one name with different models."""
    if one is other:
        return ConfigError(one.server.label, detail=f"it had {model}, and has {differing} now")
    said = f"{one.server.base_url} has {model}, and {other.server.base_url} has {differing}"
    detail = f"the servers have different models: {said}. To use them together: mixed: true"
    return ConfigError(f"backends.{one.server.name}.base_urls", detail=detail)


def _with_usage(answer: tuple[T, Usage]) -> tuple[tuple[T, Usage], Usage]:
    return answer, answer[1]


@slotted
class _RequestFailures:
    """The ``count`` of the failures of one request, and the ``servers`` where it failed.

    Those of busy servers do not count while others are answered: ``num_answered`` of all requests so far.
    """

    num_answered: int
    count: int = 0
    servers: set[RoutedServer] = field(default_factory=set)

    def add(self, server: RoutedServer, error: LlmError, num_answered: int, attempts: int) -> None:
        """Add a failure, for which the request was sent so many times."""
        if isinstance(error, RateLimited) and num_answered > self.num_answered:
            self.count, self.num_answered = 0, num_answered
        self.count += attempts
        self.servers.add(server)


def _concerns_server(error: LlmError) -> bool:
    """Whether an error may say that the server answers no request, and not only that it does not answer this one."""
    return isinstance(error, _SERVER_PROBLEMS) and not isinstance(error, BadRequest | NoLabelAnswered | Unsupported)


def _describe(error: Exception) -> str:
    return (error.detail if isinstance(error, LlmError) else "") or str(error) or type(error).__name__
