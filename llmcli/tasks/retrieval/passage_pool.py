"""The passages of documents and indexes, searched together."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

from llmcli.documents.reading.document import Document
from llmcli.store.retrieval.passage_index import IndexedPassage, PassageIndex
from llmcli.store.retrieval.rank_fusion import fuse_rankings
from llmcli.store.retrieval.word_search import WORDS_DEFINITION, add_words, search_words
from llmcli.tasks.retrieval.index_search import search_index
from llmcli.tasks.retrieval.passage_cutter import cut_document


class PassageCollection(Protocol):
    """Passages that can be searched; their ids are in the order of the documents."""

    @property
    def characters(self) -> int:
        """The length of all texts."""
        ...

    def ids(self) -> list[int]:
        """Return all passages in their order."""
        ...

    def search(self, question: str, limit: int) -> list[int]:
        """Return the passages that match a question, the best first."""
        ...

    def get(self, ids: Sequence[int]) -> dict[int, IndexedPassage]:
        """Return passages by their ids."""
        ...


class DocumentPassages:
    """The passages of documents, of at most ``max_chars`` characters each, indexed in memory."""

    def __init__(self, documents: Sequence[Document], max_chars: int) -> None:
        self._passages = [each for document in documents for each in cut_document(document, max_chars)]
        self.characters = sum(len(document.text) for document in documents)
        self._database = sqlite3.connect(":memory:")
        self._database.execute(WORDS_DEFINITION)
        for number, each in enumerate(self._passages):
            add_words(self._database, number, "\n".join([*each.headings, each.text]))

    def ids(self) -> list[int]:
        """Return all passages in their order."""
        return list(range(len(self._passages)))

    def search(self, question: str, limit: int) -> list[int]:
        """Return the passages that contain a word of the question, the best by BM25 first."""
        return search_words(self._database, question, limit)

    def get(self, ids: Sequence[int]) -> dict[int, IndexedPassage]:
        """Return passages by their ids."""
        return {each: self._passages[each] for each in ids}


class IndexPassages:
    """The passages of an index; ``vector`` is that of the question by ``model`` if the index has vectors of it.

    ``rename`` changes the names of files, which are absolute paths in an index, for references.
    """

    def __init__(
        self,
        index: PassageIndex,
        vector: bytes | None = None,
        model: str = "",
        *,
        rename: Callable[[str], str] = str,
    ) -> None:
        self._index = index
        self._rename = rename
        self._vector = vector
        self._model = model
        self.characters = index.summary().characters

    def ids(self) -> list[int]:
        """Return all passages in their order."""
        return self._index.passage_ids()

    def search(self, question: str, limit: int) -> list[int]:
        """Return the passages that match the question by words and vectors, the best first."""
        return search_index(self._index, question, limit, self._vector, self._model)

    def get(self, ids: Sequence[int]) -> dict[int, IndexedPassage]:
        """Return passages by their ids."""
        return {
            number: replace(each, path=self._rename(each.path), source=self._rename(each.source))
            for number, each in self._index.passages(ids).items()
        }


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage and its position among all passages of the pool."""

    position: int
    passage: IndexedPassage


class PassagePool:
    """Several collections as one."""

    def __init__(self, collections: Sequence[PassageCollection]) -> None:
        self._collections = collections
        self._ids = [each.ids() for each in collections]
        self._starts = [0, *accumulate(map(len, self._ids))]
        self.characters = sum(each.characters for each in collections)

    def __len__(self) -> int:
        return self._starts[-1]

    def search(self, question: str, limit: int) -> list[FoundPassage]:
        """Return the passages that match a question, the best first. Ranks of the collections are joined."""
        rankings = []
        for number, collection in enumerate(self._collections):
            places = {each: self._starts[number] + place for place, each in enumerate(self._ids[number])}
            rankings.append([places[each] for each in collection.search(question, limit) if each in places])
        return list(self._load(fuse_rankings(rankings)[:limit]))

    def sample(self, count: int) -> list[FoundPassage]:
        """Return up to ``count`` passages that are evenly spaced, the first one among them."""
        step = max(1, -(-len(self) // count))
        return list(self._load(range(0, len(self), step)))

    def all(self) -> list[FoundPassage]:
        """Return all passages in their order."""
        return list(self._load(range(len(self))))

    def _load(self, positions: Sequence[int]) -> Iterator[FoundPassage]:
        by_collection: list[dict[int, IndexedPassage]] = [
            collection.get([ids[each - start] for each in positions if start <= each < start + len(ids)])
            for collection, ids, start in zip(self._collections, self._ids, self._starts, strict=False)
        ]
        for position in positions:
            number = next(n for n, start in enumerate(self._starts[1:]) if position < start)
            passage = by_collection[number].get(self._ids[number][position - self._starts[number]])
            if passage is not None:
                yield FoundPassage(position, passage)
