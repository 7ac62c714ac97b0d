"""The amount of work of a job, as ``--dry-run`` shows it."""

from __future__ import annotations

from collections.abc import Iterable

from llmcli.backends.base import Backend
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import check_interrupt
from llmcli.types import Request

_COUNTED_AT_ONCE = 256


@frozen
class WorkRange:
    """The least and the most that answers of the model can lead to: calls, and the tokens of their prompts."""

    min_calls: int
    max_calls: int
    min_tokens: int
    max_tokens: int


@frozen
class WorkEstimate:
    """The work for one input. ``passages``: cuts of the input; ``calls``: requests to the model.

    ``prompt_tokens`` are those of all calls, also where several share a beginning that is evaluated once.
    ``answer_tokens``: about how many are generated. ``reused_tokens``: those of prompts that need no evaluation, since
    an earlier call began with them. ``decided_by_answers``: the range in which calls and prompt tokens are, if answers
    of the model decide about some of them; None: they are exact.
    """

    name: str
    method: str
    passages: int
    calls: int
    prompt_tokens: int
    answer_tokens: int = 0
    reused_tokens: int = 0
    decided_by_answers: WorkRange | None = None

    @property
    def bounds(self) -> WorkRange:
        """The range in which calls and prompt tokens are."""
        calls, tokens = self.calls, self.prompt_tokens
        return self.decided_by_answers or WorkRange(calls, calls, tokens, tokens)


def sum_work(name: str, works: Iterable[WorkEstimate]) -> WorkEstimate:
    """Return the work of several parts of an input together; the method is that of the first."""
    parts = [*works]
    bounds = [part.bounds for part in parts]
    return WorkEstimate(
        name,
        parts[0].method,
        sum(part.passages for part in parts),
        sum(part.calls for part in parts),
        sum(part.prompt_tokens for part in parts),
        sum(part.answer_tokens for part in parts),
        sum(part.reused_tokens for part in parts),
        WorkRange(
            sum(each.min_calls for each in bounds),
            sum(each.max_calls for each in bounds),
            sum(each.min_tokens for each in bounds),
            sum(each.max_tokens for each in bounds),
        ),
    )


def count_requests(backend: Backend, requests: Iterable[Request]) -> tuple[int, int]:
    """Return the number of requests and the tokens of their prompts; not all are kept at once."""
    number = tokens = 0
    waiting: list[Request] = []
    for request in requests:
        waiting.append(request)
        if len(waiting) == _COUNTED_AT_ONCE:
            number, tokens = number + len(waiting), tokens + _count(backend, waiting)
            waiting = []
    return number + len(waiting), tokens + _count(backend, waiting)


def _count(backend: Backend, requests: list[Request]) -> int:
    check_interrupt()
    return sum(backend.count(requests)[0]) if requests else 0
