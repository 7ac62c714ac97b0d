"""The cost of the requests of one command, and its limit.

An amount is reserved before a request is sent: its prompt, estimated from the size of its body, and its longest answer.
When the server has said how many tokens it used, their cost takes the place of the reservation. An answer that broke
off, or came without its usage, counts as all that was reserved for it. A request whose reservation does not fit waits for those that run; when none
does, the limit is reached, and no further request begins.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llmcli.config.backend_config import Price, format_amount
from llmcli.errors import LlmError, Unsupported
from llmcli.errors.incomplete_results import CostLimitReached
from llmcli.fast_dataclass import replace
from llmcli.types import UNKNOWN_USAGE, Request, Usage

MAX_ANSWER_TOKENS = 4096
"""Tokens of an answer without a limit of its own, when there is a limit of cost."""
MIN_ANSWER_TOKENS = 64
"""Tokens below which no shorter answer is asked for to stay within the limit."""
_BYTES_PER_TOKEN = 3.5
_MAX_ESCAPED_SHARE = 2
"""Bytes of JSON for a byte of text, where it is escaped."""
_MAX_FIELD_BYTES = 1024
"""Bytes of a body besides its messages."""
_POLL_S = 0.05
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")
"""Names of the field that limits an answer, in the protocols of servers."""


class CostAttempt:
    """One attempt of a request; ``charged``: the server has begun to answer, so that it may cost something."""

    def __init__(self, amount: float) -> None:
        self.amount = amount
        self.charged = False


class CostBudget:
    """The costs of one command. Safe to use from several threads."""

    def __init__(self, price: Price, limit: float | None = None) -> None:
        """``limit`` None: costs are only counted."""
        self.price = price
        self.limit = limit
        self._condition = threading.Condition()
        self._spent = 0.0
        self._uncertain = 0.0  # at most, of answers whose usage is not known
        self._num_unknown = 0
        self._reserved = 0.0
        self._num_begun = 0  # requests that were sent at least once and have not ended
        self._num_running = 0  # requests that hold a reservation and do not wait for another
        self._num_opened = 0
        self._waiting: list[int] = []  # the numbers of requests that have begun and wait, the first one first
        self._overrun = 1.0  # by how much usage exceeded what was reserved for it, at worst
        self._reached: CostLimitReached | None = None

    @property
    def spent(self) -> float:
        """What the tokens cost that servers have reported."""
        return self._spent

    @property
    def num_unknown(self) -> int:
        """The number of answers that may have cost something, and whose usage is not known."""
        return self._num_unknown

    def charge(self, usage: Usage) -> None:
        """Add the cost of tokens for which nothing was reserved."""
        with self._condition:
            self._spent += self.price.of_usage(usage)
            self._num_unknown += not usage.is_known

    def check(self) -> None:
        """Raise ``CostLimitReached`` once a request was refused."""
        if self._reached is not None:
            raise self._reached

    def open(self) -> RequestCost:
        """Return the cost of one request, to be closed when the request has ended."""
        with self._condition:
            self._num_opened += 1
            return RequestCost(self, self._num_opened)

    def limit_answer(self, request: Request) -> Request:
        """Return ``request`` with a limit of tokens: of what is left where that is short, else the usual one."""
        if self.limit is None or request.max_tokens is not None or not request.writes_text:
            return request
        size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
        prompt = self.price.of_tokens(_estimate_tokens(_MAX_ESCAPED_SHARE * size + _MAX_FIELD_BYTES), 0)
        payable = self.price.tokens_for(max(0.0, self._left() / self._overrun - prompt))
        longest = payable if MIN_ANSWER_TOKENS <= payable < MAX_ANSWER_TOKENS else MAX_ANSWER_TOKENS
        return replace(request, max_tokens=longest)

    def _left(self) -> float:
        return (self.limit or 0.0) - self._spent - self._uncertain - self._reserved

    # ---- for requests ---------------------------------------------------------------------------------------------

    def begin(self, num_bytes: int, answer_tokens: int | None, check: Callable[[], None]) -> float:
        """Reserve the first attempt of a request; see ``reserve``.

        It waits until each request that has begun could be sent once more, so that what was paid for comes to its end.
        """
        amount = self._most(num_bytes, answer_tokens)
        with self._condition:
            self.check()
            while self._exceeds(amount * (1 + self._num_begun)):
                self._wait(amount, check, alone=self._num_begun == 0)
            self._num_begun += 1
            self._num_running += 1
            self._reserved += amount
        return amount

    def reserve(self, number: int, num_bytes: int, answer_tokens: int | None, check: Callable[[], None]) -> float:
        """Reserve what a body of so many bytes and its answer cost at most, and return it.

        ``number``: of the request; those that were opened before go first.
        ``num_bytes``: of the body.
        ``answer_tokens``: the limit of the answer, None if nothing limits it.
        ``check``: raises what ends the wait.

        Raises ``CostLimitReached``, and ``Unsupported`` where nothing limits the answer.
        """
        amount = self._most(num_bytes, answer_tokens)
        with self._condition:
            bisect.insort(self._waiting, number)
            try:
                while self._exceeds(amount) or self._waiting[0] < number:
                    self._wait(amount, check, alone=self._num_running == 0 and self._waiting[0] == number)
            finally:
                self._waiting.remove(number)
                self._condition.notify_all()
            self._num_running += 1
            self._reserved += amount
        return amount

    def _most(self, num_bytes: int, answer_tokens: int | None) -> float:
        if answer_tokens is None and self.limit is not None:
            raise Unsupported("--max-cost", detail="the server takes no limit of tokens for an answer")
        return self.price.of_tokens(_estimate_tokens(num_bytes), answer_tokens or 0) * self._overrun

    def _exceeds(self, amount: float) -> bool:
        return self.limit is not None and amount > self._left()

    def _wait(self, amount: float, check: Callable[[], None], *, alone: bool) -> None:
        """Wait for other requests to end; ``alone``: there are none, so the limit is reached."""
        self.check()
        check()
        if alone:
            self._reached = CostLimitReached(
                limit=format_amount(self.limit or 0.0, self.price.currency),
                needed=format_amount(amount, self.price.currency),
                left=format_amount(max(0.0, self._left()), self.price.currency),
            )
            self._condition.notify_all()
            raise self._reached
        self._condition.wait(_POLL_S)

    def end(self) -> None:
        """Take the end of a request that had begun."""
        with self._condition:
            self._num_begun -= 1
            self._condition.notify_all()

    def release(self, amount: float, *, charged: bool) -> None:
        """Give back the reservation of an attempt whose usage is not known; ``charged``: it counts as spent."""
        with self._condition:
            self._reserved -= amount
            self._uncertain += amount if charged else 0.0
            self._num_unknown += charged
            self._num_running -= 1
            self._condition.notify_all()

    def settle(self, amount: float, usage: Usage) -> None:
        """Put the cost of the tokens that were used in the place of an attempt's reservation."""
        cost = self.price.of_usage(usage)
        with self._condition:
            self._reserved -= amount
            self._spent += cost
            self._num_running -= 1
            if amount > 0:
                self._overrun = max(self._overrun, cost / amount)
            self._condition.notify_all()


class RequestCost:
    """The reservations of one request, which may be sent several times. For one thread."""

    def __init__(self, budget: CostBudget, number: int) -> None:
        self._budget = budget
        self._number = number
        self._begun = False
        self._pending: float | None = None  # reserved for the last attempt, until its usage is settled
        self._usage = Usage()

    @contextmanager
    def attempt(self, body: Any, num_bytes: int, check: Callable[[], None]) -> Iterator[CostAttempt]:
        """Hold a reservation for sending ``body``, of so many bytes, and reading its answer. Raises as ``reserve``.

        When it has come to its end, ``settle`` takes its usage.
        """
        self.settle(UNKNOWN_USAGE)
        limit = find_token_limit(body)
        if self._begun:
            amount = self._budget.reserve(self._number, num_bytes, limit, check)
        else:
            amount = self._budget.begin(num_bytes, limit, check)
            self._begun = True
        attempt, self._pending = CostAttempt(amount), amount
        try:
            yield attempt
        except BaseException as error:
            # an answer with an error costs nothing; a server that fell silent may have worked all the time
            if attempt.charged or not isinstance(error, LlmError):
                self.settle(UNKNOWN_USAGE)
            else:
                self._budget.release(amount, charged=False)
                self._pending = None
            raise

    def settle(self, usage: Usage) -> None:
        """Take the usage of the last attempt, if it has not been settled: an unknown one costs what was reserved."""
        if self._pending is None:
            return
        if usage.is_known:
            self._budget.settle(self._pending, usage)
        else:
            self._budget.release(self._pending, charged=True)
        self._pending = None
        self._usage += usage

    def close(self) -> Usage:
        """End the request; return the usage of all attempts that may have cost something."""
        self.settle(UNKNOWN_USAGE)
        if self._begun:
            self._budget.end()
            self._begun = False
        return self._usage


def find_token_limit(body: Any) -> int | None:
    """Return the longest answer that a request's body asks for, in tokens; None where it has no limit.

    To score candidates, our own servers generate nothing, nor does any server for embeddings, whose input is texts.
    """
    if not isinstance(body, Mapping):
        return None
    inputs = body.get("input")
    if "candidates" in body or (isinstance(inputs, list) and all(isinstance(each, str) for each in inputs)):
        return 0
    settings = body.get("generationConfig")
    for fields in (body, settings if isinstance(settings, Mapping) else {}):
        for name in _TOKEN_LIMITS:
            if isinstance(fields.get(name), int):
                return int(fields[name])
    return None


def _estimate_tokens(num_bytes: int) -> int:
    """Return about how many tokens so many bytes have, rather too many than too few."""
    return int(num_bytes / _BYTES_PER_TOKEN) + 1
