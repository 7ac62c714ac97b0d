"""The work of a question about documents, without running the model."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.documents.reading.document import Document
from llmcli.tasks.questions.document_question import MAX_PASSAGES, DocumentQuestion
from llmcli.tasks.questions.question_sources import IndexedSource, name_of_inputs
from llmcli.tasks.runner.work_estimate import WorkEstimate

_TOKENS_PER_QUOTED_TOKEN = 3
"""Tokens of a passage for each that is quoted."""


def estimate_question(
    question: DocumentQuestion, documents: Sequence[Document], indexed: Sequence[IndexedSource] = ()
) -> WorkEstimate:
    """Return the work of an answer; the backend only counts tokens.

    The passages that are read are those that rank highest by their words: the model's ranking is part of the work. Each
    quote is taken to be a third of its passage. Quotes of references are not counted. Raises ``ContextOverflow`` for a
    question that does not fit.
    """
    name = name_of_inputs(documents, indexed) or "documents"
    whole = question.whole_request(documents, indexed)
    if whole is not None:
        request, passages = whole
        tokens = question.count([request])
        return WorkEstimate(name, "whole", len(passages) or len(documents), 1, tokens, question.expected_tokens)
    question.require_room(name_of_inputs(documents, indexed))
    pool = question.make_pool(documents, indexed)
    found = question.find_candidates(pool)
    ranking = question.ranking_requests(found)
    best = found[:MAX_PASSAGES]
    sizes = question.measure(best)
    if not ranking:
        tokens = question.count([question.passages_request(question.choose(best, sizes))])
        return WorkEstimate(name, "retrieval", len(pool), 1, tokens, question.expected_tokens)
    excerpts, quoted = question.excerpt_requests(best), sum(sizes) // _TOKENS_PER_QUOTED_TOKEN
    tokens = question.count([*ranking, *excerpts, question.passages_request([])]) + quoted
    calls = len(ranking) + len(excerpts) + 1
    return WorkEstimate(name, "retrieval", len(pool), calls, tokens, question.expected_tokens + quoted)
