"""Peak memory of commands for a long text against that for a short one, with a scripted model.

Each command runs in a process of its own with a backend that answers at once, so that the peak is that of reading,
cutting, planning and merging, not of a model. The text consists of numbered sentences in paragraphs; tables and JSON Lines
have a row for each. The goal is a ratio of at most 1.1 between the peaks for ``--large`` and ``--small`` megabytes.
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
from importlib import import_module
from pathlib import Path
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
}


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


def answer(request: Request) -> Any:
    """Answer any request at once: states, scores, JSON or a sentence."""
    text = request.prompt if request.prompt is not None else request.messages[-1].content
    if request.hidden_states:
        seed = zlib.crc32(text.encode())
        return struct.pack(f"<{_WIDTH}f", *((seed >> each % 32) % 17 + each for each in range(_WIDTH)))
    if request.candidates:
        return {each: -1.0 - number for number, each in enumerate(request.candidates)}
    if "SELECT" in text or "CREATE TABLE" in text:
        return "SELECT count(*) FROM text"
    if request.grammar is not None and "Text:" in text:
        return "[]"  # memory grows with what is found, which is the output
    return "In the year 1577 ship 77 sailed [1]."


def run_child(arguments: list[str]) -> None:
    """Run one command with a scripted backend; print the peak of this process in KiB."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    scripted = import_module("scripted")
    from llmcli.cli.main import main
    from llmcli.runtime.runtime import Runtime

    backend = scripted.ScriptedBackend(answer, context=4096, parameters=135_000_000)
    backend.requests = deque(maxlen=1)
    Runtime.backend = lambda _: backend  # type: ignore[method-assign,assignment]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    code = main(arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stderr.write(f"peak {peak} exit {code}\n")


def measure(arguments: list[str], suffix: str, megabytes: float) -> tuple[float, int, float]:
    """Return peak memory in MiB, exit code and seconds of a command about a text of that size."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, f"text.{suffix}")
        write_text(path, megabytes)
        names = dict.fromkeys(["LLMCLI_CONFIG_DIR", "LLMCLI_DATA_DIR", "LLMCLI_CACHE_DIR"], directory)
        command = [sys.executable, __file__, "--child", json.dumps([*arguments, str(path)])]
        started = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=directory, env={**os.environ, **names},
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        found = re.search(r"peak (\d+) exit (\d+)", done.stderr)
        if found is None:
            sys.exit(f"{arguments}: {done.stderr[-2000:]}")
        if found[2] not in {"0", "1"}:
            print(done.stderr[:600])
        return int(found[1]) / 1024, int(found[2]), time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=float, default=2, help="megabytes (default: 2)")
    parser.add_argument("--large", type=float, default=200, help="megabytes (default: 200)")
    parser.add_argument("--only", help="a part of the name of a command")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(json.loads(options.child))
        return
    rows = []
    for name, (suffix, arguments) in COMMANDS.items():
        if options.only and options.only not in name:
            continue
        small, _, _ = measure(arguments, suffix, options.small)
        large, code, seconds = measure(arguments, suffix, options.large)
        rows.append([name, f"{small:.0f}", f"{large:.0f}", f"{large / small:.2f}", str(code), f"{seconds:.0f}"])
        print(" | ".join(rows[-1]), flush=True)
    common.print_table(
        rows, ["command", f"{options.small:g} MB, MiB", f"{options.large:g} MB, MiB", "ratio", "exit", "s"]
    )


if __name__ == "__main__":
    main()
