"""The number of prompt tokens that a step takes."""

from __future__ import annotations

import pytest
from engine.tools import Probe, numbers

from llmcli.engine.llama.compute_thread import LONG_STEP_S, SHORT_STEP_S
from llmcli.engine.schedule.batch import TokenBudget
from llmcli.types import Priority


def decoding(priority: Priority) -> Probe:
    sequence = Probe("d", numbers(5, 1), numbers(5, 2), priority=priority)
    sequence.num_generated_tokens, sequence.num_computed_tokens = 1, 4
    return sequence


@pytest.mark.parametrize(
    ("others", "longest_s", "token_s", "expected"),
    [
        ([], LONG_STEP_S, None, 512),
        ([], LONG_STEP_S, 0.001, 512),
        ([], LONG_STEP_S, 0.004, 250),
        ([], LONG_STEP_S, 0.5, 127),
        ([], SHORT_STEP_S, None, 64),
        ([], SHORT_STEP_S, 0.002, 50),
        ([], SHORT_STEP_S, 0.5, 16),
        ([Priority.INTERACTIVE], LONG_STEP_S, None, 64),
        ([Priority.INTERACTIVE], LONG_STEP_S, 0.002, 200),
        ([Priority.BULK], LONG_STEP_S, 0.002, 500),
        ([Priority.BULK], SHORT_STEP_S, 0.002, 50),
        ([Priority.BULK, Priority.INTERACTIVE], LONG_STEP_S, 0.1, 16),
    ],
)
def test_a_step_takes_as_many_prompt_tokens_as_others_can_wait_for(others, longest_s, token_s, expected):
    """Everything that fits if no other sequence waits, and never so few that each takes much longer."""
    budget = TokenBudget()
    if token_s is not None:
        budget.record(512, token_s)
    assert budget.prefill_tokens([decoding(priority) for priority in others], longest_s, 512) == expected


def test_short_steps_hardly_change_the_estimate():
    """The tail of a prompt takes several times as long per token, which says little about the next prompt."""
    budget = TokenBudget()
    budget.record(512, 0.002)
    budget.record(30, 0.015)
    assert 0.002 < budget.token_s < 0.003
    for _ in range(100):
        budget.record(30, 0.015)
    assert budget.token_s == pytest.approx(0.015, rel=0.01)


@pytest.mark.parametrize("token_s", [None, 0.0001])
def test_a_step_after_an_aborted_one_takes_half_as_many_tokens(token_s):
    """Steps shrink until one ends, also where the estimate promises more; then the estimate counts again."""
    budget = TokenBudget()
    if token_s is not None:
        budget.record(512, token_s)
    taken = [budget.prefill_tokens([], SHORT_STEP_S, 512)]
    for _ in range(6):
        budget.record_abort(taken[-1])
        taken.append(budget.prefill_tokens([], SHORT_STEP_S, 512))
    assert taken == ([64, 32, 16, 16, 16, 16, 16] if token_s is None else [512, 256, 128, 64, 32, 16, 16])
    budget.record(16, 0.0001)
    assert budget.prefill_tokens([], SHORT_STEP_S, 512) == 512
