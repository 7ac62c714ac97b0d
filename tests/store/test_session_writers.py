"""Processes that write one session at once, some of which are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from session_checks import check_tree

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


def check_writers(path, running, reports, turns):
    """Assert that each turn that was reported is there once, and that a writer that was not killed reported all."""
    check_tree(
        path, [f"w{number} {turn}" for number, turns in enumerate(reports) for turn in turns], "answer {}".format
    )
    for process, reported in zip(running, reports, strict=True):
        assert process.returncode != 0 or reported == [str(turn) for turn in range(turns)]


def test_writers_that_are_killed_lose_only_what_they_had_not_reported(tmp_path):
    """Three processes write, one is killed."""
    path = tmp_path / "sessions.db"
    running, reports = run_writers(path, writers=3, turns=4, kills=1, seed=1)
    check_writers(path, running, reports, 4)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(3))
def test_eight_writers_of_one_session(tmp_path, seed):
    """Eight processes with 40 turns each; several are killed, two a second."""
    path = tmp_path / "sessions.db"
    running, reports = run_writers(path, writers=8, turns=40, kills=4, seed=seed)
    check_writers(path, running, reports, 40)
