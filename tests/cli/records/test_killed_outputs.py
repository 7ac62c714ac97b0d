"""Outputs that are not continued (Parquet, extract, translate): after a kill anywhere they are whole, old or missing."""

from __future__ import annotations

import json
import os
import random
import re
import signal

import pyarrow.parquet as pq
import pytest
from killed_runs import KilledRuns
from scripted import last_message

SEED = int(os.environ.get("LLMCLI_STRESS_SEED", "19"))
FEW, MANY = 3, 100
MAX_CALLS = 60
"""About how often a run of these changes files."""
SCHEMA = "name, amount (number)"


def answer_with(scores):
    """Return the answers of the backend: scores of candidates, or the first word and number of the text."""

    def answer(request):
        if request.candidates:
            return scores(request)
        text = re.search(r'Text:\n("{3,})\n(.*)\n\1\n', last_message(request), re.DOTALL)[2]
        return json.dumps({"name": text.split()[0], "amount": float(re.search(r"\d+\.\d+", text)[0])})

    return answer


@pytest.fixture
def child(tiny, tmp_path, scores):
    """Run ``main`` in a process that may be killed."""
    return KilledRuns(answer_with(scores), tiny("llama"), tmp_path / "messages")


@pytest.fixture
def commands(write):
    """Return the commands without their outputs, and the name of each output."""
    table = write("in.csv", "id,text\n" + "".join(f"{n},good {n}\n" for n in range(30)))
    letters = [write(f"{n}.txt", f"Acme{n} Corp. owes {n}.50 EUR.\n") for n in range(6)]
    page = write("page.md", "# A title\n\n" + "Some text.\n\n" * 20)
    extract = ("extract", "--schema", SCHEMA, *letters)
    return {
        "parquet": (("sentiment", table), "out.parquet"),
        "extract csv": (extract, "out.csv"),
        "extract parquet": (extract, "out2.parquet"),
        "translate": (("translate", "--pseudo", "accents", page), "out.md"),
    }


def content(path):
    """Return what a file says; Parquet as rows, since its bytes may differ."""
    return pq.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_bytes()


def check_kills(child, tmp_path, command, count):
    """Kill the command so many times, over no output and over an old one, and compare what is there with a whole run."""
    argv, name = command
    whole = tmp_path / f"whole-{name}"
    assert child(*argv, "-o", str(whole)) == 0, child.said()
    expected, chance = content(whole), random.Random(SEED)
    kills = 0
    for attempt in range(count * 10):
        directory = tmp_path / f"try{attempt}"
        directory.mkdir()
        out, old = directory / name, b"an old file\n" if attempt % 2 else None
        if old is not None:
            out.write_bytes(old)
        if child(*argv, "-o", str(out), kill_at=chance.randrange(1, MAX_CALLS)) == -signal.SIGKILL:
            kills += 1
            assert (not out.exists() and old is None) or out.read_bytes() == old or content(out) == expected
            assert child(*argv, "-o", str(out)) == 0, child.said()
        assert content(out) == expected
        if kills == count:
            break
    assert kills == count


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parquet", "extract csv", "extract parquet", "translate"])
def test_a_killed_command_leaves_no_half_output(child, commands, tmp_path, name):
    """And the next run completes it."""
    check_kills(child, tmp_path, commands[name], FEW)


@pytest.mark.stress
@pytest.mark.parametrize("name", ["parquet", "extract csv", "extract parquet", "translate"])
def test_a_hundred_kills_leave_no_half_output(child, commands, tmp_path, name):
    """The same with more of them."""
    check_kills(child, tmp_path, commands[name], MANY)
