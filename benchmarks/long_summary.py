"""A written summary of a long text against the same calls one after another, and a second question about the same text.

The text is the documentation of this project, repeated up to ``--words``. The summary runs as `llm summarize --style
paragraph` does, all parts in one job. Then its requests run again, each in a job of its own, with a number before the
text, so that no prefix is found in the cache; of many parts, ``--sample`` stand for all. The goal is a ratio of at
least 4. CPU seconds of this process are printed too: other processes change them less than the time. The two parts of
the work are timed apart as well: the prompts alone (no token is generated), which batches make only a little faster,
and the rest. With ``--llama-cpp``, llama-server with one slot answers the same sample one after another, from
``--server-model``: the file as it was downloaded, where ``--model`` is a derived copy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import common
from key_sentences import long_text

from llmcli.backends.base import Backend, run_requests
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.ask import ask
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.summarize import summarize
from llmcli.tasks.summarize.summary_options import SummaryOptions
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
    """Print how long the prompts of all calls take, from a sample that is evaluated in one job.

    Return the CPU seconds.
    """
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


def run_on_server(directory: Path, model: str, backend: Backend, requests: Sequence[Request]) -> float:
    """Return the seconds in which llama-server answers requests, one after another."""
    numbered = [replace(each, messages=_with_number(each, f"s{number}")) for number, each in enumerate(requests)]
    longest = max(backend.count(numbered)[0]) + max(each.max_tokens or 0 for each in numbered)
    bodies = [{**common.chat_body(each), "repeat_penalty": each.sampling.repeat_penalty} for each in numbered]
    with common.run_llama_server(directory, model, *common.slot_arguments(1, longest)) as port:
        wall = time.perf_counter()
        answers = common.post_all(port, bodies, 1)
        wall = time.perf_counter() - wall
    print(f"llama-server: {sum(each['usage']['completion_tokens'] for each in answers)} tokens written", flush=True)
    return wall


def _with_number(request: Request, number: str) -> tuple[Message, ...]:
    """Return the messages with a number before the text, so that no prefix is found in the cache."""
    first, *more = request.messages
    return (replace(first, content=f"{number} {first.content}"), *more)


def main() -> None:
    """Open the engine and measure."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--words", type=int, default=60_000, help="a page has about 300 (default: 200 pages)")
    parser.add_argument("--threads", type=int, help="1 makes CPU seconds comparable on a busy machine")
    parser.add_argument("--server-model", help="the file for llama-server (default: that of --model)")
    parser.add_argument("--tune", action="store_true", help="measure the settings of the KV cache first")
    parser.add_argument("--sample", type=int, default=12, help="parts that run one after another")
    options = parser.parse_args()
    model = common.model_path(options.model)
    with tempfile.TemporaryDirectory() as kept:
        if options.tune:
            common.tune(model, Path(kept))
        with common.open_engine(model, EngineOptions(threads=options.threads, cache=Path(kept))) as backend:
            measure(backend, model, options)


def measure(backend: Backend, model: str, options: argparse.Namespace) -> None:
    """Write the summary, repeat its calls one after another, and print."""
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
    if options.llama_cpp:
        server = run_on_server(options.llama_cpp, common.model_path(options.server_model or model), backend, sample)
        server *= len(calls) / len(sample)
        print(f"llama-server, one after another: {server:.1f} s, ratio {server / wall:.2f}")
    short = [Document("text", long_text(2000))]
    for question in ("What does it say about workers?", "Which files hold keys?"):
        usage = the_result(list(ask(backend, PROMPTS, question, short, GenerationOptions(max_tokens=16)))).usage
        print(f"{question} {usage.prompt_tokens} prompt tokens, {usage.cached_tokens} from the cache")


if __name__ == "__main__":
    main()
