"""Peak memory of a job over a million records against that over a thousand, of the command and of its worker.

A tiny random-weight model labels a table of short records whose texts are all different, and equally long, with a
prompt that is the text alone, so that a million records take some minutes. Each run has a worker, a cache and a
configuration of its own. The output is once a file with a resumable job, once a pipe. The goal is a ratio of at most
1.05 for both processes. The peaks are read from /proc, so this needs Linux; ``ru_maxrss`` would include that of the
process that starts the command.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

RECORDS = (1_000, 1_000_000)
_WORDS = ("the", "and", "is", "in", "it", "you", "to", "of", "hello", "world")  # of one token each
_PROMPT = 'description: The text alone\nuser: "{{ text }}"\n'
VERBS = {
    "classify": (["classify", "--labels", "yes,no"], _PROMPT),
    "sentiment": (["sentiment"], _PROMPT + "output: {labels: [positive, negative]}\n"),
}


@dataclass(frozen=True)
class Peaks:
    """Peak resident memory in MiB of the command and of its worker; the seconds of the command."""

    command: float
    worker: float
    seconds: float


def write_records(path: Path, count: int) -> None:
    """Write a table of short records; the texts differ."""
    generator = random.Random(0)  # noqa: S311 (texts to measure with)
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text\n")
        file.writelines(f"{number},{' '.join(generator.choices(_WORDS, k=6))} {number:07}\n" for number in range(count))


def measure(model: Path, verb: str, count: int, *, piped: bool) -> Peaks:
    """Return the peaks of one run."""
    argv, prompt = VERBS[verb]
    with tempfile.TemporaryDirectory(prefix="llm") as directory:
        root = Path(directory)
        names = ("CONFIG_DIR", "DATA_DIR", "CACHE_DIR", "RUNTIME_DIR")
        environ = {**os.environ, "LLMCLI_TUNE": "off", "LLMCLI_WORKER": "on"}
        for name in names:
            (root / name).mkdir(mode=0o700)
            environ[f"LLMCLI_{name}"] = str(root / name)
        (root / "CONFIG_DIR" / "prompts").mkdir()
        (root / "CONFIG_DIR" / "prompts" / f"{verb}.yaml").write_text(prompt, encoding="utf-8")
        source, target = root / "in.csv", root / "out.csv"
        write_records(source, count)
        llm = [sys.executable, "-P", "-m", "llmcli"]
        command = [sys.executable, "-P", __file__, "--child", str(root / "peak"), *argv, "-m", str(model)]
        command += ["--column", "text"]
        command += ["--format", "csv"] if piped else [str(source), "-o", str(target)]
        started = time.perf_counter()
        if piped:
            with source.open("rb") as stdin, target.open("wb") as stdout:
                feeder = subprocess.Popen(["cat"], stdin=stdin, stdout=subprocess.PIPE)
                process = subprocess.Popen(command, env=environ, stdin=feeder.stdout, stdout=stdout)
                assert feeder.stdout is not None
                feeder.stdout.close()
        else:
            process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL)
        code = process.wait()
        seconds = time.perf_counter() - started
        if code:
            raise SystemExit(f"{' '.join(command)}: exit {code}")
        with target.open("rb") as file:
            if (rows := sum(1 for _ in file) - 1) != count:
                raise SystemExit(f"{rows} rows of {count}")
        listed = subprocess.run([*llm, "worker", "list", "--json"], check=True, capture_output=True, env=environ)
        worker = read_peak(json.loads(listed.stdout)["pid"])
        subprocess.run([*llm, "worker", "stop"], check=False, capture_output=True, env=environ)
        return Peaks(float((root / "peak").read_text(encoding="utf-8")), worker, seconds)


def read_peak(process: int | str) -> float:
    """Return the peak resident memory of a process in MiB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def run_child(target: str, *argv: str) -> int:
    """Run a command in this process, and write its peak to a file."""
    from llmcli.cli.main import main

    code = main(argv)
    Path(target).write_text(f"{read_peak('self')}", encoding="utf-8")
    return code


def main() -> None:
    """Measure and print."""
    import common

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs=2, default=RECORDS, help="of the short and the long run")
    parser.add_argument("--verbs", nargs="*", default=[*VERBS], help="of " + ", ".join(VERBS))
    parser.add_argument("--outputs", nargs="*", default=["file", "pipe"], help="of file, pipe")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    table = []
    with tempfile.TemporaryDirectory() as directory:
        ((_, model),) = import_module("tiny_models").make(directory, ["llama"])
        for verb in options.verbs:
            for output in options.outputs:
                short, long = (measure(model, verb, count, piped=output == "pipe") for count in options.records)
                for name in ("command", "worker"):
                    first, second = getattr(short, name), getattr(long, name)
                    row = [verb, output, name, f"{first:.1f}", f"{second:.1f}", f"{second / first:.3f}"]
                    table.append([*row, f"{long.seconds:.0f}"])
                    print(" | ".join(table[-1]), flush=True)
    header = [f"{count:,} records, MiB" for count in options.records]
    common.print_table(table, ["verb", "output", "process", *header, "ratio", "seconds"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        raise SystemExit(run_child(*sys.argv[2:]))
    main()
