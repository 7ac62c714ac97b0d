"""Find phone numbers: international ones, national ones in common groups, and any number behind a word such as "phone"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.redaction.normalization import Range

_RUN = re.compile(r"(?:\+|\(\+?|%2[Bb])?[0-9](?:[ ()./\-]{0,3}[0-9]){5,16}(?![0-9A-Za-z_])")
_INSIDE_WORD = re.compile(r"(?<!\\)[A-Za-z_+]\Z")
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
    r"|0[1-9][0-9]{8,9}"  # a trunk prefix
    r"|\(?0[1-9][0-9]{0,4}\)?(?:[ /-]{1,3}\(?[0-9]{1,8}\)?){1,5}"
    r"|\(?0[1-9][0-9]{0,4}\)?[ ./-](?:[0-9]{2,8}\.){0,4}[0-9]{2,8}"  # the same with dots
)
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


def find_phones(text: str) -> Iterator[Range]:
    """Yield international numbers, national numbers in common forms, and any number after a word such as "phone"."""
    for run in _RUN.finditer(text):
        start, said = run.start(), run.group()
        if _INSIDE_WORD.search(text, max(0, start - 2), start):
            continue
        if said.startswith("(") and said.count("(") > said.count(")"):
            start, said = start + 1, said[1:]
        if is_phone(said, text[max(0, start - MAX_WORD_CHARS) : start]):
            yield start, start + len(said)


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
    if _NATIONAL.fullmatch(said) is None or _DECIMAL_BEFORE.search(before):
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
