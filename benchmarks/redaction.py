"""Redaction: milliseconds a KB by patterns, and recall and precision on texts made from a seed.

The test set consists of values in the forms that their issuers document, of values in harder forms ("hard"), and of
lines in which nothing is private. A value counts as found if the spans cover all of it. A second set has the numbers of
40 countries, each in plain and disguised forms. The finds in the files of the installed packages show how often
ordinary text is taken for private. With ``--names`` the names of people are looked for by the model of ``--model`` too,
or the starter: that takes minutes.
"""

from __future__ import annotations

import random
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import common

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import country_numbers
import planted_values

from llmcli.config.engine_options import EngineOptions
from llmcli.redaction.redactor import Redactor, UsedPlaceholders

VALUES = 2500
HARMLESS = 400
NAMED_TEXTS = 100
PER_COUNTRY = 25
PACKAGE_FILES = 3000
MAX_FILE_CHARS = 60_000
KILOBYTES = 256
SEED = 5

DIGITS = "0123456789"
HARD: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "email": lambda r: _same(
        r.choice(["{0} at {1}", "{0} (at) {1}", "{0}@intranet"]).format(
            f"{r.choice(planted_values.GIVEN).lower()}{r.randint(1, 999)}", r.choice(planted_values.DOMAINS)
        )
    ),
    "phone": lambda r: _same(
        r.choice(
            [
                f"6{_digits(r, 2)} {_digits(r, 3)} {_digits(r, 3)}",  # Spain, Poland
                f"{_digits(r, 2)} {_digits(r, 2)} {_digits(r, 2)} {_digits(r, 2)}",  # Denmark, Norway
                f"3{_digits(r, 2)} {_digits(r, 7)}",  # Italy
                f"{_digits(r, 4)}-{_digits(r, 4)}",  # without an area code
                f"{_digits(r, 3)}-{_digits(r, 4)} ext. {_digits(r, 3)}",
            ]
        )
    ),
    "key": lambda r: r.choice(
        [
            lambda: _in(f"Use {_word(r)}{_digits(r, 3)} to log in.", 4),
            lambda: _in(f"the login is admin / {_word(r)}{_digits(r, 2)}!", 15),
            lambda: _same(planted_values.draw(r, "abcdefghijklmnopqrstuvwxyz" + DIGITS, 16)),
            lambda: _same(planted_values.draw(r, "abcdefghijklmnopqrstuvwxyz", 32)),
            lambda: _same("-".join(planted_values.draw(r, "ABCDEFGHJKLMNPQRSTUVWXYZ23456789", 5) for _ in range(5))),
        ]
    )(),
    "card": lambda r: _in(f"{planted_values.make_card(r)[1][:4]} **** **** {_digits(r, 4)}", 0),
    "iban": lambda r: _same(" ".join(planted_values.make_iban(r)[1].replace("", " ").split())),
}
NAMES = [
    *(
        "Maria Gonzalez",
        "Tom Becker",
        "Aisha Rahman",
        "Kenji Watanabe",
        "Olga Petrova",
        "Jean-Luc Moreau",
        "Chidi Okafor",
    ),
    *("Priya Natarajan", "Lars Lindqvist", "Fatima Haddad", "Zoltan Nagy", "Grace Kim", "Mehmet Yilmaz", "Ana Souza"),
    *("Dr. Weber", "Mrs. Whitfield", "Siobhan", "Rajesh", "Ingrid", "Mateo"),
]
SENTENCES = [
    "{0} called from Hamburg on Monday about the invoice of Acme Ltd.",
    "Please send the parcel to {0}, who works for Northwind Traders in Paris.",
    "At the meeting {0} and {1} agreed on the budget for March.",
    "Dear {0}, thank you for your order of two Aurora lamps.",
    "The report was written by {0} and checked by {1}.",
    "Yesterday I met {0} at the Grand Hotel in Vienna.",
]
EMPTY_SENTENCES = [
    "The museum in Madrid opens at nine on Sunday, except in August.",
    "Contoso and Fabrikam will merge in December, says the Financial Times.",
    "Python and Rust are popular; Windows, Linux and macOS are supported.",
]


def _same(text: str) -> tuple[str, str]:
    return text, text


def _in(text: str, start: int) -> tuple[str, str]:
    """Return a text, and the value in it that begins at ``start`` and ends at the next blank or sign at the end."""
    return text, text[start:].partition(" to ")[0]


def _digits(rng: random.Random, size: int) -> str:
    return str(rng.randint(1, 9)) + planted_values.draw(rng, DIGITS, size - 1)


def _word(rng: random.Random) -> str:
    return rng.choice(["sunshine", "Dragon", "monkey", "Winter", "hunter", "orchid"])


def main() -> None:
    """Measure and print."""
    options = common.parser(__doc__ or "")
    options.add_argument("--names", action="store_true", help="look for names too")
    given = options.parse_args()
    rng = random.Random(SEED)  # noqa: S311 (no secret)
    rows = [_kind_row(rng, kind) for kind in ("key", "card", "iban", "email", "phone")]
    common.print_table(rows, ["kind", "documented forms found", "hard forms found"])
    lines = [line for _ in range(HARMLESS) for line in planted_values.harmless_lines(rng)]
    wrong = sum(bool(Redactor().find(line)) for line in lines)
    total = len(rows) * VALUES
    print(
        f"\nharmless lines with a find: {wrong} of {len(lines)}; precision of the whole: {total / (total + wrong):.3f}"
    )
    _print_countries(rng)
    _print_passwords()
    _print_packages(rng)
    if given.names:
        _print_names(given.model, rng)
    _print_speed(given.runs, rng)


def _kind_row(rng: random.Random, kind: str) -> list[str]:
    def documented() -> tuple[str, str]:
        if kind == "phone":
            written, value = planted_values.make_phone(rng)
            return rng.choice(planted_values.CONTEXTS[:5])(rng, written), value
        planted = planted_values.plant(rng, kind)
        return planted.text, planted.written

    def hard() -> tuple[str, str]:
        return HARD[kind](rng)

    return [kind, *(f"{_recall(make):.1%}" for make in (documented, hard))]


def _recall(make: Callable[[], tuple[str, str]]) -> float:
    found = 0
    for _ in range(VALUES):
        text, value = make()
        found += value not in text or _is_found(text, text.index(value), value)
    return found / VALUES


def _is_found(text: str, start: int, value: str) -> bool:
    """Return whether one span covers all of the value at ``start``."""
    return any(span.start <= start and start + len(value) <= span.end for span in Redactor().find(text))


def _print_countries(rng: random.Random) -> None:
    """Print the recall of each kind in each form; for each country as many values."""
    rows = []
    for kind in country_numbers.KINDS:
        shares = []
        for form in country_numbers.FORMS:
            plants = [
                country_numbers.plant(rng, country, kind, form)
                for country in country_numbers.COUNTRIES
                for _ in range(PER_COUNTRY)
            ]
            shares.append(
                f"{sum(_is_found(text, text.index(value), value) for text, value in plants) / len(plants):.1%}"
            )
        rows.append([kind, *shares])
    print(f"\n{len(country_numbers.COUNTRIES)} countries, {PER_COUNTRY} values of each kind and form for each")
    common.print_table(rows, ["kind", *country_numbers.FORMS])


def _print_passwords() -> None:
    rows = []
    for form, texts in country_numbers.PASSWORDS.items():
        places = [country_numbers.password_of(text) for text in texts]
        hits = sum(_is_found(text, start, text[start:end]) for text, (start, end) in zip(texts, places, strict=True))
        rows.append([form, f"{hits} of {len(texts)}"])
    print()
    common.print_table(rows, ["passwords", "found"])


def _print_packages(rng: random.Random) -> None:
    """Print how much is found in code, documentation and metadata of the installed packages."""
    directory = Path(sysconfig.get_path("purelib"))
    files = sorted(
        file for kind in ("*.py", "*.md", "*.rst", "*.txt", "METADATA", "*.json") for file in directory.rglob(kind)
    )
    found: Counter[str] = Counter()
    chars = 0
    for file in rng.sample(files, min(PACKAGE_FILES, len(files))):
        text = file.read_text("utf-8", errors="replace")
        if len(text) <= MAX_FILE_CHARS:
            chars += len(text)
            found.update(span.kind for span in Redactor().find(text))
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
    print(f"\nfinds in {chars / 1e6:.1f} million characters of installed packages: {counts}")


def _print_names(model: str | None, rng: random.Random) -> None:
    from llmcli.prompts.prompt_library import PromptLibrary
    from llmcli.runtime.redaction_policy import LocalNameFinder

    texts, planted = [], []
    for _ in range(NAMED_TEXTS):
        names = rng.sample(NAMES, 2)
        text = rng.choice(SENTENCES).format(*names) + " " + rng.choice(EMPTY_SENTENCES)
        texts.append(text)
        planted.append([name for name in names if name in text])
    path = common.model_path(model)
    found = right = whole = 0
    with tempfile.TemporaryDirectory() as kept, common.open_engine(path, EngineOptions()) as backend:
        finder = LocalNameFinder(backend, PromptLibrary(Path(kept)))
        for text, names in zip(texts, planted, strict=True):
            said = finder([text])
            found += len(said)
            right += sum(any(_bare(name) in one or one in name for name in names) for one in said)
            whole += sum(any(_bare(name) in one for one in said) for name in names)
    count = sum(map(len, planted))
    print(
        f"\nnames, {Path(path).name}: recall {whole / count:.2f} ({whole} of {count}), precision {right / max(1, found):.2f}"
    )


def _bare(name: str) -> str:
    return name.removeprefix("Dr. ").removeprefix("Mrs. ")


def _print_speed(runs: int, rng: random.Random) -> None:
    """Print the time of prose with a value in each KB, and of text full of values."""
    prose = " ".join(common.words(1 << 16, SEED))
    step = 1024
    parts = [prose[at : at + step] + planted_values.plant(rng, "email").text for at in range(0, KILOBYTES * step, step)]
    dense = [planted_values.plant(rng, kind).text for kind in planted_values.MAKERS for _ in range(500)]
    rows = []
    for name, pieces in (("prose, a value a KB", parts), ("values only", dense)):
        text = "\n".join(pieces)
        times = [_seconds(text) * 1000 / (len(text.encode()) / 1024) for _ in range(runs)]
        rows.append([name, common.median_range(times), "2"])
    print()
    common.print_table(rows, ["text", "ms a KB", "at most"])


def _seconds(text: str) -> float:
    redactor = Redactor()
    started = time.perf_counter()
    redactor.learn([text])
    redactor.redact(text, UsedPlaceholders())
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
