"""Compares the speed of an installed engine with the compiled one: the same evaluations in turn, in pairs of processes.

A prompt of 512 tokens, decoding one sequence and 16, and `llm sentiment` for 300 lines. With --threads 1 it counts
processor seconds, which other processes disturb little; with more threads seconds, which need an idle machine: threads
that wait for each other spin. Prints the ratio of the compiled engine's time to the other's, 1 or more if that is as
fast.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine_library import LIBRARY_VARIABLE, compiled_library, find_library

PROMPT, STEPS, SEQUENCES, RECORDS = 512, 32, 16, 300
SUBJECTS = ("The food", "This film", "Our room", "The service", "My new phone", "The book")
VERDICTS = ("was wonderful", "was terrible", "is fine", "broke after a day", "made me happy", "was slow and rude")


def measure(path: str, threads: int) -> dict[str, float]:
    """Return the seconds of each evaluation with the engine of this process."""
    clock = time.process_time if threads == 1 else time.perf_counter
    model = Model(Path(path), gpu_layers=0, keep_going=lambda: True)
    tokens = [(7 * i * i + 5 * i + 3) % model.vocab_size for i in range(PROMPT)]
    config = ContextConfig(
        cells=2 * PROMPT, sequences=SEQUENCES + 1, batch=PROMPT, threads=ThreadPolicy(threads, fixed=True)
    )
    context = Context(model, config, lambda: False)

    def seconds(*pieces: tuple[list[int], int, int]) -> float:
        context.batch.clear()
        for piece, position, sequence in pieces:
            context.batch.add(piece, position, sequence, [len(piece) - 1])
        started = clock()
        if context.evaluate(abortable=False):
            raise SystemExit("the cache is full")
        return clock() - started

    def prompt() -> float:
        context.remove_sequence(0)
        return seconds((tokens, 0, 0))

    def decode(count: int) -> float:
        for sequence in range(count):
            context.remove_sequence(sequence)
            seconds((tokens[: STEPS // 2], 0, sequence))
        steps = range(STEPS // 2, STEPS // 2 + STEPS)
        return statistics.median(seconds(*(([tokens[at]], at, sequence) for sequence in range(count))) for at in steps)

    prompt()
    found = {"prompt of 512": min(prompt(), prompt()), "decode": decode(1), "16 sequences": decode(SEQUENCES)}
    context.close()
    model.close()
    return found


def run(command: list[str], library: Path, **more: str) -> tuple[str, float, float]:
    """Return the output of a command with an engine, its processor seconds, and its seconds."""
    environ = {**os.environ, **more, LIBRARY_VARIABLE: str(library)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *command], env=environ, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, used, time.perf_counter() - started


def one_round(model: str, library: Path, threads: int, records: Path, home: str) -> dict[str, float]:
    """Return the seconds of each measurement with an engine."""
    found = json.loads(run([__file__, model, "--threads", str(threads), "--child"], library)[0])
    places = {f"LLMCLI_{kind}_DIR": f"{home}/{kind}" for kind in ("CONFIG", "DATA", "CACHE")}
    settings = {"LLMCLI_THREADS": str(threads), "LLMCLI_TUNE": "off", **places}
    command = ["-m", "llmcli", "sentiment", "--set", "worker=off", "-m", model, str(records)]
    _, used, seconds = run(command, library, **settings)
    return {**found, "sentiment of 300 lines": used if threads == 1 else seconds}


def main() -> None:
    """Print a line for each model and measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL.gguf")
    parser.add_argument("--engine", type=Path, help="directory of the engine (default: the one that llm uses)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.models[0], given.threads)))
        return
    used, compiled = find_library(os.environ), compiled_library()
    if used is None or compiled is None:
        raise SystemExit("it needs a compiled and an installed engine")
    directories = {"compiled": compiled.directory, "installed": given.engine or used.directory}
    with tempfile.TemporaryDirectory() as home:
        records, rng = Path(home) / "records.txt", random.Random(1)  # noqa: S311 (texts to measure with)
        lines = (f"{rng.choice(SUBJECTS)} {rng.choice(VERDICTS)}, number {i}.\n" for i in range(RECORDS))
        records.write_text("".join(lines), encoding="utf-8")
        for model in given.models:
            times: dict[str, list[dict[str, float]]] = {name: [] for name in directories}
            for number in range(given.rounds + 1):  # the first round loads files, and checks engine and model
                for name in list(directories)[:: 1 if number % 2 else -1]:
                    times[name].append(one_round(model, directories[name], given.threads, records, home))
            report(Path(model).stem, times["compiled"][1:], times["installed"][1:])


def report(model: str, compiled: list[dict[str, float]], installed: list[dict[str, float]]) -> None:
    """Print the median of the ratios of pairs, and their range."""
    for name in compiled[0]:
        ratios = sorted(a[name] / b[name] for a, b in zip(compiled, installed, strict=True))
        best = min(each[name] for each in compiled) / min(each[name] for each in installed)
        print(
            f"{model}: {name}: {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}), of the best {best:.2f}"
        )


if __name__ == "__main__":
    main()
