"""Measures what the worker costs and saves: whole processes of `llm`, in a runtime directory of this benchmark.

Figures: seconds of `llm ask` with one token out on a warm worker (against `llm --help`, and with --peer-llm against
simonw/llm, which loads the same file each time); of `llm ask` that starts a worker against --set worker=off; records per
second of `xargs -P16 llm sentiment` over lines, on the worker against `--set worker=off -P2`; generated tokens per second of
16 processes at once against the engine's own for the same requests; and how the worker's memory grows over 1,000
requests, after the first 100.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ask_cold
import common

from llmcli.config.engine_options import EngineOptions
from llmcli.worker import runtime_dir
from llmcli.worker.client import channel, worker_status

PROCESSES = 16
ANSWER_TOKENS = 256
LINES = 200
ALONE = 32
"""Lines for the loop without a worker, where each line loads the model."""
REQUESTS = 1000
PARTS = ("warm", "cold", "loop", "rate", "memory")


def stop(directory: Path) -> None:
    """End all workers."""
    for found in runtime_dir.list_worker_paths(directory):
        worker_status.stop_worker(found)


def only(directory: Path) -> runtime_dir.WorkerPaths:
    """Return the place of the only running worker."""
    (found,) = runtime_dir.list_worker_paths(directory)
    return found


def loop(llm: str, lines: int, processes: int, *more: str) -> float:
    """Return lines a second of `xargs llm sentiment`."""
    text = "".join(f"I really like the number {number}.\n" for number in range(lines))
    words = " ".join([llm, "sentiment", *more])
    shell = ["xargs", f"-P{processes}", "-d", "\\n", "-I{}", "sh", "-c", f'printf "%s\\n" "$1" | {words}', "_", "{}"]
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        done = subprocess.run(shell, input=text, text=True, capture_output=True, check=False, cwd=directory)
        seconds = time.perf_counter() - started
    if done.returncode or done.stdout.count("\n") != lines:
        sys.exit(f"sentiment: exit {done.returncode}, {done.stdout.count(chr(10))} answers: {done.stderr[-500:]}")
    return lines / seconds


def at_once(llm: str, model: str) -> float:
    """Return the generated tokens per second of concurrent processes, from the first start to the last end."""
    started = time.perf_counter()
    words = [llm, "ask", "-m", model, "--no-stdin", "--json", "--max-tokens", str(ANSWER_TOKENS), "--temperature", "0"]
    children = [
        subprocess.Popen([*words, f"Write a long story about {number} ships."], stdout=subprocess.PIPE)
        for number in range(PROCESSES)
    ]
    outs = [child.communicate()[0] for child in children]
    seconds = time.perf_counter() - started
    return sum(json.loads(out)["usage"]["completion_tokens"] for out in outs) / seconds


def bulk(model: str) -> float:
    """Return the engine's own rate for the same requests."""
    from llmcli.backends.base import run_requests
    from llmcli.types import Finished, Message, Request, Role, Sampling

    requests = [
        Request(str(number), (Message(Role.USER, f"Write a long story about {number} ships."),), max_tokens=ANSWER_TOKENS,
                sampling=Sampling(temperature=0))
        for number in range(PROCESSES)
    ]  # fmt: skip
    with common.open_engine(model, EngineOptions()) as backend:
        started = time.perf_counter()
        ends = [event for event in run_requests(backend, requests) if isinstance(event, Finished)]
        return sum(end.usage.completion_tokens for end in ends) / (time.perf_counter() - started)


def growth(llm: str, model: str, directory: Path) -> tuple[int, int]:
    """Return the worker's memory in bytes after 100 requests and after all."""
    common.run([llm, "ask", "-m", model, "--no-stdin", "--max-tokens", "1", "hi"])
    found = only(directory)
    sizes = []
    for number in range(REQUESTS):
        body = {"messages": [{"role": "user", "content": f"What is {number} plus {number}?"}], "max_tokens": 8}
        channel.request_json(found.socket, "POST", "/v1/chat/completions", body, timeout=60.0)
        if number in {99, REQUESTS - 1}:
            sizes.append(channel.request_json(found.socket, "GET", "/llm/status")["memory"])
    return sizes[0], sizes[1]


def main() -> None:  # noqa: C901 (one part after the other)
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part (repeatable; default: all)")
    options = parser.parse_args()
    parts, llm = options.part or PARTS, options.llm
    model = common.model_path(options.model)
    ask = [llm, "ask", "-m", model, "--no-stdin", "--max-tokens", "1", "--temperature", "0", "Why?"]
    rows: list[list[str]] = []

    def row(label: str, ours: list[float], other: str, theirs: list[float], aim: str) -> None:
        rows.append([label, common.median_range(ours, 3), f"{other}: {common.median_range(theirs, 3)}",
                     f"{common.median_ratio(ours, theirs):.3g}", aim])  # fmt: skip

    def seconds(command: list[str], before: Callable[[], object] = lambda: None) -> Callable[[], float]:
        def measure() -> float:
            before()
            return common.run(command).seconds

        return measure

    with tempfile.TemporaryDirectory(prefix="llm") as kept:
        directory = Path(kept)
        os.environ |= {"LLMCLI_RUNTIME_DIR": kept, "LLMCLI_TUNE": "off", "LLMCLI_WORKER": "on"}
        try:
            if "warm" in parts:
                peers = []
                if options.peer_llm:
                    python = str(Path(options.peer_llm).parent / "python")
                    one = ask_cold.PEER.replace("max_tokens=32", "max_tokens=1")
                    peers = [seconds([python, "-c", one, "-m", "SmolLM2", "Why?"])]
                warm, help_, *peer = common.interleave(options.runs, seconds(ask), seconds([llm, "--help"]), *peers)
                row("llm ask, 1 token, warm, s", warm, "llm --help", help_, "at most 2.0")
                for taken in peer:
                    row("the same", warm, "simonw/llm, cold", taken, "at most 0.10")
            if "cold" in parts:
                cold, alone = common.interleave(
                    options.runs, seconds(ask, lambda: stop(directory)), seconds([*ask, "--set", "worker=off"])
                )
                row("llm ask, 1 token, starting a worker, s", cold, "--set worker=off", alone, "at most 0.25 s more")
            if "loop" in parts:
                shared, alone = common.interleave(
                    min(options.runs, 3), lambda: loop(llm, LINES, 16, "-m", model),
                    lambda: loop(llm, ALONE, 2, "-m", model, "--set", "worker=off"),
                )  # fmt: skip
                row("sentiment of lines, xargs -P16, lines/s", shared, "--set worker=off, -P2", alone, "at least 5")
            if "rate" in parts:
                rate, own = common.interleave(min(options.runs, 3), lambda: at_once(llm, model), lambda: bulk(model))
                row(f"{PROCESSES} processes at once, tokens/s", rate, "engine", own, "at least 0.95")
            if "memory" in parts:
                stop(directory)
                first, last = growth(llm, model, directory)
                rows.append(["memory after 1,000 requests, MiB", f"{last >> 20}", f"after 100: {first >> 20}",
                             f"{last / first:.3f}", "at most 1.02"])  # fmt: skip
        finally:
            stop(directory)
    common.print_table(rows, ["", "on the worker", "against", "ratio", "aim"])


if __name__ == "__main__":
    main()
