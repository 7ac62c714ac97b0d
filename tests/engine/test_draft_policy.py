"""A draft model is used if measured times alone show that it pays, at a bounded loss."""

from __future__ import annotations

import random

import pytest
from row_table import all_rows

from llmcli.engine.model_drafter import (
    FIRST_READING_TOKENS,
    LOSS_LIMIT_TOKENS,
    MAX_MODEL_DRAFT_TOKENS,
    MAX_RETRY_TOKENS,
    READING_LIMIT_TOKENS,
    RETRY_TOKENS,
    AcceptanceEstimate,
    DraftOutcome,
    DraftPolicy,
)

PLAIN_S = 0.010


class Simulation:
    """A model and a draft model with fixed times, in seconds, and a share of right tokens; it counts what is lost."""

    def __init__(self, draft_s, row_s, right, *, reading_s=0.0002, prompt=100, seed=1):
        self.draft_s, self.row_s, self.reading_s, self.prompt = draft_s, row_s, reading_s, prompt
        self.right = right
        self.random = random.Random(seed)
        self.policy = DraftPolicy()
        self.tokens, self.elapsed_s = 0, 0.0
        self.read = False

    def step(self):
        """Generate at least one token."""
        policy, spent, evaluated, accepted = self.policy, 0.0, 0, 0
        if not policy.may_draft or not self._may_read():
            policy.record_plain_step(PLAIN_S)
            self._advance(1, PLAIN_S)
            return
        joint, going = 1.0, True
        while going and evaluated < (MAX_MODEL_DRAFT_TOKENS if policy.is_calibrated else 3):
            spent += self.draft_s
            policy.record_draft_token(self.draft_s)
            if policy.off_reason:
                break
            hit = self.random.random() < self.right
            if accepted == evaluated:
                policy.acceptance.record(0.9, hit=hit)
                accepted += hit
            joint *= policy.acceptance.of(0.9)
            if policy.is_calibrated and not policy.is_worth_evaluating(joint):
                break
            evaluated += 1
            going = not policy.is_calibrated or policy.is_worth_drafting(joint)
        accepted = min(accepted, evaluated)
        step_s = PLAIN_S + evaluated * self.row_s
        policy.record_outcome(DraftOutcome(evaluated, accepted, spent, step_s))
        self._advance(1 + accepted, spent + step_s)

    def _may_read(self):
        if self.read:
            return True
        window = self.policy.reading_window(self.prompt)
        for count in (16, window - 16):
            if window:
                self.policy.record_reading(count, count * self.reading_s)
                self._advance(0, count * self.reading_s)
                window = self.policy.reading_window(window)
        self.read = bool(window)
        return self.read

    def _advance(self, tokens, seconds):
        self.tokens += tokens
        self.elapsed_s += seconds

    @property
    def lost_tokens(self):
        """How many plain steps more it took than without a draft model."""
        return self.elapsed_s / PLAIN_S - self.tokens

    def run(self, tokens):
        while self.tokens < tokens:
            self.step()
        return self


def test_a_good_draft_model_stays_on_and_saves_time():
    """A tenth of the cost and nine of ten tokens right: about twice the speed."""
    run = Simulation(0.001, 0.001, 0.9).run(256)
    assert not run.policy.off_reason
    assert run.elapsed_s < 0.6 * 256 * PLAIN_S


@pytest.mark.parametrize("draft_s", [0.010, 0.012, 0.1])
def test_a_draft_model_as_slow_as_the_model_is_switched_off_by_two_tokens(draft_s):
    """No share of right tokens could make it pay, so its text is hardly read and nothing more is drafted."""
    run = Simulation(draft_s, 0.001, 1.0).run(16)
    assert "drafting a token takes" in run.policy.off_reason
    assert run.lost_tokens < LOSS_LIMIT_TOKENS + 2 * draft_s / PLAIN_S


@pytest.mark.parametrize(
    ("draft_s", "row_s", "right"), [(0.004, 0.007, 1.0), (0.006, 0.006, 0.9), (0.003, 0.003, 0.1), (0.001, 0.02, 0.5)]
)
def test_drafts_that_do_not_pay_end_within_sixteen_tokens(draft_s, row_s, right):
    """Rows that cost too much, or tokens that are wrong: off after a few steps, at the loss of 16 at most."""
    run = Simulation(draft_s, row_s, right).run(16 + 3)
    assert run.policy.off_reason
    assert run.lost_tokens <= LOSS_LIMIT_TOKENS


@all_rows("seed", range(20))
@all_rows("right", [0.0, 0.3, 0.6, 0.8])
def test_a_trial_never_loses_more_than_its_limit(seed, right):
    """Whatever the share of right tokens, until the first switch-off."""
    run = Simulation(0.003, 0.003, right, seed=seed)
    most = 0.0
    for _ in range(200):
        run.step()
        most = max(most, run.lost_tokens)
        if run.policy.off_reason:
            break
    assert most <= LOSS_LIMIT_TOKENS + 3


def test_it_is_switched_off_when_its_tokens_turn_wrong_and_the_loss_stays_small():
    """After a good beginning, wrong tokens cost at most a few steps."""
    run = Simulation(0.002, 0.002, 0.95).run(200)
    assert not run.policy.off_reason
    before, run.right = run.lost_tokens, 0.0
    while not run.policy.off_reason:
        run.step()
    assert run.lost_tokens - before <= LOSS_LIMIT_TOKENS


def test_one_slow_step_does_not_switch_it_off():
    """A single disturbed measurement of a good draft model changes nothing."""
    run = Simulation(0.001, 0.001, 0.9).run(60)
    run.policy.record_draft_token(10 * PLAIN_S)
    run.run(120)
    assert not run.policy.off_reason


def test_it_is_tried_again_later_and_more_rarely_each_time():
    """The pause in tokens doubles with every failed trial, up to a limit, and a success ends that."""
    run = Simulation(0.003, 0.003, 0.1)
    pauses, pause, was_off = [], 0, False
    while len(pauses) < 9:
        run.step()
        off = bool(run.policy.off_reason)
        pause = pause + 1 if off else 0 if not was_off else pause
        if was_off and not off:
            pauses.append(pause)
            pause = 0
        was_off = off
    assert pauses[:4] == pytest.approx([RETRY_TOKENS, 2 * RETRY_TOKENS, 4 * RETRY_TOKENS, 8 * RETRY_TOKENS], abs=1)
    assert max(pauses) <= MAX_RETRY_TOKENS
    run.right = 1.0
    run.step()
    while run.policy.off_reason:
        run.step()
    assert not run.run(run.tokens + 64).policy.off_reason


def test_nothing_is_drafted_before_plain_steps_are_timed():
    """Three of them."""
    policy = DraftPolicy()
    seen = []
    for _ in range(4):
        seen.append(policy.may_draft)
        policy.record_plain_step(PLAIN_S)
    assert seen == [False, False, False, True]


def test_reading_a_long_text_is_bounded():
    """Before it is timed a piece of the end is read; then as much as its share of the loss allows, or nothing."""
    policy = DraftPolicy()
    for _ in range(3):
        policy.record_plain_step(PLAIN_S)
    assert policy.reading_window(5000) == FIRST_READING_TOKENS
    assert policy.reading_window(20) == 20
    policy.record_reading(16, 16 * 0.001)
    assert policy.reading_window(5000) == READING_LIMIT_TOKENS * PLAIN_S / 0.001
    assert policy.reading_window(3) == 3
    slow = DraftPolicy()
    for _ in range(3):
        slow.record_plain_step(PLAIN_S)
    slow.record_reading(16, 16 * 0.004)
    assert slow.reading_window(5000) == 0
    assert slow.off_reason.startswith("reading a token takes 4.0 ms")


def test_an_unlikely_token_is_not_evaluated():
    """Drafting goes on while the next token is expected to pay; a row that costs more than it saves is left out."""
    policy = DraftPolicy()
    for _ in range(3):
        policy.record_plain_step(PLAIN_S)
    policy.record_draft_token(0.002)
    policy.record_outcome(DraftOutcome(3, 3, 0.006, PLAIN_S + 3 * 0.004))
    assert policy.is_worth_evaluating(0.5)
    assert not policy.is_worth_evaluating(0.3)
    assert policy.is_worth_drafting(1.0)
    assert not policy.is_worth_drafting(0.5)


def test_the_acceptance_is_learned_for_each_kind_of_probability():
    """Tokens that the draft model is unsure of may be right all the same, and the others wrong."""
    estimate = AcceptanceEstimate()
    assert estimate.of(0.1) < estimate.of(0.5) < estimate.of(0.7) < estimate.of(0.99)
    for _ in range(40):
        estimate.record(0.1, hit=True)
        estimate.record(0.99, hit=False)
    assert estimate.of(0.1) > 0.9
    assert estimate.of(0.99) < 0.1
    assert estimate.rate == pytest.approx(0.5, abs=0.05)
