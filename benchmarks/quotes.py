"""Quotes that a model chooses from real documents under a grammar: how many do not stand in their passage.

The documents are the descriptions of the installed Python packages, as in `check_quality.py`. For each quote a passage
and a statement (a sentence of another passage, so that the model is tempted to write what does not stand there) are
drawn.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import common
from check_quality import load_documents

from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.errors import LlmError
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.ask.reference_quotes import quotable_passage
from llmcli.tasks.quotes.quotable_text import PassageSpan, Quote
from llmcli.tasks.quotes.quote_generation import GeneratedQuote, generate_quote
from llmcli.tasks.retrieval.passage_cutter import cut_document
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.tasks.summarize.cited_summary import QUOTE_PROMPT
from llmcli.types import Request, Result

_STATEMENT_WORDS = 60

_PROGRESS_STEP = 50


def resident() -> int:
    """Return the resident memory of this process in MiB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) >> 10


def is_foreign(quote: Quote | None, passage: PassageSpan) -> bool:
    """Whether there is a quote that does not stand in its passage."""
    return quote is not None and quote.text not in passage.text


def main() -> None:
    """Quote and count."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--count", type=int, default=1000, help="quotes")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--chars", type=int, default=360, help="characters of a passage, at most (default: 360)")
    parser.add_argument("--tokens", type=int, help="tokens of a quote, at most (default: those of the commands)")
    parser.add_argument("--threads", type=int, help="one thread is faster than two on a busy machine")
    options = parser.parse_args()
    documents = [Document(name, text) for name, text in load_documents(0).items() if len(text) > 1000]
    passages = [quotable_passage(each) for document in documents for each in cut_document(document, options.chars)]
    choice = random.Random(1)  # noqa: S311 (the same passages each time)
    generation = GenerationOptions(temperature=options.temperature, seed=1)
    with tempfile.TemporaryDirectory() as kept:
        prompt = PromptLibrary(Path(kept)).get(QUOTE_PROMPT)
        quotes = []
        for number in range(options.count):
            passage, other = choice.sample(passages, 2)
            statement = " ".join(other.text.split(". ")[0].split()[:_STATEMENT_WORDS])
            values = {"text": passage.text, "statement": statement, "none": True}
            request = make_request(str(number), prompt.render(values), prompt, generation, max_tokens=options.tokens)
            quotes.append((passage, request))
        started = time.perf_counter()
        engine_options = EngineOptions(cache=Path(kept), threads=options.threads)
        with common.open_engine(common.model_path(options.model), engine_options) as backend:
            done: list[tuple[PassageSpan, GeneratedQuote | None]] = []

            async def quote(
                run: TaskRun, asked: tuple[PassageSpan, Request]
            ) -> tuple[PassageSpan, GeneratedQuote | None]:
                try:
                    return asked[0], await generate_quote(run, *asked, generation)
                except LlmError:
                    return asked[0], None

            async def task(run: TaskRun) -> Result:
                async for found in run.each(quotes, lambda asked: quote(run, asked)):
                    done.append(found)
                    if len(done) % _PROGRESS_STEP == 0:
                        spent = f"{time.perf_counter() - started:.0f} s, {time.process_time():.0f} s of CPU"
                        print(f"{len(done)}/{options.count}, {wrong(done)}, {spent}, {resident()} MiB", flush=True)
                return run.result(None)

            for _ in run_task(backend, task):
                pass
    made = [each for _, each in done if each is not None]
    found, declined = [each for each in made if each.quote is not None], sum(each.declined for each in made)
    free = sum(not each.is_constrained for each in made)
    print(f"{len(found)} quotes, {declined} NONE, {len(done) - len(made)} failed, {free} not by the grammar alone")
    print(f"{wrong(done)}; {time.perf_counter() - started:.0f} s")


def wrong(done: Sequence[tuple[PassageSpan, GeneratedQuote | None]]) -> str:
    """Return how many quotes do not stand in their passages."""
    number = sum(each is not None and is_foreign(each.quote, passage) for passage, each in done)
    return f"not in their passage: {number}"


if __name__ == "__main__":
    main()
