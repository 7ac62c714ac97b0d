"""Find card numbers, IBANs, phone numbers and IP addresses, with or without separators."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from llmcli.redaction.check_digits import IBAN_LENGTHS, is_card_number, is_iban

Range = tuple[int, int]
"""Start and end offsets; the end is exclusive."""
_FILLER = "\ue000"
_GAP = rf"(?:[ .\-\u00a0\u2007\u2009\u202f\u2010-\u2013]|{_FILLER}+)"
"""A separator between groups of digits."""
_ESCAPED_GAP = re.compile(r"(?i:\\{1,4}u(?:00a0|2007|2009|202f|201[0-3])|&nbsp;|&#160;|&#xa0;|%20|%c2%a0|%e2%80%af)")
_CARD_LENGTHS = range(12, 20)
_DIGIT_RUN = re.compile(rf"[0-9](?:{_GAP}?[0-9]){{11,}}")
_IBAN_HEAD = re.compile(rf"[A-Za-z]{_GAP}?[A-Za-z]{_GAP}?[0-9]{_GAP}?[0-9](?={_GAP}?[A-Za-z0-9])")
_IBAN_INSIDE = re.compile(r"(?<!\\)(?<!%[0-9A-Fa-f])(?<!\\u[0-9A-Fa-f]{3})(?<!(?i:IBA))[A-Za-z0-9]\Z")
"""Matches text after which a letter continues a word. An escape sequence and the label "IBAN" do not count."""
_GAPS = frozenset(f"{_FILLER} .-\u00a0\u2007\u2009\u202f\u2010\u2011\u2012\u2013")
_PHONE_RUN = re.compile(
    rf"(?:\+|\(\+?|%2[Bb])?[0-9](?:(?:[ ()./\-\u00a0\u2007\u2009\u202f\u2010-\u2013]|{_FILLER}+){{0,3}}[0-9]){{5,16}}(?![0-9A-Za-z_])"
)
_INSIDE_WORD = re.compile(r"(?<!\\)[A-Za-z_+]\Z")
_PHONE_WORD = re.compile(
    r"(?i:tele?(?:phone|fon|fono|fax)?|t\u00e9l(?:\u00e9phone)?|phone|mobile?|m\u00f3vil|mobil|handy|cell(?:ulare)?|fax"
    r"|call|sms|whatsapp|ruf(?:nummer)?|dial|text me(?: at)?|reach(?: \w+)? at)"
    r"(?:[ _-]?(?:number|nummer|no|nr))?[\"']?\.?\s{0,3}[:=]?\s{0,3}[\"']?(?:\(?0?\)?)?\Z"
)
_DATE = re.compile(r"(?:[0-9]{1,2}([./-])[0-9]{1,2}\1[0-9]{2,4}|[0-9]{4}([./-])[0-9]{1,2}\2[0-9]{1,2})(?![0-9])")
_NATIONAL = re.compile(
    r"(?:1[ .-]?)?(?:\([2-9][0-9]{2}\)[ .-]?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"  # North America
    r"|[6-9][0-9]{4}[ -][0-9]{5}|1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}"  # India, China
    r"|[78]?[ -]?\([0-9]{2,5}\)[ -]?[0-9]{3,5}(?:[ -]?[0-9]{2,5}){0,3}"  # an area code in parentheses
    r"|0[1-9][0-9]{8,9}"  # a trunk prefix
    r"|\(?0[1-9][0-9]{0,4}\)?(?:[ ./-]{1,3}\(?[0-9]{1,8}\)?){1,5}"
)
_COUNTRY_CODE = re.compile(r"1|7|2[07]|2[1-689][0-9]|3[0-469]|3[578][0-9]|4[013-9]|42[0-9]|5[1-8]|5[09][0-9]"
                           r"|6[0-6]|6[7-9][0-9]|8[1246]|8[05789][0-9]|9[0-58]|9[679][0-9]")  # fmt: skip
_PHONE_DIGITS = range(7, 16)
_TRUNK_DIGITS = range(9, 13)
_MAX_WORD_CHARS = 24
"""How many characters before a number are searched for a word such as "phone"."""
_IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")


def _fill_gaps(text: str) -> str:
    """Replace each escaped space or hyphen with fillers of the same length, so that offsets do not change."""
    if "\\u" in text or "&" in text or "%" in text or "\\U" in text:
        return _ESCAPED_GAP.sub(lambda match: _FILLER * len(match.group()), text)
    return text


def find_cards(text: str) -> Iterator[Range]:
    """Yield card numbers. In a run of digit groups, any consecutive groups may form a number."""
    for run in _DIGIT_RUN.finditer(_fill_gaps(text)):
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
    text, end = _fill_gaps(text), 0
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
        elif character in _GAPS and (not gap or character == _FILLER == text[at - 1]):
            gap = True
        else:
            return None
        at += 1
    return (at, "".join(characters)) if len(characters) == length else None


def find_phones(text: str) -> Iterator[Range]:
    """Yield international numbers, national numbers in common forms, and any number after a word such as "phone"."""
    text = _fill_gaps(text)
    for run in _PHONE_RUN.finditer(text):
        start, said = run.start(), run.group()
        if _INSIDE_WORD.search(text, max(0, start - 2), start):
            continue
        if said.startswith("(") and said.count("(") > said.count(")"):
            start, said = start + 1, said[1:]
        if _is_phone(said, text[max(0, start - _MAX_WORD_CHARS) : start]):
            yield start, start + len(said)


def _is_phone(said: str, before: str) -> bool:
    """Return whether ``said`` (digits and separators) is a phone number; ``before`` is the text in front of it."""
    said = said.replace("%2B", "+").replace("%2b", "+").replace(_FILLER, " ")
    digits = "".join(filter(str.isdigit, said))
    if len(digits) not in _PHONE_DIGITS or _DATE.match(said):
        return False
    if said.startswith(("+", "(+")):
        return _COUNTRY_CODE.match(digits) is not None
    if said.startswith("00"):
        return len(digits) >= _TRUNK_DIGITS.start and _COUNTRY_CODE.match(digits, 2) is not None
    if _PHONE_WORD.search(before):
        return True
    if _NATIONAL.fullmatch(said) is None:
        return False
    return said.lstrip("(")[0] != "0" or len(digits) in _TRUNK_DIGITS


def find_ip_addresses(text: str) -> Iterator[Range]:
    """Yield IPv4 and IPv6 addresses."""
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            try:
                ipaddress.ip_address(match.group())
            except ValueError:
                continue
            yield match.span()
