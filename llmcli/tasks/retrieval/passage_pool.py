"""The passages of documents and indexes, searched together."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Protocol

from llmcli.documents.reading.document import Document
from llmcli.fast_dataclass import frozen, replace
from llmcli.store.passage_index import IndexedPassage, PassageIndex, searched_text
from llmcli.store.word_ranking import WordRanking, fuse_rankings
from llmcli.tasks.retrieval.passage_cutter import cut_document
from llmcli.tasks.retrieval.passage_embedder import QuestionVector, rank_by_similarity

_DEPTH = 4  # each ranking is this many times as long as the result, so that both may agree on a passage


def search_index(index: PassageIndex, question: str, limit: int, asked: QuestionVector | None) -> list[int]:
    """Return the ids of passages, the best first: by BM25, joined with the similarity to the vector of the question."""
    by_words = index.search_words(question, _DEPTH * limit)
    if asked is None:
        return by_words[:limit]
    ids, vectors = index.vectors(asked.model)
    similar = [ids[position] for position in rank_by_similarity(asked.vector, vectors)[: _DEPTH * limit]]
    return join_vectors(by_words, similar, limit, dedicated=asked.dedicated)


def join_vectors(by_words: Sequence[int], similar: Sequence[int], limit: int, *, dedicated: bool) -> list[int]:
    """Return the best of both rankings.

    The hidden states of a model that answers rank much worse than words do, so they only add to these: what is found by
    words is never lost. With a ``dedicated`` model both rankings count alike.
    """
    return (fuse_rankings([by_words, similar]) if dedicated else list(dict.fromkeys([*by_words, *similar])))[:limit]


class PassageCollection(Protocol):
    """Passages that can be searched, known by their positions in the order of the documents."""

    @property
    def characters(self) -> int:
        """The length of all texts."""
        ...

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def search(self, question: str, limit: int) -> list[int]:
        """Return the positions of the passages that match a question, the best first."""
        ...

    def get(self, positions: Sequence[int]) -> dict[int, IndexedPassage]:
        """Return passages by their positions."""
        ...


class DocumentPassages:
    """The passages of documents, of at most ``max_chars`` characters each, indexed in memory."""

    def __init__(self, documents: Sequence[Document], max_chars: int) -> None:
        self._passages = [each for document in documents for each in cut_document(document, max_chars)]
        self.characters = sum(len(document.text) for document in documents)
        self._ranking = WordRanking()
        for number, each in enumerate(self._passages):
            self._ranking.add(number, searched_text(each.text, each.headings))

    def __len__(self) -> int:
        return len(self._passages)

    def search(self, question: str, limit: int) -> list[int]:
        """Return the passages that contain a word of the question, the best by BM25 first."""
        return self._ranking.search(question, limit)

    def get(self, positions: Sequence[int]) -> dict[int, IndexedPassage]:
        """Return passages by their positions."""
        return {each: self._passages[each] for each in positions}


class IndexPassages:
    """The passages of an index; ``asked`` is the vector of the question if the index has vectors of the same model.

    ``rename`` changes the names of files, which are absolute paths in an index, for references.
    """

    def __init__(
        self,
        index: PassageIndex,
        asked: QuestionVector | None = None,
        *,
        rename: Callable[[str], str],
    ) -> None:
        self._index = index
        self._rename = rename
        self._asked = asked
        self.characters = index.summary().characters
        sizes = index.file_sizes()
        self._files = [file for file, _ in sizes]
        self._starts = [0, *accumulate(count for _, count in sizes)]
        self._start_of = dict(zip(self._files, self._starts, strict=False))

    def __len__(self) -> int:
        return self._starts[-1]

    def search(self, question: str, limit: int) -> list[int]:
        """Return the passages that match the question by words and vectors, the best first."""
        found = search_index(self._index, question, limit, self._asked)
        positions = filter(None, map(self._index.position_in_file, found))
        return [self._start_of[file] + position for file, position in positions if file in self._start_of]

    def get(self, positions: Sequence[int]) -> dict[int, IndexedPassage]:
        """Return passages by their positions; those that another process removed meanwhile are missing."""
        ids = {each: self._id_at(each) for each in positions}
        known = self._index.passages([each for each in ids.values() if each is not None])
        return {
            position: replace(known[each], path=self._rename(known[each].path), source=self._rename(known[each].source))
            for position, each in ids.items()
            if each in known
        }

    def _id_at(self, position: int) -> int | None:
        number = bisect_right(self._starts, position) - 1
        return self._index.passage_by_position(self._files[number], position - self._starts[number])


@frozen
class FoundPassage:
    """A passage and its position among all passages of the pool."""

    position: int
    passage: IndexedPassage


class PassagePool:
    """Several collections as one."""

    def __init__(self, collections: Sequence[PassageCollection]) -> None:
        self._collections = collections
        self._starts = [0, *accumulate(map(len, collections))]
        self.characters = sum(each.characters for each in collections)

    def __len__(self) -> int:
        return self._starts[-1]

    def search(self, question: str, limit: int) -> list[FoundPassage]:
        """Return the passages that match a question, the best first. Ranks of the collections are joined."""
        rankings = [
            [start + each for each in collection.search(question, limit)]
            for start, collection in zip(self._starts, self._collections, strict=False)
        ]
        return list(self._load(fuse_rankings(rankings)[:limit]))

    def sample(self, count: int) -> list[FoundPassage]:
        """Return up to ``count`` passages that are evenly spaced, the first one among them."""
        step = max(1, -(-len(self) // count))
        return list(self._load(range(0, len(self), step)))

    def all(self) -> list[FoundPassage]:
        """Return all passages in their order."""
        return list(self._load(range(len(self))))

    def _load(self, positions: Sequence[int]) -> Iterator[FoundPassage]:
        found: dict[int, IndexedPassage] = {}
        for collection, start in zip(self._collections, self._starts, strict=False):
            own = collection.get([each - start for each in positions if start <= each < start + len(collection)])
            found |= {start + each: passage for each, passage in own.items()}
        yield from (FoundPassage(each, found[each]) for each in positions if each in found)


_BEST = 5
_BEHIND_PROSE = 2.5
"""How many ranks a passage without prose loses: two that have prose and rank just below it come first."""
_FENCED_BLOCK = re.compile(r"^ {0,3}(`{3,}(?=[^`\n]*$)|~{3,}).*?(?:^ {0,3}\1[`~]*\s*$|\Z)", re.MULTILINE | re.DOTALL)
_CODE_OR_HEADING_LINE = re.compile(r"^(?: {4}|\t| {0,3}#{1,6}(?:\s|$)).*$", re.MULTILINE)
_MARKED_LINE = re.compile(r"^.+\n[=-]{3,}[ ]*$", re.MULTILINE)


def prose_first(found: Sequence[FoundPassage]) -> list[FoundPassage]:
    """Return the passages, of which one that is mostly code or headings comes behind prose that ranks near it.

    The first ``_BEST`` remain the first: what a model is most likely to read stays there.
    """

    def rank(ranked: tuple[int, FoundPassage]) -> tuple[bool, float]:
        place, each = ranked
        return place >= _BEST, place + (0.0 if is_mostly_prose(each.passage.text) else _BEHIND_PROSE)

    return [each for _, each in sorted(enumerate(found), key=rank)]


def is_mostly_prose(text: str) -> bool:
    """Whether at least half of the words of a passage of Markdown or text are outside code blocks and headings."""
    prose = _FENCED_BLOCK.sub("", text)
    for pattern in (_MARKED_LINE, _CODE_OR_HEADING_LINE):
        prose = pattern.sub("", prose)
    return 2 * _count_visible(prose) >= _count_visible(text)


def _count_visible(text: str) -> int:
    return len("".join(text.split()))
