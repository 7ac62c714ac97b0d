"""Peak memory of commands for a long text against that for a short one, with a scripted model.

Each command runs in a process of its own with a backend that answers at once, so that the peak is that of reading,
cutting, planning and merging, not of a model. The text consists of numbered sentences in paragraphs; tables and JSON
Lines have a row for each. Commands that keep a text as a whole get a directory of files of ``--file`` megabytes each.
The goal is a ratio of at most 1.1 between the peaks for ``--large`` and ``--small`` megabytes.

With ``--worker MODEL`` (a tiny random one, of ``tests/tiny_models.py``) each command runs with a real model in a
worker, and the peak of the worker is printed too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import deque
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import common

if TYPE_CHECKING:
    from llmcli.types import Request

_WIDTH = 64
_QUESTION = "In which year did ship 77 sail?"
COMMANDS = {
    "summarize --style key-sentences": ("txt", ["summarize", "--style", "key-sentences", "--words", "200"]),
    "summarize key-sentences of Markdown": ("md", ["summarize", "--style", "key-sentences"]),
    "index add": ("txt", ["index", "add"]),
    "ask -f": ("txt", ["ask", _QUESTION, "-f"]),
    "ask --cite -f of Markdown": ("md", ["ask", "--cite", _QUESTION, "-f"]),
    "ask -f of CSV": ("csv", ["ask", "--sql", "How many rows are there?", "-f"]),
    "summarize an overview of JSON Lines": ("jsonl", ["summarize", "--style", "paragraph"]),
    "extract --many": ("txt", ["extract", "--many", "--schema", "ship int"]),
    "extract --many of JSON Lines": ("jsonl", ["extract", "--many", "--schema", "ship int"]),
    "classify": ("txt", ["classify", "--labels", "a,b", "-o", "out.csv"]),
    "sentiment of CSV": ("csv", ["sentiment", "--column", "text", "-o", "out.csv"]),
    "translate of JSON Lines": ("jsonl", ["translate", "--to", "de", "--no-tm", "--column", "text", "-o", "out.jsonl"]),
    "extract --many of files": ("txt/", ["extract", "--many", "--schema", "ship int"]),
    "summarize key-sentences of files": ("txt/", ["summarize", "--style", "key-sentences", "--words", "200"]),
    "summarize --style paragraph of files": ("txt/", ["summarize", "--style", "paragraph"]),
    "summarize --combine of files": ("txt/", ["summarize", "--combine", "--style", "key-sentences", "--words", "200"]),
    "ask -f of files": ("txt/", ["ask", _QUESTION, "-f"]),
    "check --against files": ("txt/", ["check", "answer.md", "--against"]),
    "proofread files": ("txt/", ["proofread", "--top", "5"]),
}
"""Name -> suffix of the input, with a slash for a directory of such files, and arguments before it."""
ANSWER = "In the year 1577 ship 77 sailed to island 77. Ship 12 carried gold. The 30 people of ship 991 came back."


def write_text(path: Path, megabytes: float) -> None:
    """Write a text, table or JSON Lines of about that size."""
    number = 0
    with path.open("w", encoding="utf-8") as file:
        if path.suffix == ".csv":
            file.write("number,text\n")
        while file.tell() < megabytes * 1e6:
            text = f"In the year {1500 + number % 500} ship {number} sailed to island {number % 97} with {number % 31} people."
            if path.suffix == ".csv":
                file.write(f'{number},"{text}"\n')
            elif path.suffix == ".jsonl":
                file.write(json.dumps({"number": number, "text": text}) + "\n")
            else:
                heading = f"## Part {number // 1000}\n\n" if path.suffix == ".md" and number % 1000 == 0 else ""
                file.write(heading + text + ("\n\n" if number % 5 == 4 else " "))
            number += 1


def answer(request: Request) -> Any:  # noqa: PLR0911 (one for each kind of request)
    """Answer any request at once: states, scores, JSON or a sentence."""
    text = request.prompt if request.prompt is not None else request.messages[-1].content
    if request.hidden_states:
        seed = zlib.crc32(text.encode())
        return struct.pack(f"<{_WIDTH}f", *((seed >> each % 32) % 17 + each for each in range(_WIDTH)))
    if request.logprobs is not None and request.candidates:
        return tuple(import_module("scripted").score_words(each, _bits_of) for each in request.candidates)
    if request.candidates:
        return {each: -1.0 - number for number, each in enumerate(request.candidates)}
    if "Translate into" in text:
        numbers = re.findall(r"\d+", text.rpartition("\n\n")[2])
        return "Im Jahr {} segelte das Schiff {} zu der Insel {}, und {} Menschen fuhren mit.".format(*numbers)
    if "SELECT" in text or "CREATE TABLE" in text:
        return "SELECT count(*) FROM text"
    if request.grammar is not None and "Text:" in text:
        return "[]"  # memory grows with what is found, which is the output
    return "In the year 1577 ship 77 sailed [1]."


def _bits_of(word: str) -> float:
    return len(word) % 7 + 1.0


def run_child(arguments: list[str], *, scripted_model: bool) -> None:
    """Run one command, with a scripted backend or a real one; print the peak of this process in KiB."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    scripted = import_module("scripted")
    from llmcli.cli.main import main
    from llmcli.runtime.runtime import Runtime

    if scripted_model:
        backend = scripted.ScriptedBackend(answer, context=4096, parameters=135_000_000, token_scores=True)
        backend.requests = deque(maxlen=1)
        Runtime.backend = lambda _: backend  # type: ignore[method-assign,assignment]
        identity = SimpleNamespace(adapted_id="scripted")  # the key of translations in a memory
        Runtime.resolve_model = lambda *_, **__: identity  # type: ignore[method-assign,assignment]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    code = main(arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stderr.write(f"peak {peak} exit {code}\n")


@dataclass(frozen=True)
class Peak:
    """Peak memory in MiB of a command and of its worker (0: none), its exit code and seconds."""

    client: float
    worker: float
    code: int
    seconds: float


def write_input(directory: Path, suffix: str, megabytes: float, file_megabytes: float) -> str:
    """Write a file, or a directory of files if the suffix ends with a slash; return its path."""
    if not suffix.endswith("/"):
        path = directory / f"text.{suffix}"
        write_text(path, megabytes)
        return str(path)
    path = directory / "files"
    path.mkdir()
    count = max(1, round(megabytes / file_megabytes))
    write_text(path / f"0.{suffix[:-1]}", megabytes / count)
    text = (path / f"0.{suffix[:-1]}").read_text(encoding="utf-8")
    for number in range(1, count):
        (path / f"{number}.{suffix[:-1]}").write_text(f"File {number}.\n\n{text}", encoding="utf-8")
    return str(path)


def measure(arguments: list[str], suffix: str, megabytes: float, options: argparse.Namespace) -> Peak:
    """Return the peak memory of a command about texts of that size."""
    with tempfile.TemporaryDirectory(prefix="llm") as name:
        directory = Path(name)
        (directory / "answer.md").write_text(ANSWER)
        given = [*arguments, write_input(directory, suffix, megabytes, options.file)]
        names = dict.fromkeys(["LLMCLI_CONFIG_DIR", "LLMCLI_DATA_DIR", "LLMCLI_CACHE_DIR", "LLMCLI_RUNTIME_DIR"], name)
        environ = {**os.environ, **names, "LLMCLI_TUNE": "off", "LLMCLI_WORKER": "on"}
        if options.worker:
            given += ["-m", str(options.worker.resolve())]
        kind = "--child" if not options.worker else "--real-child"
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, kind, json.dumps(given)], capture_output=True, text=True, check=False, cwd=name,
            env=environ, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        worker = _worker_peak(environ) if options.worker else 0.0
        found = re.search(r"peak (\d+) exit (\d+)", done.stderr)
        if found is None:
            sys.exit(f"{arguments}: {done.stderr[-2000:]}")
        if found[2] not in {"0", "1"}:
            print(done.stderr[:600])
        return Peak(int(found[1]) / 1024, worker, int(found[2]), seconds)


def _worker_peak(environ: dict[str, str]) -> float:
    """Return the peak of the worker in MiB, and end it."""
    llm = [sys.executable, "-P", "-m", "llmcli", "worker"]
    listed = subprocess.run([*llm, "list", "--json"], check=True, capture_output=True, text=True, env=environ)
    (worker,) = map(json.loads, listed.stdout.splitlines())
    status = Path(f"/proc/{worker['pid']}/status").read_text(encoding="ascii")
    subprocess.run([*llm, "stop"], check=True, capture_output=True, env=environ)
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=float, default=2, help="megabytes (default: 2)")
    parser.add_argument("--large", type=float, default=200, help="megabytes (default: 200)")
    parser.add_argument("--file", type=float, default=2, help="megabytes of each of several files (default: 2)")
    parser.add_argument("--only", help="a part of the name of a command")
    parser.add_argument(
        "--worker", type=Path, metavar="MODEL", help="a real model in a worker instead of a scripted one"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--real-child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    child = options.child or options.real_child
    if child:
        run_child(json.loads(child), scripted_model=child == options.child)
        return
    rows = []
    for name, (suffix, arguments) in COMMANDS.items():
        if options.only and options.only not in name:
            continue
        small = measure(arguments, suffix, options.small, options)
        large = measure(arguments, suffix, options.large, options)
        row = [name, *_compare(small.client, large.client)]
        row += _compare(small.worker, large.worker) if options.worker else []
        rows.append([*row, str(large.code), f"{large.seconds:.0f}"])
        print(" | ".join(rows[-1]), flush=True)
    sizes = [f"{options.small:g} MB, MiB", f"{options.large:g} MB, MiB", "ratio"]
    both = [*sizes, *(f"worker {each}" for each in sizes)] if options.worker else sizes
    common.print_table(rows, ["command", *both, "exit", "s"])


def _compare(small: float, large: float) -> list[str]:
    return [f"{small:.0f}", f"{large:.0f}", f"{large / small:.2f}"]


if __name__ == "__main__":
    main()
