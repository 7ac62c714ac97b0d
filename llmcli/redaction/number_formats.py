"""Find card numbers, IBANs and IP addresses, with or without separators."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from llmcli.redaction.check_digits import IBAN_LENGTHS, is_card_number, is_iban
from llmcli.redaction.normalization import Range

_GAP = r"[ .\-]"
"""A separator between groups of digits."""
_CARD_LENGTHS = range(12, 20)
_DIGIT_RUN = re.compile(rf"[0-9](?:{_GAP}?[0-9]){{11,}}")
_IBAN_HEAD = re.compile(rf"[A-Za-z]{_GAP}?[A-Za-z]{_GAP}?[0-9]{_GAP}?[0-9](?={_GAP}?[A-Za-z0-9])")
_IBAN_INSIDE = re.compile(r"(?<!\\)(?<!%[0-9A-Fa-f])(?<!\\u[0-9A-Fa-f]{3})(?<!(?i:IBA))[A-Za-z0-9]\Z")
"""Matches text after which a letter continues a word. An escape sequence and the label "IBAN" do not count."""
_GAPS = frozenset(" .-")
_IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")


def find_cards(text: str) -> Iterator[Range]:
    """Yield card numbers. In a run of digit groups, any consecutive groups may form a number."""
    for run in _DIGIT_RUN.finditer(text):
        groups = [match.span() for match in re.finditer(r"[0-9]+", run.group())]
        first = 0
        while first < len(groups):
            last = _card_end(run.group(), groups, first)
            if last is None:
                first += 1
                continue
            yield run.start() + groups[first][0], run.start() + groups[last][1]
            first = last + 1


def _card_end(text: str, groups: list[Range], first: int) -> int | None:
    """Return the index of the last group of a card number that starts at group ``first``, None if there is no such number."""
    digits = ""
    for last in range(first, len(groups)):
        digits += text[slice(*groups[last])]
        if len(digits) >= _CARD_LENGTHS.stop:
            return None
        if len(digits) in _CARD_LENGTHS and is_card_number(digits):
            return last
    return None


def find_ibans(text: str) -> Iterator[Range]:
    """Yield IBANs with a known country, the right length and valid check digits."""
    end = 0
    for head in _IBAN_HEAD.finditer(text):
        length = IBAN_LENGTHS.get("".join(filter(str.isalpha, head.group())).upper())
        start = head.start()
        if length is None or start < end or _IBAN_INSIDE.search(text, max(0, start - 6), start):
            continue
        found = _collect(text, start, length)
        if found is not None and not _goes_on(text, found[0]) and is_iban(found[1].upper()):
            end = found[0]
            yield start, end


def _goes_on(text: str, end: int) -> bool:
    return end < len(text) and text[end].isascii() and text[end].isalnum()


def _collect(text: str, start: int, length: int) -> tuple[int, str] | None:
    """Collect ``length`` letters and digits with at most one separator between two; return the end offset and the characters."""
    characters: list[str] = []
    at, gap = start, False
    while at < len(text) and len(characters) < length:
        character = text[at]
        if character.isascii() and character.isalnum():
            characters.append(character)
            gap = False
        elif character in _GAPS and not gap:
            gap = True
        else:
            return None
        at += 1
    return (at, "".join(characters)) if len(characters) == length else None


def find_ip_addresses(text: str) -> Iterator[Range]:
    """Yield IPv4 and IPv6 addresses."""
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            try:
                ipaddress.ip_address(match.group())
            except ValueError:
                continue
            yield match.span()
