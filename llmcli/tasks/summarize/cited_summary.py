"""summarize --cite: a summary in points, each with words of the document that support it.

The points come from the usual summary in bullets. Each is looked up in the document (BM25), a quote is generated from
the passage that ranks highest, under a grammar that admits only its words, and the sentences around the quote are
scored as support for the point.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.sentences import find_sentences
from llmcli.errors import PartialError
from llmcli.errors.incomplete_results import LARGER_MODEL_ADVICE
from llmcli.fast_dataclass import frozen
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.claim_verification.claim_checks import Evidence, check_claims, find_evidence
from llmcli.tasks.claim_verification.claim_terms import dice_coefficient, read_terms
from llmcli.tasks.claim_verification.support_scorer import (
    Claim,
    SupportLevel,
    SupportScorer,
    nearest_quote,
    support_level,
)
from llmcli.tasks.quotes.quotable_text import Quote
from llmcli.tasks.quotes.quote_generation import QuoteOptions, generate_quote
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.runner.task_run import TaskRun, run_inputs
from llmcli.tasks.summarize.summary_options import SummaryOptions
from llmcli.tasks.summarize.summary_plan import SummaryPlan
from llmcli.tasks.summarize.written_summary import write_summary
from llmcli.types import PROBABILITY_DIGITS, ItemFailed, Result, TaskEvent

QUOTE_PROMPT = "quote"
QUOTED_STYLE = "bullets"
MIN_SAME_SHARE = 0.85
"""Two points that share so much of their words (Dice coefficient) say the same."""
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
        if any(
            numbers == terms.numbers and dice_coefficient(words, terms.words) >= MIN_SAME_SHARE
            for words, numbers in seen
        ):
            repeated.append(point)
        else:
            new.append(point)
            seen.append((terms.words, terms.numbers))
    return new, repeated


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

    ``wanted`` and failures are as in ``summarize``; the style is that of bullets. The text of a Result is Markdown. Its
    fields besides ``missing``: ``points`` (each with ``text``, ``support``, ``probability``, ``quoted_by`` and
    ``quote``), ``unsupported`` (the texts of the points that were left out; none with ``keeps_unsupported``) and
    ``repeated`` (those that repeated another one). If all points were left out, the result is incomplete
    (``PartialError``).
    """
    scorer = SupportScorer(backend, prompts, options)
    plan = SummaryPlan(backend, prompts, options, wanted or SummaryOptions(), QUOTED_STYLE, checks_form=False)

    async def task(run: TaskRun, document: Document) -> Result:
        summary = await write_summary(run, plan, document, shows_text=False)
        points, repeated = drop_repeated(split_points(summary.text or ""))
        cited = await _cite_points(run, prompts, options, scorer, document, points)
        dropped = [] if keeps_unsupported else [each for each in cited if each.support is SupportLevel.UNSUPPORTED]
        kept = [point for point in cited if point not in dropped]
        count = f"{len(dropped)} of {len(points)} points"
        if dropped:
            run.warn(f"{count} left out, since no words of the document support them (--keep-unsupported)")
        text = "\n".join(point.to_markdown() for point in kept)
        if kept and dropped:
            text += f"\n\n*{count} left out: the document does not support them.*"
        fields = {
            **summary.fields,
            "points": [point.to_json() for point in kept],
            "unsupported": [point.text for point in dropped],
            "repeated": repeated,
        }
        return run.result(
            text,
            fields,
            prompt=summary.prompt,
            finish_reason=summary.finish_reason,
            warnings=tuple(dict.fromkeys([*summary.warnings, *run.warnings])),
            cut=summary.cut or not kept,
            incomplete=summary.incomplete if kept else _points_unsupported(run.name, len(points)),
        )

    yield from run_inputs(backend, documents, task, "requests")


async def _cite_points(
    run: TaskRun,
    prompts: PromptLibrary,
    options: GenerationOptions,
    scorer: SupportScorer,
    document: Document,
    points: Sequence[str],
) -> list[CitedPoint]:
    """Return the points with a quote each, if a passage of the document has a word of them, and its support."""
    prompt = prompts.get(QUOTE_PROMPT)
    claims = [Claim(point) for point in points]
    evidence = find_evidence([document], claims, 1)
    passages = {number: evidence.passages[found[0]] for number, found in enumerate(evidence.found) if found}

    async def quote(number: int) -> tuple[Quote, QuoteOrigin]:
        messages = prompt.render({"text": passages[number].text, "statement": points[number], "none": False})
        request = make_request(f"{run.item}.quote.{number}", messages, prompt, options)
        generated = await generate_quote(run, passages[number], request, options, _QUOTE_OPTIONS)
        if generated.quote is not None:
            return generated.quote, QuoteOrigin.MODEL
        return nearest_quote(claims[number], passages[number]), QuoteOrigin.RANK

    run.step = "quoting"
    quotes = dict(zip(passages, await run.gather(map(quote, passages)), strict=True))
    run.step = "checking"
    around = {number: passages[number].sentences_around(found) for number, (found, _) in quotes.items()}
    found = [[number] if number in around else [] for number in range(len(points))]
    checked = await check_claims(run, scorer, claims, Evidence(around, found, len(around)), f"{run.item}.support")
    return [
        CitedPoint(point, *quotes[number], checked.supports[number][0].probability)
        if number in quotes
        else CitedPoint(point, None, QuoteOrigin.RANK, 0.0)
        for number, point in enumerate(points)
    ]


def _points_unsupported(name: str, total: int) -> PartialError:
    return PartialError(
        name,
        message=f"no point of the summary is supported by {{subject}} ({total} left out)",
        advice=f"To see them: --keep-unsupported; {LARGER_MODEL_ADVICE}",
        type_name="PointsUnsupported",
    )
