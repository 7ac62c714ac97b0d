"""The draft model's context follows the text, and its logits are those of a fresh evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from engine.tools import close, logits, numbers
from llmcli.engine.draft_context import DraftContext
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.errors import OutOfMemory

RESERVE = 4


class Follower:
    """A draft context whose evaluation the test may abort."""

    def __init__(self, model, max_tokens=400):
        self.aborting = False
        self.context = DraftContext(model, max_tokens, ThreadPolicy(1, fixed=True), lambda: self.aborting)

    def follow(self, text, max_missing=10_000):
        """Evaluate a text; return the logits after it."""
        assert self.context.set_text(text, max_missing, RESERVE)
        while self.context.num_missing_tokens:
            assert self.context.evaluate_missing(64)
        return self.logits()

    def logits(self):
        return logits(self.context._open().handle, -1)


@pytest.fixture
def follower(models):
    made = []

    def make(name, **options):
        made.append(Follower(models(name), **options))
        return made[-1]

    yield make
    for each in made:
        each.context.close()


@pytest.mark.parametrize("name", ["chatml", "gemma3", "qwen3moe-all"])
def test_the_text_is_followed_through_right_and_wrong_drafts(follower, name):
    """Drafted tokens are kept where they were chosen and removed where not; another text begins afresh."""
    one = follower(name)
    text = numbers(90, 1)
    steps = [
        (text, []),
        (numbers(95, 1), numbers(3, 7)),
        (numbers(101, 1), numbers(106, 1)[101:]),
        (numbers(104, 1), []),
    ]
    steps += [(numbers(40, 5), numbers(4, 3)), (numbers(45, 5), [])]
    for tokens, drafted in steps:
        found = one.follow(tokens)
        close([found], [follower(name).follow(tokens)])
        for token in drafted:
            assert one.context.append(token)


def test_only_what_is_missing_is_evaluated(follower):
    """After a text that grew by two tokens, two tokens are missing; after the same text, its last one."""
    one = follower("chatml")
    one.follow(numbers(80, 1))
    one.context.append(9)
    assert one.context.count_missing(numbers(82, 1)) == 2
    assert one.context.count_missing(numbers(80, 1)) == 1
    assert one.context.count_missing(numbers(30, 9)) == 30


def test_a_long_text_is_cut_at_its_beginning(follower):
    """Beyond the limit of missing tokens only the end of the text counts, as a text of its own."""
    one = follower("chatml")
    text = numbers(300, 1)
    close([one.follow(text, max_missing=50)], [follower("chatml").follow(text[-50:])])
    text += numbers(3, 2)
    assert one.context.count_missing(text) == 3
    close([one.follow(text, max_missing=50)], [follower("chatml").follow(text[-53:])])
    other = numbers(20, 8)
    close([one.follow(other)], [follower("chatml").follow(other)])


def test_the_context_limit_is_never_exceeded(follower):
    """At the limit it goes on with the latter half of the text; the tokens to draft always fit."""
    one = follower("chatml", max_tokens=60)
    for length in range(1, 200):
        text = numbers(length, 1)
        one.follow(text)
        assert one.context.num_missing_tokens == 0
        assert len(one.context._evaluated) + RESERVE <= 60
    kept = len(one.context._evaluated)
    close([one.logits()], [follower("chatml").follow(text[-kept:])])


def test_unknown_tokens_are_refused(follower, models):
    """A token beyond the draft model's vocabulary would fail in llama.cpp."""
    one = follower("chatml")
    assert not one.context.set_text([3, models("chatml").vocab_size], 100, RESERVE)
    assert one.context.set_text([3, models("chatml").vocab_size - 1], 100, RESERVE)


def test_an_aborted_evaluation_leaves_a_usable_context(follower):
    """What was evaluated before stays; the rest is evaluated again."""
    one = follower("chatml")
    one.follow(numbers(40, 1))
    one.aborting = True
    assert one.context.set_text(numbers(90, 1), 1000, RESERVE)
    assert not one.context.evaluate_missing(50)
    one.aborting = False
    assert one.context.count_missing(numbers(90, 1)) == 50
    close([one.follow(numbers(90, 1))], [follower("chatml").follow(numbers(90, 1))])


def test_it_can_be_used_after_it_was_closed(follower):
    """The memory is freed when the engine rests; the next text is evaluated anew."""
    one = follower("chatml")
    before = one.follow(numbers(40, 1))
    one.context.close()
    assert one.context.count_missing(numbers(40, 1)) == 40
    close([one.follow(numbers(40, 1))], [before])


def test_the_likeliest_token_has_the_probability_of_the_softmax(follower):
    """Computed from the logits of the whole vocabulary."""
    one = follower("chatml")
    row = one.follow(numbers(40, 1)).astype(np.float64)
    token, probability = one.context.likeliest_token()
    weights = np.exp(row - row.max())
    assert token == row.argmax()
    assert probability == pytest.approx(weights.max() / weights.sum(), rel=1e-4)


def test_too_little_memory_raises(models, monkeypatch):
    """The drafter switches itself off then."""
    monkeypatch.setattr("llmcli.engine.llama.context.hardware.available_memory", lambda: 1000)
    context = DraftContext(models("chatml"), 4096, ThreadPolicy(1, fixed=True), lambda: False)
    with pytest.raises(OutOfMemory):
        context.set_text([3, 4], 10, RESERVE)
