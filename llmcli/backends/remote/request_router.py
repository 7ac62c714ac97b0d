"""The choice between several servers for a request, and those of them that are set aside.

A request costs the tokens that a server has to evaluate for it: those of its prompt, except for the prefix that an
earlier request had there too, and those of its answer. It goes to the server where this cost and that of the requests
in flight add up to least: to the one with the fewest tokens in flight, or near its prefix as long as that costs less
than the wait. This is the sum of Preble (Srivatsa et al. 2024) without the cost of evicting other prefixes, which
servers do not tell.

A server that fails is set aside until it answers again. An interactive request does not wait for that: it goes to a
server that is set aside if there is no other.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from itertools import takewhile

from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.backends.remote.transport.request_queue import RequestQueue
from llmcli.errors import LlmError, TemporaryFailure
from llmcli.errors.network_errors import RateLimited
from llmcli.fast_dataclass import field, slotted
from llmcli.interrupt import Interrupt
from llmcli.network.cancellation import Cancelled
from llmcli.types import Priority, Request, Usage

_POLL_S = 0.05
_BLOCK_CHARS = 256
"""Characters of a prompt that are compared as a whole."""
_MAX_BLOCKS = 4096
"""Blocks that a server is assumed to keep evaluated: about 300,000 tokens."""
_FIRST_ANSWER_TOKENS = 128
"""Assumed length of an answer until the first one has come."""
MAX_SILENCE_S = 60.0
"""Seconds after which a job no longer waits for servers of which none answers anything."""
_MAX_BUSY_ANSWERS = 8
"""Failures in a row, about a minute, after which a job no longer waits for servers that say that they are busy."""
_MAX_FIRST_FAILURES = 3
"""Failures in a row after which a job does not begin."""
_MAX_AWAITED_PAUSE_S = 60.0
"""Requests do not wait for a server that asks for a longer pause."""


@slotted
class RoutedServer:
    """What is known of one server.

    ``tokens`` of requests are in flight there. ``is_up`` False: it is set aside. ``changed_at``: when that last
    changed. ``failures``: in a row. ``error``: why it failed last; ``is_dropped``: it will not come back.
    ``silent_since``: when it was set aside, or last said that it is busy. ``has_answered``: it has answered at least
    once.
    """

    number: int
    tokens: float = 0.0
    answered: int = 0
    failed: int = 0
    is_up: bool = True
    is_dropped: bool = False
    changed_at: float = 0.0
    failures: int = 0
    pause: float = 0.0
    error: Exception | None = None
    silent_since: float = 0.0
    has_answered: bool = False
    blocks: OrderedDict[int, None] = field(default_factory=OrderedDict)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def is_awaited(self) -> bool:
        """Whether jobs wait for it if no other server is up."""
        return self.is_up or not (self.is_dropped or self.pause > _MAX_AWAITED_PAUSE_S)

    def count_known(self, blocks: list[int]) -> int:
        """Return how many of the first blocks of a prompt an earlier one had, too."""
        return sum(1 for _ in takewhile(self.blocks.__contains__, blocks))

    def remember(self, blocks: list[int]) -> None:
        """Remember the blocks of a prompt, instead of those that were used least recently."""
        for block in reversed(blocks):  # the last ones of a prompt are forgotten first
            self.blocks[block] = None
            self.blocks.move_to_end(block)
        while len(self.blocks) > _MAX_BLOCKS:
            self.blocks.popitem(last=False)


@slotted
class Assignment:
    """A request at a server: the tokens that it has to evaluate, when it was assigned, and the token of the attempt."""

    server: RoutedServer
    tokens: float
    began: float
    call: RemoteCall

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class RequestRouter:
    """Chooses servers for requests. Safe to use from several threads."""

    def __init__(
        self,
        count: int,
        label: str = "",
        clock: Callable[[], float] = time.monotonic,
        *,
        interrupt: Interrupt | None = None,
    ) -> None:
        """``label`` names the servers in errors. ``interrupt``: while it drains, no request waits for a server."""
        self.servers = [RoutedServer(number) for number in range(count)]
        self.peak_running = 0
        """The most requests in flight at once."""
        self.num_answered = 0
        """Requests that were answered so far."""
        self.label = label
        self._clock = clock
        self._interrupt = interrupt
        self._condition = threading.Condition()
        self._queue = RequestQueue()
        self._in_flight: set[Assignment] = set()
        self._answer_tokens = float(_FIRST_ANSWER_TOKENS)

    def assign(
        self, request: Request, prompt_tokens: int, call: RemoteCall, failed: Collection[RoutedServer] = ()
    ) -> Assignment:
        """Return the server for a request; one of a job waits while all are set aside. ``release`` it afterwards.

        Of the requests that wait, the one that was submitted first is next.
        ``call`` is the token of this attempt. Servers that have ``failed`` the request are chosen if there is no other.
        Raises ``TemporaryFailure``, which ends a job, if none has answered for ``MAX_SILENCE_S``, the last error of a server if none is
        expected to come back, and as ``RemoteCall.check``. Such an error of a job ``ends_job``.
        """
        is_interactive = request.priority is Priority.INTERACTIVE
        blocks = list(_hash_blocks(request))
        waiting_since = self._clock()
        with self._condition:
            with self._queue.enqueue(call.order) as ticket:
                while not (
                    (available := self._available_servers(is_interactive=is_interactive))
                    and self._queue.is_first(ticket)
                ):
                    error = None if available else self._find_last_error(waiting_since)
                    if isinstance(error, LlmError):
                        error.ends_job = not is_interactive
                    if error is not None:
                        raise error
                    if self._interrupt is not None and self._interrupt.draining and not available:
                        raise Cancelled
                    call.check()
                    self._condition.wait(_POLL_S)
            fresh = [server for server in available if server not in failed] or available
            costs = [self._cost(server, request, prompt_tokens, blocks) for server in fresh]
            tokens, server = min(
                zip(costs, fresh, strict=True), key=lambda pair: (pair[1].tokens + pair[0], pair[0], pair[1].answered)
            )
            server.tokens += tokens
            server.remember(blocks)
            assignment = Assignment(server, tokens, self._clock(), call)
            self._in_flight.add(assignment)
            self.peak_running = max(self.peak_running, len(self._in_flight))
            self._condition.notify_all()  # the next one may be assigned, too
            return assignment

    def _available_servers(self, *, is_interactive: bool) -> list[RoutedServer]:
        up = [server for server in self.servers if server.is_up]
        return up or [server for server in self.servers if is_interactive and not server.is_dropped]

    def _cost(self, server: RoutedServer, request: Request, prompt_tokens: int, blocks: list[int]) -> float:
        """Return the tokens that a server has to evaluate for a request: at least those of the last block."""
        known = min(server.count_known(blocks), len(blocks) - 1) / len(blocks) if blocks else 0.0
        answer = min(request.max_tokens or self._answer_tokens, self._answer_tokens) if request.writes_text else 0.0
        return prompt_tokens * (1 - known) + answer

    def _find_last_error(self, waiting_since: float) -> Exception | None:
        """Return the error that ends a wait: no server is awaited, or they have failed too long, again during the wait.

        A job does not wait long for servers of which none has answered yet.
        """
        awaited = [server for server in self.servers if server.is_awaited]
        last = max(self.servers, key=lambda server: server.changed_at)
        if not awaited or last.error is None:
            return last.error
        if last.changed_at < waiting_since:
            return None
        has_answered = any(server.has_answered for server in self.servers)
        failures = min(server.failures for server in awaited)
        silence_s = self._clock() - max(server.silent_since for server in awaited)
        if has_answered and silence_s >= MAX_SILENCE_S:
            said = (last.error.detail if isinstance(last.error, LlmError) else "") or type(last.error).__name__
            who = "none has" if len(self.servers) > 1 else "it has not"
            return TemporaryFailure(
                self.label,
                detail=f"{who} answered for {MAX_SILENCE_S:g} seconds: {said}",
                ends_job=True,
                message="{subject}: {detail}",
                advice="Start a server again, or check the addresses: llm config show backends",
                type_name="ServersUnreachable",
            )
        is_busy = any(isinstance(server.error, RateLimited) for server in awaited)
        if failures >= (_MAX_BUSY_ANSWERS if is_busy else _MAX_FIRST_FAILURES) and (is_busy or not has_answered):
            return last.error
        return None

    def release(self, assignment: Assignment, usage: Usage | None = None, *, failed: bool = False) -> None:
        """End an assignment, that ``failed`` or not; ``usage`` of an answer that came to its end."""
        server = assignment.server
        with self._condition:
            self._in_flight.discard(assignment)
            server.tokens -= assignment.tokens
            server.failed += failed
            if usage is not None:
                server.answered += 1
                self.num_answered += 1
                if assignment.began >= server.changed_at:
                    self._mark_available(server)
                if usage.completion_tokens:
                    self._answer_tokens += (usage.completion_tokens - self._answer_tokens) / 16
            self._condition.notify_all()

    def set_aside(
        self, assignment: Assignment, error: LlmError, *, cancel_unanswered: bool = False, is_dropped: bool = False
    ) -> bool:
        """Set the server of a failed assignment aside; return whether it was not before.

        ``cancel_unanswered``: it does not answer at all, so the requests there of which nothing has come are cancelled.
        ``is_dropped``: it will not be tried again.
        """
        server = assignment.server
        with self._condition:
            if not server.is_up or assignment.began < server.changed_at:  # a failure that belongs to an earlier one
                return False
            server.is_dropped = is_dropped
            self._mark_unavailable(server, error)
            for other in self._in_flight if cancel_unanswered else ():
                if other.server is server and not other.call.received:
                    other.call.cancel()
            return True

    def record_failure(self, server: RoutedServer, error: Exception, *, is_dropped: bool = False) -> None:
        """Take that a server still fails, or failed when it was tried; ``is_dropped``: it will not be tried again."""
        with self._condition:
            server.failed += 1
            server.is_dropped = is_dropped
            self._mark_unavailable(server, error)

    def _mark_unavailable(self, server: RoutedServer, error: Exception) -> None:
        now = self._clock()
        if server.is_up or isinstance(error, RateLimited):
            server.silent_since = now
        server.is_up, server.changed_at, server.error = False, now, error
        server.failures += 1
        server.pause = getattr(error, "retry_after", None) or 0.0
        server.blocks.clear()  # it may have been restarted
        self._condition.notify_all()

    def restore(self, server: RoutedServer, *, is_busy: bool = False) -> None:
        """Let a server that was set aside have requests again: it has answered, or ``is_busy``, so nothing was asked."""
        with self._condition:
            if is_busy:
                server.is_up, server.changed_at = True, self._clock()
            else:
                self._mark_available(server)
            self._condition.notify_all()

    def _mark_available(self, server: RoutedServer) -> None:
        if not server.is_up:
            server.is_up, server.changed_at = True, self._clock()
        server.failures, server.has_answered = 0, True


def _hash_blocks(request: Request) -> Iterator[int]:
    """Yield a number for each block of a prompt that depends on it and on all before it."""
    text = request.prompt or "\0".join(f"{message.role}\0{message.content}" for message in request.messages)
    key = 0
    for start in range(0, len(text), _BLOCK_CHARS):
        key = hash((key, text[start : start + _BLOCK_CHARS]))
        yield key
