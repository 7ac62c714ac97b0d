"""The sources of a question: documents, directories with an index, and the passages of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.fast_dataclass import frozen
from llmcli.store.passage_index import IndexedPassage
from llmcli.tasks.retrieval.passage_pool import FoundPassage, PassageCollection


@frozen
class NumberedPassage:
    """A passage in the prompt."""

    number: int
    name: str
    text: str


@frozen
class IndexedSource:
    """A directory or large file with an index, of ``characters``: read whole by ``read``, searched in ``collection``.

    ``collection`` gets the longest passage that may be made, in characters. ``name``: that of a file.
    ``has_vectors``: a model may compute the vector of the question for the search.
    """

    characters: int
    read: Callable[[], list[Document]]
    collection: Callable[[Backend, str, int], PassageCollection]
    name: str = ""
    has_vectors: bool = False


def name_of_inputs(documents: Sequence[Document], indexed: Sequence[IndexedSource]) -> str:
    """Return the name of the only input, "" for several."""
    names = [*(each.name for each in documents), *(each.name for each in indexed)]
    return names[0] if len(names) == 1 else ""


def share_of_tokens(
    found: Sequence[FoundPassage], sizes: Sequence[int], chosen: Sequence[FoundPassage], characters: int
) -> float:
    """Return the share of the tokens of all documents that are in the chosen passages.

    The documents, of so many ``characters``, are not counted: their tokens are as long as those of the passages found.
    """
    size_of = {each.position: size for each, size in zip(found, sizes, strict=True)}
    tokens_per_character = sum(sizes) / max(1, sum(len(each.passage.text) for each in found))
    total = tokens_per_character * characters
    return min(1.0, sum(size_of[each.position] for each in chosen) / total) if total else 1.0


def number_passage(number: int, passage: IndexedPassage) -> NumberedPassage:
    """Return a passage with its number and the name of its place."""
    name = passage.source if passage.page is None else f"{passage.source}, page {passage.page}"
    return NumberedPassage(number, name, passage.text)
