"""Parsers of setting values: each takes a string or a YAML value and raises ``ValueError`` that says what is expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

NO_DRAFT = "off"
"""The setting ``draft`` without a draft model."""


def parse_text(value: Any) -> str:
    """Return a string that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a string that is not blank" if isinstance(value, str) else "expected a string")
    return value


def parse_draft(value: Any) -> str:
    """Return the name of a draft model, or "off"."""
    return NO_DRAFT if value is False else parse_text(value)  # YAML reads off as a boolean


def parse_switch(value: Any) -> bool:
    """Return whether a switch is on; on, true, yes, 1 and their opposites are accepted."""
    if isinstance(value, bool):
        return value
    words = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise ValueError("expected on or off") from None


def integer_parser(low: int, high: int, word: str | None = None) -> Callable[[Any], int | str]:
    """Parse a whole number from low to high, or the given word."""
    expected = f"expected a whole number from {low} to {high}" + (f" or {word}" if word else "")

    def parse(value: Any) -> int | str:
        if word is not None and value == word:
            return word
        try:
            number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            raise ValueError(expected)
        return number

    return parse


def parse_seconds(value: Any) -> float:
    """Return a positive number of seconds."""
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < 1e9:  # noqa: PLR2004 (some 30 years)
        raise ValueError("expected a positive number of seconds, below 1e9")
    return number


def parse_money(value: Any) -> float:
    """Return a positive amount of money."""
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < 1e9:  # noqa: PLR2004 (any bill is lower)
        raise ValueError("expected a positive amount, below 1e9")
    return number


def choice_parser(*choices: str) -> Callable[[Any], str]:
    """Parse one of ``choices``."""

    def parse(value: Any) -> str:
        word = ("on" if value else "off") if isinstance(value, bool) else value  # YAML reads on and off as booleans
        if word not in choices:
            raise ValueError("expected one of " + ", ".join(choices))
        return str(word)

    return parse


def parse_aliases(value: Any) -> dict[str, str]:
    """Return a mapping of names to strings; a string holds pairs "NAME=MODEL,NAME=MODEL"."""
    if isinstance(value, str):  # the environment has no mappings
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(name.strip() and text.strip() for name, _, text in pairs):
            raise ValueError("expected NAME=MODEL,NAME=MODEL,...")
        return {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise ValueError("expected a mapping of names to strings")
    return dict(value)


def deferred_parser(module: str, function: str) -> Callable[[Any], Any]:
    """Parse with a function of ``module``, which is imported only if there is something to parse."""

    def parse(value: Any) -> Any:
        return getattr(import_module(f"llmcli.{module}"), function)(value)

    return parse
