"""A written summary of a long text against the same calls one after another, and a second question about the same text.

The text is the documentation of this project, repeated up to ``--words``. The summary runs as `llm summarize --style
paragraph` does, all parts in one job. Then its requests run again, each in a job of its own, with a number before the text,
so that no prefix is found in the cache; of many parts, ``--sample`` stand for all. The goal is a ratio of at least 4. CPU
seconds of this process are printed too: other processes change them less than the time. The two parts of the work are
timed apart as well: the prompts alone (no token is generated), which batches make only a little faster, and the rest.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import common
from key_sentences import long_text

from llmcli.backends.base import Backend, run_requests
from llmcli.backends.local import EngineOptions, open_local_backend
from llmcli.documents.reading.document import Document
from llmcli.interrupt import Interrupt
from llmcli.prompts import PromptLibrary
from llmcli.tasks.ask import ask
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.summarization.summary_options import SummaryOptions
from llmcli.tasks.summarize import summarize
from llmcli.types import Event, Finished, ItemFailed, Message, Progress, Request, Result, TaskEvent

PROMPTS = PromptLibrary(Path("none"))


class Recorder:
    """A backend, or a job of it, that notes the requests that it gets in ``requests``."""

    def __init__(self, inner: Any, requests: list[Request]) -> None:
        self._inner = inner
        self.requests = requests

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __enter__(self) -> Self:
        self._inner = self._inner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._inner.__exit__(*error)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._inner)

    def open(self) -> Recorder:
        """Open a job whose requests are noted."""
        return Recorder(self._inner.open(), self.requests)

    def submit(self, request: Request) -> None:
        """Note a request and submit it."""
        self.requests.append(request)
        self._inner.submit(request)


def the_result(events: Sequence[TaskEvent]) -> Result:
    """Return the only result. Raises its failure."""
    (end,) = [event for event in events if isinstance(event, Result | ItemFailed)]
    if isinstance(end, ItemFailed):
        raise end.error
    return end


def run_alone(backend: Backend, requests: Sequence[Request]) -> tuple[float, float]:
    """Return the seconds and CPU seconds of requests, one after another; print a line for each."""
    wall, cpu = time.perf_counter(), time.process_time()
    for number, request in enumerate(requests):
        changed = replace(request, id=f"alone{number}", messages=_with_number(request, str(number)))
        for event in run_requests(backend, [changed]):
            assert not isinstance(event, Finished) or event.error is None
        print(f"alone: {number + 1}/{len(requests)}, {time.perf_counter() - wall:.0f} s", flush=True)
    return time.perf_counter() - wall, time.process_time() - cpu


def print_prefill_share(backend: Backend, calls: Sequence[Request], sample: Sequence[Request]) -> float:
    """Print how long the prompts of all calls take, from a sample that is evaluated in one job; return the CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    read = [
        replace(each, id=f"read{number}", max_tokens=1, messages=_with_number(each, f"r{number}"))
        for number, each in enumerate(sample)
    ]
    ends = [event for event in run_requests(backend, read) if isinstance(event, Finished)]
    share = len(calls) / len(sample)
    wall, cpu = share * (time.perf_counter() - wall), share * (time.process_time() - cpu)
    tokens = share * sum(end.usage.prompt_tokens for end in ends)
    print(f"prompts alone: {tokens:,.0f} tokens, {wall:.1f} s, {cpu:.1f} CPU s (from {len(sample)} calls)", flush=True)
    return cpu


def _with_number(request: Request, number: str) -> tuple[Message, ...]:
    """Return the messages with a number before the text, so that no prefix is found in the cache."""
    first, *more = request.messages
    return (replace(first, content=f"{number} {first.content}"), *more)


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--words", type=int, default=60_000, help="a page has about 300 (default: 200 pages)")
    parser.add_argument("--threads", type=int, help="1 makes CPU seconds comparable on a busy machine")
    parser.add_argument("--sample", type=int, default=12, help="parts that run one after another")
    options = parser.parse_args()
    backend = open_local_backend(
        Path(common.model_path(options.model)),
        name="m",
        model_id="m",
        options=EngineOptions(threads=options.threads),
        interrupt=Interrupt(),
    )
    recorder: Any = Recorder(backend, [])
    document = Document("text", long_text(options.words))
    wall, cpu = time.perf_counter(), time.process_time()
    wanted = SummaryOptions(style="paragraph")
    events: list[TaskEvent] = []
    for event in summarize(recorder, PROMPTS, [document], GenerationOptions(), wanted):
        events.append(event)
        if isinstance(event, Progress) and event.unit == "parts":
            print(f"together: {event.done}/{event.total}, {time.perf_counter() - wall:.0f} s", flush=True)
    result = the_result(events)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    calls = recorder.requests
    print(
        f"summary: {len(calls)} calls, {result.usage}, {wall:.1f} s, {cpu:.1f} CPU s, coverage {result.fields['coverage']}"
    )
    step = max(1, len(calls) // options.sample)
    sample = calls[::step]
    reading = print_prefill_share(backend, calls, sample)
    alone_wall, alone_cpu = (each * len(calls) / len(sample) for each in run_alone(backend, sample))
    print(f"one after another: {alone_wall:.1f} s, {alone_cpu:.1f} CPU s (from {len(sample)} calls)")
    print(f"ratio {alone_wall / wall:.2f} (CPU {alone_cpu / cpu:.2f}; goal: at least 4)")
    print(f"the ratio could be {alone_cpu / reading:.2f} at most, if generating took no time in one job")
    short = [Document("text", long_text(2000))]
    for question in ("What does it say about workers?", "Which files hold keys?"):
        usage = the_result(list(ask(backend, PROMPTS, question, short, GenerationOptions(max_tokens=16)))).usage
        print(f"{question} {usage.prompt_tokens} prompt tokens, {usage.cached_tokens} from the cache")
    backend.close()


if __name__ == "__main__":
    main()
