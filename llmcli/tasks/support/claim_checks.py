"""Claims checked against documents: which passages are looked at, the requests for them, and the best support found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmcli.documents.reading.document import Document
from llmcli.frozen_dataclass import frozen
from llmcli.interrupt import check_interrupt
from llmcli.tasks.execution.response_buffer import ResponseBuffer, raise_request_error, require_finished
from llmcli.tasks.quotation.quotable_text import QuotableDocument, QuotableText
from llmcli.tasks.support.passage_ranking import PassageRanker
from llmcli.tasks.support.support_scorer import Claim, PassageSupport, SupportScorer
from llmcli.types import Event, Finished, ItemFailed, Request

PASSAGES_PER_CLAIM = 2
"""Passages that are scored for each claim."""


@frozen
class Evidence:
    """The passages of documents that rank highest for claims.

    ``passages`` has them by their numbers among the ``total`` passages of all documents; ``found`` has the numbers for
    each claim, the best first, none if no word is common.
    """

    passages: Mapping[int, QuotableText]
    found: Sequence[Sequence[int]]
    total: int


def find_evidence(
    documents: Sequence[QuotableDocument | Document | ItemFailed],
    claims: Sequence[Claim],
    limit: int = PASSAGES_PER_CLAIM,
) -> Evidence:
    """Return the ``limit`` best passages of documents for each claim, by BM25.

    The documents are gone through twice, one at a time, and only the passages found are kept. Raises the error of a
    document that could not be read.
    """
    ranker: PassageRanker[QuotableText] = PassageRanker([claim.text for claim in claims], limit)
    for passage in _iter_passages(documents):
        ranker.count(passage.text)
    for passage in _iter_passages(documents):
        ranker.rank(passage.text, passage.detach)
    best = ranker.best()
    kept = {number: passage for each in best for number, passage in each.items()}
    return Evidence(kept, [[*each] for each in best], ranker.num_passages)


def _iter_passages(documents: Sequence[QuotableDocument | Document | ItemFailed]) -> Iterator[QuotableText]:
    for number in range(len(documents)):
        check_interrupt()
        yield from _cut_source(documents[number], number)  # no variable keeps it while the next one is read


def _cut_source(document: QuotableDocument | Document | ItemFailed, number: int) -> list[QuotableText]:
    if isinstance(document, ItemFailed):
        raise document.error
    made = QuotableDocument.from_document(document, number) if isinstance(document, Document) else document
    return made.cut_passages()


class ClaimChecks:
    """The checks of several claims: submit ``requests()``, hand each event to ``add_event``, then read ``support_of``.

    Requests about the same passage follow each other, so that its evaluated tokens are used again. ``prefix`` begins
    their ids.
    """

    def __init__(
        self,
        scorer: SupportScorer,
        claims: Sequence[Claim],
        passages: Mapping[int, QuotableText],
        found: Sequence[Sequence[int]],
        prefix: str,
    ) -> None:
        """``found``: for each claim, the numbers of the passages to score it against."""
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
