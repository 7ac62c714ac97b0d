"""Check digits of card numbers (ISO/IEC 7812, Luhn) and of IBANs (ISO 13616, mod 97)."""

from __future__ import annotations

import re

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
"""Number ranges of issuers: Visa, Mastercard, American Express, Diners, Discover, UnionPay, JCB, Mir, Maestro, RuPay."""


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
    """Return whether ``text`` (no separators, upper case) has the length of its country's IBANs and valid check digits."""
    if IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1
