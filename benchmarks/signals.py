"""Times the end of each verb with large inputs after a signal or --timeout, with a model of random weights.

SIGINT and SIGTERM come, and --timeout expires, at a random moment of the first seconds of a run. A run counts as
"ignored" if it continued for two minutes or ended with another code; runs that had already ended do not count. The time
of --timeout begins when the options are read, so some tenths of a second of its latency are the start of the process.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import common

if TYPE_CHECKING:
    from signal_cases import Cases

ROOT = Path(__file__).parents[1]
TARGET_S = 0.5
TIMED_OUT = 124


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=500, help="signals in all (default: 500)")
    options.add_argument("--size", type=int, default=9_000_000, help="bytes of an input (default: 9,000,000)")
    options.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    options.add_argument("--only", default="", help="only the cases whose names contain this")
    options.add_argument("--llm", default=str(Path(sys.executable).parent / "llm"), help="llmcli's script")
    given = options.parse_args()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job would inherit that SIGINT is ignored
    sys.path.insert(0, str(ROOT / "tests"))
    import tiny_models
    from signal_cases import Cases

    with tempfile.TemporaryDirectory() as name:
        tiny_models.make(name, ["chatml"])
        cases = Cases(Path(name) / "cases", given.size, Path(name) / "chatml.gguf", [given.llm])
        _measure(cases, given)


def _measure(cases: Cases, given: argparse.Namespace) -> None:
    chance = random.Random(given.seed)  # noqa: S311 (moments to measure at)
    chosen = [case for case in cases.all if given.only in case.name]
    took: dict[str, list[float]] = defaultdict(list)
    ignored: dict[str, int] = defaultdict(int)
    for number in range(given.runs):
        case = chosen[number % len(chosen)]
        moment = chance.uniform(0, cases.seconds(case))
        signum = chance.choice(
            [signal.SIGINT, signal.SIGTERM, None] if case.has_timeout else [signal.SIGINT, signal.SIGTERM]
        )
        if signum is None:
            outcome = cases.run_with_timeout(case, max(moment, 0.001))
        else:
            outcome = cases.run_with_signal(case, signum, moment)
        if outcome.seconds is None or cases.ended_by_itself(case, outcome):
            continue
        took[case.name].append(outcome.seconds)
        if outcome.code != (TIMED_OUT if signum is None else -signum):
            ignored[case.name] += 1
            print(f"{case.name}: {signum or '--timeout'} after {moment:.3f} s: code {outcome.code}", file=sys.stderr)
    every = [seconds for figures in took.values() for seconds in figures]
    rows = [_row(name, figures, ignored[name]) for name, figures in took.items()]
    common.print_table(
        [*rows, _row("all", every, sum(ignored.values()))], ["", "runs", "median, s", "95%", "most", "ignored"]
    )
    print(f"\nTarget: nothing ignored, and at most {TARGET_S} s on a machine that is not overloaded.")


def _row(name: str, figures: list[float], ignored: int) -> list[str]:
    ordered = sorted(figures)
    high = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    times = [f"{seconds:.3f}" for seconds in (statistics.median(ordered), high, ordered[-1])]
    return [name, str(len(ordered)), *times, str(ignored)]


if __name__ == "__main__":
    main()
