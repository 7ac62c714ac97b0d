"""Many small requests of mixed length as one job, against llama-server with 16 slots and 16 clients.

Figure: generated tokens per second. Prompts are distinct texts of 20 to 400 words (about as many tokens, plus the chat
template's), each answered with 64 tokens. Every run has its own engine or server, which loads the model before the
measurement. The engine keeps its measurements of the machine in a directory of this benchmark.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import common

from llmcli.config.engine_options import EngineOptions
from llmcli.types import Request

SHORTEST, LONGEST = 20, 400
ANSWER_TOKENS = 64
CLIENTS = 16
STRIDE = 137
"""Step from one length to the next within the range, so that lengths are mixed and any number of requests covers the
range."""


def requests_of(count: int) -> list[Request]:
    """Return requests of mixed length, the same ones every time."""
    sizes = [SHORTEST + number * STRIDE % (LONGEST - SHORTEST + 1) for number in range(count)]
    return [
        common.greedy_request(str(number), " ".join(common.words(size, number)), ANSWER_TOKENS)
        for number, size in enumerate(sizes)
    ]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--count", type=int, default=200, help="requests (default: 200)")
    options = parser.parse_args()
    if not options.llama_cpp:
        raise SystemExit("--llama-cpp names the directory of llama-server")
    model = common.model_path(options.model)
    requests = requests_of(options.count)
    tokens = options.count * ANSWER_TOKENS

    def peer() -> float:
        with common.run_llama_server(
            options.llama_cpp, model, *common.slot_arguments(CLIENTS, longest + ANSWER_TOKENS)
        ) as port:
            return tokens / common.server_seconds(port, requests, CLIENTS)

    with tempfile.TemporaryDirectory() as kept:
        common.tune(model, Path(kept))
        engine = EngineOptions(cache=Path(kept))
        with common.open_engine(model, engine) as backend:
            longest = max(backend.count(requests)[0])

        def ours() -> float:
            with common.open_engine(model, engine) as backend:
                return tokens / common.engine_seconds(backend, requests)

        rates, served = common.interleave(options.runs, ours, peer, warm=False)
    ratio = f"{common.median_ratio(rates, served):.2f}"
    row = [f"{options.count} requests", common.median_range(rates, 0), common.median_range(served, 0), ratio, "1.3"]
    peers = common.versions(options.llama_cpp)
    common.print_table(
        [row], ["tokens per second", "llmcli", f"llama-server -np {CLIENTS} ({peers})", "ratio", "at least"]
    )


if __name__ == "__main__":
    main()
