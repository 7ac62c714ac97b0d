"""Find card numbers, IBANs, IP addresses and phone numbers.

Card numbers have the check digit of ISO/IEC 7812 (Luhn), IBANs that of ISO 13616 (mod 97).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import accumulate

from llmcli.redaction.normalization import Range
from llmcli.redaction.text_index import TextIndex

_GAP = r"[ .\-]"
"""A separator between groups of digits."""
_CARD_LENGTHS = range(12, 20)
_CARD_DIGITS = frozenset("234568")
"""First digits of card numbers."""
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
"""The sum of the digits of twice a digit."""
_DIGIT_RUN = re.compile(rf"[0-9](?:{_GAP}?[0-9]){{11,}}")
_IBAN_HEAD = re.compile(rf"[A-Za-z]{_GAP}?[A-Za-z]{_GAP}?[0-9]{_GAP}?[0-9](?={_GAP}?[A-Za-z0-9])")
_IBAN_INSIDE = re.compile(r"(?<!\\)(?<!%[0-9A-Fa-f])(?<!\\u[0-9A-Fa-f]{3})(?<!(?i:IBA))[A-Za-z0-9]\Z")
"""Matches text after which a letter continues a word. An escape sequence and the label "IBAN" do not count."""
_GAPS = frozenset(" .-")
_IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")


_BYTES_BEFORE = re.compile(
    r"(?:^|[\r\n])[ \t]{0,8}(?:(?:0x)?[0-9a-fA-F]{4,16}(?::|  |\t|h )|0[0-9a-fA-F]{6,15} )[ \t]{0,4}(?:[0-9a-fA-F]{2,8}[ -]{1,2}){0,16}\Z"
    r"|(?<![\w.,-])(?:(?=[0-9]?[a-fA-F])[0-9a-fA-F]{2} {1,2}){2}(?:[0-9a-fA-F]{2} {1,2}){0,16}\Z"
    r"|(?<![\w.,-])(?:[0-9a-fA-F]{2} {1,2}){6,16}\Z"
    r"|(?<![\w.,-])(?=[0-9]?[A-F])[0-9A-F]{2} (?:[0-9A-F]{2} ){1,16}\Z"
)
"""What stands before a number in a dump: the offset of the line, or bytes with letters."""
_BYTES_AFTER = re.compile(
    r" {1,2}(?:[0-9a-fA-F]{2} {1,2}){0,8}(?:(?=[0-9]?[a-fA-F])[0-9a-fA-F]{2}(?: {1,2}|$)){2}", re.MULTILINE
)
_BYTE_GROUPS = re.compile(r"(?:[0-9]{2} ){3,}[0-9]{2}|[0-9]{4}(?: [0-9]{4})+|[0-9]{8}(?: [0-9]{8})+")
_MAX_DUMP_CHARS = 90


def _is_in_dump(text: str, start: int, end: int) -> bool:
    """Return whether groups of digits are bytes of a hexadecimal dump."""
    return _BYTE_GROUPS.fullmatch(text, start, end) is not None and (
        _BYTES_BEFORE.search(text, max(0, start - _MAX_DUMP_CHARS), start) is not None
        or _BYTES_AFTER.match(text, end) is not None
    )


def find_cards(index: TextIndex) -> Iterator[Range]:
    """Yield card numbers. In a run of digit groups, any consecutive groups may form a number."""
    text = index.text
    for run in _DIGIT_RUN.finditer(text):
        for start, end in _cards_in_run(run.group()):
            if not _is_in_dump(text, run.start() + start, run.start() + end):
                yield run.start() + start, run.start() + end


def _cards_in_run(run: str) -> Iterator[Range]:
    """Yield the card numbers among groups of digits, each in constant time: sums of digits are made once."""
    groups = [match.span() for match in re.finditer(r"[0-9]+", run)]
    digits = "".join(run[start:end] for start, end in groups)
    values = [int(digit) for digit in digits]
    sums = []
    for parity in (0, 1):  # of the last index: its digit counts as it is, the one before it doubled
        counted = values[:]
        counted[1 - parity :: 2] = [_DOUBLED[value] for value in values[1 - parity :: 2]]
        sums.append(list(accumulate(counted, initial=0)))
    starts = list(accumulate((end - start for start, end in groups), initial=0))
    ends = {end: index for index, end in enumerate(starts[1:])}
    first = 0
    while first < len(groups):
        last = _card_end(digits, starts[first], ends, sums) if digits[starts[first]] in _CARD_DIGITS else None
        is_decimal = last == first + 1 and run[groups[first][1]] == "."
        if last is not None and not is_decimal:
            yield groups[first][0], groups[last][1]
            first = last
        first += 1


def _card_end(digits: str, start: int, ends: dict[int, int], sums: list[list[int]]) -> int | None:
    """Return the index of the last group of a card number that starts at a digit, None without one."""
    for stop in range(start + _CARD_LENGTHS.start, start + _CARD_LENGTHS.stop):
        if stop in ends:
            total = sums[(stop - 1) % 2]
            if (total[stop] - total[start]) % 10 == 0 and _CARD_PREFIXES.fullmatch(digits, start, stop):
                return ends[stop]
    return None


def find_ibans(index: TextIndex) -> Iterator[Range]:
    """Yield IBANs with a known country, the right length and valid check digits."""
    text, end = index.text, 0
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
    """Collect ``length`` letters and digits with at most one separator between two.

    Return the end offset and the characters.
    """
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


def find_ip_addresses(index: TextIndex) -> Iterator[Range]:
    """Yield IPv4 and IPv6 addresses."""
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(index.text):
            try:
                ipaddress.ip_address(match.group())
            except ValueError:
                continue
            yield match.span()


_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 "
    "EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 "
    "KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 "
    "PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 "
    "UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS = {code[:2]: int(code[2:]) for code in _IBAN_LENGTHS.split()}
"""Characters of an IBAN by country, from the IBAN registry of SWIFT."""
_CARD_PREFIXES = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11,16}|(?:6011|65\d\d|64[4-9]\d)\d{12,15}|62\d{14,17}|35(?:2[89]|[3-8]\d)\d{12,15}"
    r"|220[0-4]\d{12,15}|(?:50|5[6-9]|6[0137-9]|81|82)\d{14,17}"
)
"""Number ranges of issuers: Visa, Mastercard, American Express, Diners, Discover, UnionPay, JCB, Mir, Maestro,
RuPay."""


def is_card_number(digits: str) -> bool:
    """Return whether ``digits`` have the prefix and the length of an issuer and a valid check digit."""
    return _CARD_PREFIXES.fullmatch(digits) is not None and passes_luhn(digits)


def passes_luhn(digits: str) -> bool:
    """Return whether the last of ``digits`` is the check digit of the others (Luhn)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + index % 2)
        total += value - 9 if value > 9 else value  # noqa: PLR2004 (the sum of its digits)
    return total % 10 == 0


def is_iban(text: str) -> bool:
    """Return whether ``text`` (no separators, upper case) has its country's length of IBANs and right check digits."""
    if IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


_RUN = re.compile(r"(?:\+|\(\+?|%2[Bb])?[0-9](?:[ ()./\-]{0,3}[0-9]){5,16}(?![0-9A-Za-z_])")
_INSIDE_WORD = re.compile(r"(?<!\\)[A-Za-z_+]\Z")
_ADDED_LINE = re.compile(r"^\+\Z", re.MULTILINE)
"""The sign of an added line of a diff, which is no part of a number."""
_WORD = re.compile(
    r"(?i:t[e\u00e9]l[e\u00e9]?(?:phone|fon[eoi]?|foon|fax|f\u00f3n|m\u00f3vel)?|phone|(?<![A-Za-z])(?:ph|tlf|tfn|gsm|cel)|mobile?|m\u00f3vil|mobil|handy"
    r"|cell(?:ulare|phone)?|celular|puhelin|fax|call|sms|whatsapp|ruf(?:nummer)?|dial|text me(?: at)?|reach(?: \w+)? at"
    r"|\u0442\u0435\u043b(?:\u0435\u0444\u043e\u043d)?|\u043c\u043e\u0431(?:\u0438\u043b\u044c\u043d\u044b\u0439)?|\u03c4\u03b7\u03bb(?:\u03ad\u03c6\u03c9\u03bd\u03bf)?|\u03ba\u03b9\u03bd\u03b7\u03c4\u03cc"
    r"|\u05d8\u05dc\u05e4\u05d5\u05df|\u05e0\u05d9\u05d9\u05d3|\u0647\u0627\u062a\u0641|\u062c\u0648\u0627\u0644|\u092b\u093c?\u094b\u0928|\u0e42\u0e17\u0e23|\u0111i\u1ec7n tho\u1ea1i"
    r"|\u7535\u8bdd|\u96fb\u8a71|\u624b\u673a\u53f7?|\u624b\u6a5f|\u643a\u5e2f|\uc804\ud654|\ud734\ub300\ud3f0|\uc5f0\ub77d\ucc98)"
    r"(?:[ _-]?(?:number|nummer|no|nr|n\u00ba|\u53f7\u7801|\u756a\u53f7|\ubc88\ud638))?[\"']?\.?\s{0,3}[:=]?\s{0,3}[\"']?(?:\(?0?\)?)?\Z"
)
_DATE = re.compile(
    r"(?:[0-9]{1,2}([./-])[0-9]{1,2}\1[0-9]{2,4}|[0-9]{4}([./-])[0-9]{1,2}\2[0-9]{1,2})(?![0-9]|[./-][0-9])"
)
_NATIONAL = re.compile(
    r"(?:1[ .-]?)?(?:\([2-9][0-9]{2}\)[ .-]?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"  # North America
    r"|[6-9][0-9]{4}[ .-][0-9]{5}|1[3-9][0-9][ .-][0-9]{4}[ .-][0-9]{4}"  # India, China
    r"|1(?:3[0-9]|4[014-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])[0-9]{8}"  # a mobile of China without groups
    r"|[78]?[ -]?\([0-9]{2,5}\)[ -]?[0-9]{3,5}(?:[ -]?[0-9]{2,5}){0,3}"  # an area code in parentheses
    r"|8[ -]?\(?[3-9][0-9]{2}\)?[ -][0-9]{3}[ -][0-9]{2}[ -][0-9]{2}"  # Russia and Kazakhstan
    r"|0[1-9][0-9]{8,9}"  # a trunk prefix
    r"|\(?0[1-9][0-9]{0,4}\)?(?:[ /-]{1,3}\(?[0-9]{1,8}\)?){1,5}"
    r"|\(?0[1-9][0-9]{0,4}\)?[ ./-](?:[0-9]{2,8}\.){0,4}[0-9]{2,8}"  # the same with dots
)
_PAIRS = re.compile(r"[0-9]{2}(?:[ .-][0-9]{2}){5,9}")
"""More pairs of digits than a national number has: a count, bytes."""
_DECIMAL_BEFORE = re.compile(r"[0-9]\.\Z")
_COUNTRY_CODE = re.compile(r"1|7|2[07]|2[1-689][0-9]|3[0-469]|3[578][0-9]|4[013-9]|42[0-9]|5[1-8]|5[09][0-9]"
                           r"|6[0-6]|6[7-9][0-9]|8[1246]|8[05789][0-9]|9[0-58]|9[679][0-9]")  # fmt: skip
_DIGITS = range(7, 16)
_TRUNK_DIGITS = range(9, 13)
_NATIONAL_LENGTHS = {
    **dict.fromkeys(("1", "7", "30", "44", "52", "55", "62", "86", "90", "91", "92"), 10),
    **dict.fromkeys(("20", "27", "31", "33", "34", "39", "40", "48", "61", "81", "84", "351", "380", "420", "886"), 9),
}
"""Digits of a number without its country code, where they are more than 8 at least."""
_MIN_NATIONAL_DIGITS = 8
MAX_WORD_CHARS = 24
"""How many characters before a number are searched for a word such as "phone"."""


_IDENTIFIER_BEFORE = re.compile(r"[A-Za-z]{2}\.\Z|[0-9]{4}/S \Z")
_ZIP_CODE, _STATE_BEFORE = re.compile(r"[0-9]{5}-[0-9]{4}"), re.compile(r"\b[A-Z]{2}[ \t]{1,4}\Z")
"""An American postal code behind the state: "MA 02110-1301"."""
_IDENTIFIER_AFTER = re.compile(r"-(?:[A-Za-z]{1,3}[0-9]|[0-9]{1,6}-?[A-Za-z])")
"""Number of a product, a DOI: letters and digits joined to a number."""


def find_phones(index: TextIndex) -> Iterator[Range]:
    """Yield international numbers, national numbers in common forms, and any number after a word such as "phone"."""
    text = index.text
    for run in _RUN.finditer(text):
        start, said = run.start(), run.group()
        if _INSIDE_WORD.search(text, max(0, start - 2), start) and not _ADDED_LINE.search(text, start - 1, start):
            continue
        if said.startswith("(") and said.count("(") > said.count(")"):
            start, said = start + 1, said[1:]
        before = text[max(0, start - MAX_WORD_CHARS) : start]
        if _IDENTIFIER_BEFORE.search(before) and not _WORD.search(before):
            continue
        end = start + len(said)
        if said[0] != "+" and _IDENTIFIER_AFTER.match(text, end):
            continue
        if _ZIP_CODE.fullmatch(said) and _STATE_BEFORE.search(before):
            continue
        if is_phone(said, before):
            found = start
        elif _ADDED_LINE.search(text, start, start + 1) and is_phone(said[1:], before):
            found = start + 1
        else:
            continue
        if not _is_in_dump(text, start, end):
            yield found, end


def is_phone(said: str, before: str) -> bool:
    """Return whether ``said`` (digits and separators) is a phone number; ``before`` is the text in front of it."""
    said = said.replace("%2B", "+").replace("%2b", "+")
    digits = "".join(filter(str.isdigit, said))
    if len(digits) not in _DIGITS or _DATE.match(said):
        return False
    if said.startswith(("+", "(+")):
        return _COUNTRY_CODE.match(digits) is not None
    if said.startswith("00"):
        return len(digits) >= _TRUNK_DIGITS.start and _COUNTRY_CODE.match(digits, 2) is not None
    if _WORD.search(before):
        return True
    is_count = digits in "01234567890123456789" or _PAIRS.fullmatch(said) or _DECIMAL_BEFORE.search(before)
    if is_count or _NATIONAL.fullmatch(said) is None:
        return False
    return said.lstrip("(")[0] != "0" or len(digits) in _TRUNK_DIGITS


def is_complete(said: str, before: str) -> bool:
    """Return whether ``said`` is a phone number that needs no more digits; ``before`` is the text in front of it."""
    if not is_phone(said, before):
        return False
    digits = "".join(filter(str.isdigit, said))
    if not said.startswith(("+", "(+", "00")):
        return len(digits) >= (_TRUNK_DIGITS.start + 1 if digits[0] == "0" else _MIN_NATIONAL_DIGITS)
    digits = digits.removeprefix("00")
    code = _COUNTRY_CODE.match(digits)
    return code is not None and len(digits) - code.end() >= _NATIONAL_LENGTHS.get(code.group(), _MIN_NATIONAL_DIGITS)
