"""Notices about servers that can only estimate the probabilities of labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmcli.types import Notice, Result, TaskEvent

_METHOD_NOTICES = {
    "logprobs": "the server cannot score whole labels: the probabilities are those of the first tokens of an answer",
    "samples": "the server cannot score labels and reports no log-probabilities: answers were sampled and counted",
}


def add_scoring_notices(events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
    """Add a Notice before the first result of each way of scoring that only estimates."""
    told = set()
    for event in events:
        method = event.fields.get("scoring", "") if isinstance(event, Result) else ""
        if isinstance(event, Result) and method in _METHOD_NOTICES and method not in told:
            told.add(method)
            yield Notice(_METHOD_NOTICES[method], event.item)
        yield event
