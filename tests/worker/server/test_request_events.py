"""Waiting pieces of one text are sent as one."""

from __future__ import annotations

from llmcli.types import Finished, FinishReason, TextDelta
from llmcli.worker.server.event_queue import merge_text_events


def test_neighbouring_pieces_of_one_text_become_one():
    """Pieces of another choice, and other events, keep their positions."""
    end = Finished("a", FinishReason.STOP)
    events = [TextDelta("a", "x"), TextDelta("a", "y"), TextDelta("b", "z"), TextDelta("a", "w"), end]
    assert merge_text_events(events) == [TextDelta("a", "xy"), TextDelta("b", "z"), TextDelta("a", "w"), end]
    assert merge_text_events([]) == []
