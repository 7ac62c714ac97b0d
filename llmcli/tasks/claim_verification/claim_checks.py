"""Checks of claims against documents: the relevant passages, the requests about them, the best support found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmcli.documents.reading.document import Document
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import check_interrupt
from llmcli.store.passage_index import IndexedPassage, searched_text
from llmcli.store.word_ranking import WordRanking
from llmcli.tasks.claim_verification.support_scorer import Claim, PassageSupport, SupportScorer
from llmcli.tasks.quotes.quotable_text import PassageSpan, QuotableDocument
from llmcli.tasks.retrieval.passage_cutter import cut_document
from llmcli.tasks.runner.answers import Answer
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import ItemFailed, Request

PASSAGES_PER_CLAIM = 2
"""Passages that are scored for each claim."""
EVIDENCE_CHARS = 600
"""The longest passage that is looked at for support: some sentences, as a claim rarely depends on more."""


@frozen
class Evidence:
    """The passages of documents that rank highest for claims.

    ``passages`` has them by their numbers among the ``total`` passages of all documents; ``found`` has the numbers for
    each claim, the best first, none if no word is common.
    """

    passages: Mapping[int, PassageSpan]
    found: Sequence[Sequence[int]]
    total: int


def find_evidence(
    documents: Sequence[Document | ItemFailed],
    claims: Sequence[Claim],
    limit: int,
) -> Evidence:
    """Return the ``limit`` best passages of documents for each claim, by BM25.

    The documents are gone through twice, one at a time, and only the passages found are kept. Raises the error of a
    document that could not be read.
    """
    ranking, total = WordRanking(), 0
    for total, (_, passage) in enumerate(_iter_passages(documents), 1):
        ranking.add(total - 1, searched_text(passage.text, passage.headings))
    found = [ranking.search(claim.text, limit) for claim in claims]
    wanted = {number for each in found for number in each}
    kept = {
        number: PassageSpan(places, passage.start, passage.start + len(passage.text)).detach()
        for number, (places, passage) in enumerate(_iter_passages(documents))
        if number in wanted
    }
    return Evidence(kept, found, total)


def _iter_passages(documents: Sequence[Document | ItemFailed]) -> Iterator[tuple[QuotableDocument, IndexedPassage]]:
    for number in range(len(documents)):
        check_interrupt()
        yield from _cut_source(documents[number], number)  # no variable keeps it while the next one is read


def _cut_source(document: Document | ItemFailed, number: int) -> Iterator[tuple[QuotableDocument, IndexedPassage]]:
    if isinstance(document, ItemFailed):
        raise document.error
    places = QuotableDocument.from_document(document, number)
    return ((places, passage) for passage in cut_document(document, EVIDENCE_CHARS))


@frozen
class CheckedClaims:
    """The supports of each claim by the passages that were scored for it, the strongest first.

    ``method`` says how a remote server scored (``CandidateScores.method``).
    """

    supports: Sequence[Sequence[PassageSupport]]
    method: str


CheckRequests = Mapping[tuple[int, int | None], Sequence[Request]]
"""By the number of a claim and that of a passage, None: for the claim alone."""


def check_requests(scorer: SupportScorer, claims: Sequence[Claim], evidence: Evidence, prefix: str) -> CheckRequests:
    """Return the requests of ``check_claims``. Those about the same passage follow each other, to share its tokens.

    Their ids begin with ``prefix``.
    """
    requests: dict[tuple[int, int | None], Sequence[Request]] = {}
    for number, claim in enumerate(claims):
        if evidence.found[number]:
            requests[number, None] = scorer.claim_requests(f"{prefix}.{number}", claim)
    pairs = sorted((passage, number) for number, found in enumerate(evidence.found) for passage in found)
    for passage, number in pairs:
        name, text = f"{prefix}.{number}.{passage}", evidence.passages[passage]
        requests[number, passage] = scorer.passage_requests(name, claims[number], text)
    return requests


async def check_claims(
    run: TaskRun, scorer: SupportScorer, claims: Sequence[Claim], evidence: Evidence, prefix: str
) -> CheckedClaims:
    """Score claims against the passages that were found for them. Raises the failure of a request."""
    requests = check_requests(scorer, claims, evidence, prefix)
    answers = await run.gather(run.ask(request) for each in requests.values() for request in each)
    answer_of = {answer.finished.id: answer for answer in answers}

    def answers_to(number: int, passage: int | None) -> list[Answer]:
        return [answer_of[request.id] for request in requests[number, passage]]

    supports = []
    for number, claim in enumerate(claims):
        scored = [
            scorer.read(claim, evidence.passages[found], answers_to(number, found), answers_to(number, None))
            for found in evidence.found[number]
        ]
        supports.append(sorted(scored, key=lambda support: -support.probability))
    return CheckedClaims(supports, next((answer.method for answer in answers if answer.method), ""))
