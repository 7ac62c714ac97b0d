"""Decides what to do after an answer for a piece of a segment."""

from __future__ import annotations

from enum import Enum, auto

MAX_SEGMENT_ATTEMPTS = 2
"""Attempts at a whole segment; after those, each of its sentences has one."""


class NextStep(Enum):
    """Accept the answer, retry, retry each sentence separately, or leave the segment untranslated."""

    ACCEPT = auto()
    RETRY = auto()
    SPLIT = auto()
    ABANDON = auto()


def decide_next_step(
    *, is_valid: bool, attempt: int, is_last_attempt: bool, ended_by_user: bool, sentences: int
) -> NextStep:
    """Return the step after attempt number ``attempt`` (from 1) at a piece of ``sentences`` sentences.

    ``is_last_attempt``: the piece has no further attempt. ``ended_by_user``: the user's own limit ended the answer, as
    it would end a retry.
    """
    if is_valid:
        return NextStep.ACCEPT
    if is_last_attempt:
        return NextStep.ABANDON
    if attempt < MAX_SEGMENT_ATTEMPTS and not ended_by_user:
        return NextStep.RETRY
    return NextStep.SPLIT if sentences > 1 else NextStep.ABANDON
