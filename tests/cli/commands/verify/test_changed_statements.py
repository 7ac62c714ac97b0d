"""``llm verify`` on statements that were changed: the HMAC over all of a statement finds it, for its maker."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TEXT = "The canary workshop opens at nine.\n"
STATEMENT = Path("out.txt.provenance.json")
FEWEST_CHANGES = 200


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """Write two files into the working directory, one with a name that is no UTF-8."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text(TEXT)
    (tmp_path / os.fsdecode(b"caf\xe9\x1b.txt")).write_text(TEXT)


@pytest.fixture
def described(llm, notes):
    """Return the statement about an answer, beside out.txt."""
    words = ("-f", "notes.txt", "-s", "Be short.", "--seed", "3")
    done = llm("ask", *words, "--provenance", "-o", "out.txt", "When?", answer=lambda _: "At nine.")
    assert done.code == 0, done.err
    return json.loads(STATEMENT.read_text())


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in JSON values."""
    yield path
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(each, (*path, key))


def changes_of(value: Any) -> Iterator[Any]:
    """Yield other values of the same and of another type, with a field or an item less or more, in another order."""
    if isinstance(value, dict):
        yield {**value, "more": 1}
        yield from ({name: each for name, each in value.items() if name != left} for left in value)
    elif isinstance(value, list):
        yield [*value, "more"]
        yield from ([*value[:index], *value[index + 1 :]] for index in range(len(value)))
        if value != value[::-1]:
            yield value[::-1]
    elif isinstance(value, str):
        yield from (
            value + "x",
            value[:-1] if value else "y",
            value.upper() if value != value.upper() else "z",
            7,
            None,
        )
    elif isinstance(value, bool):
        yield from (not value, int(value), str(value))
    else:
        yield from (value + 1, float(value) if isinstance(value, int) else int(value), str(value), None)


def changed_statements(statement: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the statement with each single change that ``changes_of`` knows, but for a missing HMAC."""
    found = []
    for path in places(statement):
        holder = {"": statement}
        for changed in changes_of(find(holder, ("", *path))):
            copied = copy.deepcopy(holder)
            find(copied, ("", *path)[:-1])[("", *path)[-1]] = changed
            if not isinstance(copied[""].get("predicate"), dict) or "mac" in copied[""]["predicate"]:
                found.append(copied[""])
    return found


def find(value: Any, path: tuple[Any, ...]) -> Any:
    """Return the value at a path."""
    for key in path:
        value = value[key]
    return value


def test_each_single_change_of_a_statement_is_noticed(llm, described):
    """In every field: exit 1, or 65 where it is no statement any more."""
    assert llm("verify", "out.txt").code == 0
    changed = changed_statements(described)
    assert len(changed) > FEWEST_CHANGES
    for each in changed:
        STATEMENT.write_text(json.dumps(each))
        done = llm("verify", "out.txt")
        assert done.code in {1, 65}, (each, done.out, done.err)
        assert done.code == 65 or "changed\tstatement\tout.txt" in done.out


def test_another_form_of_the_same_json_is_no_change(llm, described):
    """Blanks, the order of fields, and escapes; a field twice is damage, since readers differ."""
    STATEMENT.write_text(json.dumps(described, sort_keys=True, indent=7))
    assert llm("verify", "out.txt").code == 0
    STATEMENT.write_text(json.dumps(described)[:-1] + ', "_type": "https://in-toto.io/Statement/v1"}')
    damaged = llm("verify", "out.txt")
    assert damaged.code == 65 and "has a field twice" in damaged.err


def test_a_statement_without_an_hmac_is_checked_with_a_line(llm, described):
    """One of an earlier version, or of another program."""
    del described["predicate"]["mac"]
    STATEMENT.write_text(json.dumps(described))
    done = llm("verify", "out.txt")
    assert done.code == 0 and "unchecked\tstatement\tout.txt\tit has no HMAC" in done.out
    assert "ok\tinput\tnotes.txt" in done.out


@pytest.mark.parametrize("other", ["", "ab" * 32])
def test_another_machine_does_not_check_it(llm, described, other):
    """Without the key, or with another one; what needs no key is checked, and 69 is for the inputs."""
    key = Path(os.environ["LLMCLI_DATA_DIR"]) / "provenance.key"
    key.unlink()
    if other:
        key.write_text(other)
        key.chmod(0o600)
    done = llm("verify", "out.txt")
    assert done.code == 69 and "unchecked\tstatement\tout.txt\tnot checked: no key" in done.out
    assert "ok\toutput\tout.txt" in done.out


def test_results_as_json_have_one_too(llm, notes):
    """The statement in a result is checked as one beside a file, also with a name that is no UTF-8."""
    name = os.fsdecode(b"caf\xe9\x1b.txt")
    made = llm("ask", "-f", name, "When?", "--json", "--provenance", answer=lambda _: "At nine.")
    result = json.loads(made.out)
    Path("out.json").write_text(made.out)
    assert "ok\tstatement\tout.json" in llm("verify", "out.json").out
    for path in [("usage",), ("finished",), ("outcome", "results")]:
        changed = copy.deepcopy(result)
        find(changed["provenance"]["predicate"], path[:-1])[path[-1]] = "other"
        Path("out.json").write_text(json.dumps(changed))
        done = llm("verify", "out.json")
        assert done.code == 1 and "changed\tstatement\tout.json" in done.out


def test_a_job_of_records_has_one_too(llm, notes):
    """The counts of a whole job are found changed."""
    Path("rows.csv").write_text("text\ncanary\nbird\n")
    words = ("sentiment", "rows.csv", "--column", "text", "-o", "out.csv", "--provenance")
    assert llm(*words, answer=lambda _: {"positive": -0.1, "neutral": -3.0, "negative": -4.0}).code == 0
    assert "ok\tstatement\tout.csv" in llm("verify", "out.csv").out
    beside = Path("out.csv.provenance.json")
    beside.write_text(beside.read_text().replace('"results": 2', '"results": 3'))
    assert llm("verify", "out.csv").code == 1
