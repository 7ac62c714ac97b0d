"""One conversation with a server after the other: tries again what may pass, and leaves out what is refused."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from llmcli.backends.remote import body
from llmcli.backends.remote.call import Call
from llmcli.backends.remote.client import Answer, Client
from llmcli.backends.remote.keys import Key
from llmcli.backends.remote.known import OPTIONAL, Known
from llmcli.backends.remote.limiter import Busy, Limiter
from llmcli.backends.remote.reading import DONE, Reader
from llmcli.backends.remote.refusals import BadRequest
from llmcli.backends.remote.sse import EventStream, TooLong
from llmcli.errors import RemoteError, TryAgain
from llmcli.servers import Unreachable
from llmcli.types import Event, Finished, Request, TextPiece

CHAT = "/chat/completions"
_EVENT = 4096
"""Bytes that a chunk for one token may take, on average: with twenty alternatives it is about three quarters of that."""
_EXTRA = 1024
"""Chunks more than tokens: signs of life, the first and the last."""
_ENDLESS = 1 << 17
"""Tokens of an answer without a limit."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """``tries`` for one request, of which ``connects`` may find nobody; the pause doubles from ``pause`` seconds.

    Who is asked to wait longer than ``longest`` seconds does not try again.
    """

    tries: int = 5
    connects: int = 3
    pause: float = 0.5
    longest: float = 60.0


class Speaker:
    """Speaks with one server about one model. Safe to use from several threads."""

    def __init__(self, client: Client, key: Key, patience: Patience) -> None:
        self.client = client
        self.server = client.server
        self.limiter = Limiter(self.server.concurrency, patience.longest)
        self._key = key
        self._patience = patience
        self._random = random.Random()  # noqa: S311 (spreads tries over time)

    # ---- patience -------------------------------------------------------------------------------------------------

    def patiently(self, call: Call, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns; one that fails with ``TryAgain`` is repeated, unless something was delivered.

        A server that is too busy for this one, but has answered others meanwhile, is not given up.
        """
        failures, answered = 0, self.limiter.answered
        while True:
            try:
                with self.limiter.turn(call):
                    return attempt()
            except TryAgain as error:
                if isinstance(error, Busy) and self.limiter.answered > answered:
                    failures, answered = 0, self.limiter.answered
                failures += 1
                wait = self._pause(failures, error.retry_after)
                tries = self._patience.connects if isinstance(error, Unreachable) else self._patience.tries
                if call.delivered or failures >= tries or wait > self._patience.longest:
                    raise
                call.sleep(wait)

    def _pause(self, failures: int, asked: float | None) -> float:
        """Return how long to wait: with jitter, so that those that were refused together do not come back together."""
        usual: float = self._patience.pause * 2 ** (failures - 1)
        if asked is not None:
            return asked if asked > self._patience.longest else asked + self._random.uniform(0, self._patience.pause)
        return min(usual, self._patience.longest) * self._random.uniform(0.5, 1.0)

    def adapted(
        self, call: Call, known: Known, make: Callable[[], Mapping[str, Any]], send: Callable[[dict[str, Any]], T]
    ) -> T:
        """Return what ``send`` makes of the fields of ``make`` that the server takes, which may turn out meanwhile."""
        for _ in range(len(OPTIONAL) + 1):
            fields = body.taken(make(), known)
            try:
                return self.patiently(call, lambda fields=fields: send(fields))  # type: ignore[misc]
            except BadRequest as refused:
                if call.delivered or body.learn(refused, fields, known) is None:
                    raise
        raise AssertionError("each round leaves out one field more")

    # ---- asking ---------------------------------------------------------------------------------------------------

    def get(self, call: Call, path: str, *, root: bool = False) -> Any:
        """Return the JSON object at ``path``; see ``Client.open`` for what it raises."""
        return self.patiently(call, lambda: self.client.ask(call, "GET", path, root=root))

    def post(self, call: Call, path: str, known: Known, make: Callable[[], Mapping[str, Any]]) -> Any:
        """Return the JSON object that is the answer to a body; see ``Client.open`` for what it raises."""
        return self.adapted(call, known, make, lambda fields: self.client.ask(call, "POST", path, fields))

    def stream(
        self,
        call: Call,
        request: Request,
        known: Known,
        make: Callable[[], Mapping[str, Any]],
        put: Callable[[Event], None],
    ) -> Finished:
        """Hand the pieces of an answer to ``put`` as they come and return its end.

        Raises as ``Client.open``; ``TryAgain`` also for an answer that broke off after something of it was handed on.
        """
        return self.adapted(call, known, make, lambda fields: self._once(call, request, fields, put))

    def text(
        self, call: Call, request: Request, known: Known, make: Callable[[], Mapping[str, Any]]
    ) -> tuple[str, Finished]:
        """Return an answer when it is whole, and its end; so that it can be tried again at any time."""
        events: list[Event] = []

        def send(fields: dict[str, Any]) -> Finished:
            events.clear()
            return self._once(call, request, fields, events.append, quiet=True)

        finished = self.adapted(call, known, make, send)
        return "".join(event.text for event in events if isinstance(event, TextPiece)), finished

    def _once(
        self,
        call: Call,
        request: Request,
        fields: Mapping[str, Any],
        put: Callable[[Event], None],
        *,
        quiet: bool = False,
    ) -> Finished:
        """Send a request once; ``quiet``: what is put is delivered to nobody yet."""
        reader = Reader(request, self.server, self._key)

        def hand_on(event: Event) -> None:
            call.delivered = call.delivered or not quiet
            put(event)

        try:
            self._hear(call, request, fields, reader, hand_on)
        except TryAgain as error:
            if not reader.characters:
                raise
            broke = f"its answer broke off after {reader.characters:,} characters"
            raise TryAgain(self.server.label, detail=f"{broke} ({error.detail})") from error
        *pieces, finished = reader.end()
        for event in pieces:
            hand_on(event)
        assert isinstance(finished, Finished)
        return finished

    def _hear(
        self, call: Call, request: Request, fields: Mapping[str, Any], reader: Reader, hand_on: Callable[[Event], None]
    ) -> None:
        """Send a request and hand on the pieces of its answer."""
        with self.client.open(call, "POST", CHAT, fields) as answer:
            if answer.kind == "text/event-stream":
                self._read(call, answer, reader, (request.max_tokens or _ENDLESS) + _EXTRA, hand_on)
            elif answer.kind == "application/json":  # a server that does not stream
                for event in reader.take_whole(self.client.parsed(answer, answer.whole())):
                    hand_on(event)
            else:
                kind = "a web page" if answer.kind == "text/html" else f"an answer of type {answer.kind}"
                raise RemoteError(self.server.label, detail=f"{kind} came instead of an answer")

    def _read(self, call: Call, answer: Answer, reader: Reader, chunks: int, put: Callable[[Event], None]) -> None:
        stream, size, heard = EventStream(), 0, time.monotonic()
        for block in answer.blocks():
            call.check()
            size += len(block)
            if size > chunks * _EVENT:
                raise RemoteError(self.server.label, detail=f"its answer does not end ({size:,} bytes so far)")
            try:
                for data in stream.feed(block):
                    if data.strip() == DONE:
                        answer.drain()
                        return
                    for event in reader.take(data):
                        heard = time.monotonic()
                        put(event)
            except TooLong as error:
                raise RemoteError(self.server.label, detail="a part of its answer does not end") from error
            except UnicodeDecodeError as error:
                raise RemoteError(self.server.label, detail="its answer is not UTF-8") from error
            if time.monotonic() - heard > self.server.timeout:
                raise TryAgain(
                    self.server.label, detail=f"no piece of an answer came in {self.server.timeout:g} seconds"
                )
