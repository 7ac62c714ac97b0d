"""Samplers on fixed logits."""

from __future__ import annotations

import pytest
from engine.tools import Probe, numbers, req

from llmcli.engine.sampling.grammar_compiler import GrammarCompiler
from llmcli.engine.sampling.sampler import Sampler
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.types import Sampling


@pytest.fixture
def draw(bench, models):
    """Return a function that draws many times from the same logits."""
    scheduler = bench("chatml")
    scheduler.add(Probe("p", numbers(20, 1), [5, 6]))
    scheduler.step()
    handle = scheduler.kv_cache.context.handle

    def tokens(sampling, count=30, grammar=None):
        compiler = GrammarCompiler(models("chatml"), Tokenizer(models("chatml")), None, "")
        sampler = Sampler(models("chatml"), sampling, compiler.compile(req("a", grammar=grammar)))
        try:
            return [sampler.sample(handle, -1) for _ in range(count)]
        finally:
            sampler.close()

    return tokens


def test_greedy_draws_the_same_token(draw):
    """Temperature 0 always takes the most likely token."""
    assert len(set(draw(Sampling(temperature=0)))) == 1


@pytest.mark.parametrize("fields", [{"presence_penalty": 1000.0}, {"frequency_penalty": 1000.0}])
def test_a_penalty_keeps_tokens_from_coming_again(draw, fields):
    """A sampled token becomes less likely to be sampled again, within the window."""
    assert len(set(draw(Sampling(temperature=0, **fields)))) == 30


def test_a_repetition_penalty_makes_repetition_rarer(draw):
    """A factor above 1 makes sampled tokens less likely."""
    assert len(set(draw(Sampling(temperature=0, repeat_penalty=3.0)))) > 1


def test_penalties_count_the_tokens_that_a_grammar_chose(draw):
    """Tokens sampled with a grammar count for the penalties too."""
    tokens = draw(Sampling(temperature=0, presence_penalty=1000.0), count=6, grammar="start: /[a-z]{40}/")
    assert len(set(tokens)) == 6


def test_a_closed_sampler_may_be_closed_again(models):
    """Freeing twice is harmless."""
    sampler = Sampler(models("chatml"), Sampling())
    sampler.close()
    sampler.close()
