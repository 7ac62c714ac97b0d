"""A model of the size that people use against llama.cpp's own programs on the same file: prompts, answers, labels, jobs.

The model is made with random weights (``--size``; see ``random_model.py``), or given (``--model``). ``llm models tune``
measures it first, in a cache of its own, so that ``--set weights=auto`` chooses what pays. Figures, all of one run and
alternately: tokens a second of prompts, of one answer behind 512 tokens, and of prompt and answer together, against `llama-bench`; of 16 answers at once
against `llama-batched-bench`; seconds of whole jobs (labels; translations, 16 at once; the calls of a long summary)
against llama-server with 16 clients; and of whole commands against llama-completion. ``--weights`` limits all rows of
llm to one type.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import derived_weights as weights
import random_model
import scoring

from llmcli.app_paths import tuning_file
from llmcli.backends.base import run_requests
from llmcli.config.engine_options import EngineOptions
from llmcli.types import Finished, Request

ROWS = (
    "tune",
    "prompt",
    "long-prompt",
    "decode",
    "request",
    "answers",
    "labels",
    "translation",
    "summary",
    "ask",
    "warm-ask",
)
RECORDS, PARAGRAPHS, SECTIONS, ANSWERS = 60, 16, 4, 16
LONG_PROMPT_TOKENS = 4096
_REQUEST = ("-p", "0", "-n", "0", "-pg", f"{weights.PROMPT_TOKENS},64")
"""`llama-bench` of a prompt and its answer."""
TUNE_LIMIT_S = 120
TRANSLATE = (
    "Translate the text into French. Keep names, numbers, placeholders and Markdown as they are. "
    "Answer with the translation alone, without quotation marks and without an explanation. "
    "Keep the tone of the text, and the person in which it addresses its reader.\n\n"
)
SUMMARIZE = "Summarize this section in at most 80 words, without an introduction.\n\n"


class Measurement:
    """The sides of each row: llm with one cache and one type of weights, and llama.cpp's programs."""

    def __init__(self, options: Any, model: str, cache: Path) -> None:
        self._options, self._model, self._cache = options, model, cache
        self._llm, self._bin = options.llm, options.llama_cpp
        self._seed = 0
        os.environ.update(LLMCLI_CACHE_DIR=str(cache), LLMCLI_WEIGHTS=options.weights)

    def row(self, name: str) -> list[str]:
        """Return a row of the table."""
        measure: Callable[[], list[str]] = getattr(self, "_" + name.replace("-", "_"))
        return measure()

    def _rates(self, label: str, ours: Callable[[], float], theirs: Callable[[], float], aim: float) -> list[str]:
        own, other = common.interleave(self._options.runs, ours, theirs, warm=False)
        ratio = common.median_ratio(own, other)
        return [
            f"{label}, tokens/s",
            common.median_range(own, 1),
            common.median_range(other, 1),
            f"{ratio:.2f}",
            f"{aim}",
        ]

    def _seconds(self, label: str, ours: Callable[[], float], theirs: Callable[[], float], aim: float) -> list[str]:
        own, other = common.interleave(self._options.runs, ours, theirs, warm=False)
        ratio = common.median_ratio(other, own)
        return [f"{label}, s", common.median_range(own, 1), common.median_range(other, 1), f"{ratio:.2f}", f"{aim}"]

    def _bench(self, *arguments: str) -> float:
        return max(self._bench_with(flash, *arguments) for flash in ("0", "1"))

    def _bench_with(self, flash: str, *arguments: str) -> float:
        """Return the tokens a second of `llama-bench` with or without flash attention ("1", "0")."""
        command = [str(self._bin / "llama-bench"), "-m", self._model, "-t", str(os.cpu_count()), "-r", "1"]
        (row,) = json.loads(common.run([*command, "-fa", flash, "-o", "json", *arguments]).output)
        return float(row["avg_ts"])

    def _words(self, count: int) -> str:
        self._seed += 1
        return " ".join(common.words(count, self._seed))

    def _type_for(self, work: str) -> str:
        """Return the type of weights that was measured to be best for a kind of work, or the given one."""
        measured = tuning_file(self._cache, common.model_id(self._model), None)
        if self._options.weights != "auto" or not measured.exists():
            return "original" if self._options.weights == "auto" else str(self._options.weights)
        return str(json.loads(measured.read_bytes())["choices"][work])

    def _engine_ends(self, requests: list[Request], work: str, tokens: int = 0) -> list[Finished]:
        """Run requests in a new engine; the first one, if ``tokens``, has a prompt of that length."""
        settings = EngineOptions(cache=self._cache, weights=self._type_for(work))
        with common.open_engine(self._model, settings) as backend:
            if tokens:
                text = common.truncate_to_tokens(backend, self._words(tokens).split(), tokens)
                requests = [common.greedy_request("p", " ".join(text), requests[0].max_tokens or 1)]
            return [event for event in run_requests(backend, requests) if isinstance(event, Finished)]

    def _tune(self) -> list[str]:
        seconds = common.run([self._llm, "models", "tune", self._model]).seconds
        return ["`llm models tune`, s", f"{seconds:.0f}", f"at most {TUNE_LIMIT_S}", "", ""]

    def _prompt(self, tokens: int = weights.PROMPT_TOKENS) -> list[str]:
        def ours() -> float:
            (end,) = self._engine_ends([common.greedy_request("", "", 1)], "long prompts", tokens)
            return end.usage.prompt_tokens / (end.timings.first_token_s or end.timings.total_s)

        return self._rates(f"prompt of {tokens}", ours, lambda: self._bench("-p", str(tokens), "-n", "0"), 1.5)

    def _long_prompt(self) -> list[str]:
        return self._prompt(LONG_PROMPT_TOKENS)

    def _decode(self) -> list[str]:
        """Both sides with the attention kernel that is faster for prompt and answer together, since both share it."""

        def ours() -> float:
            (end,) = self._engine_ends([common.greedy_request("", "", 64)], "short answers", weights.PROMPT_TOKENS)
            return (end.usage.completion_tokens - 1) / (end.timings.total_s - (end.timings.first_token_s or 0))

        rates = {flash: self._bench_with(flash, *_REQUEST) for flash in ("0", "1")}
        best = max(rates, key=lambda flash: rates[flash])
        arguments = ("-p", "0", "-n", "64", "-d", str(weights.PROMPT_TOKENS))
        return self._rates("one answer behind 512", ours, lambda: self._bench_with(best, *arguments), 1.0)

    def _request(self) -> list[str]:
        def ours() -> float:
            (end,) = self._engine_ends([common.greedy_request("", "", 64)], "short answers", weights.PROMPT_TOKENS)
            return (end.usage.prompt_tokens + end.usage.completion_tokens) / end.timings.total_s

        return self._rates("prompt of 512 and answer of 64", ours, lambda: self._bench(*_REQUEST), 1.0)

    def _answers(self) -> list[str]:
        def ours() -> float:
            requests = [common.greedy_request(str(n), self._words(100), 32) for n in range(ANSWERS)]
            ends = self._engine_ends(requests, "16 at once")
            first = max(end.timings.first_token_s or 0 for end in ends)
            return sum(end.usage.completion_tokens - 1 for end in ends) / (
                max(end.timings.total_s for end in ends) - first
            )

        def theirs() -> float:
            arguments = ["-c", "4096", "-npp", "128", "-ntg", "32", "-npl", str(ANSWERS), "-t", str(os.cpu_count())]
            command = [str(self._bin / "llama-batched-bench"), "-m", self._model, *arguments]
            return weights.batched_rate(common.run(command).output)

        return self._rates(f"{ANSWERS} answers at once", ours, theirs, 1.0)

    def _labels(self) -> list[str]:
        texts = [record.text for record in scoring.records_of(RECORDS)]
        records = self._cache / "records.txt"
        records.write_text("\n".join(texts) + "\n", encoding="utf-8")
        command = [self._llm, "sentiment", "-m", self._model, "--set", "worker=off", str(records)]
        asked = [
            common.greedy_request(str(n), weights.INSTRUCTION + text, weights.ANSWER_TOKENS)
            for n, text in enumerate(texts)
        ]
        return self._seconds(
            f"`llm sentiment`, {RECORDS} records", lambda: weights.seconds_of(command), lambda: self._served(asked), 1.5
        )

    def _served(self, requests: list[Request], tokens: int = 640) -> float:
        """Return the seconds from the start of llama-server to its last answer."""
        started = time.perf_counter()
        arguments = common.slot_arguments(min(len(requests), weights.CLIENTS), tokens)
        with common.run_llama_server(self._bin, self._model, *arguments) as port:
            common.server_seconds(port, requests, weights.CLIENTS)
            return time.perf_counter() - started

    def _job(self, label: str, requests: list[Request], tokens: int) -> list[str]:
        def ours() -> float:
            started = time.perf_counter()
            self._engine_ends(requests, "16 at once")
            return time.perf_counter() - started

        return self._seconds(label, ours, lambda: self._served(requests, tokens), 1.2)

    def _translation(self) -> list[str]:
        requests = [
            common.greedy_request(str(n), TRANSLATE + self._words(60), 60 + n % 5 * 4) for n in range(PARAGRAPHS)
        ]
        return self._job(f"translation of {PARAGRAPHS} paragraphs", requests, 320)

    def _summary(self) -> list[str]:
        requests = [common.greedy_request(str(n), SUMMARIZE + self._words(700), 100) for n in range(SECTIONS)]
        return self._job(f"calls of a summary, {SECTIONS} sections of 700", requests, 1024)

    def _ask(self) -> list[str]:
        return self._asks(
            "`llm ask`, alone and cold, 32 tokens",
            (
                "--set",
                "worker=off",
            ),
        )

    def _warm_ask(self) -> list[str]:
        common.run([self._llm, "ask", "-m", self._model, "--max-tokens", "1", "Hello."])
        return self._asks("`llm ask`, warm, 32 tokens", ())

    def _asks(self, label: str, options: tuple[str, ...]) -> list[str]:
        question, common_options = "Write a story about the sea.", ("--temperature", "0")
        ask = [self._llm, "ask", "-m", self._model, "--max-tokens", "32", *common_options, *options, question]
        peer = [str(self._bin / "llama-completion"), "-m", self._model, "-n", "32", "--temp", "0", "-no-cnv",
                "--no-warmup", "-c", "512", "-p", question]  # fmt: skip
        return self._seconds(label, lambda: weights.seconds_of(ask), lambda: common.run(peer).seconds, 1.0)


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "", runs=3)
    parser.add_argument("--size", choices=random_model.SHAPES, default="1.7b", help="of the made model (default: 1.7b)")
    parser.add_argument("--weights", default="auto", help="a type, as of the setting (default: auto)")
    parser.add_argument("--row", action="append", choices=ROWS, help="only this row (repeatable; default: all)")
    options = parser.parse_args()
    if options.llama_cpp is None:
        sys.exit("--llama-cpp names the directory of llama.cpp's own programs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model
        if model is None:
            model = str(folder / f"{options.size}.gguf")
            random_model.write(Path(common.model_path(None)), Path(model), random_model.SHAPES[options.size])
        measurement = Measurement(options, model, folder)
        rows = []
        for each in ROWS:
            if each in (options.row or ROWS):
                rows.append(measurement.row(each))
                print(*rows[-1], sep="\t", file=sys.stderr, flush=True)  # a later row may fail
    print(f"{Path(model).name}, {common.versions(options.llama_cpp)}")
    common.print_table(rows, ["", "llm", "llama.cpp", "ratio", "at least"])


if __name__ == "__main__":
    main()
