"""Derived weights (``--set weights=auto``) against the file's own and llama.cpp's own programs on the same file.

`llm models tune` runs first, in the user's cache. Figures: tokens a second of a prompt of 512 tokens (the second one of
an engine, since `llama-bench` evaluates one before it measures too), and of 16 answers at once (128 tokens in, 64 out),
against `llama-bench` and `llama-batched-bench` on the file and on each copy of it;
records a second of `llm sentiment` in a fresh process against llama-server with 16 clients and a short instruction of
its own; seconds of 100 requests of mixed length against llama-server; and seconds of a PO file of 500 messages and of
`xargs -P16 llm sentiment` over 200 lines with both kinds of weights. ``--texts`` names a file of records, one a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bulk
import common
import scoring
import worker

from llmcli.app_paths import DERIVED_DIRECTORY, find_paths
from llmcli.backends.base import Backend, run_requests
from llmcli.config.engine_options import EngineOptions
from llmcli.types import Finished, Request

PARTS = ("prompt", "batch", "sentiment", "bulk", "po", "xargs")
CLIENTS, ANSWER_TOKENS = 16, 3
PROMPT_TOKENS = 512
BULK_REQUESTS, PO_MESSAGES, LINES = 100, 500, 200
INSTRUCTION = "Is this text positive, negative or neutral? Answer with one word.\n\n"
SIDES = ("auto", "original")


def seconds_of(command: list[str], **environ: str) -> float:
    """Return the seconds of a command, which may end with 3: the starter leaves some messages as they are."""
    started = time.perf_counter()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, env={**os.environ, **environ}
    )
    if done.returncode not in {0, 3}:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr[-500:]!r}")
    return time.perf_counter() - started


def peer_rates(
    program: Path, files: list[Path], arguments: list[str], rate: Callable[[Any], float]
) -> dict[str, float]:
    """Return the best tokens a second of a program of llama.cpp on each file, with flash attention on and off."""
    rates = {}
    for file in files:
        outputs = (
            common.run([str(program), "-m", str(file), "-t", "2", "-fa", flash, *arguments]).output
            for flash in ("1", "0")
        )
        rates[file.name] = max(rate(output) for output in outputs)
    return rates


def bench_rate(output: str) -> float:
    """Return the tokens a second in the output of ``llama-bench -o json``."""
    return max(float(row["avg_ts"]) for row in json.loads(output))


def batched_rate(output: str) -> float:
    """Return the generated tokens a second in the last row of ``llama-batched-bench``'s table."""
    return float([line for line in output.splitlines() if line.startswith("|")][-1].split("|")[8])


def decode_rate(backend: Backend, requests: list[Request]) -> float:
    """Return the generated tokens a second after the first one of each request."""
    ends = [event for event in run_requests(backend, requests) if isinstance(event, Finished)]
    first = max(end.timings.first_token_s or 0.0 for end in ends)
    total = max(end.timings.total_s for end in ends)
    return sum(end.usage.completion_tokens - 1 for end in ends) / (total - first)


def prompt_rate(backend: Backend, seed: int) -> float:
    """Return the tokens a second of a prompt of ``PROMPT_TOKENS`` until its first token is sampled."""
    text = common.truncate_to_tokens(backend, common.words(PROMPT_TOKENS, seed), PROMPT_TOKENS)
    (end,) = (
        event
        for event in run_requests(backend, [common.greedy_request("p", " ".join(text), 1)])
        if isinstance(event, Finished)
    )
    return end.usage.prompt_tokens / (end.timings.first_token_s or end.timings.total_s)


def engine_row(options: Any, model: str, best: str, part: str, numbers: Iterator[int]) -> list[str]:
    """Return the row of a figure that the engine is measured for in this process."""
    paths = find_paths(os.environ)
    copies = sorted((paths.cache / DERIVED_DIRECTORY).glob(f"{common.model_id(model)[:32]}-*.gguf"))
    files = [Path(model), *copies]

    def measure(weights: str) -> Callable[[], float]:
        def figure() -> float:
            settings = EngineOptions(cache=paths.cache, weights=weights)
            with common.open_engine(model, settings) as backend:
                if part == "prompt":
                    return [prompt_rate(backend, next(numbers)) for _ in range(2)][-1]
                texts = [" ".join(common.words(100, next(numbers))) for _ in range(CLIENTS)]
                return decode_rate(backend, [common.greedy_request(str(i), t, 64) for i, t in enumerate(texts)])

        return figure

    own, original = common.interleave(options.runs, measure(best), measure("original"))
    if part == "prompt":
        peers = peer_rates(options.llama_cpp / "llama-bench", files,
                           ["-p", str(PROMPT_TOKENS), "-n", "0", "-r", "3", "-o", "json"], bench_rate)  # fmt: skip
    else:
        peers = peer_rates(options.llama_cpp / "llama-batched-bench", files,
                           ["-c", "8192", "-npp", "128", "-ntg", "64", "-npl", "16"], batched_rate)  # fmt: skip
    of_file, of_best = peers[files[0].name], max(peers.values())
    middle = sorted(own)[len(own) // 2]
    return [f"{part}, tokens/s", common.median_range(own, 0), common.median_range(original, 0),
            f"file {of_file:.0f}, best type {of_best:.0f}",
            f"{middle / of_file:.2f} of the file, {middle / of_best:.2f} of the best"]  # fmt: skip


def command_row(
    label: str, options: Any, measure: Callable[[str], float], peer: Callable[[], float] | None, aim: str
) -> list[str]:
    """Return the row of a figure in seconds: automatic choice, original weights, and the peer."""
    sides: list[Callable[[], float]] = [lambda side=side: measure(side) for side in SIDES]  # type: ignore[misc]  # mypy cannot infer the type of a lambda's default
    figures = common.interleave(options.runs, *sides, *([] if peer is None else [peer]), warm=False)
    theirs = figures[-1]
    return [f"{label}, s", *(common.median_range(each) for each in figures[:2]),
            "-" if peer is None else common.median_range(theirs),
            f"{common.median_ratio(theirs, figures[0]):.2f} (aim {aim})"]  # fmt: skip


def write_po(path: Path) -> None:
    """Write a PO file of short messages, all different."""
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    messages = (f'\nmsgid "The {" ".join(common.words(4, n))} {n}"\nmsgstr ""\n' for n in range(PO_MESSAGES))
    path.write_text(head + "".join(messages))


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part (repeatable; default: all)")
    parser.add_argument("--texts", type=Path, help="records for the sentiment part (default: 1,000 made ones)")
    parser.add_argument("--best", default="bf16", help="the type measured against llama.cpp's rates (default: bf16)")
    options = parser.parse_args()
    if options.llama_cpp is None:
        sys.exit("--llama-cpp names the directory of llama.cpp's own programs")
    parts, model, llm = options.part or PARTS, common.model_path(options.model), options.llm
    print(common.run([llm, "models", "tune", options.model or "smollm2-135m"]).output)
    numbers, rows = iter(range(10**9)), []
    rows += [engine_row(options, model, options.best, part, numbers) for part in ("prompt", "batch") if part in parts]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = options.texts.read_text().splitlines() if options.texts else [r.text for r in scoring.records_of(1000)]
        records = folder / "records.txt"
        records.write_text("\n".join(texts) + "\n")
        write_po(folder / "messages.po")

        def served(requests: list[Request]) -> float:
            arguments = common.slot_arguments(CLIENTS, 640)
            with common.run_llama_server(options.llama_cpp, model, *arguments) as port:
                return common.server_seconds(port, requests, CLIENTS)

        if "sentiment" in parts:
            command = [llm, "sentiment", "-m", model, "--set", "worker=off", str(records)]
            asked = [common.greedy_request(str(n), INSTRUCTION + text, ANSWER_TOKENS) for n, text in enumerate(texts)]
            rows.append(command_row(f"sentiment, {len(texts)} records", options,
                                    lambda side: seconds_of([*command, "--set", f"weights={side}"]),
                                    lambda: served(asked), "2.2"))  # fmt: skip
        if "bulk" in parts:
            mixed = bulk.requests_of(BULK_REQUESTS)

            def engine(side: str) -> float:
                cache = find_paths(os.environ).cache
                weights = options.best if side == "auto" else side
                with common.open_engine(model, EngineOptions(cache=cache, weights=weights)) as backend:
                    return common.engine_seconds(backend, mixed)

            rows.append(command_row(f"{BULK_REQUESTS} mixed requests", options, engine, lambda: served(mixed), "1.6"))
        if "po" in parts:
            command = [llm, "translate", "-m", model, "--set", "worker=off", "--to", "de", "--no-tm", "--force",
                       "--max-tokens", "24", str(folder / "messages.po"), "-o", str(folder / "de.po")]  # fmt: skip
            row = command_row(f"PO file of {PO_MESSAGES} messages", options,
                              lambda side: seconds_of([*command, "--set", f"weights={side}"]), None, "1.8")  # fmt: skip
            rows.append(row)
        if "xargs" in parts:
            rows.append(command_row(f"xargs -P16, {LINES} lines", options, lambda side: xargs_seconds(llm, side), None,
                                    "1.4"))  # fmt: skip
    print(common.versions(options.llama_cpp))
    common.print_table(rows, ["", "--set weights=auto", "original", "llama.cpp", "ratio"])


def xargs_seconds(llm: str, weights: str) -> float:
    """Return the seconds of a loop of commands on a warm worker."""
    os.environ["LLMCLI_WEIGHTS"] = weights
    return LINES / worker.loop(llm, LINES, CLIENTS)


if __name__ == "__main__":
    main()
