"""summarize --cite: a summary in points, each with words of the document that support it.

The points come from the usual summary in bullets. Each is looked up in the document (BM25), a quote is generated from the
passage that ranks highest, under a grammar that admits only its words, and the sentences around the quote are scored as
support for the point.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.sentences import find_sentences
from llmcli.errors.incomplete_results import PointsUnsupported
from llmcli.frozen_dataclass import frozen, replace
from llmcli.prompts import PromptLibrary
from llmcli.tasks.execution.document_jobs import JobStep, run_document_jobs
from llmcli.tasks.execution.response_buffer import ResponseBuffer, UsageTally
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request
from llmcli.tasks.quotation.quotable_text import QuotableDocument, QuotableText, Quote
from llmcli.tasks.quotation.quote_generation import QuoteGeneration, QuoteOptions
from llmcli.tasks.summarization.summary_options import SummaryOptions
from llmcli.tasks.summarize import make_summary_job
from llmcli.tasks.support.claim_checks import ClaimChecks, find_evidence
from llmcli.tasks.support.claim_terms import read_terms
from llmcli.tasks.support.support_scorer import Claim, SupportLevel, SupportScorer, nearest_quote, support_level
from llmcli.types import (
    Delta,
    Event,
    Finished,
    ItemFailed,
    Notice,
    Request,
    Result,
    TaskEvent,
)

QUOTE_PROMPT = "quote"
QUOTED_STYLE = "bullets"
MIN_SAME_SHARE = 0.85
"""Two points that share so much of their words (Dice coefficient) say the same."""
PROBABILITY_DIGITS = 4
_BULLET = re.compile(r"^[ \t]*(?:[-*+\u2022]|\d{1,3}[.)])[ \t]+", re.MULTILINE)

_QUOTE_OPTIONS = QuoteOptions(allows_none=False)


class QuoteOrigin(StrEnum):
    """Who chose a quote: the model, or the ranking of the document's sentences where the model chose none."""

    MODEL = "model"
    RANK = "rank"


@frozen
class CitedPoint:
    """A point of a summary. ``quote`` is None if no passage has a word of it."""

    text: str
    quote: Quote | None
    quoted_by: QuoteOrigin
    probability: float

    @property
    def support(self) -> SupportLevel:
        """How well the quote supports the point."""
        return support_level(self.probability)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as an object."""
        return {
            "text": self.text,
            "support": str(self.support),
            "probability": round(self.probability, PROBABILITY_DIGITS),
            "quoted_by": str(self.quoted_by),
            "quote": None if self.quote is None else self.quote.to_json(),
        }

    def to_markdown(self) -> str:
        """Return a list item with the quote, its place and its support below it."""
        verdict = f"{self.support}, {self.probability:.2f}"
        if self.quote is None:
            return f"- {self.text} ({verdict})"
        return f"- {self.text}\n  > {self.quote.line}\n  > ({self.quote.place}; {verdict})"


def split_points(answer: str) -> list[str]:
    """Return the points of an answer in one line each: its list items, or its sentences if it is no list."""
    starts = list(_BULLET.finditer(answer))
    if starts:
        ends = [*(match.start() for match in starts[1:]), len(answer)]
        parts = [
            answer[match.end() : end].split("\n\n", maxsplit=1)[0] for match, end in zip(starts, ends, strict=True)
        ]
    else:
        parts = [answer[start:end] for start, end in find_sentences(answer)]
    return [" ".join(part.split()) for part in parts if any(map(str.isalnum, part))]


def drop_repeated(points: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the points that say something new, and those that repeat an earlier one."""
    new: list[str] = []
    seen: list[tuple[frozenset[str], frozenset[str]]] = []
    repeated: list[str] = []
    for point in points:
        terms = read_terms(point)
        if any(numbers == terms.numbers and _share(words, terms.words) >= MIN_SAME_SHARE for words, numbers in seen):
            repeated.append(point)
        else:
            new.append(point)
            seen.append((terms.words, terms.numbers))
    return new, repeated


def _share(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / max(1, len(one) + len(other))


@frozen
class _CitationPlan:
    """What all documents of a run share."""

    backend: Backend
    prompts: PromptLibrary
    options: GenerationOptions
    scorer: SupportScorer
    wanted: SummaryOptions
    keeps_unsupported: bool


class _CitedSummaryJob:
    """The job of one document: its summary, then the quotes of the points, then their support."""

    def __init__(self, plan: _CitationPlan, item: int, document: Document) -> None:
        self.item = item
        self.name = document.name
        self._plan = plan
        self._document = document
        self._summary_job = make_summary_job(
            plan.backend,
            plan.prompts,
            document,
            plan.options,
            replace(plan.wanted, style=QUOTED_STYLE),
            item=item,
        )
        self._summary: Result | None = None
        self._tally = UsageTally()
        self._warnings: list[str] = []
        self._points: list[str] = []
        self._repeated: list[str] = []
        self._quotes: dict[str, int] = {}  # request id -> point
        self._answers: dict[str, ResponseBuffer] = {}
        self._generations: dict[int, QuoteGeneration] = {}
        self._checks: ClaimChecks | None = None
        self._checked: dict[int, int] = {}  # point -> its number among the checks
        self._cited: dict[int, tuple[Quote, QuoteOrigin]] = {}

    @property
    def step(self) -> str:
        """The step of the requests."""
        if self._summary is None:
            return self._summary_job.step
        return "quoting" if self._checks is None else "checking"

    def start(self) -> Iterator[JobStep]:
        """Begin as the summary does."""
        yield from self._take_summary(self._summary_job.start())

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Handle an event of the current step. Raises as the summary does, and the failure of a request."""
        if isinstance(event, Finished):
            self._tally.add(event)
        if self._summary is None:
            yield from self._take_summary(self._summary_job.handle_event(event))
        elif self._checks is None:
            yield from self._quote(event)
        else:
            self._checks.add_event(event)
            if self._checks.done:
                yield from self._finish()

    def _take_summary(self, steps: Iterator[JobStep]) -> Iterator[JobStep]:
        """Pass on what the summary yields, except its text, whose points are quoted first."""
        for step in steps:
            if isinstance(step, Result):
                self._summary = step
                yield from self._start_quotes(step.text or "")
            elif not isinstance(step, Delta) or step.reasoning:
                yield step

    def _start_quotes(self, summary: str) -> Iterator[JobStep]:
        self._points, self._repeated = drop_repeated(split_points(summary))
        plan, prompt = self._plan, self._plan.prompts.get(QUOTE_PROMPT)
        evidence = find_evidence(
            [QuotableDocument.from_document(self._document, self.item)], [Claim(point) for point in self._points], 1
        )
        for number, point in enumerate(self._points):
            for best in evidence.found[number]:
                passage = evidence.passages[best]
                messages = prompt.render({"text": passage.text, "statement": point, "none": False})
                request = make_request(f"{self.item}.quote.{number}", messages, prompt, plan.options)
                self._generations[number] = QuoteGeneration(passage, request, plan.options, _QUOTE_OPTIONS)
                yield self._expect(self._generations[number].start(), number)
        if not self._generations:
            yield from self._start_checks()

    def _expect(self, request: Request, point: int) -> Request:
        """Return a request after noting that it quotes for this point."""
        self._quotes[request.id] = point
        self._answers[request.id] = ResponseBuffer()
        return request

    def _quote(self, event: Event) -> Iterator[JobStep]:
        """Handle an event of a quote; after the last one, start the checks."""
        answer = self._answers[event.id]
        answer.add_event(event)
        if not isinstance(event, Finished):
            return
        point = self._quotes.pop(event.id)
        again = self._generations[point].finish_attempt(answer)
        if again is not None:
            yield self._expect(again, point)
        elif not self._quotes:
            yield from self._start_checks()

    def _start_checks(self) -> Iterator[JobStep]:
        """Score the sentences around each quote as support for its point."""
        claims: list[Claim] = []
        passages: dict[int, QuotableText] = {}
        for number, generation in sorted(self._generations.items()):
            claim = Claim(self._points[number])
            quote, origin = generation.quote, QuoteOrigin.MODEL
            if quote is None:
                quote, origin = nearest_quote(claim, generation.passage), QuoteOrigin.RANK
            self._cited[number] = quote, origin
            self._checked[number] = len(claims)
            passages[len(claims)] = generation.passage.sentences_around(quote)
            claims.append(claim)
        found = [[number] for number in range(len(claims))]
        self._checks = ClaimChecks(self._plan.scorer, claims, passages, found, f"{self.item}.support")
        yield from self._checks.requests()
        if self._checks.done:
            yield from self._finish()

    def _finish(self) -> Iterator[JobStep]:
        """Yield the result with the points that are kept."""
        assert self._summary is not None
        points = [self._cite(number) for number in range(len(self._points))]
        dropped = [] if self._plan.keeps_unsupported else [p for p in points if p.support is SupportLevel.UNSUPPORTED]
        kept = [point for point in points if point not in dropped]
        if dropped:
            count = f"{len(dropped)} of {len(points)} points"
            yield self._warn(f"{count} left out, since no words of the document support them (--keep-unsupported)")
        summary = self._summary
        nothing_left = not kept
        text = "\n".join(point.to_markdown() for point in kept)
        if kept and dropped:
            text += f"\n\n*{len(dropped)} of {len(points)} points left out: the document does not support them.*"
        yield replace(
            summary,
            text=text,
            fields={
                **summary.fields,
                "points": [point.to_json() for point in kept],
                "unsupported": [point.text for point in dropped],
                "repeated": self._repeated,
            },
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=(*summary.warnings, *self._warnings),
            cut=summary.cut or nothing_left,
            incomplete=PointsUnsupported(self.name, total=len(points)) if nothing_left else summary.incomplete,
        )

    def _cite(self, number: int) -> CitedPoint:
        text = self._points[number]
        if number not in self._cited:
            return CitedPoint(text, None, QuoteOrigin.RANK, 0.0)
        assert self._checks is not None
        quote, origin = self._cited[number]
        (support,) = self._checks.support_of(self._checked[number])
        return CitedPoint(text, quote, origin, support.probability)

    def _warn(self, text: str) -> Notice:
        self._warnings.append(text)
        return Notice(text, self.item)


def summarize_with_citations(
    backend: Backend,
    prompts: PromptLibrary,
    documents: Iterable[Document | ItemFailed],
    options: GenerationOptions,
    wanted: SummaryOptions | None = None,
    *,
    keeps_unsupported: bool = False,
) -> Iterator[TaskEvent]:
    """Summarize each document in points with quotes: per item a Result or ItemFailed.

    ``wanted`` and failures are as in ``summarize``; the style is that of bullets. The text of a Result is Markdown. Its fields besides ``missing``:
    ``points`` (each with ``text``, ``support``, ``probability``, ``quoted_by`` and ``quote``), ``unsupported`` (the texts
    of the points that were left out; none with ``keeps_unsupported``) and ``repeated`` (those that repeated another
    one). If all points were left out, the result is incomplete (``PointsUnsupported``).
    """
    scorer = SupportScorer(backend, prompts, options)
    plan = _CitationPlan(backend, prompts, options, scorer, wanted or SummaryOptions(), keeps_unsupported)
    yield from run_document_jobs(
        backend, documents, lambda item, document: _CitedSummaryJob(plan, item, document), "requests"
    )
