"""Attacks by a prompt file: each ends with one line and its code, and uses little memory and time."""

from __future__ import annotations

import pytest
from llm_fixtures import llm, write

from llmcli.prompts import prompt_library

__all__ = ["llm", "write"]

GOOD = 'description: d\nuser: "Say hi."\n'
ALIASES = "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
LAUGHS = f"  a0: &a0 [{', '.join('x' * 10)}]\n{ALIASES}"
MERGES = "  m0: &m0 {a: 1}\n" + "".join(
    f"  m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 12)
)
ATTACKS = {
    "aliases in a schema": (f"{GOOD}output:\n schema:\n{LAUGHS}", "aliases stand for more than 100,000 values"),
    "aliases in options": (f"{GOOD}options:\n{LAUGHS}", "aliases stand for more than 100,000 values"),
    "aliases in an unknown key": (f"{GOOD}extra:\n{LAUGHS}", "aliases stand for more than 100,000 values"),
    "merged mappings": (f"{GOOD}extra:\n{MERGES}", "aliases stand for more than 100,000 values"),
    "schema in itself": (f"{GOOD}output:\n  schema: &a\n    properties: {{b: *a}}\n", "line 5: an alias refers"),
    "list in itself": (f"{GOOD}examples: &e [*e, *e]\n", "line 3: an alias refers"),
    "file in itself": ("&a\ndescription: d\nuser: *a\n", "an alias refers"),
    "unknown alias": (f"{GOOD}extra: *nope\n", "undefined alias"),
    "deep list": (f"description: d\nuser: {'[' * 100_000}{']' * 100_000}", "nesting depth"),
    "open list": (f"description: d\nuser: {'[' * 1_000_000}", "nesting depth"),
    "deep mapping": (f"{GOOD}extra: {'{a: ' * 3000}1{'}' * 3000}", "nesting depth"),
    "command": ("description: !!python/object/apply:os.system ['false']\nuser: x\n", "python/object/apply:os.system"),
    "name": (f"{GOOD}extra: !!python/name:os.system\n", "python/name:os.system"),
    "unknown tag": ("description: !custom x\nuser: x\n", "'!custom'"),
    "bytes": ("description: !!binary aGVsbG8=\nuser: x\n", "description must be a text"),
    "no number": (f"{GOOD}options: {{max_tokens: !!int abc}}\n", "not YAML"),
    "no date": ("description: 2024-13-45\nuser: x\n", "not YAML"),
    "key twice": (f"{GOOD}user: again\n", "line 3: user is given twice"),
    "key very often": (GOOD + "k: 1\n" * 50_000, "and 49,990 more problems"),
    "long key": (f"{GOOD}? {'k' * 10_000}\n: x\n", "unknown key kkk"),
    "list as a key": (f"{GOOD}? [a, b]\n: c\n", "unhashable key"),
    "long decimal": (f"{GOOD}options: {{max_tokens: {'9' * 500_000}}}\n", "more than 100 characters"),
    "long octal": (f"{GOOD}options: {{max_tokens: 0{'7' * 500_000}}}\n", "more than 100 characters"),
    "long base 60": (f"{GOOD}options: {{max_tokens: {'1:' * 250_000}1}}\n", "more than 100 characters"),
    "long fraction": (f"{GOOD}options: {{temperature: 0.{'1' * 500_000}}}\n", "more than 100 characters"),
    "large text": (f"{GOOD}system: {'x' * 10_000_000}\n", "larger than 1 MiB"),
    "large comment": (f"# {'x' * 10_000_000}\n{GOOD}", "larger than 1 MiB"),
    "NUL": (b"description: d\nuser: a\0b\n", "unacceptable character #x0000"),
    "control character": (b"description: d\nuser: a\x07b\n", "unacceptable character #x0007"),
    "surrogate": ('description: d\nuser: "\\uD800"\n', "invalid Unicode"),
    "Latin-1": (b"description: caf\xe9\nuser: x\n", "not UTF-8 at byte 16"),
    "UTF-16": (GOOD.encode("utf-16"), "not UTF-8 at byte 0"),
    "empty": ("", "expected a mapping"),
    "list": ("- a\n", "expected a mapping"),
    "two documents": (f"{GOOD}---\n{GOOD}", "another document"),
    "other version": (f"%YAML 3.0\n---\n{GOOD}", "incompatible YAML"),
    "unclosed quote": ('description: "d\nuser: x\n', "unexpected end"),
    "deep template": (f'description: d\nuser: "{"{% if 1 %}" * 3000}{"{% endif %}" * 3000}"\n', "recursion"),
    "deep expression": (f'description: d\nuser: "{{{{ {"(" * 3000}1{")" * 3000} }}}}"\n', "recursion"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_prompt_file_is_refused(llm, write, name):
    """78, before a model is loaded."""
    content, words = ATTACKS[name]
    path = write("bad.yaml", content)
    run = llm("ask", "--no-stdin", "-p", path)
    first, *others = run.err.splitlines()
    assert (run.code, run.out, run.backend) == (78, "", None) and words in first, run.err[:1000]
    assert len(others) <= 1 and len(first) < 6000


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        f"{GOOD}".replace("\n", "\r\n"),
        f"{GOOD}options: &o {{stop: [a]}}\n",
        f"{GOOD}...\n",
    ],
    ids=["byte order mark", "CRLF", "anchor", "end mark"],
)
def test_an_unusual_prompt_file_is_read(llm, write, content):
    """What an editor leaves, and aliases that stand for little."""
    run = llm("ask", "--no-stdin", "-p", write("good.yaml", content))
    assert run.code == 0 and run.out == "Say hi.\n"


def test_a_large_prompt_file_is_read(llm, write):
    """Up to the limit."""
    filler = "x" * (prompt_library.MAX_PROMPT_BYTES - len(GOOD) - 3)
    assert llm("ask", "--no-stdin", "-p", write("good.yaml", f"{GOOD}# {filler}\n")).code == 0
