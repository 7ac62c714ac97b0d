"""The work of a question about documents, without running the model."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.documents.reading.document import Document
from llmcli.tasks.execution.work_estimate import WorkEstimate
from llmcli.tasks.questions.document_question import MAX_PASSAGES, DocumentQuestion, IndexedSource, name_of_inputs


def estimate_question(
    question: DocumentQuestion, documents: Sequence[Document], indexed: Sequence[IndexedSource] = ()
) -> WorkEstimate:
    """Return the work of an answer; the backend only counts tokens.

    The passages that are read are those that rank highest by their words: the model's ranking is part of the work. Quotes
    of references are not counted.
    """
    name = name_of_inputs(documents, indexed) or "documents"
    whole = question.whole_request(documents, indexed)
    if whole is not None:
        request, passages = whole
        tokens = question.count([request])
        return WorkEstimate(name, "whole", len(passages) or len(documents), 1, tokens, question.expected_tokens)
    pool = question.make_pool(documents, indexed)
    found = question.find_candidates(pool)
    ranking = question.ranking_requests(found)
    best = found[:MAX_PASSAGES]
    chosen = question.choose(best, question.measure(best))
    tokens = question.count(ranking) + question.count([question.passages_request(chosen)])
    return WorkEstimate(name, "retrieval", len(pool), len(ranking) + 1, tokens, question.expected_tokens)
