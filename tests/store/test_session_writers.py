"""Processes that write one session at once, some of which are killed."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from llmcli.store.session_store import SessionStore

ROOT = Path(__file__).parents[2]


def run_writers(path, *, writers, turns, kills, seed):
    """Start processes that write one session, kill some at random times; return what each of them has reported."""
    chosen = random.Random(seed)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "tests/store/session_writer.py"), str(path), f"w{number}", str(turns)],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(writers)
    ]
    for process in chosen.sample(running, kills):
        time.sleep(chosen.uniform(0.2, 0.5))
        process.kill()
    reports = [process.communicate(timeout=300)[0].split() for process in running]
    return running, reports


def check_tree(path, running, reports, turns):
    """Assert that the file is sound, and that each turn that was reported is there once, in one session."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.execute("INSERT INTO turn_index (turn_index) VALUES ('integrity-check')")
    connection.close()
    with SessionStore(path) as store:
        (overview,) = store.list()
        tree = store.load_tree(overview.session)
        assert store.load_turns(overview.session)[-1].id == overview.session.head
    counts = Counter(turn.content for turn in tree if not turn.interrupted)
    for number, (process, reported) in enumerate(zip(running, reports, strict=True)):
        for turn in reported:
            assert counts[f"w{number} {turn}"] == counts[f"answer w{number} {turn}"] == 1
        assert process.returncode != 0 or reported == [str(turn) for turn in range(turns)]
    assert max(counts.values()) == 1


def test_writers_that_are_killed_lose_only_what_they_had_not_reported(tmp_path):
    """Three processes write, one is killed."""
    path = tmp_path / "sessions.db"
    running, reports = run_writers(path, writers=3, turns=4, kills=1, seed=1)
    check_tree(path, running, reports, 4)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(3))
def test_eight_writers_of_one_session(tmp_path, seed):
    """Eight processes with 40 turns each; several are killed, two a second."""
    path = tmp_path / "sessions.db"
    running, reports = run_writers(path, writers=8, turns=40, kills=4, seed=seed)
    check_tree(path, running, reports, 40)
