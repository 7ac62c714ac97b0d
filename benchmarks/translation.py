"""A file of 500 short messages (gettext) translated as one job, against the same requests one after another.

Figures: seconds of the job; seconds of its requests one after another, each in its own job; and seconds of the same
requests submitted all at once, the engine's best. With ``--llama-cpp``, llama-server also answers them one after
another, with its prompt cache and without it (it then evaluates the instruction again for each message). Models are
loaded before the measurement. Answers end after 12 tokens, the user's own limit, so that every model has the same
amount to write.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import common

from llmcli.backends.base import Backend, Job, run_requests
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.translate import PROMPT, translate
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator
from llmcli.types import BackendInfo, BackendStats, Request

COUNT = 500
ANSWER_TOKENS = 12


class Recording:
    """A backend that records the requests it gets."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.requests: list[Request] = []

    def info(self) -> BackendInfo:
        """As the inner backend."""
        return self.inner.info()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """As the inner backend."""
        return self.inner.count(requests)

    def open(self) -> Job:
        """Open a job whose requests are recorded."""
        job = self.inner.open()
        submit = job.submit

        def noting(request: Request) -> None:
            self.requests.append(request)
            submit(request)

        job.submit = noting  # type: ignore[method-assign]  # it records the requests
        return job

    def stats(self) -> BackendStats:
        """As the inner backend."""
        return self.inner.stats()

    def close(self) -> None:
        """Leave the inner backend open."""


def messages(count: int) -> str:
    """Return a PO file with this many short messages."""
    texts = [" ".join(common.words(3 + number % 8, number)).capitalize() for number in range(count)]
    return "\n".join(f'msgid "{number}: {text}"\nmsgstr ""\n' for number, text in enumerate(texts))


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--count", type=int, default=COUNT, help=f"messages (default: {COUNT})")
    options = parser.parse_args()
    model = common.model_path(options.model)
    document = Document("messages.po", messages(options.count))
    prompt = PromptLibrary(Path("none")).get(PROMPT)
    with common.open_engine(model, EngineOptions()) as backend:
        recording = Recording(backend)
        by = Translator(recording, prompt, GenerationOptions(max_tokens=ANSWER_TOKENS), parse_language("fr"))

        def task() -> None:
            recording.requests.clear()
            deque(translate([TranslationSpec(document, by, parse_language("en"))]), maxlen=0)

        def serial() -> None:
            for request in recording.requests:
                deque(run_requests(backend, [request]), maxlen=0)

        def at_once() -> None:
            renamed = [dataclasses.replace(r, id=str(n)) for n, r in enumerate(recording.requests)]
            deque(run_requests(backend, renamed), maxlen=0)

        def timed(work: Callable[[], None]) -> Callable[[], float]:
            def measured() -> float:
                started = time.perf_counter()
                work()
                return time.perf_counter() - started

            return measured

        def peer(*, cached: bool) -> Callable[[], float]:
            def measured() -> float:
                bodies = [{**common.chat_body(r), "cache_prompt": cached} for r in recording.requests]
                longest = max(backend.count(recording.requests)[0])
                with common.run_llama_server(
                    options.llama_cpp, model, *common.slot_arguments(1, longest + ANSWER_TOKENS)
                ) as port:
                    started = time.perf_counter()
                    common.post_all(port, bodies, 1)
                    return time.perf_counter() - started

            return measured

        peers = [peer(cached=True), peer(cached=False)] if options.llama_cpp else []
        ours, serially, best, *served = common.interleave(
            options.runs, timed(task), timed(serial), timed(at_once), *peers, warm=False
        )
    rows = [
        [f"{options.count} messages, s", common.median_range(ours), common.median_range(serially), f"{common.median_ratio(serially, ours):.2f}",
         "at least 5"],
        ["the same, s", common.median_range(ours), common.median_range(best), f"{common.median_ratio(best, ours):.2f}", "at least 0.9"],
    ]  # fmt: skip
    for label, seconds in zip(("one after another", "the same, no prompt cache"), served, strict=False):
        name = f"{label}: llama-server ({common.versions(options.llama_cpp)})"
        rows.append(
            [
                name,
                common.median_range(ours),
                common.median_range(seconds),
                f"{common.median_ratio(seconds, ours):.2f}",
                "at least 5",
            ]
        )
    common.print_table(rows, ["", "llm translate", "one after another; all at once", "ratio", "aim"])


if __name__ == "__main__":
    main()
