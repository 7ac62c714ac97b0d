"""The nearest texts are those with the highest cosine, once mean and deviation of all vectors are taken out."""

from __future__ import annotations

import numpy as np
import pytest

from llmcli.tasks.retrieval import nearest_texts
from llmcli.tasks.retrieval.nearest_texts import NearestTexts
from llmcli.tasks.retrieval.passage_embedder import shrunk_deviations


@pytest.fixture
def collect():
    """Return a collection of texts with the given vectors."""
    made = []

    def collection(*vectors):
        texts = NearestTexts()
        made.append(texts)
        for number, vector in enumerate(vectors, 1):
            texts.add("", number, f"text {number}\n\u00e4", vector)
        return texts

    yield collection
    for each in made:
        each.close()


@pytest.mark.parametrize("block", [2, 4096])
def test_the_order_is_that_of_the_cosines(collect, monkeypatch, block):
    """As computed at once from all of them; the scores are the cosines."""
    monkeypatch.setattr(nearest_texts, "_BLOCK_ROWS", block)
    rows = np.random.default_rng(1).normal(size=(9, 5)) + 3
    query = np.random.default_rng(2).normal(size=5) + 3
    found = collect(*rows.tolist()).nearest(query.tolist(), 4)
    deviations = shrunk_deviations(rows.var(axis=0), len(rows))
    scaled, wanted = (rows - rows.mean(axis=0)) / deviations, (query - rows.mean(axis=0)) / deviations
    cosines = scaled @ wanted / np.linalg.norm(scaled, axis=1) / np.linalg.norm(wanted)
    assert [each.line - 1 for each in found] == np.argsort(-cosines)[:4].tolist()
    assert [each.score for each in found] == pytest.approx(sorted(cosines, reverse=True)[:4], abs=1e-5)
    assert found[0].text == f"text {found[0].line}\n\u00e4"


def test_a_large_component_does_not_decide_alone(collect):
    """The second text is nearer in the first component only, which is a hundred times as large as the others."""
    others = [[100 * (-1) ** n, n % 3 - 1, 1 - n % 3] for n in range(40)]
    found = collect([50, 1, 2], [100, -1, -2], *others).nearest([100, 1, 2], 1)
    assert found[0].line == 1


def test_equal_texts_come_in_their_order(collect):
    """The first ones are kept."""
    assert [each.line for each in collect([1, 0], [1, 0], [1, 0], [0, 1]).nearest([1, 0], 2)] == [1, 2]


def test_one_text_has_its_plain_cosine(collect):
    """Its mean would be itself."""
    (only,) = collect([3, 4]).nearest([0, 2], 5)
    assert only.score == pytest.approx(0.8)


def test_a_threshold_leaves_out_the_rest(collect):
    """No texts give no result."""
    assert [each.line for each in collect([1, 0], [0, 1], [1, 0.1], [0, 1]).nearest([1, 0], 9, 0.5)] == [1, 3]
    assert collect().nearest([1, 0], 3) == []
