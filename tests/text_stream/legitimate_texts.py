"""580 texts that repeat themselves for a good reason: 29 kinds, 20 of each, always the same ones.

Blocks that are equal to the last character go on for at most three rounds and 350 characters, as far as a reader wants
them; numbers that change may go on for pages.
"""

from __future__ import annotations

import calendar
import json
import random
from collections.abc import Callable

VARIANTS = 20
WORDS = [
    "apple",
    "river",
    "stone",
    "window",
    "garden",
    "letter",
    "market",
    "silver",
    "winter",
    "summer",
    "bridge",
    "doctor",
    "engine",
    "forest",
    "island",
    "kitchen",
    "ladder",
    "mirror",
    "needle",
    "office",
    "pepper",
    "rocket",
    "saddle",
    "temple",
    "valley",
    "wagon",
    "yellow",
    "zebra",
    "anchor",
    "basket",
    "candle",
    "dragon",
]
NAMES = [
    "Ann",
    "Ben",
    "Cora",
    "Dan",
    "Eve",
    "Finn",
    "Gus",
    "Hana",
    "Ida",
    "Jon",
    "Kim",
    "Lea",
    "Max",
    "Nora",
    "Ole",
    "Pia",
    "Rob",
    "Sue",
    "Tom",
    "Uma",
]
SAINTS = [
    "Mary",
    "Peter",
    "Paul",
    "Andrew",
    "James",
    "John",
    "Thomas",
    "Philip",
    "Matthew",
    "Simon",
    "Luke",
    "Mark",
    "Stephen",
    "Lawrence",
    "Vincent",
]


def _repeat(block: str, rounds: int) -> str:
    """Return a block so many times, but not beyond three rounds and 350 characters."""
    return block * min(rounds, 3 + 350 // len(block))


def ascii_table(r: random.Random) -> str:
    widths = [r.randint(3, 9) for _ in range(r.randint(2, 5))]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+\n"
    row = "|" + "|".join(f" {r.choice(('0', 'n/a', '-')):>{width}} " for width in widths) + "|\n"
    head = "|" + "|".join(f" {word[:width]:>{width}} " for word, width in zip(WORDS, widths, strict=False)) + "|\n"
    return rule + head + rule + _repeat(row, r.randint(4, 30)) + rule


def markdown_table(r: random.Random) -> str:
    head = "| no | name | state | note |\n|---|---|---|---|\n"
    return head + "".join(f"| {n} | {r.choice(NAMES)} | ok | - |\n" for n in range(1, r.randint(20, 90)))


def sql_inserts(r: random.Random) -> str:
    table = r.choice(WORDS)
    rows = (
        f"INSERT INTO {table} (id, name, amount, paid) VALUES ({n}, '{r.choice(NAMES)}', {r.randint(0, 99)}.00, 0);\n"
        for n in range(1, r.randint(20, 60))
    )
    return f"CREATE TABLE {table} (id INTEGER, name TEXT, amount REAL, paid INTEGER);\n" + "".join(rows)


def csv_zeros(r: random.Random) -> str:
    columns = r.randint(2, 8)
    head = ",".join(["id", *WORDS[:columns]]) + "\n"
    return head + "".join(f"{n}{',0' * columns}\n" for n in range(1, r.randint(30, 150)))


def equal_csv_rows(r: random.Random) -> str:
    row = ",".join(r.choice(("0", "0.0", "NA", "")) for _ in range(r.randint(3, 9))) + "\n"
    return "a,b,c\n" + _repeat(row, r.randint(5, 60)) + "1,2,3\n" + _repeat(row, r.randint(5, 30))


def zero_one_matrix(r: random.Random) -> str:
    columns = r.randint(4, 20)
    return "".join(" ".join(r.choice("01") for _ in range(columns)) + "\n" for _ in range(r.randint(10, 60)))


def heartbeat_log(r: random.Random) -> str:
    start, message = (
        r.randint(0, 3000),
        r.choice(("heartbeat ok", "GET /health 200", "nothing to do", "poll: no change")),
    )
    lines = []
    for n in range(r.randint(20, 100)):
        second = start + n * r.choice((1, 5, 5, 60))
        lines.append(
            f"2026-03-{1 + second // 86400:02} {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02} INFO {message}\n"
        )
    return "".join(lines)


def regular_log(r: random.Random) -> str:
    pid, message = r.randint(100, 9999), r.choice(("connection refused, next attempt in 30 s", "job finished in 12 ms"))
    return "".join(f"Mar  3 07:{n:02}:00 host app[{pid}]: {message}\n" for n in range(r.randint(20, 60)))


def retry_log(r: random.Random) -> str:
    host = r.choice(WORDS)
    return "".join(
        f"[{n // 5 + 1}] connecting to {host}.example.org ... attempt {n % 5 + 1} of 5 failed\n"
        for n in range(r.randint(20, 80))
    )


def yaml_hosts(r: random.Random) -> str:
    port = r.randint(1000, 9000)
    return "hosts:\n" + "".join(
        f"  - name: {word}\n    port: {port}\n    tls: true\n    retries: 3\n"
        for word in r.sample(WORDS, r.randint(8, 30))
    )


def json_objects(r: random.Random) -> str:
    rows = [{"id": n, "active": False, "tags": [], "note": None} for n in range(r.randint(10, 60))]
    return json.dumps(rows, indent=r.choice((None, 1, 2)))


def json_numbers(r: random.Random) -> str:
    values = [0] * r.randint(10, 110) if r.random() < 0.4 else list(range(0, r.randint(100, 900), r.randint(1, 3)))
    return json.dumps({"values": values, "shape": [len(values)]})


def hex_dump(r: random.Random) -> str:
    lines = []
    for n in range(r.randint(10, 60)):
        data = bytes(16) if r.random() < 0.8 else r.randbytes(16)
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
        lines.append(f"{n * 16:08x}  {data[:8].hex(' ')}  {data[8:].hex(' ')}  |{shown}|\n")
    return "".join(lines)


def rules(r: random.Random) -> str:
    sign, length = r.choice("-=*#~_"), r.randint(40, 200)
    parts = (
        f"{sign * length}\n{r.choice(WORDS).upper()}\n{sign * length}\n\n{' '.join(r.sample(WORDS, 9))}.\n\n"
        for _ in range(6)
    )
    return "".join(parts)


def python_properties(r: random.Random) -> str:
    names = r.sample(WORDS, r.randint(6, 20))
    methods = (
        f'    @property\n    def {name}(self) -> int:\n        """Return the {name}."""\n        return self._{name}\n\n'
        for name in names
    )
    return (
        "class Shop:\n    def __init__(self) -> None:\n"
        + "".join(f"        self._{n} = 0\n" for n in names)
        + "\n"
        + "".join(methods)
    )


def python_tests(r: random.Random) -> str:
    call = r.choice(("parse", "read", "load"))
    return "".join(
        f"def test_{call}_{word}(self):\n    self.assertEqual({call}('{word}'), {n})\n    self.assertEqual({call}(''), None)\n\n\n"
        for n, word in enumerate(r.sample(WORDS, r.randint(6, 25)))
    )


def c_tables(r: random.Random) -> str:
    rows = _repeat("    {0, 0, NULL},\n", r.randint(4, 30))
    cases = "".join(f"    case {n}:\n        handle();\n        break;\n" for n in range(r.randint(10, 60)))
    return f"static const struct entry table[] = {{\n{rows}}};\n\nswitch (kind) {{\n{cases}}}\n"


def html_rows(r: random.Random) -> str:
    cells = '<td class="number">0</td>' * r.randint(1, 4)
    return "<table>\n" + "".join(f"<tr><th>{word}</th>{cells}</tr>\n" for word in r.sample(WORDS, 25)) + "</table>\n"


def times_table(r: random.Random) -> str:
    low, high = r.randint(1, 5), r.randint(10, 20)
    return "\n".join(
        "".join(f"{a} x {b} = {a * b}\n" for b in range(1, high + 1)) for a in range(low, low + r.randint(3, 9))
    )


def song(r: random.Random) -> str:
    refrain = (
        f"Oh {r.choice(WORDS)}, oh {r.choice(WORDS)}, come home with me,\ncome home, come home, come home with me!\n\n"
    )
    verses = (
        f"The {a} of the {b} was {c} and old,\nthe {b} of the {d} was {e}, I am told.\n\n{refrain}"
        for a, b, c, d, e in (r.sample(WORDS, 5) for _ in range(r.randint(4, 12)))
    )
    return "".join(verses) + "La la la la la,\nla la la la la!\n" * 3


def litany(r: random.Random) -> str:
    answer = r.choice(("pray for us.", "have mercy on us.", "we ask you, hear us."))
    return "".join(
        f"Holy {saint} of the {word}, {answer}\n" for saint in r.sample(SAINTS, 12) for word in r.sample(WORDS, 2)
    )


def bottles(r: random.Random) -> str:
    what = f"{r.choice(WORDS)} bottles standing on the wall"
    return "".join(
        f"{n} {what},\n{n} {what},\nand if one of them should fall,\n{n - 1} {what}.\n\n"
        for n in range(r.randint(6, 20), 0, -1)
    )


def empty_form(r: random.Random) -> str:
    line = "_" * r.randint(10, 60)
    return "".join(f"{n}. {line}\n" for n in range(1, r.randint(8, 40))) + _repeat("- [ ] \n", r.randint(5, 40))


def test_report(r: random.Random) -> str:
    return "".join(
        f"tests/test_{word}.py::test_it[{n}] PASSED\n" for word in r.sample(WORDS, 8) for n in range(r.randint(2, 9))
    )


def board(r: random.Random) -> str:
    columns = r.randint(3, 8)
    row = "|" + "   |" * columns + "\n" + "+" + "---+" * columns + "\n"
    return (
        "+"
        + "---+" * columns
        + "\n"
        + _repeat(row, r.randint(3, 8))
        + "".join(f"{n}: . . . X . .\n" for n in range(1, 9))
    )


def assembly(r: random.Random) -> str:
    nops = _repeat("        nop\n", r.randint(4, 30))
    pushes = "".join(
        f"        movaps  xmm{n % 16}, [rsi + {16 * n}]\n        movaps  [rdi + {16 * n}], xmm{n % 16}\n"
        for n in range(r.randint(8, 60))
    )
    return f"copy:\n{nops}{pushes}        ret\n"


def months(r: random.Random) -> str:
    return "\n".join(calendar.month(2020 + r.randint(0, 9), 1 + n % 12) for n in range(r.randint(3, 24)))


def fizz_buzz(r: random.Random) -> str:
    a, b = r.randint(2, 5), r.randint(3, 9)
    return "".join(f"{'Fizz' * (n % a == 0) + 'Buzz' * (n % b == 0) or n}\n" for n in range(1, r.randint(60, 300)))


def dialogue(r: random.Random) -> str:
    return "".join(
        f"{NAMES[n % 2]}: Have you seen the {word}?\n{NAMES[1 - n % 2]}: No, I have not.\n"
        for n, word in enumerate(r.sample(WORDS, 20))
    )


KINDS: tuple[Callable[[random.Random], str], ...] = (
    *(ascii_table, markdown_table, sql_inserts, csv_zeros, equal_csv_rows, zero_one_matrix, heartbeat_log, regular_log),
    *(retry_log, yaml_hosts, json_objects, json_numbers, hex_dump, rules, python_properties, python_tests, c_tables),
    *(
        html_rows,
        times_table,
        song,
        litany,
        bottles,
        empty_form,
        test_report,
        board,
        assembly,
        months,
        fizz_buzz,
        dialogue,
    ),
)


def make_texts(kind: Callable[[random.Random], str]) -> list[str]:
    """Return the texts of one kind."""
    return [kind(random.Random(f"{kind.__name__} {number}")) for number in range(VARIANTS)]
