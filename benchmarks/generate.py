"""Long texts of `llm generate report`: what is in them, and what they cost.

A scripted backend writes a report of 5,000 words about two sources with figures, once as a good model would, and once
each as one that gives half of the words, repeats itself, says the same in every section, invents figures, goes on
without an end, writes preambles and headings, or says nothing. Counted are: sections without a text, sentences that are
there twice, quotes that do not stand in their sources at their place, figures without a source, the words against the
wanted ones, and the tokens.

Tokens are those that an engine evaluates or generates: of each prompt what follows the longest beginning that it has in
common with an earlier prompt and its answer, and all of the answers, also what was dropped and the outline. They are
compared with one pass: one request for each section with the same prompt, whose common beginning is evaluated once, and
an answer of exactly the wanted length. A token of the scripted backend is a word.

With `--models FILE...` real models write a text of `--words` words; their tokens are those that the engine reports
(prompt tokens that were not cached, and generated ones), also by kinds of requests. The prompts of one pass are counted
by the engine too, and its answers have as many tokens for each word as those of the model. A model may fail: the exit
code is then 3, and the problems are printed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import common

from llmcli.backends.base import Backend, DelegatingJob, Job
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.documents.sentences import find_sentences
from llmcli.fast_dataclass import replace
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.claim_verification.claim_terms import find_numbers
from llmcli.tasks.generate.long_text import SOURCES_TITLE, section_queries, write_long_text
from llmcli.tasks.generate.outline import FORMS, LongKind, choose_shape, parse_outline
from llmcli.tasks.generate.outline_making import outline_task
from llmcli.tasks.generate.section_writing import LongTextPlan, SectionRequests
from llmcli.tasks.generate.sentence_forms import strip_marks
from llmcli.tasks.generate.source_facts import SourceFacts
from llmcli.tasks.runner.answer_replay import RecordedAnswer
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import ask_all
from llmcli.types import Event, Finished, ItemFailed, Message, Request, Result, TaskEvent, Usage

TOPIC = "Heat pumps in old houses"
SOURCES = (
    Document(
        "study.md",
        "# The study\n\nThe study measured 45 houses between 2019 and 2023. A heat pump with radiators of 55 degrees saved "
        "38 percent of the energy of a gas boiler. In 12 houses the radiators were too small, and the owners replaced "
        "them. The seasonal performance factor was 3.1 on average. Houses with insulated roofs reached 3.6.\n\n"
        "# Costs\n\nPurchase and installation of a heat pump cost 21,400 euros on average. Subsidies paid 35 percent of "
        "that. The running costs fell by 640 euros a year. The owners expect that the heat pump pays off after 14 years.\n",
    ),
    Document(
        "survey.txt",
        "In a survey of 1,200 owners, 71 percent would buy a heat pump again. The noise of the fan bothered 9 percent of "
        "them. Most owners waited 7 months for an installer. Neighbours complained in 31 cases.\n",
    ),
)


def count_words(text: str) -> int:
    """Count a token for each word."""
    return len(text.split())


# ---- scripted models -------------------------------------------------------------------------------------------------


def scripted_models() -> Mapping[str, Callable[[Request], Any]]:
    """Return the models by their names: they answer a request."""
    model = import_module("long_text_answers").LongTextModel
    facts = [text for document in SOURCES for text in _sentences(document.text) if find_numbers(text)]

    def good() -> Callable[[Request], Any]:
        writer, told = model(), iter(facts)
        return lambda request: _add(writer(request), next(told, ""), request)

    invented = count(90_001)

    def change(edit: Callable[[str], str]) -> Callable[[Request], Any]:
        writer = model()
        return lambda request: writer(request) if request.id.startswith("outline") else edit(str(writer(request)))

    return {
        "good": good(),
        "half of the words": change(lambda text: text[: text.find(". ", len(text) // 2) + 1] or text),
        "loops": change(lambda text: text.split(". ")[0] + ". " + "The amber basin glows. " * 40),
        "same sentence": change(lambda text: f"{text} All old houses lose most of their warmth through the roof."),
        "invents figures": change(lambda text: f"They cost {next(invented)} euros. {text}"),
        "endless": change(lambda text: text.replace(".", "") * 20),
        "preambles": change(
            lambda text: f"Sure! Here is the paragraph:\n\n## A heading\n\n{text}\n\nI hope this helps."
        ),
        "silent": change(lambda _: ""),
    }


def _add(text: Any, fact: str, request: Request) -> str:
    """Return a text that ends with a fact instead of its last sentence."""
    if not fact or request.id.startswith("outline"):
        return str(text)
    return f"{str(text).rsplit('. ', 1)[0]}. {fact}"


def _sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in find_sentences(text)]


# ---- a text and its figures ------------------------------------------------------------------------------------------


def write(backend: Backend, words: int) -> tuple[Result | None, LongTextPlan | None, list[Result], int]:
    """Return the text (None if there is none), its plan, the results whose usage counts, and the words of all answers."""
    with tempfile.TemporaryDirectory() as kept:
        prompts, options, form = PromptLibrary(Path(kept)), GenerationOptions(seed=1), FORMS[LongKind.REPORT]
        facts = SourceFacts(SOURCES)
        noted = [quote.line for quote in facts.search([TOPIC])]
        shape = choose_shape(form, words)
        made = _last(outline_task(backend, prompts, options, LongKind.REPORT, TOPIC, shape, words=words, facts=noted))
        if made is None or made.text is None:
            return None, None, [], 0
        plan = LongTextPlan(
            LongKind.REPORT, parse_outline(made.text, "outline").with_lengths(form, words), given=(TOPIC,)
        )
        latest: list[Sequence[RecordedAnswer]] = []
        found = _last(write_long_text(backend, prompts, plan, facts, options, on_answer=latest.append))
        generated = sum(count_words(answer.text) for answer in latest[-1]) if latest else 0
        return found, plan, [made, *([found] if found else [])], generated + count_words(made.text)


def _last(events: Iterator[TaskEvent]) -> Result | None:
    """Return the result; a failure is printed."""
    found = None
    for event in events:
        if isinstance(event, ItemFailed):
            print(f"  failed: {event.error!r}")
        elif isinstance(event, Result):
            found = event
    return found


def pass_requests(plan: LongTextPlan) -> list[Request]:
    """Return the requests of one pass: one for each section."""
    facts = SourceFacts(SOURCES)
    with tempfile.TemporaryDirectory() as kept:
        requests = SectionRequests(PromptLibrary(Path(kept)), GenerationOptions(), plan)
        return [
            requests.first_request(
                number, section.words or 0, [each.line for each in facts.search(section_queries(plan.outline, section))]
            )
            for number, section in enumerate(plan.outline.written)
        ]


def count_new(prompts: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> int:
    """Return how many words of prompts follow what an earlier prompt and its answer began with."""
    known: set[tuple[str, ...]] = set()
    total = 0
    for prompt, answer in zip(prompts, answers, strict=True):
        at = len(prompt)
        while at and tuple(prompt[:at]) not in known:
            at -= 1
        total += len(prompt) - at
        whole = [*prompt, *answer]
        known.update(tuple(whole[:end]) for end in range(1, len(whole) + 1))
    return total


def _words_of(request: Request) -> list[str]:
    return [word for message in request.messages for word in _message_words(message)]


def _message_words(message: Message) -> list[str]:
    return message.content.split()


def describe(result: Result | None) -> dict[str, Any]:
    """Return the figures of a text."""
    if result is None or result.text is None:
        return {"code": 3, "text": None}
    fields = result.fields
    prose = result.text.partition(f"\n## {SOURCES_TITLE}\n")[0]
    lines = [line for line in prose.splitlines() if line and not line.startswith("#")]
    sentences = [
        re.sub(r"\W+", " ", strip_marks(each)).casefold().strip() for line in lines for each in _sentences(line)
    ]
    texts = {document.name: document.text for document in SOURCES}
    quotes = fields["quotes"]
    return {
        "code": 3 if result.cut else 0,
        "words": fields["words"],
        "wanted": fields["wanted"],
        "sections": len(fields["sections"]),
        "empty": sum(not each["words"] for each in fields["sections"]),
        "twice": sum(count - 1 for count in Counter(sentences).values()),
        "quotes": len(quotes),
        "wrong quotes": sum(texts[each["source"]][each["start"] : each["end"]] != each["text"] for each in quotes),
        "problems": Counter(re.sub(r"\d[\d,]*", "N", each["problem"]) for each in fields["problems"]),
    }


_AGREES = -0.01, -5.0
"""The log-probabilities of Yes and No for a model that takes each cited sentence for supported."""


def measure_scripted(words: int) -> None:
    """Print the figures of each scripted model."""
    scripted = import_module("scripted")
    for name, answer in scripted_models().items():
        answers: dict[str, list[str]] = {}

        def record(
            request: Request, answer: Callable[[Request], Any] = answer, answers: dict[str, list[str]] = answers
        ) -> Any:
            if request.candidates:  # the check of a sentence that cites a source generates nothing
                return dict(zip(request.candidates, _AGREES, strict=False))
            said = answer(request)
            answers[request.id] = str(said).split()
            return said

        backend = scripted.ScriptedBackend(record, context=32768, stops_repetition=True)
        started = time.process_time()
        result, plan, _, generated = write(backend, words)
        print(f"{name}: {describe(result)}, {time.process_time() - started:.1f} s of CPU")
        if plan is None:
            continue
        written = [request for request in backend.requests if not request.candidates]
        prompts = [_words_of(request) for request in written]
        new = count_new(prompts, [answers[request.id] for request in written])
        tokens = new + generated
        passed = [_words_of(request) for request in pass_requests(plan)]
        one_pass = count_new(passed, [[]] * len(passed)) + plan.words
        print(f"  {len(prompts)} requests, {tokens:,} tokens; one pass {one_pass:,}: ratio {tokens / one_pass:.2f}")


class UsageRecorder:
    """Wraps a ``backend``; ``requests`` have the request and the usage of each answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.requests: list[tuple[Request, Usage]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def open(self) -> RecordingJob:
        """Open a job."""
        return RecordingJob(self._backend.open(), self)


class RecordingJob(DelegatingJob):
    """A job of a ``UsageRecorder``."""

    def __init__(self, job: Job, recorder: UsageRecorder) -> None:
        super().__init__(job)
        self._recorder = recorder
        self._open: dict[str, Request] = {}

    def submit(self, request: Request) -> None:
        """Add a request."""
        self._open[request.id] = request
        super().submit(request)

    def __iter__(self) -> Iterator[Event]:
        for event in super().__iter__():
            if isinstance(event, Finished):
                self._recorder.requests.append((self._open.pop(event.id), event.usage))
            yield event


def print_usage(backend: Backend, requests: Sequence[tuple[Request, Usage]], plan: LongTextPlan) -> None:
    """Print the tokens by kinds of requests: what they evaluate of prompts, how much of that is new, what they generate."""
    kinds: dict[str, list[int]] = {}
    for request, usage in requests:
        (last,), _ = backend.count([replace(request, messages=request.messages[-1:], grammar=None)])
        evaluated = usage.prompt_tokens - usage.cached_tokens
        sums = kinds.setdefault(_kind_of(request, plan), [0, 0, 0, 0])
        for index, amount in enumerate([1, evaluated, min(evaluated, last), usage.completion_tokens]):
            sums[index] += amount
    for kind, (number, evaluated, last, generated) in kinds.items():
        print(f"    {kind}: {number} requests, {evaluated:,} of prompts ({last:,} their own), {generated:,} of answers")


def _kind_of(request: Request, plan: LongTextPlan) -> str:
    number, _, asked = request.id.partition(".")
    if not number.isdigit():
        return number
    points = len(plan.paragraphs_of(plan.outline.written[int(number)]))
    asked, _, again = asked.partition(".")
    return "again" if again else "first" if asked == "0" else "point" if int(asked) < points else "more"


def read_pass(model: str, options: EngineOptions, plan: LongTextPlan) -> int:
    """Return the tokens of prompts that an engine evaluates which has read nothing before."""
    with common.open_engine(model, options) as engine:
        answers = ask_all(engine, [replace(each, max_tokens=1) for each in pass_requests(plan)])
        return sum(each.finished.usage.prompt_tokens - each.finished.usage.cached_tokens for each in answers)


def measure_model(path: str, words: int, threads: int | None, keep: str | None) -> None:
    """Print the figures of a real model."""
    model = common.model_path(path)
    with tempfile.TemporaryDirectory() as cache:
        options = EngineOptions(cache=Path(cache), threads=threads)
        with common.open_engine(model, options) as engine:
            backend = UsageRecorder(engine)
            started = time.process_time()
            result, plan, used, generated = write(backend, words)
            print(f"{Path(model).name}: {json.dumps(describe(result))}", flush=True)
            if plan is None:
                return
            usage = sum((each.usage for each in used[1:]), start=used[0].usage)
            tokens = usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens
            read = read_pass(model, replace(options, cache=None), plan)
            one_pass = read + round(plan.words * usage.completion_tokens / max(1, generated))
            cpu = time.process_time() - started
            print(f"  {tokens:,} tokens; one pass {one_pass:,} ({read:,} of prompts): ratio {tokens / one_pass:.2f}")
            print_usage(engine, backend.requests, plan)
            print(f"  {cpu:.0f} s of CPU", flush=True)
            if keep and result is not None:
                Path(keep).write_text(result.text or "", encoding="utf-8")


def main() -> None:
    """Print the figures that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, default=5000)
    parser.add_argument(
        "--models", nargs="*", default=(), metavar="FILE", help="GGUF files, instead of the scripted backend"
    )
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", metavar="FILE", help="write the last text of a model there")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    if not options.models:
        measure_scripted(options.words)
    for model in options.models:
        measure_model(model, options.words, options.threads, options.keep)


if __name__ == "__main__":
    main()
