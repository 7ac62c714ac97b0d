"""What the tokens of a hosted model cost, as its provider's price list and the configuration say it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from llmcli.frozen_dataclass import frozen
from llmcli.types import Usage

DEFAULT_CURRENCY = "USD"
_TOKENS_PER_UNIT = 1_000_000
_CURRENCY = re.compile(r"[A-Z]{3}")
_NUMBERS = ("input", "cached_input", "output")
_MAX_DECIMALS = 9


@frozen
class Price:
    """Amounts of ``currency`` for a million tokens of a prompt, of its cached part, and of an answer."""

    input: float
    output: float
    cached_input: float
    currency: str = DEFAULT_CURRENCY

    def of_usage(self, usage: Usage) -> float:
        """Return what the tokens of ``usage`` cost."""
        fresh = max(0, usage.prompt_tokens - usage.cached_tokens)
        total = fresh * self.input + usage.cached_tokens * self.cached_input + usage.completion_tokens * self.output
        return round(total / _TOKENS_PER_UNIT, _MAX_DECIMALS)

    def as_fields(self, usage: Usage) -> dict[str, Any]:
        """Return the cost of ``usage`` as fields of a JSON object; null where the server has not told the usage."""
        return {"cost": None if usage == Usage() else self.of_usage(usage), "currency": self.currency}

    def of_tokens(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the most that a prompt and an answer of so many tokens cost."""
        dearer = max(self.input, self.cached_input)
        return (prompt_tokens * dearer + completion_tokens * self.output) / _TOKENS_PER_UNIT

    def tokens_for(self, amount: float) -> int:
        """Return how many tokens of answers ``amount`` pays for; a huge number where they are free."""
        return int(amount * _TOKENS_PER_UNIT / self.output) if self.output > 0 else 1 << 60


def format_amount(amount: float, currency: str) -> str:
    """Return an amount for people: "0.0031 USD", with more digits the smaller it is."""
    digits = 2 if amount == 0 or amount >= 1 else 4 if amount >= 0.01 else 6  # noqa: PLR2004
    return f"{amount:.{digits}f} {currency}"


def parse_price(value: Any) -> Price:
    """Return a price as the configuration describes it. Raises ``ValueError``."""
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping such as {input: 3.0, output: 15.0}")  # noqa: TRY004 (as for all bad values)
    for key in value:
        if key not in {*_NUMBERS, "currency"}:
            raise ValueError(f"expected {', '.join(_NUMBERS)}, currency (one key is {key})")
    for needed in ("input", "output"):
        if needed not in value:
            raise ValueError(f"expected the key {needed} too: the price of a million tokens")
    amounts = {key: _parse_amount(key, value[key]) for key in _NUMBERS if key in value}
    currency = value.get("currency", DEFAULT_CURRENCY)
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise ValueError("currency: expected three capital letters, such as USD")
    return Price(amounts["input"], amounts["output"], amounts.get("cached_input", amounts["input"]), currency=currency)


def _parse_amount(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{key}: expected the price of a million tokens, a number from 0")
    return float(value)
