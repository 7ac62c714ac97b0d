"""check: how well each sentence of a text is supported by documents, by scoring and without generating."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.sentences import find_sentences
from llmcli.errors import BadDocument, EmptyInput
from llmcli.frozen_dataclass import frozen
from llmcli.prompts import PromptLibrary
from llmcli.tasks.execution.document_jobs import JobStep, run_document_jobs
from llmcli.tasks.execution.response_buffer import UsageTally
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.execution.work_estimate import WorkEstimate, count_requests
from llmcli.tasks.quotation.quotable_text import QuotableDocument, Quote
from llmcli.tasks.support.claim_checks import PASSAGES_PER_CLAIM, ClaimChecks, find_evidence
from llmcli.tasks.support.support_scorer import (
    PROMPT,
    SUPPORTED_FROM,
    Claim,
    PassageSupport,
    SupportScorer,
    support_level,
)
from llmcli.types import Event, Finished, ItemFailed, Notice, Request, Result, TaskEvent

DEFAULT_THRESHOLD = SUPPORTED_FROM
PROBABILITY_DIGITS = 4
_MIN_WORDS = 3
"""A sentence of less words, such as "In short:", states nothing that could be checked."""
_NOT_PROSE = re.compile(
    r"^(?P<fence>```|~~~)[^\n]*\n.*?(?:^(?P=fence)[^\n]*$|\Z)|^#{1,6}[ \t][^\n]*$|^[^\n]+\n[=-]{3,}[ \t]*$|<!--.*?-->",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*(?:\s\"[^\"]*\")?\)")
_CITATION = re.compile(r"\s*\[\^?\d+\](?!\()")
_EMPHASIS = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)")


@frozen
class CheckedSentence:
    """A sentence of the text, ``text[start:end]``, its lines, and the strongest support; None if no passage has its words."""

    text: str
    start: int
    end: int
    first_line: int
    last_line: int
    support: PassageSupport | None

    @property
    def probability(self) -> float:
        """That a passage supports the sentence, with as many digits as are shown."""
        return 0.0 if self.support is None else round(self.support.probability, PROBABILITY_DIGITS)

    @property
    def quote(self) -> Quote | None:
        """The sentence of the documents that is nearest."""
        return None if self.support is None else self.support.sentence

    def to_json(self) -> dict[str, Any]:
        """Return the fields as an object."""
        return {
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "first_line": self.first_line,
            "last_line": self.last_line,
            "support": str(support_level(self.probability)),
            "probability": self.probability,
            "quote": None if self.quote is None else self.quote.to_json(),
        }


def find_claims(text: str) -> list[tuple[int, int]]:
    """Return the offsets of the sentences of a text that state something: no headings, code, questions or single words."""
    prose = _NOT_PROSE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return [
        (start, end)
        for start, end in find_sentences(prose)
        if len(text[start:end].split()) >= _MIN_WORDS and not text[start:end].rstrip("\"'*_) ").endswith("?")
    ]


def plain_claim(sentence: str) -> Claim:
    """Return the claim of a sentence without its Markdown and the numbers of its sources."""
    without_links = _LINK.sub(r"\1", sentence)
    return Claim(" ".join(_EMPHASIS.sub("", _CITATION.sub("", without_links)).split()))


class _CheckJob:
    """The job of one text: all its sentences at once."""

    step = ""

    def __init__(
        self,
        item: int,
        document: Document,
        scorer: SupportScorer,
        sources: Sequence[Document | ItemFailed],
        plan: _CheckPlan,
    ) -> None:
        self.item = item
        self.name = document.name
        self._document = QuotableDocument.from_document(document)
        self._spans = find_claims(document.text)
        claims = [plain_claim(document.text[start:end]) for start, end in self._spans]
        evidence = find_evidence(sources, claims, plan.passages)
        self.num_passages = evidence.total
        self._checks = ClaimChecks(scorer, claims, evidence.passages, evidence.found, str(item))
        self._scorer = scorer
        self._plan = plan
        self._tally = UsageTally()

    def start(self) -> Iterator[JobStep]:
        """Begin; raises ``EmptyInput`` for a blank text and ``BadDocument`` for one without sentences to check."""
        if not self._document.text.strip():
            raise EmptyInput(self.name)
        if not self._spans:
            raise BadDocument(self.name, detail="it has no sentence to check, only headings, code, questions or words")
        if not self._scorer.can_score:
            yield Notice("the backend cannot score: sentences are compared by rule only", self.item)
        yield from self._checks.requests()
        if self._checks.done:
            yield self._make_result()

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield the result after the last event. Raises the failure of a request."""
        self._checks.add_event(event)
        if isinstance(event, Finished):
            self._tally.add(event)
            if self._checks.done:
                yield self._make_result()

    def _make_result(self) -> Result:
        sentences = [self._checked(number, *span) for number, span in enumerate(self._spans)]
        lowest = min(sentence.probability for sentence in sentences)
        fields: dict[str, Any] = {
            "passed": lowest >= self._plan.threshold,
            "threshold": self._plan.threshold,
            "lowest": lowest,
            "sentences": [sentence.to_json() for sentence in sentences],
        }
        if self._checks.method:
            fields["scoring"] = self._checks.method
        return Result(
            self.item,
            self.name,
            None,
            fields,
            model=self._plan.model,
            prompt=PROMPT,
            usage=self._tally.usage,
            timings=self._tally.timings,
        )

    def _checked(self, number: int, start: int, end: int) -> CheckedSentence:
        place = self._document.quote(start, end)
        support = next(iter(self._checks.support_of(number)), None)
        return CheckedSentence(place.text, start, end, place.first_line, place.last_line, support)


@frozen
class _CheckPlan:
    """The settings of a run."""

    threshold: float
    passages: int
    model: str


def check(
    backend: Backend,
    prompts: PromptLibrary,
    answer: Document,
    sources: Sequence[Document | ItemFailed],
    options: GenerationOptions,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    passages: int = PASSAGES_PER_CLAIM,
) -> Iterator[TaskEvent]:
    """Check each sentence of ``answer`` against ``sources``: a Result, or ItemFailed.

    Each sentence is scored against the ``passages`` that rank highest for it, and the strongest support counts. Fields of
    the Result: ``passed`` (no probability is below ``threshold``), ``threshold``, ``lowest`` (the lowest probability) and
    ``sentences``, each with ``text``, ``start``, ``end``, lines, ``support``, ``probability`` and ``quote`` (None if no
    passage has a word of it). ``scoring`` as in ``ScoringVerb``. A blank text fails with ``EmptyInput``, one without
    sentences with ``BadDocument``. The sources are gone through one at a time; the error of one that could not be read is
    that of the check.
    """
    scorer = SupportScorer(backend, prompts, options)
    plan = _CheckPlan(threshold, passages, backend.info().model)
    yield from run_document_jobs(
        backend, [answer], lambda item, document: _CheckJob(item, document, scorer, sources, plan), "requests"
    )


def estimate_check(
    backend: Backend,
    prompts: PromptLibrary,
    answer: Document,
    sources: Sequence[Document | ItemFailed],
    options: GenerationOptions,
    *,
    passages: int = PASSAGES_PER_CLAIM,
) -> WorkEstimate:
    """Return the work of a check; the backend only counts tokens. Raises as the check fails."""
    scorer = SupportScorer(backend, prompts, options)
    job = _CheckJob(0, answer, scorer, sources, _CheckPlan(DEFAULT_THRESHOLD, passages, backend.info().model))
    calls, tokens = count_requests(backend, (step for step in job.start() if isinstance(step, Request)))
    return WorkEstimate(answer.name, "scores", job.num_passages, calls, tokens)
