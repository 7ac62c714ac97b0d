"""One request to a server: its cost and its place in the queue, its cancellation, and what is known of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from llmcli.backends.remote.transport.request_queue import HIGHEST_PRIORITY, RequestOrder
from llmcli.network.cancellation import CancelToken

if TYPE_CHECKING:
    from llmcli.backends.remote.transport.cost_budget import RequestCost
    from llmcli.types import Usage


class RemoteCall(CancelToken):
    """``delivered`` is set when a piece of the answer was passed on.

    ``cost`` is that of the request, None where its price is not known. ``order`` decides which of several calls that
    wait for a server goes first. ``may_resend``: a request may be sent again, once, over a new connection if the server
    closes an idle one instead of answering; ``num_resent`` counts that. ``answering_model``: the one that the last
    answer names, or "". ``warnings``: about the answer.
    """

    def __init__(
        self, deadline: float | None = None, cost: RequestCost | None = None, order: RequestOrder = HIGHEST_PRIORITY
    ) -> None:
        super().__init__(deadline)
        self.cost = cost
        self.order = order
        self.delivered = False
        self.may_resend = True
        self.num_resent = 0
        self.answering_model = ""
        self.warnings: tuple[str, ...] = ()

    def _make_child(self) -> Self:
        return type(self)(self.deadline, self.cost, self.order)

    def settle(self, usage: Usage) -> None:
        """Take the usage of the last attempt, where its price is known."""
        if self.cost is not None:
            self.cost.settle(usage)

    def add_warning(self, text: str) -> None:
        """Add a warning, unless there is the same one."""
        if text not in self.warnings:
            self.warnings += (text,)
