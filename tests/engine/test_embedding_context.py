"""Vectors of whole texts, pooled by llama.cpp as the file of an embedding model says."""

from __future__ import annotations

import contextlib

from engine.tools import numbers
from llmcli.engine.embedding import EmbeddingContext
from llmcli.engine.llama.context import ContextConfig

CONFIG = ContextConfig(256, sequences=1, batch=256, unified=False)


def evaluated(context: EmbeddingContext, tokens: list[int]) -> list[float]:
    context.batch.clear()
    context.batch.add(tokens, 0, 0, range(len(tokens)))
    assert context.evaluate(abortable=True) == 0
    return context.read_states()[0].tolist()


def test_an_encoder_pools(models):
    """Its vector does not grow with the text, and does not depend on the text before."""
    model = models("bert")
    with contextlib.closing(EmbeddingContext(model, CONFIG, lambda: False)) as encoder:
        one = evaluated(encoder, [5])
        assert len(one) == len(evaluated(encoder, [5] * 100)) == model.header.metadata["bert.embedding_length"]
        assert evaluated(encoder, [5]) == one


def test_an_evaluation_can_be_aborted(models):
    """Interactive work comes first."""
    with contextlib.closing(EmbeddingContext(models("bert"), CONFIG, lambda: True)) as aborted:
        aborted.batch.add(numbers(40, 1, 50), 0, 0, range(40))
        assert aborted.evaluate(abortable=True) == 2
