"""Grammars (GBNF) of the decimal numerals in a range, and of a choice of texts."""

from __future__ import annotations

import math
from collections.abc import Sequence

_DIGITS = 16
"""Digits of a number without bound, as in the converter of llama.cpp's binding."""
_FRACTION = '"." [0-9]{1,15}'
_MORE_THAN_NOTHING = '"." "0"* [1-9] [0-9]{0,14}'


def integers(low: float | None, high: float | None) -> str:
    """Return a grammar of the integers from ``low`` to ``high`` (None: no bound). Raises ``ValueError`` for none."""
    least, most = _ends(None if low is None else math.ceil(low), None if high is None else math.floor(high))
    if least > most:
        raise ValueError("no integer is in that range")
    parts = [_digits(max(least, 0), most)] if most >= 0 else []
    if least < 0:
        parts.append(f'"-" ({_digits(max(-most, 1), -least)})')
    return f"({' | '.join(parts)})"


def numbers(low: float | None, high: float | None, *, above: bool = False, below: bool = False) -> str:
    """Return a grammar of the numbers from ``low`` to ``high``, which are integers; or ``above`` and ``below`` them.

    Raises ``ValueError`` for an empty range, and for bounds with a fraction.
    """
    if any(bound is not None and bound != int(bound) for bound in (low, high)):
        raise ValueError("a bound of numbers has a fraction; only whole ones can be kept")
    least, most = _ends(None if low is None else int(low), None if high is None else int(high))
    if least > most or (least == most and (above or below)):
        raise ValueError("no number is in that range")
    parts = []
    if most > 0 or (most == 0 and not below):
        parts.append(_unsigned(max(least, 0), most, above=above and least >= 0, below=below))
    if least < 0:
        parts.append(f'"-" ({_unsigned(max(-most, 0), -least, above=below and most <= 0, below=above)})')
    return f"({' | '.join(parts)})"


def _ends(low: int | None, high: int | None) -> tuple[int, int]:
    far = max(10**_DIGITS - 1, abs(low or 0), abs(high or 0))
    if far >= 10 ** (2 * _DIGITS):
        raise ValueError(f"a bound has more than {2 * _DIGITS} digits")
    return (-far if low is None else low), (far if high is None else high)


def _unsigned(least: int, most: int, *, above: bool, below: bool) -> str:
    """Return the numerals from ``least`` to ``most``, neither of them negative."""
    parts = []
    if above and least < most:
        parts.append(f'"{least}" {_MORE_THAN_NOTHING}')
    first = least + 1 if above else least
    if first < most:
        parts.append(f"({_digits(first, most - 1)}) ({_FRACTION})?")
    if not below:
        parts.append(f'"{most}" ("." "0"{{1,15}})?')
    return " | ".join(parts)


def _digits(least: int, most: int) -> str:
    """Return the numerals of the integers from ``least`` to ``most``, neither of them negative."""
    parts = []
    for length in range(len(str(least)), len(str(most)) + 1):
        first = max(least, 10 ** (length - 1) if length > 1 else 0)
        parts.append(_same_length(str(first), str(min(most, 10**length - 1))))
    return " | ".join(parts)


def _same_length(low: str, high: str) -> str:
    if low == high:
        return f'"{low}"'
    if low[0] == high[0]:
        return f'"{low[0]}" ({_same_length(low[1:], high[1:])})'
    rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    parts = []
    if low[1:] != "0" * rest:
        parts.append(f'"{first}" ({_same_length(low[1:], "9" * rest)})')
        first += 1
    if high[1:] != "9" * rest:
        parts.append(f'"{last}" ({_same_length("0" * rest, high[1:])})')
        last -= 1
    if first <= last:
        parts.append(f"[{first}-{last}]" + (f" [0-9]{{{rest}}}" if rest else ""))
    return " | ".join(parts)


def choice(texts: Sequence[str]) -> str:
    """Return a grammar of some texts, as a tree: a list of alternatives is looked at as a whole for each token."""
    return _tree(sorted(set(texts)))


def _tree(texts: list[str]) -> str:
    low, high = texts[0], texts[-1]
    shared = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    rests = [text[shared:] for text in texts]
    begins = f"{literal(low[:shared])} " if shared else ""
    if len(rests) == 1:
        return begins.strip() or '""'
    ends = not rests[0]
    groups: dict[str, list[str]] = {}
    for rest in rests[1:] if ends else rests:
        groups.setdefault(rest[0], []).append(rest)
    return f"{begins}({' | '.join(map(_tree, groups.values()))})" + ("?" if ends else "")


def literal(text: str) -> str:
    """Return a text as GBNF has it."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'
