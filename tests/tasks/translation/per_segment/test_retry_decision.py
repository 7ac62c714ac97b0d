import pytest

from llmcli.tasks.translation.per_segment.retry_decision import NextStep, decide_next_step


@pytest.mark.parametrize(
    ("is_valid", "attempt", "is_last_attempt", "ended_by_user", "sentences", "step"),
    [
        (True, 1, False, False, 0, NextStep.ACCEPT),
        (True, 2, True, True, 0, NextStep.ACCEPT),
        (False, 1, False, False, 3, NextStep.RETRY),
        (False, 1, False, False, 1, NextStep.RETRY),
        (False, 2, False, False, 3, NextStep.SPLIT),
        (False, 2, False, False, 1, NextStep.ABANDON),
        (False, 1, False, True, 3, NextStep.SPLIT),
        (False, 1, False, True, 1, NextStep.ABANDON),
        (False, 1, True, False, 3, NextStep.ABANDON),
        (False, 2, True, True, 3, NextStep.ABANDON),
    ],
)
def test_the_step_after_an_answer(*, is_valid, attempt, is_last_attempt, ended_by_user, sentences, step):
    """A segment has two attempts, then each of its sentences one; a limit of the user ends a retry as well."""
    decided = decide_next_step(
        is_valid=is_valid,
        attempt=attempt,
        is_last_attempt=is_last_attempt,
        ended_by_user=ended_by_user,
        sentences=sentences,
    )
    assert decided is step
