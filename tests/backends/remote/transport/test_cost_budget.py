"""Reservations of cost: what is held while requests run, and when the limit is reached."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from llmcli.backends.remote.transport.cost_budget import (
    MAX_ANSWER_TOKENS,
    CostBudget,
    find_token_limit,
)
from llmcli.config.backend_config import Price
from llmcli.errors import TemporaryFailure, Unsupported
from llmcli.errors.incomplete_results import CostLimitReached
from llmcli.types import UNKNOWN_USAGE, Message, Request, Role, Usage

OUTPUT_ONLY = Price(0.0, 1_000_000.0, 0.0)
"""A token of an answer costs 1."""


def never():
    """Check nothing."""


def send(budget, tokens, usage=UNKNOWN_USAGE, error=None, *, charged=True):
    """Send a request for at most so many tokens that ends with ``usage``, or raises; return what it used."""
    cost = budget.open()
    try:
        with cost.attempt({"max_tokens": tokens}, 10, never) as attempt:
            if error is not None:
                attempt.charged = charged
                raise error
        cost.settle(usage)
    finally:
        total = cost.close()
    return total


def test_usage_takes_the_place_of_the_reservation():
    """What was not used is there for the next one."""
    budget = CostBudget(OUTPUT_ONLY, 10)
    for _ in range(4):
        send(budget, 4, Usage(5, 0, 2))
    assert budget.spent == 8
    with pytest.raises(CostLimitReached) as refused:
        send(budget, 4, Usage(5, 0, 2))
    assert (refused.value.limit, refused.value.needed, refused.value.left) == ("10.00 USD", "4.00 USD", "2.00 USD")


def test_nothing_begins_after_the_limit_was_reached():
    """Not even what would fit: the job has ended."""
    budget = CostBudget(OUTPUT_ONLY, 10)
    budget.check()
    for tokens in (11, 1):
        with pytest.raises(CostLimitReached):
            send(budget, tokens, Usage(1, 0, 1))
    with pytest.raises(CostLimitReached):
        budget.check()


def test_an_answer_that_broke_off_counts_in_full():
    """Its usage is not known; one that was refused costs nothing."""
    budget = CostBudget(OUTPUT_ONLY, 10)
    with pytest.raises(TemporaryFailure):
        send(budget, 6, error=TemporaryFailure("it broke off"))
    assert (budget.spent, budget.num_unknown) == (0, 1)
    send(budget, 4, Usage(1, 0, 1))
    with pytest.raises(CostLimitReached):
        send(budget, 4)
    fresh = CostBudget(OUTPUT_ONLY, 10)
    for error in (TemporaryFailure("429"), TemporaryFailure("503")):
        with pytest.raises(TemporaryFailure):
            send(fresh, 10, error=error, charged=False)
    with pytest.raises(TimeoutError):
        send(fresh, 10, error=TimeoutError(), charged=False)
    with pytest.raises(CostLimitReached):
        send(fresh, 1)


def test_an_answer_without_usage_counts_in_full():
    """A server that tells no usage may have used all."""
    budget = CostBudget(OUTPUT_ONLY, 10)
    assert send(budget, 6) == UNKNOWN_USAGE and budget.num_unknown == 1
    with pytest.raises(CostLimitReached):
        send(budget, 6)


def test_an_answer_that_used_nothing_gives_its_reservation_back():
    """Nothing is not unknown: vectors have no answer of their own."""
    budget = CostBudget(OUTPUT_ONLY, 10)
    for _ in range(3):
        assert send(budget, 6, Usage(5)) == Usage(5)
    assert (budget.spent, budget.num_unknown) == (0, 0)


def test_a_repaired_answer_is_one_request():
    """Each attempt gives back what it did not use."""
    budget = CostBudget(OUTPUT_ONLY, 10)
    cost = budget.open()
    for tokens in (2, 3):
        with cost.attempt({"max_tokens": 4}, 10, never):
            pass
        cost.settle(Usage(1, 0, tokens))
    assert cost.close() == Usage(2, 0, 5) and budget.spent == 5
    send(budget, 5, Usage(1, 0, 5))


def test_a_later_attempt_does_not_pay_for_an_earlier_one():
    """An attempt without usage counts in full, also if the next one has some."""
    budget = CostBudget(OUTPUT_ONLY, 20)
    cost = budget.open()
    for usage in (None, UNKNOWN_USAGE, Usage(1, 0, 1)):
        with cost.attempt({"max_tokens": 6}, 10, never):
            pass
        if usage is not None:
            cost.settle(usage)
    assert cost.close() == Usage(1, 0, 1, is_known=False)
    assert (budget.spent, budget.num_unknown) == (1, 2)
    send(budget, 7, Usage(1, 0, 0))
    with pytest.raises(CostLimitReached):
        send(budget, 8)


def test_a_refused_attempt_costs_nothing():
    """The request's usage is that of the others."""
    budget = CostBudget(OUTPUT_ONLY, 10)
    cost = budget.open()
    with pytest.raises(TemporaryFailure), cost.attempt({"max_tokens": 6}, 10, never):
        raise TemporaryFailure("429")
    with cost.attempt({"max_tokens": 6}, 10, never):
        pass
    cost.settle(Usage(1, 0, 1))
    assert cost.close() == Usage(1, 0, 1) and budget.num_unknown == 0


def test_what_exceeds_its_reservation_is_learned():
    """A server that counts twice as many tokens as were estimated gets twice the reservation."""
    budget = CostBudget(Price(1_000_000.0, 0.0, 1_000_000.0), 100)
    cost = budget.open()
    with cost.attempt({"max_tokens": 1}, 7, never) as attempt:
        assert attempt.amount == 3
    cost.settle(Usage(6, 0, 1))
    with budget.open().attempt({"max_tokens": 1}, 7, never) as attempt:
        assert attempt.amount == 6


def test_many_threads_stay_within_the_limit():
    """Whatever they do at once; and most of the amount is used."""
    budget, refused = CostBudget(OUTPUT_ONLY, 100), []

    def work():
        for _ in range(20):
            try:
                cost = budget.open()
                with cost.attempt({"max_tokens": 5}, 10, never):
                    time.sleep(0.0005)
                cost.settle(Usage(1, 0, 3))
                cost.close()
            except CostLimitReached:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert refused and 96 <= budget.spent <= 100


def test_requests_that_wait_for_each_other_end():
    """Two that hold a part and want more than is left: one is refused, and so is the other."""
    budget, ends = CostBudget(OUTPUT_ONLY, 12), []

    def work():
        cost = budget.open()
        try:
            for tokens in (4, 8):
                with cost.attempt({"max_tokens": tokens}, 10, never):
                    time.sleep(0.05)
        except CostLimitReached:
            ends.append("refused")
        cost.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert ends == ["refused"] * 2


def test_what_has_begun_goes_first():
    """Of requests of three attempts each, all that begin come to their end, but for the last."""
    budget, ends = CostBudget(OUTPUT_ONLY, 60), []

    def work():
        cost, sent = budget.open(), 0
        with suppress(CostLimitReached):
            for _ in range(3):
                with cost.attempt({"max_tokens": 10}, 10, never):
                    time.sleep(0.001)
                cost.settle(Usage(1, 0, 2))
                sent += 1
        ends.append(sent)
        cost.close()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert ends.count(3) >= 7 and sum(sent in {1, 2} for sent in ends) <= 1
    assert budget.spent == 2 * sum(ends) <= 60


def test_a_wait_ends_when_the_request_is_cancelled():
    """The check is made while another request holds the amount."""
    budget = CostBudget(OUTPUT_ONLY, 10)

    def cancelled():
        raise KeyError

    with (
        budget.open().attempt({"max_tokens": 8}, 10, never),
        pytest.raises(KeyError),
        budget.open().attempt({"max_tokens": 8}, 10, cancelled),
    ):
        pass


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5}, 5),
        ({"max_output_tokens": 5}, 5),
        ({"generationConfig": {"maxOutputTokens": 5}}, 5),
        ({"messages": [], "candidates": ["a"]}, 0),
        ({"messages": []}, None),
        (None, None),
    ],
)
def test_the_limit_of_an_answer_is_found(body, limit):
    """Under the name that each protocol has for it."""
    assert find_token_limit(body) == limit


def test_without_a_limit_of_tokens_there_is_no_limit_of_cost():
    """69 before it is sent, where a limit of cost is wanted; counting alone needs none."""
    with pytest.raises(Unsupported), CostBudget(OUTPUT_ONLY, 10).open().attempt({}, 10, never):
        pass
    budget = CostBudget(OUTPUT_ONLY)
    cost = budget.open()
    with cost.attempt({}, 10, never):
        pass
    cost.settle(Usage(1, 0, 1000))
    assert budget.spent == 1000


def test_an_answer_gets_a_limit_that_can_be_paid():
    """Of a request without one: what is left where it is little, the usual one otherwise; a user's limit stays."""
    request = Request("1", (Message(Role.USER, "hi"),))
    per_token = Price(0.0, 1.0, 0.0)
    assert CostBudget(per_token, 0.001).limit_answer(request).max_tokens == 1000
    assert CostBudget(per_token, 1.0).limit_answer(request).max_tokens == MAX_ANSWER_TOKENS
    assert CostBudget(per_token, 0.000001).limit_answer(request).max_tokens == MAX_ANSWER_TOKENS
    assert CostBudget(per_token).limit_answer(request) is request
