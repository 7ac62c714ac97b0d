"""Rows per second of everything in a job of records but the model: reading, keying, checkpoints, writing.

Usage: python benchmarks/records.py [ROWS] [--model MODEL]

Each format is measured with a verb that answers at once, through the same code as ``llm sentiment FILE -o OUT``. The
aim is below 0.5 ms per record: under 5% of a job of 100 records a second.

With ``--model``, only the job ``llm sentiment in.csv -o out.csv --resume`` is measured: once with that model in this
process, once with answers at once. The share of everything but the model is the ratio of the processor times, which do
not depend on what else the machine does. The aim is 5%.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from llmcli.cli.console.environment import Environment
from llmcli.cli.main import main
from llmcli.types import (
    BackendInfo,
    BackendStats,
    CandidateScores,
    Event,
    Finished,
    FinishReason,
    Request,
    Score,
    Timings,
    Usage,
)

ROWS = 20_000
AIM_MS = 0.5
TEXT = "The delivery came two days late, and the box was open, but the lamp works. " * 4


class InstantBackend:
    """Scores every request at once."""

    def info(self) -> BackendInfo:
        return BackendInfo("instant", "instant", 4096)

    def stats(self) -> BackendStats:
        return BackendStats()

    def open(self) -> InstantJob:
        return InstantJob()

    def close(self) -> None:
        pass


class InstantJob:
    """Its events come as soon as a request was submitted."""

    def __init__(self) -> None:
        import queue

        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, request: Request) -> None:
        self._requests.put(request)

    def close_input(self) -> None:
        self._requests.put(None)

    def __iter__(self) -> Iterator[Event]:
        while (request := self._requests.get()) is not None:
            scores = tuple(Score(text, -1.0 - number, 1) for number, text in enumerate(request.candidates))
            yield CandidateScores(request.id, scores)
            yield Finished(request.id, FinishReason.STOP, Usage(10), Timings(0.1, 0.1))


def write_input(path: Path, rows: int) -> None:
    """Write a table of that many rows."""
    records = ({"id": number, "text": f"{number} {TEXT}", "note": "a,b"} for number in range(rows))
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(record) + "\n" for record in records)
        elif path.suffix == ".txt":
            file.writelines(f"{record['text']}\n" for record in records)
        else:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "note"])
            writer.writerows(record.values() for record in records)


def measure(source: Path, target: Path, *options: str) -> tuple[float, float]:
    """Return the seconds of a job, and those that the processor worked for it."""
    null = os.open(os.devnull, os.O_RDWR)
    environment = Environment(null, null, 2, {**os.environ, "LLMCLI_MODEL": str(source)})
    began, worked = time.perf_counter(), time.process_time()
    code = main(["sentiment", str(source), "-o", str(target), *options], environment)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    os.close(null)
    if code:
        raise SystemExit(code)
    return seconds, cpu


def run(rows: int) -> None:
    """Measure each format."""
    from llmcli.runtime.runtime import Runtime

    backend = InstantBackend()
    Runtime.backend = lambda _self: backend  # type: ignore[method-assign,assignment,return-value]
    cases = [("in.txt", "out.txt"), ("in.csv", "out.csv"), ("in.jsonl", "out.jsonl"), ("in.csv", "out.parquet")]
    with tempfile.TemporaryDirectory() as directory:
        for name, output in cases:
            for options in ((), ("--template", "{{ row.text }}"), ("--dedupe",))[: 1 if name == "in.txt" else 3]:
                source, target = Path(directory) / name, Path(directory) / output
                write_input(source, rows)
                seconds, cpu = measure(source, target, *options)
                per_record = 1000 * cpu / rows
                verdict = "ok" if per_record < AIM_MS else "TOO SLOW"
                label = f"{name} -> {output} {' '.join(options[:1])}"
                print(f"{label:40} {rows / seconds:9,.0f} rows/s  {per_record:.3f} ms of CPU a record  {verdict}")


def run_with_model(rows: int, model: str) -> None:
    """Measure a job with a model, and the same job with answers at once."""
    from llmcli.runtime.runtime import Runtime

    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "in.csv")
        write_input(source, rows)
        seconds, real = measure(source, Path(directory, "real.csv"), "--resume", "--set", "worker=off", "-m", model)
        Runtime.backend = lambda _self: InstantBackend()  # type: ignore[method-assign,assignment,return-value]
        _, instant = measure(source, Path(directory, "instant.csv"), "--resume")
    print(f"{rows:,} rows: {real:.2f} s of CPU with the model ({seconds:.0f} s), {instant:.2f} s of CPU without")
    print(
        f"reading, keying and writing: {instant / real:.2%} of the job  {'ok' if instant < 0.05 * real else 'TOO SLOW'}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", help=f"records (default: {ROWS:,}; 1,000 with a model)")
    parser.add_argument("--model", help="a GGUF file")
    options = parser.parse_args()
    if options.model is None:
        run(options.rows or ROWS)
    else:
        run_with_model(options.rows or 1_000, options.model)
