"""Private values made from a seed, planted in texts of many kinds, and values that look similar and are not private."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

ALNUM = string.ascii_letters + string.digits
GIVEN = [
    "Anna",
    "Ben",
    "Chloe",
    "Dmitri",
    "Elif",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Keiko",
    "Liam",
    "Maria",
    "Noor",
    "Olga",
    "Pedro",
    "Qian",
    "Rosa",
    "Sven",
    "Tariq",
]
FAMILY = [
    "Abbott",
    "Bauer",
    "Costa",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Haddad",
    "Ivanova",
    "Jensen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
]
DOMAINS = [
    "example.com",
    "mail.example.org",
    "firma.example.de",
    "uni-mainz.example.net",
    "example.co.uk",
    "kontakt.example.fr",
]
IBAN_FORMS = {"DE": "nnnnnnnnnnnnnnnnnn", "GB": "aaaannnnnnnnnnnnnn", "FR": "nnnnnnnnnncccccccccccnn", "NL": "aaaannnnnnnnnn",
              "ES": "nnnnnnnnnnnnnnnnnnnn", "IT": "annnnnnnnnncccccccccccc", "CH": "nnnnncccccccccccc",
              "AT": "nnnnnnnnnnnnnnnn", "BE": "nnnnnnnnnnnn", "PL": "nnnnnnnnnnnnnnnnnnnnnnnn", "NO": "nnnnnnnnnnn",
              "SE": "nnnnnnnnnnnnnnnnnnnn", "PT": "nnnnnnnnnnnnnnnnnnnnn", "MT": "aaaannnnncccccccccccccccccc"}  # fmt: skip
CARD_PREFIXES = (("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16),
                 ("65", 16), ("36", 14), ("3530", 16), ("62", 16), ("4", 13), ("4", 19))  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """A value of ``kind`` in ``text``, which holds it as ``written``; ``secret`` must not be there without separators."""

    kind: str
    text: str
    written: str
    secret: str


def draw(rng: random.Random, letters: str, size: int) -> str:
    return "".join(rng.choice(letters) for _ in range(size))


def luhn_digit(digits: str) -> str:
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(reversed(digits)))
    return str(-total % 10)


def make_card(rng: random.Random) -> tuple[str, str]:
    prefix, size = rng.choice(CARD_PREFIXES)
    digits = prefix + draw(rng, string.digits, size - len(prefix) - 1)
    digits += luhn_digit(digits)
    gap = rng.choice(["", "", " ", "-", "\u00a0"])
    sizes = [4, 6, len(digits) - 10] if len(digits) in {14, 15} else [4] * 3 + [len(digits) - 12]
    return group(digits, sizes, gap), digits


def make_iban(rng: random.Random) -> tuple[str, str]:
    country = rng.choice(sorted(IBAN_FORMS))
    letters = {"n": string.digits, "a": string.ascii_uppercase, "c": string.ascii_uppercase + string.digits}
    account = "".join(rng.choice(letters[form]) for form in IBAN_FORMS[country])
    check = 98 - int("".join(str(int(c, 36)) for c in f"{account}{country}00")) % 97
    iban = f"{country}{check:02}{account}"
    written = group(iban, [4] * (len(iban) // 4) + [len(iban) % 4], rng.choice(["", " ", "\u00a0", "-"]))
    return (written.lower() if rng.random() < 0.1 else written), iban


def group(text: str, sizes: list[int], gap: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return gap.join(part for part in parts if part)


def make_email(rng: random.Random) -> tuple[str, str]:
    given, family = rng.choice(GIVEN).lower(), rng.choice(FAMILY).lower()
    local = rng.choice(
        [
            f"{given}.{family}",
            f"{given[0]}{family}",
            f"{given}_{family}{rng.randint(1, 99)}",
            f"{given}+{draw(rng, string.ascii_lowercase, 4)}",
            f"{family}-{given}",
        ]
    )
    email = f"{local}{rng.randint(1, 9999)}@{rng.choice(DOMAINS)}"
    return email, email


def make_phone(rng: random.Random) -> tuple[str, str]:
    d = lambda n: str(rng.randint(1, 9)) + draw(rng, string.digits, n - 1)  # noqa: E731 (short, since it is used often)
    written = rng.choice([
        f"+49 {d(3)} {d(7)}", f"+1 {d(3)}-{d(3)}-{d(4)}", f"+44 20 {d(4)} {d(4)}", f"+33 6 {d(2)} {d(2)} {d(2)} {d(2)}",
        f"+39{d(10)}", f"0033{d(9)}", f"(030) {d(8)}", f"0151 {d(8)}", f"06 {d(2)} {d(2)} {d(2)} {d(2)}",
        f"({rng.randint(2, 9)}{d(2)}) {rng.randint(2, 9)}{d(2)}-{d(4)}", f"{rng.randint(2, 9)}{d(2)}-{rng.randint(2, 9)}{d(2)}-{d(4)}",
        f"tel: {d(9)}", f"Phone: {d(4)} {d(4)}", f"020 {d(4)} {d(4)}", f"089/{d(7)}",
    ])  # fmt: skip
    value = written.partition(": ")[2] or written
    return written, value


def _jwt(rng: random.Random) -> str:
    def part(size: int) -> str:
        return base64.urlsafe_b64encode(rng.randbytes(size)).decode().rstrip("=")

    return f"eyJhbGciOi{part(20)}.eyJzdWIiOi{part(40)}.{part(32)}"


KEY_FORMS: tuple[Callable[[random.Random], str], ...] = (
    lambda r: "AKIA" + draw(r, string.ascii_uppercase + string.digits, 16),
    lambda r: "ghp_" + draw(r, ALNUM, 36),
    lambda r: "github_pat_" + draw(r, ALNUM + "_", 82),
    lambda r: "glpat-" + draw(r, ALNUM + "-_", 20),
    lambda r: f"xoxb-{draw(r, string.digits, 12)}-{draw(r, string.digits, 12)}-{draw(r, ALNUM, 24)}",
    lambda r: "sk_live_" + draw(r, ALNUM, 24),
    lambda r: "AIza" + draw(r, ALNUM + "-_", 35),
    lambda r: "sk-proj-" + draw(r, ALNUM, 48),
    lambda r: "sk-" + draw(r, ALNUM, 48),
    lambda r: "sk-ant-api03-" + draw(r, ALNUM + "-_", 93),
    lambda r: "hf_" + draw(r, ALNUM, 34),
    lambda r: "npm_" + draw(r, ALNUM, 36),
    lambda r: f"SG.{draw(r, ALNUM, 22)}.{draw(r, ALNUM, 43)}",
    _jwt,
    lambda r: "dapi" + draw(r, "0123456789abcdef", 32),
)


def make_key(rng: random.Random) -> tuple[str, str]:
    key = rng.choice(KEY_FORMS)(rng)
    return key, key


MAKERS = {"key": make_key, "card": make_card, "iban": make_iban, "email": make_email}


def _json_text(rng: random.Random, value: str) -> str:
    return json.dumps(
        {"id": rng.randint(1, 999), "note": f"line one\n{value}\nline \u201ctwo\u201d", "tags": ["a", value]}
    )


def _csv_text(rng: random.Random, value: str) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([["id", "value", "city"], [rng.randint(1, 99), value, "Rouen, France"]])
    return out.getvalue()


CONTEXTS: tuple[Callable[[random.Random, str], str], ...] = (
    lambda _, v: f"Please note {v}, and answer soon.",
    lambda _, v: f"Bitte schreiben Sie an {v}. Danke!",
    lambda _, v: f"Merci d\u2019utiliser\u00a0: {v} (voir ci-dessous)",
    lambda _, v: f"\u8acb\u4f7f\u7528{v}\u3002\u8b1d\u8b1d",
    lambda _, v: f'He said "{v}" twice.',
    _json_text,
    lambda r, v: json.dumps(json.dumps({"inner": f"x\t{v}", "n": r.randint(1, 9)})),
    _csv_text,
    lambda _, v: f'<p class="x">Data: <b>{html.escape(v)}</b></p><a href="https://x.example/?q={quote(v)}">go</a>',
    lambda _, v: f"| field | value |\n|---|---|\n| it | {v} |\n\n- `{v}`\n- **{v}**\n- [link](<{v}>)\n",
    lambda _, v: f"config:\n  first: {v}\n  second: '{v}'\n",
    lambda _, v: f'FIRST={v}\nexport SECOND="{v}"\n',
    lambda _, v: f"2026-11-26T18:00:01Z INFO handler[42]: got {v} from 10.0.0.1 status=200",
    lambda _, v: f"-old = '{v}'\n+new = '{v}'\n@@ -1,2 +1,2 @@",
    lambda _, v: f"print({v!r})  # {v}",
    lambda _, v: f"<note><to>{v}</to></note>",
)


def plant(rng: random.Random, kind: str) -> Planted:
    """Return a value in a text."""
    written, secret = MAKERS[kind](rng)
    return Planted(kind, rng.choice(CONTEXTS)(rng, written), written, secret)


def harmless_lines(rng: random.Random) -> list[str]:
    """Return lines in which nothing is private, though much looks so."""
    d = lambda n: str(rng.randint(1, 9)) + draw(rng, string.digits, n - 1)  # noqa: E731 (short, since it is used often)
    not_a_card = "4" + draw(rng, string.digits, 14)
    not_a_card += str((int(luhn_digit(not_a_card)) + rng.randint(1, 9)) % 10)
    return [
        f"Order {d(8)} of 2024-0{d(1)}-1{rng.randint(0, 9)} at 1{rng.randint(0, 9)}:30 was shipped.",
        f"Part number {d(3)}-{d(2)}-{d(3)}, ISBN 978-3-16-148410-{rng.randint(0, 9)}.",
        f"The sum is {d(3)},{d(3)}.{d(2)} euros for {d(2)} pieces, {d(1)} {d(3)} {d(3)} in total.",
        f"Version {d(1)}.{d(2)}.{d(1)} listens on 192.168.{rng.randint(0, 255)}.{rng.randint(1, 254)}:{d(4)}.",
        f"commit {draw(rng, '0123456789abcdef', 40)}",
        f"id {draw(rng, '0123456789abcdef', 8)}-{draw(rng, '0123456789abcdef', 4)}-4{draw(rng, '0123456789abcdef', 3)}-a{draw(rng, '0123456789abcdef', 3)}-{draw(rng, '0123456789abcdef', 12)}",
        f"sha256:{draw(rng, '0123456789abcdef', 64)}",
        f"Reference {not_a_card} is not a card.",
        f"def get_user_account_details_v{d(1)}(self): return self.someVeryLongMethodNameOfTheClient{d(1)}()",
        f"/usr/local/lib/python3.11/site-packages/some_package-{d(1)}.{d(1)}/module_name_{d(2)}.py",
        f"https://docs.example.org/guide/chapter-{d(2)}/a-long-title-of-a-page-about-{d(4)}-things.html",
        "The password must be changed every month; the token is optional.",
        f"Customer DE{d(20)} has no IBAN, user @name{d(3)} wrote foo@{d(1)}.{d(1)}.{d(1)}.",
        f"Coordinates {rng.uniform(-90, 90):.6f}, {rng.uniform(-180, 180):.6f}; pi is 3.14159265358979.",
        f"rgb(12, 34, 56) #a1b2c3 {d(4)}x{d(4)} px, {d(2)}.{d(2)}.{d(4)}, {d(5)}-{d(4)}",
    ]
