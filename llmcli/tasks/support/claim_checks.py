"""Claims checked against documents: which passages are looked at, the requests for them, and the best support found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmcli.tasks.execution.response_buffer import ResponseBuffer, raise_request_error, require_finished
from llmcli.tasks.quotation.quotable_text import QuotableDocument, QuotableText
from llmcli.tasks.support.passage_ranking import PassageRanker
from llmcli.tasks.support.sentence_spans import cut_passages
from llmcli.tasks.support.support_scorer import Claim, PassageSupport, SupportScorer
from llmcli.types import Event, Finished, Request

PASSAGES_PER_CLAIM = 2
"""Passages that are scored for each claim."""


class EvidenceIndex:
    """The passages of some documents, ranked by BM25 for a claim."""

    def __init__(self, documents: Sequence[QuotableDocument]) -> None:
        self.passages = [passage for document in documents for passage in cut_passages(document)]
        self._ranker = PassageRanker([passage.text for passage in self.passages])

    def search(self, claim: Claim, count: int = PASSAGES_PER_CLAIM) -> list[int]:
        """Return the numbers of the best passages, the best first; empty if no word is common."""
        return self._ranker.rank(claim.text, count)


class ClaimChecks:
    """The checks of several claims: submit ``requests()``, hand each event to ``add_event``, then read ``support_of``.

    Requests about the same passage follow each other, so that its evaluated tokens are used again. ``prefix`` begins
    their ids.
    """

    def __init__(
        self,
        scorer: SupportScorer,
        claims: Sequence[Claim],
        passages: Sequence[QuotableText],
        found: Sequence[Sequence[int]],
        prefix: str,
    ) -> None:
        """``found``: for each claim, the indices of the passages to score it against."""
        self._scorer = scorer
        self._claims = claims
        self._passages = passages
        self._found = found
        self._prefix = prefix
        self._answers: dict[str, ResponseBuffer] = {}
        self._unfinished: set[str] = set()
        self._ids: dict[tuple[int, int | None], list[str]] = {}

    def requests(self) -> Iterator[Request]:
        """Yield all requests."""
        for number, claim in enumerate(self._claims):
            if self._found[number]:
                yield from self._register(number, None, self._scorer.claim_requests(f"{self._prefix}.{number}", claim))
        pairs = sorted((passage, number) for number, found in enumerate(self._found) for passage in found)
        for passage, number in pairs:
            name = f"{self._prefix}.{number}.{passage}"
            text = self._passages[passage]
            yield from self._register(number, passage, self._scorer.passage_requests(name, self._claims[number], text))

    def _register(self, number: int, passage: int | None, requests: Sequence[Request]) -> Sequence[Request]:
        self._ids[number, passage] = [request.id for request in requests]
        for request in requests:
            self._answers[request.id] = ResponseBuffer()
            self._unfinished.add(request.id)
        return requests

    def add_event(self, event: Event) -> None:
        """Add an event of one of the requests. Raises its failure."""
        answer = self._answers[event.id]
        answer.add_event(event)
        if isinstance(event, Finished):
            raise_request_error(require_finished(answer))
            self._unfinished.discard(event.id)

    @property
    def done(self) -> bool:
        """Whether all requests made so far have ended."""
        return not self._unfinished

    @property
    def method(self) -> str:
        """How a remote server scored (``CandidateScores.method``)."""
        return next((answer.method for answer in self._answers.values() if answer.method), "")

    def support_of(self, number: int) -> list[PassageSupport]:
        """Return the support of a claim by each passage that was scored for it, the strongest first."""
        alone = self._responses(number, None)
        found = [
            self._scorer.read(self._claims[number], self._passages[passage], self._responses(number, passage), alone)
            for passage in self._found[number]
        ]
        return sorted(found, key=lambda support: -support.probability)

    def _responses(self, number: int, passage: int | None) -> list[ResponseBuffer]:
        return [self._answers[each] for each in self._ids.get((number, passage), ())]
