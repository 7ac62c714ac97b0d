"""Resident memory of the worker for each task: the prediction of `llm models show`, the peak, and the rest after work.

Each command has its own worker in a runtime directory of this benchmark. Its input is about as large as the workload of
its task in ``llmcli.models.footprint``. The peak is the kernel's (VmHWM in /proc, so this part needs Linux). The figure
at rest is taken after the time in which an idle worker releases its buffers. `--weights` chooses the type of the
weights, and `--task` some of the tasks. Run it on an idle machine: where others use the processor, steps take fewer
tokens, and less memory. With --llama-cpp a second table compares the peak of `llm ask --set worker=off` with that of
llama-completion at the same context size. All figures are MiB of resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import common

from llmcli.engine.schedule.scheduler_thread import IDLE_RELEASE_S

PROMPT = "Write a story about the sea."
MIB = 2**20


@dataclass(frozen=True)
class Verb:
    """A command, its standard input, and its task in `llm models show`."""

    argv: tuple[str, ...]
    task: str
    text: str = ""


def verbs() -> dict[str, Verb]:
    """Return the commands that are measured."""
    paragraphs = [" ".join(common.words(50 + 20 * (number % 5), number)) for number in range(40)]
    text = "\n\n".join(map(_paragraph, range(330)))
    records = [f"I really like the number {number}." for number in range(400)]
    return {
        "ask": Verb(("ask", "--max-tokens", "512", PROMPT), "chat"),
        "chat": Verb(("chat", "--no-save", "--max-tokens", "512"), "chat", PROMPT),
        "translate": Verb(("translate", "--to", "fr", "--no-tm"), "translate", "\n\n".join(paragraphs)),
        "classify": Verb(("classify", "--labels", "good,bad"), "classify", "\n".join(records)),
        "sentiment": Verb(("sentiment",), "calibrated", "\n".join(records)),
        "summarize": Verb(("summarize", "--style", "paragraph"), "summarize", text),
        "key sentences": Verb(("summarize", "--style", "key-sentences"), "key-sentences", text),
    }


def _paragraph(number: int) -> str:
    """Return about 55 tokens of English: the starter cannot summarize random words."""
    return (
        f"On day {number} the ship sailed to island {number}. The crew found water, fruit and a quiet bay there. "
        f"They repaired the sails, wrote letters home, and went on towards island {number + 1} in the evening wind."
    )


def measure(llm: str, model: str, verb: Verb, **variables: str) -> tuple[float, float]:
    """Return the worker's peak and its memory at rest, in MiB; ``variables`` of the environment."""
    with tempfile.TemporaryDirectory(prefix="llm") as directory:
        environ = (
            os.environ | variables | {"LLMCLI_RUNTIME_DIR": directory, "LLMCLI_TUNE": "off", "LLMCLI_WORKER": "on"}
        )
        command = [llm, *verb.argv, "-m", model]
        how = {"input": verb.text} if verb.text else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, **how)  # type: ignore[call-overload]  # the options have several types
        if done.returncode not in {0, 3}:  # 3: the starter left something out, and said so
            raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
        (worker,) = _workers(llm, environ)
        peak = _kibibytes(worker["pid"], "VmHWM") / 1024
        time.sleep(IDLE_RELEASE_S + 5)
        rest = _kibibytes(worker["pid"], "VmRSS") / 1024
        subprocess.run([llm, "worker", "stop"], check=True, capture_output=True, env=environ)
        return peak, rest


def _workers(llm: str, environ: dict[str, str]) -> list[dict[str, int]]:
    listed = subprocess.run([llm, "worker", "list", "--json"], check=True, capture_output=True, text=True, env=environ)
    return [json.loads(line) for line in listed.stdout.splitlines()]


def _kibibytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def compare_predictions(options: argparse.Namespace, model: str) -> None:
    """Print the prediction for each task, and the measured peak."""
    rows = []
    for weights in options.weights or ["original"]:
        chosen = {"LLMCLI_WEIGHTS": weights}
        for name, verb in verbs().items():
            if options.task and verb.task not in options.task:
                continue
            peak, rest = measure(options.llm, model, verb, **chosen)
            shown = common.run([options.llm, "models", "show", "--json", model], **chosen)  # the copy exists by now
            predicted = json.loads(shown.output)["needs"][verb.task] / MIB
            rows.append(
                [name, verb.task, weights, f"{predicted:.0f}", f"{peak:.0f}", f"{peak / predicted:.2f}", f"{rest:.0f}"]
            )
    common.print_table(rows, ["worker", "task", "weights", "predicted", "peak", "ratio (0.9 to 1.1)", "at rest"])


def compare_with_peer(options: argparse.Namespace, model: str) -> None:
    """Print the peaks of `llm ask` and of llama-completion."""
    peer = str(options.llama_cpp / "llama-completion")
    rows = []
    for context in ("512", "4096", "8192"):
        ask = [options.llm, "ask", "--set", "worker=off", "-m", model, "--ctx", context, "--max-tokens", "64", PROMPT]
        completion = [peer, "-m", model, "-c", context, "-n", "64", "-no-cnv", "-p", PROMPT]
        ours, theirs = common.interleave(
            options.runs, lambda a=ask: common.run(a).peak, lambda c=completion: common.run(c).peak
        )
        ratio = common.median_ratio(ours, theirs)
        rows.append(
            [f"context {context}", common.median_range(ours, 0), common.median_range(theirs, 0), f"{ratio:.2f}", "1.3"]
        )
    common.print_table(rows, ["peak memory", "llm ask, MiB", "llama-completion, MiB", "ratio", "at most"])


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--weights", action="append", help="a type of weights, as for llm (default: original)")
    parser.add_argument("--task", action="append", help="a task of llm models show (default: all)")
    options = parser.parse_args()
    model = common.model_path(options.model)
    compare_predictions(options, model)
    if options.llama_cpp:
        compare_with_peer(options, model)


if __name__ == "__main__":
    main()
