"""Drafting with a real tiny model and a clock of the test."""

from __future__ import annotations

import pytest

from engine.tools import numbers
from llmcli.engine.draft_context import DraftContext
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.model_drafter import FIRST_DRAFT_TOKENS, MAX_MODEL_DRAFT_TOKENS, DraftModel, ModelDrafter
from llmcli.errors import OutOfMemory

PLAIN_S = 0.010


class Clock:
    """Every reading is ``tick`` seconds later than the one before."""

    def __init__(self, tick):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


@pytest.fixture
def drafting(models):
    """Return a function that makes a drafter whose model takes ``tick`` seconds for everything, after plain steps."""
    made = []

    def make(tick=0.0001, name="chatml", abort=lambda: False, plain_steps=3):
        context = DraftContext(models(name), 500, ThreadPolicy(1, fixed=True), abort)
        made.append(context)
        drafter = ModelDrafter(DraftModel("small", models(name)), context, Clock(tick))
        for _ in range(plain_steps):
            assert drafter.draft(numbers(40, 1), 10) == []
            drafter.record_step(PLAIN_S, 0, 0)
        return drafter

    yield make
    for each in made:
        each.close()


def greedy(context, text, count):
    """Return the likeliest tokens after ``text``, one by one in a fresh context."""
    tokens = list(text)
    for _ in range(count):
        context.clear()
        assert context.set_text(tokens, 10_000, MAX_MODEL_DRAFT_TOKENS)
        while context.num_missing_tokens:
            assert context.evaluate_missing(10)
        tokens.append(context.likeliest_token()[0])
    return tokens[len(text) :]


@pytest.fixture
def reference(models):
    context = DraftContext(models("chatml"), 500, ThreadPolicy(1, fixed=True), lambda: False)
    yield lambda text, count: greedy(context, text, count)
    context.close()


def test_the_first_draft_has_three_tokens_and_later_ones_as_many_as_pay(drafting, reference):
    """They are the draft model's own choice, continued from the accepted text."""
    drafter, text = drafting(), numbers(40, 1)
    for count in (FIRST_DRAFT_TOKENS, MAX_MODEL_DRAFT_TOKENS):
        drafted = drafter.draft(text, 100)
        assert drafted == reference(text, len(drafted))
        assert FIRST_DRAFT_TOKENS <= len(drafted) <= count
        drafter.record_step(PLAIN_S * 1.01, len(drafted), len(drafted))
        text = [*text, *drafted, 77]
    assert not drafter.off_reason


def test_the_number_of_tokens_is_limited(drafting):
    """By the tokens that may still be generated; without any there is no draft."""
    drafter, text = drafting(), numbers(40, 1)
    assert len(drafter.draft(text, 2)) == 2
    assert drafter.draft(text, 0) == []


def test_a_slow_draft_model_reads_nothing(drafting):
    """Two evaluations of a token show that it cannot pay."""
    drafter = drafting(tick=PLAIN_S)
    assert drafter.draft(numbers(40, 1), 10) == []
    assert "drafting a token takes 10.0 ms, a step without drafting 10.0 ms" in drafter.off_reason
    assert drafter._clock.now == 4 * PLAIN_S
    assert "small: accepted 0 of 0 tokens" in drafter.explanation


def test_an_end_of_text_is_not_drafted(drafting, monkeypatch):
    """Nothing can follow it."""
    drafter, text = drafting(), numbers(40, 1)
    first = drafter.draft(text, 10)
    monkeypatch.setattr(DraftContext, "ends_text", lambda _self, token: token == first[1])
    assert drafter.draft(text, 10) == first[:1]


def test_tokens_are_judged_whether_they_were_evaluated_or_not(drafting):
    """The following text says which were right, up to the first wrong one."""
    drafter, text, judged = drafting(), numbers(40, 1), []
    drafter.policy.acceptance.record = lambda _probability, *, hit: judged.append(hit)
    drafted = drafter.draft(text, 10)
    drafter.draft([*text, *drafted[:2], (drafted[2] + 1) % 200], 10)
    assert judged == [True, True, False]


def test_another_text_does_not_judge_a_draft(drafting):
    """The next request may have nothing to do with it."""
    drafter, judged = drafting(), []
    drafter.policy.acceptance.record = lambda _probability, *, hit: judged.append(hit)
    assert drafter.draft(numbers(40, 1), 10)
    drafter.draft(numbers(60, 2), 10)
    assert judged == []


def test_an_aborted_evaluation_gives_no_draft(drafting):
    """The next step has a draft again."""
    aborting = []
    drafter, text = drafting(abort=lambda: bool(aborting)), numbers(40, 1)
    assert drafter.draft(text, 10)
    aborting.append(1)
    assert drafter.draft(numbers(45, 2), 10) == []
    aborting.clear()
    assert drafter.draft(numbers(45, 2), 10)


def test_without_memory_it_is_off(drafting, monkeypatch):
    """The model answers without it."""

    def refuse(*_):
        raise OutOfMemory("a draft context", detail="no memory")

    monkeypatch.setattr(DraftContext, "set_text", refuse)
    drafter = drafting()
    assert drafter.draft(numbers(40, 1), 10) == []
    assert drafter.off_reason == "no memory"


def test_a_draft_model_that_cannot_draft_says_why():
    """It was not even loaded."""
    drafter = ModelDrafter(DraftModel("small", None, "some reason"), None)
    assert drafter.draft([1, 2, 3], 10) == []
    assert drafter.off_reason == "some reason"
    drafter.close()
