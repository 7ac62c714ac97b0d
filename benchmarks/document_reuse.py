"""Counts the tokens that a second question, and a second check, evaluate of documents that a warm engine has seen.

The document is this repository's guides, cut to five times the context, so that `llm ask` ranks passages of it. The
checks are of two texts against the same source. "passages" are the evaluated tokens of ranked or checked passages: what
a request evaluates beyond its question or claim and the template. "seen" are those of passages that an earlier row has
evaluated; the others are new to the engine. The engine keeps documents, as in a worker.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import common

from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.engine.engine import Engine
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.ask import ask
from llmcli.tasks.check import check
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Finished, Request, TaskEvent

DOCS = Path(__file__).parents[1] / "docs"
QUESTIONS = ("How long does a worker keep the model in memory?", "How can a saved chat be deleted with its messages?")
ANSWERS = (
    (
        "The worker keeps the model loaded for later commands. The worker ends after five minutes without work. A worker holds "
        "one model file. SIGTERM gives running answers ten seconds to finish."
    ),
    (
        "Commands that run at the same time share the batches of the worker. Queued requests are lost when the worker is "
        "stopped. Requests of ask and chat take priority over bulk requests. A replaced file gets its own worker."
    ),
)
CHARACTERS_PER_TOKEN = 4


class RecordingSink:
    """Forwards the events of a request, and keeps its usage."""

    def __init__(self, sink: Any, request: Request, finished: list[tuple[Request, Finished]]) -> None:
        self._sink, self._request, self._finished = sink, request, finished

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    def emit(self, event: Any) -> None:
        """Forward an event."""
        if isinstance(event, Finished):
            self._finished.append((self._request, event))
        self._sink.emit(event)


class RecordingEngine(Engine):
    """An engine that keeps the requests and their ends in ``finished``."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.finished: list[tuple[Request, Finished]] = []
        self.seen: set[str] = set()
        super().__init__(*given, **named)

    def submit(self, request: Request, sink: Any) -> None:
        """Queue a request."""
        super().submit(request, RecordingSink(sink, request, self.finished))


def document_of(request: Request) -> str:
    """Return the part of a request that later ones may begin with."""
    return request.messages[-1].content[: request.document_chars]


def evaluated_document_tokens(engine: RecordingEngine, request: Request, finished: Finished) -> int:
    """Return how many tokens of the document of a scoring request were evaluated."""
    if not (request.candidates and request.document_chars):
        return 0
    last = request.messages[-1]
    contents = last.content, last.content[: request.document_chars], ""
    variants = [replace(request, messages=(replace(last, content=content),), candidates=()) for content in contents]
    (whole, document, template), _ = engine.count(variants)
    evaluated = finished.usage.prompt_tokens - finished.usage.cached_tokens
    return max(0, evaluated - (whole - document) - template)


def measure(engine: RecordingEngine, label: str, events: Iterator[TaskEvent]) -> list[str]:
    """Return a row of the table."""
    engine.finished.clear()
    started = time.perf_counter()
    for _ in events:
        pass
    seconds = time.perf_counter() - started
    usages = [end.usage for _, end in engine.finished]
    prompt, cached = sum(each.prompt_tokens for each in usages), sum(each.cached_tokens for each in usages)
    passages = seen = 0
    for request, end in engine.finished:
        count = evaluated_document_tokens(engine, request, end)
        passages += count
        seen += count if document_of(request) in engine.seen else 0
    engine.seen |= {document_of(request) for request, _ in engine.finished}
    return [label, *map(str, (len(usages), prompt - cached, cached, passages, seen)), f"{seconds:.1f}"]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--ctx", type=int, default=1024, help="tokens of context (default: 1024)")
    options = parser.parse_args()
    model, prompts = common.model_path(options.model), PromptLibrary(Path("none"))
    text = "\n\n".join(path.read_text("utf-8") for path in sorted(DOCS.glob("*.md")) if path.stem in {"chat", "worker"})
    document = Document("docs.md", text[: 5 * options.ctx * CHARACTERS_PER_TOKEN])
    source = Document("worker.md", (DOCS / "worker.md").read_text("utf-8"))
    generation = GenerationOptions(temperature=0, max_tokens=16)
    rows = []
    with tempfile.TemporaryDirectory() as kept:
        given = EngineOptions(ctx=options.ctx, cache=Path(kept), prefix_bytes=512 << 20)
        engine = RecordingEngine(Path(model), "m", common.model_id(model), given, lambda: None, keeps_documents=True)
        try:
            for number, question in enumerate(QUESTIONS, 1):
                rows.append(
                    measure(engine, f"question {number}", ask(engine, prompts, question, [document], generation))
                )
            for number, answer in enumerate(ANSWERS, 1):
                said = Document(f"answer{number}.md", answer)
                rows.append(measure(engine, f"check {number}", check(engine, prompts, said, [source], generation)))
        finally:
            engine.close()
    common.print_table(rows, ["", "requests", "evaluated", "reused", "passages", "seen", "s"])


if __name__ == "__main__":
    main()
