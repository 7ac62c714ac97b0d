"""A job on a remote server: a thread for each running request, and one queue for their events."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from llmcli.backends.remote.transport.cost_budget import CostBudget
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.backends.remote.transport.request_queue import RequestOrder
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import LlmError, Unsupported
from llmcli.errors.network_errors import NotOnServers
from llmcli.fast_dataclass import replace
from llmcli.job_queue import MAX_QUEUED_EVENTS, POLL_S, BaseJob, JobHost
from llmcli.network.cancellation import Cancelled, DeadlineExceeded
from llmcli.types import (
    UNKNOWN_USAGE,
    Embeddings,
    Event,
    Finished,
    FinishReason,
    Phase,
    Priority,
    ReasoningDelta,
    Request,
    RequestProgress,
    TextDelta,
    Timings,
    Usage,
)

_REPORT_INTERVAL_S = 0.25
"""Seconds between two reports on the progress of one request."""
_CHARS_PER_TOKEN = 4
"""Characters per token, for servers that send several tokens at once."""
_submissions = itertools.count(1)


class RemoteHost(JobHost, Protocol):
    """What a job needs of the backend that knows the server. Its calls raise as ``RemoteCall.check``."""

    server: ServerConfig
    max_concurrency: int
    labels: bool
    """Whether hidden states may be asked for, which our own server gives for labels."""
    budget: CostBudget | None

    def report_warnings(self) -> None:
        """Warn of what concerns all answers of a server, each once."""
        ...

    def stream(self, call: RemoteCall, request: Request, put: Callable[[Event], None]) -> Finished:
        """Pass on the pieces of an answer, with its progress if the request asks for it, and return its end."""
        ...

    def generate_structured(self, call: RemoteCall, request: Request) -> tuple[list[Event], Finished]:
        """Return JSON of the request's schema, or one of its labels."""
        ...

    def score(self, call: RemoteCall, request: Request) -> tuple[list[Event], Usage]:
        """Return the scores of candidates, and hidden states."""
        ...

    def embed(self, call: RemoteCall, request: Request) -> tuple[Embeddings, Usage]:
        """Return the vectors of texts."""
        ...


class RemoteJob(BaseJob[Event]):
    """A job on the server that ``backend`` knows."""

    def __init__(self, backend: RemoteHost) -> None:
        super().__init__(backend, queue.Queue(MAX_QUEUED_EVENTS))
        self._backend = backend
        self._pending: list[tuple[RequestOrder, Request]] = []  # a heap
        self._running: dict[str, RemoteCall] = {}
        self._begun: set[str] = set()  # the ids of open requests of which something was accepted
        self._num_threads = 0
        self._has_begun = False

    def submit(self, request: Request) -> None:
        """Add a request. Raises ``CostLimitReached`` if an earlier one was refused, so that an endless job ends."""
        if self._backend.budget is not None and self._has_begun:
            self._backend.budget.check()
        super().submit(request)

    def cancel(self, request_id: str) -> None:
        """End a request."""
        with self._lock:
            waiting = [entry for entry in self._pending if entry[1].id == request_id]
            for entry in waiting:
                self._pending.remove(entry)
                heapq.heapify(self._pending)
            call = self._running.get(request_id)
        if call is not None:
            call.cancel()
        if waiting:
            self._items.put(Finished(request_id, FinishReason.CANCELLED))

    def _start(self, request: Request) -> None:
        with self._lock:
            self._has_begun = True
            order = (request.priority is Priority.BULK, next(_submissions))
            heapq.heappush(self._pending, (order, request))
            if self._num_threads >= self._backend.max_concurrency:
                return
            self._num_threads += 1
        threading.Thread(target=self._run_pending, name="remote", daemon=True).start()

    def _abandon(self) -> None:
        self._backend.report_warnings()
        with self._lock:
            self._pending.clear()
            running = list(self._running.values())
        for call in running:
            call.cancel()

    def _accept_item(self, item: Event) -> Event:
        if not isinstance(item, Finished):
            if item.id not in self._begun:  # later, the last line of its text may not be ended yet
                self._begun.add(item.id)
                self._backend.report_warnings()
            return item
        self._begun.discard(item.id)
        if isinstance(item.error, LlmError) and item.error.ends_job:
            raise item.error
        return item

    # ---- the threads -------------------------------------------------------------------------------------------------

    def _run_pending(self) -> None:
        """Run pending requests until there are none."""
        while True:
            with self._lock:
                if self.consumer_gone or not self._pending:
                    self._num_threads -= 1
                    return
                order, request = heapq.heappop(self._pending)
                cost = self._backend.budget.open() if self._backend.budget is not None else None
                call = self._running[request.id] = RemoteCall(request.deadline, cost, order)
            finished = self._run_to_end(request, call)
            if call.warnings:
                finished = replace(finished, warnings=call.warnings)
            if cost is not None:
                finished = replace(finished, usage=cost.close())
            with self._lock:
                del self._running[request.id]
            self._enqueue(finished, None)

    def _run_to_end(self, request: Request, call: RemoteCall) -> Finished:
        """Run a request and return its end, even if it failed: what it used by then is not known."""
        try:
            return self._run_request(request, call)
        except Cancelled:
            return Finished(request.id, FinishReason.CANCELLED, UNKNOWN_USAGE)
        except DeadlineExceeded:
            return Finished(request.id, FinishReason.TIMEOUT, UNKNOWN_USAGE)
        except Exception as error:  # noqa: BLE001 (the task raises it)
            return Finished(request.id, FinishReason.ERROR, UNKNOWN_USAGE, error=error)

    def _run_request(self, request: Request, call: RemoteCall) -> Finished:
        backend = self._backend
        if request.grammar is not None:
            raise NotOnServers("a grammar", detail=f"{backend.server.label} does not support grammars")
        if request.tools and (request.candidates or request.labels or request.schema is not None):
            raise Unsupported("tools", detail="an answer with tools cannot be constrained on a server elsewhere")
        if request.hidden_states and not backend.labels:
            raise hidden_states_missing(backend.server)
        if request.prompt is not None and (request.schema is not None or request.labels):
            raise NotOnServers("a schema", detail=f"{backend.server.label} constrains answers to messages only")
        if backend.budget is not None:
            request = backend.budget.limit_answer(request)
        if request.candidates or request.hidden_states or request.embeds:
            return self._compute(request, call)
        if request.schema is not None or request.labels:
            events, finished = backend.generate_structured(call, request)
            for event in events:
                self._enqueue(event, call)
            return finished

        return backend.stream(call, request, lambda event: self._enqueue(event, call))

    def _compute(self, request: Request, call: RemoteCall) -> Finished:
        """Answer a request with numbers: scores, hidden states, embeddings."""
        started, computed = time.monotonic(), list[Event]()
        if request.embeds:
            embeddings, usage = self._backend.embed(call, request)
            computed.append(embeddings)
        else:
            computed, usage = self._backend.score(call, request)
        for event in computed:
            self._enqueue(event, call)
        return Finished(request.id, FinishReason.STOP, usage, Timings(total_s=time.monotonic() - started))

    def _enqueue(self, event: Event, call: RemoteCall | None) -> None:
        """Queue an event; wait while the consumer is behind. Raises as ``call.check``."""
        while not self.consumer_gone:
            if call is not None:
                call.check()
            try:
                self._items.put(event, timeout=POLL_S)
            except queue.Full:
                continue
            return


def hidden_states_missing(server: ServerConfig) -> NotOnServers:
    """Return the error for a request for hidden states to a server without them."""
    return NotOnServers("hidden states", detail=f"{server.label} does not give them")


def with_progress(request: Request, put: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a ``put`` that also reports progress: about one token per piece, more for long pieces."""
    if not request.progress:
        return put
    pieces = characters = 0
    due = 0.0

    def hand_on(event: Event) -> None:
        nonlocal pieces, characters, due
        put(event)
        if isinstance(event, TextDelta | ReasoningDelta):
            pieces, characters = pieces + 1, characters + len(event.text)
            now = time.monotonic()
            if now >= due:
                due = now + _REPORT_INTERVAL_S
                put(RequestProgress(request.id, Phase.WRITING, max(pieces, characters // _CHARS_PER_TOKEN)))

    return hand_on
