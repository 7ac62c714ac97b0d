"""Plural forms of languages as gettext writes them. Source: the gettext manual, "Plural forms", and CLDR."""

from __future__ import annotations

from functools import cache

_ONE_FORM = "nplurals=1; plural=0;"
_SINGULAR_ONE = "nplurals=2; plural=(n != 1);"
_SINGULAR_ZERO_ONE = "nplurals=2; plural=(n > 1);"
_EAST_SLAVIC = "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);"
_RULES: dict[str, str] = {
    "ja zh ko vi th id ms lo my jv su km ka_ bo dz ii kde lkt sah wo yo ig": _ONE_FORM,
    "fr pt-br tr_ oc br_ fil tl ln mg mi ti wa ak am bh guw nso pa_ hy kab": _SINGULAR_ZERO_ONE,
    "ru uk be": _EAST_SLAVIC,
    "sr hr bs sh": _EAST_SLAVIC,
    "pl": "nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);",
    "cs sk": "nplurals=3; plural=(n==1 ? 0 : n>=2 && n<=4 ? 1 : 2);",
    "lt": "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && (n%100<10 || n%100>=20) ? 1 : 2);",
    "lv": "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n != 0 ? 1 : 2);",
    "ro mo": "nplurals=3; plural=(n==1 ? 0 : (n==0 || (n%100 > 0 && n%100 < 20)) ? 1 : 2);",
    "sl": "nplurals=4; plural=(n%100==1 ? 0 : n%100==2 ? 1 : n%100==3 || n%100==4 ? 2 : 3);",
    "hsb dsb": "nplurals=4; plural=(n%100==1 ? 0 : n%100==2 ? 1 : n%100==3 || n%100==4 ? 2 : 3);",
    "ga": "nplurals=5; plural=(n==1 ? 0 : n==2 ? 1 : n<7 ? 2 : n<11 ? 3 : 4);",
    "gd": "nplurals=4; plural=(n==1 || n==11 ? 0 : n==2 || n==12 ? 1 : n>2 && n<20 ? 2 : 3);",
    "cy": "nplurals=4; plural=(n==1 ? 0 : n==2 ? 1 : n!=8 && n!=11 ? 2 : 3);",
    "mt": "nplurals=4; plural=(n==1 ? 0 : n==0 || (n%100>1 && n%100<11) ? 1 : n%100>10 && n%100<20 ? 2 : 3);",
    "ar": "nplurals=6; plural=(n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5);",
    "is": "nplurals=2; plural=(n%10!=1 || n%100==11);",
    "mk": "nplurals=2; plural=(n%10==1 && n%100!=11 ? 0 : 1);",
}
_BY_LANGUAGE = {language.rstrip("_"): rule for languages, rule in _RULES.items() for language in languages.split()
                if not language.endswith("_")}  # fmt: skip
_MAX_EXAMPLES = 5
_MAX_NUMBER = 201


def plural_rule(language: str) -> str:
    """Return the value of Plural-Forms for a BCP 47 code; unknown languages get the most common rule."""
    code = language.lower().replace("_", "-")
    return _BY_LANGUAGE.get(code) or _BY_LANGUAGE.get(code.partition("-")[0], _SINGULAR_ONE)


@cache
def numbers_by_form(rule: str) -> tuple[tuple[int, ...], ...] | None:
    """Return the first numbers of each form of a Plural-Forms value, None if it is invalid."""
    import re
    from gettext import c2py

    match = re.fullmatch(r"\s*nplurals\s*=\s*(\d{1,2})\s*;\s*plural\s*=\s*([^;]{1,1000});?\s*", rule)
    if not match or not 0 < int(match[1]) < 10:  # noqa: PLR2004 - one digit, as in msgstr[n]
        return None
    found: list[list[int]] = [[] for _ in range(int(match[1]))]
    try:
        form_of = c2py(match[2])
        for number in range(_MAX_NUMBER):
            found[form_of(number)].append(number)
    except (ValueError, IndexError, ZeroDivisionError, OverflowError, RecursionError):
        return None
    return tuple(tuple(numbers) for numbers in found)


def is_singular(numbers: tuple[int, ...]) -> bool:
    """Whether a form is for the number one alone."""
    return numbers == (1,)


def format_examples(numbers: tuple[int, ...]) -> str:
    """Return some of a form's numbers in words for the translator."""
    shown = ", ".join(map(str, numbers[:_MAX_EXAMPLES]))
    return f"{shown}, ..." if len(numbers) > _MAX_EXAMPLES else shown
