"""Grammars (GBNF) of the decimal numerals in a range, and of a choice of texts."""

from __future__ import annotations

import math
from collections.abc import Sequence

_MAX_DIGITS = 16
"""The most digits of an unbounded number, as in the converter of llama.cpp's binding."""
_ANY_FRACTION = '"." [0-9]{1,15}'
_POSITIVE_FRACTION = '"." "0"* [1-9] [0-9]{0,14}'


def integer_range_grammar(low: float | None, high: float | None) -> str:
    """Return a grammar of the integers from ``low`` to ``high`` (None: no bound). Raises ``ValueError`` for none."""
    least, most = _finite_bounds(None if low is None else math.ceil(low), None if high is None else math.floor(high))
    if least > most:
        raise ValueError("no integer is in that range")
    parts = [_unsigned_integers(max(least, 0), most)] if most >= 0 else []
    if least < 0:
        parts.append(f'"-" ({_unsigned_integers(max(-most, 1), -least)})')
    return f"({' | '.join(parts)})"


def number_range_grammar(low: float | None, high: float | None, *, above: bool = False, below: bool = False) -> str:
    """Return a grammar of the numbers from ``low`` to ``high`` (integers), or ``above`` and ``below`` them.

    Raises ``ValueError`` for an empty range, and for bounds with a fraction.
    """
    if any(bound is not None and bound != int(bound) for bound in (low, high)):
        raise ValueError("a bound has a fraction; only whole bounds can be enforced")
    least, most = _finite_bounds(None if low is None else int(low), None if high is None else int(high))
    if least > most or (least == most and (above or below)):
        raise ValueError("no number is in that range")
    parts = []
    if most > 0 or (most == 0 and not below):
        parts.append(_unsigned_numbers(max(least, 0), most, above=above and least >= 0, below=below))
    if least < 0:
        parts.append(f'"-" ({_unsigned_numbers(max(-most, 0), -least, above=below and most <= 0, below=above)})')
    return f"({' | '.join(parts)})"


def _finite_bounds(low: int | None, high: int | None) -> tuple[int, int]:
    far = max(10**_MAX_DIGITS - 1, abs(low or 0), abs(high or 0))
    if far >= 10 ** (2 * _MAX_DIGITS):
        raise ValueError(f"a bound has more than {2 * _MAX_DIGITS} digits")
    return (-far if low is None else low), (far if high is None else high)


def _unsigned_numbers(least: int, most: int, *, above: bool, below: bool) -> str:
    """Return a grammar of the numbers from ``least`` to ``most``, neither of them negative."""
    parts = []
    if above and least < most:
        parts.append(f'"{least}" {_POSITIVE_FRACTION}')
    first = least + 1 if above else least
    if first < most:
        parts.append(f"({_unsigned_integers(first, most - 1)}) ({_ANY_FRACTION})?")
    if not below:
        parts.append(f'"{most}" ("." "0"{{1,15}})?')
    return " | ".join(parts)


def _unsigned_integers(least: int, most: int) -> str:
    """Return a grammar of the integers from ``least`` to ``most``, neither of them negative."""
    parts = []
    for length in range(len(str(least)), len(str(most)) + 1):
        first = max(least, 10 ** (length - 1) if length > 1 else 0)
        parts.append(_same_length_integers(str(first), str(min(most, 10**length - 1))))
    return " | ".join(parts)


def _same_length_integers(low: str, high: str) -> str:
    if low == high:
        return f'"{low}"'
    if low[0] == high[0]:
        return f'"{low[0]}" ({_same_length_integers(low[1:], high[1:])})'
    rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    parts = []
    if low[1:] != "0" * rest:
        parts.append(f'"{first}" ({_same_length_integers(low[1:], "9" * rest)})')
        first += 1
    if high[1:] != "9" * rest:
        parts.append(f'"{last}" ({_same_length_integers("0" * rest, high[1:])})')
        last -= 1
    if first <= last:
        parts.append(f"[{first}-{last}]" + (f" [0-9]{{{rest}}}" if rest else ""))
    return " | ".join(parts)


def choice_grammar(texts: Sequence[str]) -> str:
    """Return a grammar of a choice of texts, as a tree: llama.cpp tries all alternatives of a list for each token."""
    return _prefix_tree(sorted(set(texts)))


def _prefix_tree(texts: list[str]) -> str:
    low, high = texts[0], texts[-1]
    shared = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    rests = [text[shared:] for text in texts]
    begins = f"{gbnf_literal(low[:shared])} " if shared else ""
    if len(rests) == 1:
        return begins.strip() or '""'
    ends = not rests[0]
    groups: dict[str, list[str]] = {}
    for rest in rests[1:] if ends else rests:
        groups.setdefault(rest[0], []).append(rest)
    return f"{begins}({' | '.join(map(_prefix_tree, groups.values()))})" + ("?" if ends else "")


def gbnf_literal(text: str) -> str:
    """Return a text as a GBNF literal."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'
