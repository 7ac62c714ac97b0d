"""The engine with sampling and detokenizing against llama.cpp's own llama-bench: tokens per second.

Decoding of 128 tokens after an empty prompt (tg128) and evaluation of a prompt of 512 tokens (pp512), both with the
default batch sizes and threads of llama-bench; and 16 sequences at once against one.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import common

from llmcli.backends.base import run_requests
from llmcli.config.engine_options import EngineOptions
from llmcli.interrupt import Interrupt
from llmcli.runtime.backend_factory import open_local_backend
from llmcli.types import Finished, Message, Request, Role, Sampling


def request(name: str, text: str, tokens: int) -> Request:
    """Return a greedy request."""
    sampling = Sampling(temperature=0)
    return Request(name, (Message(Role.USER, text),), sampling=sampling, max_tokens=tokens)


def main() -> None:
    """Measure and print."""
    options = common.parser(__doc__ or "").parse_args()
    if not options.llama_cpp:
        raise SystemExit("--llama-cpp names the directory of llama-bench")
    model = common.model_path(options.model)
    story = "Write a long story about the sea."
    serial = iter(range(10**9))

    def ends_of(requests: list[Request]) -> list[Finished]:
        """Run requests on their own engine and return their last events."""
        backend = open_local_backend(
            Path(model), name="m", model_id="m", options=EngineOptions(), interrupt=Interrupt()
        )
        backend.info()
        ends = [event for event in run_requests(backend, requests) if isinstance(event, Finished)]
        backend.close()
        return ends

    def decode(width: int) -> float:
        """Tokens per second of ``width`` requests, from the first token to the last."""
        requests = [request(str(i), f"{next(serial)} {story}", 128) for i in range(width)]
        ends = ends_of(requests)
        first = min(end.timings.first_token_s or 0 for end in ends)
        spent = max(end.timings.total_s for end in ends) - first
        return (sum(end.usage.completion_tokens for end in ends) - width) / spent

    def prompt() -> float:
        """Tokens per second of a prompt of about 512 tokens."""
        (end,) = ends_of([request("p", f"{next(serial)}" + " word" * 480, 1)])
        return end.usage.prompt_tokens / (end.timings.first_token_s or 1)

    def bench(test: str) -> float:
        """Tokens per second by llama-bench: "-n 128" or "-p 512" alone."""
        sizes = ["-p", "0", "-n", "128"] if test == "tg" else ["-p", "512", "-n", "0"]
        command = [str(options.llama_cpp / "llama-bench"), "-m", model, *sizes, "-r", "1", "-o", "json"]
        return float(json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))[0]["avg_ts"])

    one, tg, pp, pp_bench, many = common.interleave(
        options.runs, lambda: decode(1), lambda: bench("tg"), prompt, lambda: bench("pp"), lambda: decode(16)
    )
    common.print_table(
        [
            [
                "decode, one sequence",
                common.median_range(one, 0),
                common.median_range(tg, 0),
                f"{common.median_ratio(one, tg):.2f}",
                "0.9",
            ],
            [
                "prompt of 512",
                common.median_range(pp, 0),
                common.median_range(pp_bench, 0),
                f"{common.median_ratio(pp, pp_bench):.2f}",
                "0.9",
            ],
            [
                "16 sequences / one",
                common.median_range(many, 0),
                common.median_range(one, 0),
                f"{common.median_ratio(many, one):.2f}",
                "2.2",
            ],
        ],
        ["tokens per second", "llmcli", "llama-bench (last row: llmcli, one sequence)", "ratio", "at least"],
    )


if __name__ == "__main__":
    main()
