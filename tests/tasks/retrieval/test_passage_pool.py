"""The order of passages that were found."""

import pytest

from llmcli.store.passage_index import IndexedPassage
from llmcli.tasks.retrieval.passage_pool import FoundPassage, is_mostly_prose, join_vectors, prose_first

PROSE = "The porter has the key of the vault."
CODE = "```sh\nopen vault\nopen door\n```"


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        (PROSE, True),
        (CODE, False),
        (f"Type this:\n\n{CODE}", False),
        (f"{PROSE} {PROSE}\n\n{CODE}", True),
        ("~~~\nopen vault\n", False),
        ("# The vault", False),
        ("# The vault\n\n## Opening hours\n", False),
        ("The vault\n=========\n", False),
        (f"# The vault\n\n{PROSE}", True),
        (f"Vault\n-----\n{PROSE}", True),
        ("    open vault\n    open door\n", False),
        ("- one\n- two\n", True),
        ("```not code``` is a span", True),
        ("#hashtag and #another", True),
        ("", True),
    ],
)
def test_prose_is_not_code_or_headings(text, prose):
    """Fenced and indented blocks, and headings of both forms, are no prose."""
    assert is_mostly_prose(text) is prose


def found(*texts):
    return [FoundPassage(n, IndexedPassage("a", text, "a", None, 1, 1, 0, ())) for n, text in enumerate(texts)]


def test_prose_comes_before_code_that_ranks_near_it():
    """Two ranks at most; the order is kept otherwise, and the first five remain the first."""
    order = prose_first(found(CODE, PROSE, PROSE, PROSE, CODE, CODE, PROSE))
    assert [each.position for each in order] == [1, 2, 0, 3, 4, 6, 5]
    assert [each.position for each in prose_first(found(CODE, CODE, CODE))] == [0, 1, 2]


def test_vectors_of_the_answering_model_only_add_to_the_words():
    """What words find is never lost; with a model that was chosen for vectors both rankings count alike."""
    assert join_vectors([1, 2, 3], [9, 3, 8], 4, dedicated=False) == [1, 2, 3, 9]
    assert join_vectors([1, 2, 3], [9, 3, 8], 4, dedicated=True) == [3, 1, 9, 2]
