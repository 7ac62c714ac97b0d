"""The settings that the engine chooses by itself, against every fixed choice and against llama-server's defaults.

Figure: seconds of a whole job, from its submission to its last event, with the model already loaded (every run has its
own engine or server). Jobs, in tokens of prompt, chat template included, and of answer: "long" 3000 and 64, "medium"
300 and 512, "shared" 16 times 300 and 128, all but 20 of the 300 alike, "distinct" 16 times 300 and 128, "short" 32
and 32. Ratios above 1 say that the engine's own choice is faster. The engine keeps its measurements of the machine in
a directory of this benchmark, and uses them from the second run on (the first one is not counted).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import common

from llmcli.config.engine_options import EngineOptions
from llmcli.types import Request

OWN_WORDS = 14
"""Number of final words that differ between the prompts of the job "shared"; some 6 tokens of the template follow
them."""


class Job(NamedTuple):
    """Requests of ``prompt`` tokens with answers of ``out`` tokens; ``server``: the lowest ratio to llama-server."""

    requests: int
    prompt: int
    out: int
    shared: bool
    server: float


JOBS = {
    "long": Job(1, 3000, 64, shared=False, server=0.95),
    "medium": Job(1, 300, 512, shared=False, server=2.0),
    "shared": Job(16, 300, 128, shared=True, server=2.0),
    "distinct": Job(16, 300, 128, shared=False, server=0.95),
    "short": Job(1, 32, 32, shared=False, server=0.95),
}
FIXED = {
    f"FA {'on' if flash else 'off'}, {kv_type}, {'unified' if unified else 'streams'}": EngineOptions(
        flash_attention=flash, kv_type=kv_type, kv_unified=unified
    )
    for flash, kv_type in ((True, "f16"), (True, "q8_0"), (True, "bf16"), (False, "f16"))
    for unified in (True, False)
}


NEAR = 1.2
"""Fixed settings that took longer than this many times the best of a first run are not measured again."""


def requests_of(model: str, job: Job) -> list[Request]:
    """Return the requests of a job, the same ones every time."""
    with common.open_engine(model, EngineOptions()) as backend:
        first = common.truncate_to_tokens(backend, common.words(job.prompt, 0), job.prompt)
        texts = [first]
        for number in range(1, job.requests):
            if job.shared:
                texts.append(first[:-OWN_WORDS] + common.words(OWN_WORDS, number))
            else:
                texts.append(common.truncate_to_tokens(backend, common.words(job.prompt, number), job.prompt))
    return [common.greedy_request(str(number), " ".join(text), job.out) for number, text in enumerate(texts)]


def measure(name: str, options: argparse.Namespace, model: str, kept: Path) -> tuple[list[list[str]], tuple[str, ...]]:
    """Measure one job; return a row for each rival, and the engine's explanation of its choice."""
    job = JOBS[name]
    requests = requests_of(model, job)
    choices: list[tuple[str, ...]] = []

    def ours(engine: EngineOptions) -> float:
        with common.open_engine(model, engine) as backend:
            seconds = common.engine_seconds(backend, requests)
            if engine.cache is not None:
                choices.append(backend.stats().choices)
        return seconds

    def peer() -> float:
        with common.run_llama_server(
            options.llama_cpp, model, *common.slot_arguments(job.requests, job.prompt + job.out)
        ) as port:
            return common.server_seconds(port, requests, job.requests)

    fixed = {} if options.peer_only else FIXED
    peers = [] if options.fixed_only else [peer]
    first = {name: ours(engine) for name, engine in fixed.items()}
    close = {name: fixed[name] for name, seconds in first.items() if seconds <= NEAR * min(first.values())}
    automatic, *others = common.interleave(
        options.runs,
        lambda: ours(EngineOptions(cache=kept)),
        *(lambda engine=engine: ours(engine) for engine in close.values()),
        *peers,
        warm=False,
    )
    best = min(others[: len(close)], key=statistics.median, default=None)
    others = [
        *others[: len(close)],
        *([first[name]] * options.runs for name in fixed if name not in close),
        *others[len(close) :],
    ]
    fixed = {**close, **fixed}
    rows = []
    for rival, taken in zip([*fixed, "llama-server"], others, strict=False):
        label = f"{rival} (the best)" if taken is best else rival
        target = f"{job.server if rival == 'llama-server' else 0.95}"
        ratio = f"{common.median_ratio(taken, automatic):.2f}"
        rows.append([name, label, common.median_range(automatic), common.median_range(taken), ratio, target])
    return rows, choices[-1]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--job", action="append", choices=JOBS, help="only this job (repeatable; default: all)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--peer-only", action="store_true", help="only against llama-server")
    only.add_argument("--fixed-only", action="store_true", help="only against the engine's own fixed settings")
    options = parser.parse_args()
    if not options.llama_cpp and not options.fixed_only:
        raise SystemExit("--llama-cpp names the directory of llama-server")
    model = common.model_path(options.model)
    rows, said = [], []
    with tempfile.TemporaryDirectory() as kept:
        common.tune(model, Path(kept))
        for name in options.job or JOBS:
            more, choices = measure(name, options, model, Path(kept))
            rows += more
            said += [f"{name}: {choice}" for choice in choices]
    peers = common.versions(None if options.fixed_only else options.llama_cpp)
    common.print_table(rows, ["job", f"against ({peers})", "llmcli, s", "the other, s", "ratio", "at least"])
    if said:
        print("", *said, sep="\n")


if __name__ == "__main__":
    main()
