"""Searches an index: by words, and by vectors where they exist."""

from __future__ import annotations

from llmcli.store.passage_index import PassageIndex, fuse_rankings
from llmcli.tasks.retrieval.passage_embedder import rank_by_similarity

_DEPTH = 4  # each ranking is this many times as long as the result, so that both may agree on a passage


def search_index(
    index: PassageIndex, question: str, limit: int, vector: bytes | None = None, model: str = ""
) -> list[int]:
    """Return the ids of passages, the best first: by BM25, joined with the similarity to ``vector`` by ``model``."""
    rankings = [index.search_words(question, _DEPTH * limit)]
    if vector is not None:
        ids, vectors = index.vectors(model)
        similar = rank_by_similarity(vector, vectors)[: _DEPTH * limit]
        rankings.append([ids[position] for position in similar])
    return fuse_rankings(rankings)[:limit]
