"""Sentiment of short records: `llm sentiment`'s task against llama-server answering one word with its prompt cache.

Figure: records per second. Both sides get the messages of the prompt file `sentiment`, so that everything but the
record is shared; llama-server has 16 slots and 16 clients. Every run has its own engine or server, which loads the
model before the measurement. The engine keeps its measurements of the machine in a directory of this benchmark.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import common

from llmcli.config.engine_options import EngineOptions
from llmcli.documents.records.record import Record
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.record_runner import run_records
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.sentiment import PROMPT, sentiment_spec
from llmcli.types import Request, Result

CLIENTS = 16
ANSWER = 3  # tokens: enough for one word
OPINIONS = ("I really love", "Nobody should buy", "They delivered", "We were disappointed by", "My sister enjoyed")
REASONS = ("it broke at once", "it works well", "it came on time", "it was overpriced", "the colours are lovely")


def records_of(count: int) -> list[Record]:
    """Return short records, all different, the same ones every time."""
    texts = []
    for number in range(count):
        opinion, reason = OPINIONS[number % len(OPINIONS)], REASONS[number // len(OPINIONS) % len(REASONS)]
        texts.append(f"{opinion} the {' '.join(common.words(3, number))} number {number}, {reason}.")
    return [Record(number, text, number + 1) for number, text in enumerate(texts)]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--count", type=int, default=1000, help="records (default: 1000)")
    options = parser.parse_args()
    if not options.llama_cpp:
        raise SystemExit("--llama-cpp names the directory of llama-server")
    model = common.model_path(options.model)
    records = records_of(options.count)
    with tempfile.TemporaryDirectory() as kept:
        common.tune(model, Path(kept))
        engine = EngineOptions(cache=Path(kept))
        prompts = PromptLibrary(Path(kept))  # only the built-in files, none of the user's
        prompt = prompts.get(PROMPT)
        requests = [Request(r.text, prompt.render({"text": r.text}), max_tokens=ANSWER) for r in records]
        bodies = [common.chat_body(request) for request in requests]
        with common.open_engine(model, engine) as backend:
            longest = max(backend.count(requests)[0])

        def ours() -> float:
            with common.open_engine(model, engine) as backend:
                started = time.perf_counter()
                spec = sentiment_spec(prompts)
                task = spec.make_task(spec.make_scorer(backend, GenerationOptions()))
                events = list(run_records(backend, records, task))
                seconds = time.perf_counter() - started
            done = sum(isinstance(event, Result) for event in events)
            if done != len(records):
                raise SystemExit(f"{done} of {len(records)} records were labelled")
            return done / seconds

        def peer() -> float:
            with common.run_llama_server(
                options.llama_cpp, model, *common.slot_arguments(CLIENTS, longest + ANSWER)
            ) as port:
                started = time.perf_counter()
                common.post_all(port, bodies, CLIENTS)
                return len(records) / (time.perf_counter() - started)

        rates, served = common.interleave(options.runs, ours, peer, warm=False)
    ratio = f"{common.median_ratio(rates, served):.2f}"
    row = [f"{options.count} records", common.median_range(rates, 1), common.median_range(served, 1), ratio, "2.2"]
    peers = common.versions(options.llama_cpp)
    common.print_table(
        [row], ["records per second", "llmcli", f"llama-server -np {CLIENTS} ({peers})", "ratio", "at least"]
    )


if __name__ == "__main__":
    main()
