"""From what a flag, a variable or ``config.yaml`` says to the value of a setting; all raise ``ValueError``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def parse_text(value: Any) -> str:
    """Return a text that is not blank. Raises ``ValueError``."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a text")
    return value


def parse_switch(value: Any) -> bool:
    """Return a switch, in YAML or in words. Raises ``ValueError``."""
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
    """Return a time in seconds. Raises ``ValueError``."""
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < 1e9:  # noqa: PLR2004 (some 30 years)
        raise ValueError("expected a positive number of seconds, below 1e9")
    return number


def parse_money(value: Any) -> float:
    """Return an amount of money. Raises ``ValueError``."""
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < 1e9:  # noqa: PLR2004 (more than anybody pays)
        raise ValueError("expected a positive amount, below 1e9")
    return number


def choice_parser(*choices: str) -> Callable[[Any], str]:
    """Parse one of some words."""

    def parse(value: Any) -> str:
        word = ("on" if value else "off") if isinstance(value, bool) else value  # YAML reads on and off as booleans
        if word not in choices:
            raise ValueError("expected one of " + ", ".join(choices))
        return str(word)

    return parse


def parse_aliases(value: Any) -> dict[str, str]:
    """Return the aliases by their names. Raises ``ValueError``."""
    if isinstance(value, str):  # the environment has no mappings
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(name.strip() and text.strip() for name, _, text in pairs):
            raise ValueError("expected NAME=MODEL,NAME=MODEL,...")
        return {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise ValueError("expected a mapping of names to texts")
    return dict(value)


def parse_backends(value: Any) -> dict[str, dict[str, Any]]:
    """Return the descriptions of servers by their names. Raises ``ValueError``."""
    from llmcli import backend_config  # imported only where it is needed

    return backend_config.parse_backends(value)


def parse_base_url(value: Any) -> str:
    """Return the address of a server. Raises ``ValueError``."""
    from llmcli import backend_config

    return backend_config.parse_base_url(value)


def parse_own_patterns(value: Any) -> dict[str, str]:
    """Return patterns of private values by their kinds. Raises ``ValueError``."""
    from llmcli.redaction import own_patterns

    return own_patterns.parse_patterns(value)


def parse_own_words(value: Any) -> dict[str, tuple[str, ...]]:
    """Return private words by their kinds. Raises ``ValueError``."""
    from llmcli.redaction import own_patterns

    return own_patterns.parse_words(value)


def parse_redacted_kinds(value: Any) -> tuple[str, ...]:
    """Return kinds of private values. Raises ``ValueError``."""
    from llmcli.redaction import own_patterns

    return own_patterns.parse_kinds(value)


def parse_hosts(value: Any) -> tuple[str, ...]:
    """Return hosts that may have private values. Raises ``ValueError``."""
    from llmcli.redaction import own_patterns

    return own_patterns.parse_hosts(value)
