"""Key sentences of a long text against the time of reading it: the prefill of the same text on the same engine.

The text is the documentation of this project, repeated up to ``--words``. Reading evaluates it in pieces of
``PIECE_CHARS`` characters, all in one job, and generates nothing. The two alternate; the ratio is that of the medians.
The goal is a ratio of at most 1.1.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import common

from llmcli.backends.base import Backend, run_requests
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.interrupt import Interrupt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.runtime.backend_factory import open_local_backend
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.summarize import summarize
from llmcli.tasks.summarize.summary_options import KEY_SENTENCES, SummaryOptions
from llmcli.types import Finished, ItemFailed, Request, Result

PIECE_CHARS = 6000
"""About 1,500 tokens: long enough to fill batches, short enough for any context."""


def long_text(words: int) -> str:
    """Return the documentation, repeated and cut to about ``words`` words; each copy is different at its beginning."""
    docs = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
    text = "\n\n".join(path.read_text(encoding="utf-8") for path in docs)
    count = len(text.split())
    copies = "".join(f"Copy {number}.\n\n{text}\n\n" for number in range(-(-words // count)))
    return copies[: round(len(text) * words / count)]


def read(backend: Backend, text: str, salt: int) -> tuple[float, int]:
    """Return the seconds of the prefill of a text, and its tokens.

    ``salt`` makes every piece new to the prefix cache.
    """
    pieces = [f"{salt} {at} {text[at : at + PIECE_CHARS]}" for at in range(0, len(text), PIECE_CHARS)]
    requests = [Request(str(number), (), prompt=piece, max_tokens=1) for number, piece in enumerate(pieces)]
    start = time.perf_counter()
    ends = [event for event in run_requests(backend, requests) if isinstance(event, Finished)]
    assert all(end.error is None for end in ends)
    return time.perf_counter() - start, sum(end.usage.prompt_tokens for end in ends)


def choose(backend: Backend, text: str, salt: int) -> tuple[float, int]:
    """Return the seconds that key sentences take, and the tokens of the sentences."""
    document = Document("text", f"{salt} {text}")
    wanted = SummaryOptions(style=KEY_SENTENCES)
    start = time.perf_counter()
    events = list(summarize(backend, PromptLibrary(Path("none")), [document], GenerationOptions(), wanted))
    spent = time.perf_counter() - start
    (result,) = [event for event in events if isinstance(event, Result | ItemFailed)]
    if isinstance(result, ItemFailed):
        raise result.error
    return spent, result.usage.prompt_tokens


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--words", type=int, default=60_000, help="a page has about 300")
    options = parser.parse_args()
    text = long_text(options.words)
    backend = open_local_backend(
        Path(common.model_path(options.model)),
        name="m",
        model_id="m",
        options=EngineOptions(),
        interrupt=Interrupt(),
    )
    backend.info()
    times: dict[str, list[float]] = {"reading": [], "key sentences": []}
    for run in range(options.runs):
        for name, measure in (("reading", read), ("key sentences", choose)):
            seconds, tokens = measure(backend, text, run)
            times[name].append(seconds)
            print(f"{name}: {seconds:.1f} s, {tokens:,} tokens", flush=True)
    backend.close()
    ratio = statistics.median(times["key sentences"]) / statistics.median(times["reading"])
    print(f"ratio {ratio:.2f} ({options.words:,} words; goal: at most 1.1)")


if __name__ == "__main__":
    main()
