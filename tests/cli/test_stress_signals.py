"""Signals at random moments to every verb with large inputs: the right code, no traceback, and intact files.

LLMCLI_STRESS_SEED and LLMCLI_STRESS_COUNT choose the moments and how many runs there are, LLMCLI_STRESS_SIZE the bytes
of an input. ``benchmarks/signals.py`` measures how soon the runs end.
"""

from __future__ import annotations

import os
import random
import signal
import sys

import pytest
from signal_cases import Cases

pytestmark = pytest.mark.stress

SEED = int(os.environ.get("LLMCLI_STRESS_SEED", "14"))
COUNT = int(os.environ.get("LLMCLI_STRESS_COUNT", "38"))
SIZE = int(os.environ.get("LLMCLI_STRESS_SIZE", "300000"))
TIMED_OUT = 124
STREAMS = ("sentiment --json <", "chat <", "pseudo --json")


@pytest.fixture(scope="module")
def cases(tiny, tmp_path_factory):
    """Return the cases; each runs as a separate process."""
    return Cases(tmp_path_factory.mktemp("cases") / "cases", SIZE, tiny("chatml"), [sys.executable, "-m", "llmcli"])


def check(cases, case, outcome, code):
    """The code is right unless the run had already ended; only a timeout has a message; no file is partial.

    A job over records keeps its progress beside the output, and says how to go on.
    """
    what = (case.name, outcome.code, outcome.seconds, outcome.err)
    assert outcome.code == code or cases.ended_by_itself(case, outcome), what
    is_job = outcome.beside != ()
    silent = outcome.err == "" or (is_job and "To go on: llm " in outcome.err)
    assert "Traceback" not in outcome.err and (silent or outcome.code >= 0), what
    assert not is_job or set(outcome.beside) <= {f"{case.output.name}{end}" for end in (".partial", ".job.json")}, what
    assert cases.is_intact(case, outcome), what


def moments(cases, chosen, count, seed):
    """Yield cases in turn, each with a moment of its run, and a generator for other choices."""
    chance = random.Random(seed)
    for number in range(count):
        case = chosen[number % len(chosen)]
        yield case, chance.uniform(0, cases.seconds(case)), chance


def test_signals(cases):
    """SIGINT, SIGTERM and SIGHUP cause death by that signal, wherever they come."""
    for case, moment, chance in moments(cases, cases.all, COUNT, SEED):
        signum = chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        check(cases, case, cases.run_with_signal(case, signum, moment), -signum)


def test_timeouts(cases):
    """--timeout is 124, wherever it expires."""
    chosen = [case for case in cases.all if case.has_timeout]
    for case, moment, _ in moments(cases, chosen, COUNT // 3, SEED + 1):
        check(cases, case, cases.run_with_timeout(case, max(moment, 0.001)), TIMED_OUT)


def test_readers_that_leave(cases):
    """A reader of standard output that leaves causes death by SIGPIPE, wherever that happens."""
    chosen = [case for case in cases.all if case.name in STREAMS]
    for case, moment, _ in moments(cases, chosen, len(STREAMS), SEED + 2):
        check(cases, case, cases.run_without_reader(case, int(moment * 1000)), -signal.SIGPIPE)
