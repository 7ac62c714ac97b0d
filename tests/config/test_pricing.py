"""Prices: what tokens cost, and which descriptions of a price are refused."""

from __future__ import annotations

import pytest

from llmcli.config import backend_config
from llmcli.config.backend_config import Price, format_amount, parse_price
from llmcli.types import Usage


def test_cached_tokens_have_a_price_of_their_own():
    """Of 1,000 tokens in, 400 are cached; without a price for these they cost as others."""
    usage = Usage(1000, 400, 100)
    assert parse_price({"input": 3, "cached_input": 0.3, "output": 15}).of_usage(usage) == 0.00342
    assert parse_price({"input": 3, "output": 15}).of_usage(usage) == 0.0045


def test_the_most_that_tokens_cost():
    """A prompt is reserved as if nothing of it were cached, or all where that is dearer."""
    assert Price(3.0, 15.0, 0.3).of_tokens(1000, 100) == pytest.approx(0.0045)
    assert Price(3.0, 15.0, 6.0).of_tokens(1000, 0) == pytest.approx(0.006)
    assert Price(3.0, 15.0, 0.3).tokens_for(0.0015) == 100 and Price(1.0, 0.0, 1.0).tokens_for(1) > 10**9


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (3, "expected a mapping"),
        ({"input": 3}, "expected the key output"),
        ({"input": 3, "output": "15"}, "output: expected the price"),
        ({"input": -1, "output": 1}, "input: expected the price"),
        ({"input": True, "output": 1}, "input: expected the price"),
        ({"input": float("nan"), "output": 1}, "input: expected the price"),
        ({"input": 3, "output": 1, "cached": 1}, "one key is cached"),
        ({"input": 3, "output": 1, "currency": "dollars"}, "currency: expected three capital letters"),
    ],
)
def test_a_wrong_price_is_refused(described, words):
    """It says which field, and what was expected."""
    with pytest.raises(ValueError, match=words):
        parse_price(described)


def test_a_model_may_have_a_price_of_its_own():
    """It overrides the price of the backend."""
    fields = {"type": "openai", "base_url": "https://host/v1", "price": {"input": 1, "output": 2}}
    fields["models"] = {"big": {"price": {"input": 10, "output": 20, "currency": "EUR"}}}
    server = backend_config.make_server_config("there", backend_config.parse_backend_fields("there", fields))
    assert server.price_of("big").currency == "EUR" and server.price_of("small").input == 1
    assert server.price_of(None).output == 2
    with pytest.raises(ValueError, match=r"there\.models: big\.price: expected the key input"):
        backend_config.parse_backend_fields("there", {**fields, "models": {"big": {"price": {"output": 1}}}})
    with pytest.raises(ValueError, match="big: expected a mapping with price"):
        backend_config.parse_backend_fields("there", {**fields, "models": {"big": {"cost": 1}}})


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0.00 USD"), (1.5, "1.50 USD"), (0.0312, "0.0312 USD"), (0.0000312, "0.000031 USD")]
)
def test_small_amounts_have_more_digits(amount, text):
    """A request costs fractions of a cent."""
    assert format_amount(amount, "USD") == text
