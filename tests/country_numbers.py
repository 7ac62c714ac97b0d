"""Phone numbers, IBANs, cards and mail addresses as people in 40 countries write them, made from a seed, in plain and hard forms."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import planted_values

from llmcli.redaction.number_formats import IBAN_LENGTHS


@dataclass(frozen=True)
class Country:
    """Numbers of a country: ``n`` is any digit, ``x`` one from 2 to 9.

    ``word``: what stands before a phone number there.
    """

    code: str
    calling_code: str
    trunk: str
    phones: tuple[str, ...]
    word: str


_TABLE = """
US|1||xnn-xnn-nnnn,(xnn) xnn-nnnn|Phone:
CA|1||xnn-xnn-nnnn,(xnn) xnn-nnnn|Tel.:
GB|44|0|7nnn nnnnnn,20 7nnn nnnn,161 nnn nnnn|Mobile:
IE|353|0|8x nnn nnnn,1 nnn nnnn|Phone:
FR|33|0|6 nn nn nn nn,1 nn nn nn nn|T\u00e9l. :
DE|49|0|151 nnnnnnnn,30 nnnnnnnn,89 nnn nnnn|Telefon:
AT|43|0|664 nnnnnnn,1 nnn nnnn|Handy:
CH|41|0|79 nnn nn nn,44 nnn nn nn|Tel.:
IT|39||3nn nnn nnnn,06 nnnn nnnn|Cellulare:
ES|34||6nn nnn nnn,91n nn nn nn|Tel\u00e9fono:
PT|351||91n nnn nnn,21n nnn nnn|Telem\u00f3vel:
NL|31|0|6 nnnnnnnn,20 nnn nnnn|Telefoon:
BE|32|0|47n nn nn nn,2 nnn nn nn|GSM:
LU|352||6n1 nnn nnn,26 nn nn nn|T\u00e9l.:
DK|45||xn nn nn nn|Tlf.:
NO|47||4nn nn nnn,2n nn nn nn|Telefon:
SE|46|0|70-nnn nn nn,8-nnn nn nn|Mobil:
FI|358|0|40 nnn nnnn,9 nnn nnnn|Puhelin:
PL|48||6nn nnn nnn,22 nnn nn nn|Telefon:
CZ|420||6nn nnn nnn,2nn nnn nnn|Telefon:
HU|36|06 |30 nnn nnnn,1 nnn nnnn|Telefon:
RO|40|0|72n nnn nnn,21 nnn nnnn|Telefon:
BG|359|0|88 nnn nnnn,2 nnn nnnn|\u0422\u0435\u043b\u0435\u0444\u043e\u043d:
GR|30||69n nnn nnnn,21n nnn nnnn|\u03a4\u03b7\u03bb.:
HR|385|0|91 nnn nnnn,1 nnnn nnn|Telefon:
TR|90|0|5nn nnn nn nn,212 nnn nn nn|Telefon:
RU|7|8 |(9nn) nnn-nn-nn,(495) nnn-nn-nn|\u0422\u0435\u043b.:
UA|380|0|67 nnn nn nn,44 nnn nn nn|\u0422\u0435\u043b\u0435\u0444\u043e\u043d:
IL|972|0|52-nnn-nnnn,3-nnn-nnnn|\u05d8\u05dc\u05e4\u05d5\u05df:
AE|971|0|50 nnn nnnn,4 nnn nnnn|\u0647\u0627\u062a\u0641:
IN|91||9nnnn nnnnn,8nnnnnnnnn|Mobile no:
CN|86||138 nnnn nnnn,139nnnnnnnn,186-nnnn-nnnn|\u624b\u673a\uff1a
JP|81|0|90-nnnn-nnnn,3-nnnn-nnnn|\u96fb\u8a71\uff1a
KR|82|0|10-nnnn-nnnn,2-nnnn-nnnn|\uc804\ud654:
TW|886|0|912-nnn-nnn,2-nnnn-nnnn|\u96fb\u8a71\uff1a
SG|65||9nnn nnnn,6nnn nnnn|Tel:
AU|61|0|4nn nnn nnn,2 nnnn nnnn|Phone:
NZ|64|0|21 nnn nnnn,9 nnn nnnn|Ph:
BR|55||(11) 9nnnn-nnnn,(21) nnnn-nnnn|Celular:
ZA|27|0|82 nnn nnnn,11 nnn nnnn|Cell:
"""
COUNTRIES = tuple(
    Country(code, calling_code, trunk, tuple(phones.split(",")), word)
    for code, calling_code, trunk, phones, word in (line.split("|") for line in _TABLE.split("\n") if line)
)
KINDS = ("phone, international", "phone, national", "phone, after a word", "iban", "card", "email")
_TO_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F) if chr(code).isalnum() or chr(code) in "+@.-()"}
_INVISIBLE = "\u200b\u200c\u2060\u00ad\ufeff"
_PROSE = ["we talked about the delivery of the order", "the office is open on most days", "bitte melden Sie sich dort",
          "vous pouvez nous joindre ici", "our colleagues will answer your questions"]  # fmt: skip


def make_phone(rng: random.Random, country: Country, kind: str) -> str:
    """Return a number with the usual groups, or with dots in place of the blanks."""
    pattern = rng.choice(country.phones)
    if kind == "phone, international":
        pattern = rng.choice(["+", "+", "+", "00"]) + f"{country.calling_code} {pattern}"
    else:
        pattern = country.trunk + pattern
    written = re.sub("[nx]", lambda match: str(rng.randint(0 if match.group() == "n" else 2, 9)), pattern)
    return re.sub(r"(?<=\d) (?=\d)", rng.choice([" ", " ", "."]), written)


def make_iban(rng: random.Random, country: Country) -> str:
    """Return an IBAN of the country, or of Germany if the country has none; in groups of four or without groups."""
    code = country.code if country.code in IBAN_LENGTHS else "DE"
    size = IBAN_LENGTHS[code] - 4
    letters = {"GB": 4, "IE": 4, "NL": 4, "BG": 4, "RO": 4, "IT": 1}.get(code, 0)
    account = planted_values.draw(rng, "ABCDEFGHJKLMNPQRSTUVWXYZ", letters)
    account += planted_values.draw(rng, "0123456789", size - letters)
    check = 98 - int("".join(str(int(c, 36)) for c in f"{account}{code}00")) % 97
    iban = f"{code}{check:02}{account}"
    return planted_values.group(iban, [4] * 9, rng.choice([" ", " ", ""]))


def make_email(rng: random.Random, country: Country) -> str:
    """Return a mail address below the country's domain."""
    given, family = rng.choice(planted_values.GIVEN).lower(), rng.choice(planted_values.FAMILY).lower()
    return f"{given}{rng.choice('._')}{family}{rng.randint(1, 99)}@{rng.choice(['mail', 'post'])}.example.{country.code.lower()}"


def make_value(rng: random.Random, country: Country, kind: str) -> str:
    """Return a value of one of ``KINDS`` in its plain form."""
    if kind == "iban":
        return make_iban(rng, country)
    if kind == "card":
        return planted_values.make_card(rng)[0]
    return make_email(rng, country) if kind == "email" else make_phone(rng, country, kind)


def _plain(rng: random.Random, before: str, value: str) -> tuple[str, str]:
    context = rng.choice([*planted_values.CONTEXTS[:5], planted_values.CONTEXTS[7], planted_values.CONTEXTS[14]])
    return context(rng, before + value), value


def _changed(change: Callable[[random.Random, str], str]) -> Callable[[random.Random, str, str], tuple[str, str]]:
    return lambda rng, before, value: _plain(rng, before, change(rng, value))


def _with_invisible(rng: random.Random, value: str) -> str:
    """Return the value with invisible characters at one to three places inside."""
    places = sorted(rng.sample(range(1, len(value)), rng.randint(1, 3)), reverse=True)
    for place in places:
        value = value[:place] + rng.choice(_INVISIBLE) + value[place:]
    return value


def _wrapped(rng: random.Random, before: str, value: str) -> tuple[str, str]:
    """Return prose that is wrapped inside the value: at a blank, or a sign, or anywhere in the digits of a long number."""
    start, end = rng.choice([("", "\n"), ("", "\n"), ("> ", "\n> "), ("  ", "\n  ")])
    if "@" in value:
        name, domain = value.split("@")
        written = (
            f"{name}@{end}{domain}"
            if rng.random() < 0.7
            else f"{name}@{domain.replace('.example', f'.{end}example', 1)}"
        )
    else:
        places = [match.start() for match in re.finditer(r"[ \u00a0]", value)]
        places = places or [match.end() for match in re.finditer(r"[-.)](?=\d)", value)]
        at = rng.choice(places or [len(value) // 2])
        written = value[:at].rstrip(" \u00a0") + end + value[at:].lstrip(" \u00a0")
    return f"{start}{rng.choice(_PROSE)} {before}{written}, {rng.choice(_PROSE)}.", written


FORMS: dict[str, Callable[[random.Random, str, str], tuple[str, str]]] = {
    "plain": _plain,
    "full-width": _changed(lambda _, value: value.translate(_TO_FULL_WIDTH)),
    "invisible characters": _changed(_with_invisible),
    "no-break spaces": _changed(lambda rng, value: value.replace(" ", rng.choice("\u00a0\u202f\u2009\u3000"))),
    "two lines": _wrapped,
}
"""Each returns a text, and the value as it is written there; they are given the words before it, and the value."""


def plant(rng: random.Random, country: Country, kind: str, form: str) -> tuple[str, str]:
    """Return a text with a value of a country, and the value as it is written there."""
    value = make_value(rng, country, kind)
    return FORMS[form](rng, f"{country.word} " if kind == "phone, after a word" else "", value)


PASSWORDS: dict[str, tuple[str, ...]] = {
    "in quotes, with spaces": (
        'password: "correct horse battery staple"',
        "PASSWORD='blue river stone lamp'",
        '{"password": "mellow tiger under 7 clouds"}',
        "passphrase: 'quiet amber window fox'",
        '"passwd" => "lemon tractor violin"',
    ),
    "an unclosed quote": (
        'password="hunter2!x',
        "DB_PASSWORD='s3cr3tValue\nDB_HOST=localhost",
        'password: "tr0ub4dor and three',
        '{"user": "a", "password": "abc123xyz',
    ),
    "arguments": (
        "mysql -u root -ps3cr3tPw shop",
        "mysqldump -uroot -p'hunter2!' shop",
        "sshpass -p hunter22 ssh me@host.example",
        "docker login -u jane -p Tr0ub4dor registry.example",
        "redis-cli -h cache -a S3cret99 ping",
        "7z x -phunter22 backup.7z",
        "unzip -P hunter22 backup.zip",
        "tool login -u jane -p 'blue42fox!'",
        "openssl rsa -passin pass:hunter22 -in a.pem",
    ),
    "words of other languages": (
        "\u5bc6\u7801\uff1ahunter22\uff0c\u8bf7\u4fdd\u5bc6",
        "\u5bc6\u7801: Abc12345",
        "\u5bc6\u78bc\uff1aAbc12345\u3002",
        "\u30d1\u30b9\u30ef\u30fc\u30c9\uff1ahunter22",
        "\ube44\ubc00\ubc88\ud638: hunter22",
        "\u043f\u0430\u0440\u043e\u043b\u044c: hunter22",
        "has\u0142o: hunter22",
        "wachtwoord: hunter22",
        "senha: hunter22",
        "\u015fifre: hunter22",
        "l\u00f6senord: hunter22",
        "mot de passe : hunter22",
        "\u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2: hunter22",
        "m\u1eadt kh\u1ea9u: hunter22",
    ),
}
"""Texts with a password, by form. The password is the value of ``password_of``."""
_PASSWORD = re.compile(
    r"correct horse battery staple|blue river stone lamp|mellow tiger under 7 clouds|quiet amber window fox|lemon tractor violin"
    r"|hunter2!x|s3cr3tValue|tr0ub4dor and three|abc123xyz|s3cr3tPw|hunter2!|hunter22|Tr0ub4dor|S3cret99|blue42fox!|Abc12345"
)


def password_of(text: str) -> tuple[int, int]:
    """Return where the password of one of ``PASSWORDS`` stands."""
    match = _PASSWORD.search(text)
    assert match is not None
    return match.span()
