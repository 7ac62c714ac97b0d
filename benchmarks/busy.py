"""The engine's own choice of threads against fixed numbers, on an idle machine and with one core kept busy.

Figures: tokens per second of one sequence, after its first 20 tokens and as a whole (from submission to end, 256 tokens
out), and of the evaluation of a prompt of 512 tokens. Each has its own engine. "All cores" is the fixed number that
llama.cpp takes by default. With ``--quota`` everything, including the busy process, runs in a fresh control group that
may use that many CPUs; this needs a Linux with a writable /sys/fs/cgroup.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import common

from llmcli.backends.base import run_requests
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.llama.hardware import detect_cores
from llmcli.types import Finished, Request, TextDelta

WARMUP_TOKENS = 20
PROMPT = 512
SPIN = """import os
parent = os.getppid()
while os.getppid() == parent:  # it never outlives this script
    for _ in range(10**6): pass
"""
CGROUP = Path("/sys/fs/cgroup")
PERIOD = 100_000  # microseconds


class Rates(NamedTuple):
    """Tokens per second, each under the name of its row."""

    settled: float
    whole: float
    prompt: float


ROWS = {"settled": f"decode after {WARMUP_TOKENS} tokens", "whole": "decode, whole", "prompt": f"prompt of {PROMPT}"}


@contextlib.contextmanager
def load(*, busy: bool) -> Iterator[None]:
    """If ``busy``, keep one core busy with another process during the block."""
    if not busy:
        yield
        return
    spinning = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        time.sleep(0.2)  # Python starts
        yield
    finally:
        spinning.kill()
        spinning.wait()


def answer(model: str, threads: int | None, request: Request) -> tuple[Finished, list[float]]:
    """Run one request on its own engine; return its end and the time of each piece of text."""
    with common.open_engine(model, EngineOptions(threads=threads)) as backend:
        times, ends = [], []
        for event in run_requests(backend, [request]):
            if isinstance(event, TextDelta):
                times.append(time.perf_counter())
            elif isinstance(event, Finished):
                ends.append(event)
    (end,) = ends
    if end.usage.completion_tokens != request.max_tokens:
        raise SystemExit(f"{end.usage.completion_tokens} tokens, not {request.max_tokens}: {end.error}")
    return end, times


def rates(model: str, threads: int | None, tokens: int, prompt: str) -> Rates:
    """Measure both phases. A piece of text counts as a token; the few tokens without text are the same each time."""
    end, times = answer(model, threads, common.greedy_request("d", "Write a long story about the sea.", tokens))
    settled = (len(times) - WARMUP_TOKENS) / (times[-1] - times[WARMUP_TOKENS - 1])
    evaluated, _ = answer(model, threads, common.greedy_request("p", prompt, 1))
    seconds = evaluated.timings.first_token_s or evaluated.timings.total_s
    return Rates(settled, tokens / end.timings.total_s, evaluated.usage.prompt_tokens / seconds)


def row(name: str, fixed: Sequence[Sequence[float]], adaptive: Sequence[float], *, busy: bool) -> list[str]:
    """Return a row of the table; the last of ``fixed`` is all cores."""
    best = max(fixed, key=statistics.median)
    collapsed = statistics.median(fixed[-1]) < statistics.median(best) / 10
    to_all = "10" if busy and collapsed else "-" if busy else "0.97"
    return [
        f"{name}, {'one core busy' if busy else 'idle'}",
        *(common.median_range(taken, 0) for taken in (*fixed, adaptive)),
        f"{common.median_ratio(adaptive, best):.2f}",
        "0.8" if busy else "-",
        f"{common.median_ratio(adaptive, fixed[-1]):.2f}",
        to_all,
    ]


def compare(options: argparse.Namespace) -> None:
    """Measure and print."""
    model = common.model_path(options.model)
    every = detect_cores().physical
    numbers = [*sorted({n for n in options.threads or range(1, every) if n < every}), every]
    with common.open_engine(model, EngineOptions()) as backend:
        prompt = " ".join(common.truncate_to_tokens(backend, common.words(PROMPT), PROMPT))

    def measured(threads: int | None, *, busy: bool) -> Rates:
        with load(busy=busy):
            return rates(model, threads, options.tokens, prompt)

    states = [busy for busy in (True, False) if not (options.busy_only and not busy)]
    figures = common.interleave(
        options.runs,
        *(lambda n=n, busy=busy: measured(n, busy=busy) for busy in states for n in (*numbers, None)),
    )
    rows = []
    for busy in states:
        taken, figures = figures[: len(numbers) + 1], figures[len(numbers) + 1 :]
        for field, name in ROWS.items():
            *fixed, adaptive = ([getattr(one, field) for one in several] for several in taken)
            rows.append(row(name, fixed, adaptive, busy=busy))
    heads = [f"{n} thread{'s' * (n > 1)}" for n in numbers]
    heads[-1] += " (all cores)"
    unit = f"tokens per second ({common.versions(None)})"
    common.print_table(rows, [unit, *heads, "adaptive", "to the best fixed", "at least", "to all cores", "at least"])


def limited(cpus: float, command: Sequence[str]) -> None:
    """Run ``command`` in a separate control group with a quota (version 2 or 1); print why if impossible."""
    quota = str(round(cpus * PERIOD))
    name = f"llmcli-benchmark-{os.getpid()}"
    if (CGROUP / "cgroup.controllers").exists():
        group, files = CGROUP / name, {"cpu.max": f"{quota} {PERIOD}"}
    else:
        group, files = CGROUP / "cpu" / name, {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": quota}
    try:
        group.mkdir()
    except OSError as error:
        print(f"a quota of {cpus:g} CPUs: not available ({error})")
        return
    try:
        for file, content in files.items():
            (group / file).write_text(content, encoding="ascii")
    except OSError as error:
        print(f"a quota of {cpus:g} CPUs: not available ({error})")
    else:
        print(f"a quota of {cpus:g} CPUs", flush=True)
        enter = 'echo $$ > "$0" && exec "$@"'
        code = subprocess.run(["sh", "-c", enter, str(group / "cgroup.procs"), *command], check=False).returncode
        if code:
            raise SystemExit(code)
    finally:
        group.rmdir()


def main() -> None:
    """Measure here, or in a control group."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--tokens", type=int, default=256, help=f"tokens out, more than {WARMUP_TOKENS} (default: 256)")
    parser.add_argument(
        "--threads", type=int, action="append", help="compare only this fixed number besides all cores (repeatable)"
    )
    parser.add_argument("--busy-only", action="store_true", help="skip the idle machine")
    parser.add_argument("--quota", type=float, metavar="CPUS", help="run in a control group with this many CPUs")
    options = parser.parse_args()
    if options.quota is None:
        compare(options)
        return
    given = ["--runs", str(options.runs), "--tokens", str(options.tokens), *["--busy-only"] * options.busy_only]
    given += [f"--set=threads={n}" for n in options.threads or ()]
    given += ["--model", options.model] if options.model else []
    limited(options.quota, [sys.executable, __file__, *given])


if __name__ == "__main__":
    main()
