"""Scores of candidates equal the sums of log-probabilities from evaluating each candidate alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from engine.tools import Bench, ListSink, Probe, answer, each_model, engine_of, numbers, req, user
from grid import grid

from llmcli.engine.sequences import scoring_sequence
from llmcli.engine.sequences.scoring_sequence import ScoringSequence, TargetTokens
from llmcli.engine.sequences.sequence import common_prefix_length
from llmcli.engine.text.chat_template import ChatTemplate
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.errors import ContextOverflow, UsageError
from llmcli.types import FinishReason

TEXT = "is it positive or negative? " * 4


@pytest.fixture
def brute_force(bench, models):
    """Return a function that scores one candidate alone: the prompt, then one token a step."""

    def score(name, candidate):
        tokenizer = Tokenizer(models(name))
        template = ChatTemplate(models(name).chat_template(), tokenizer)
        prompt, _ = template.tokenize(user(TEXT), reasoning=False)
        whole, _ = template.tokenize(user(TEXT), reasoning=False, prefix=candidate)
        start = common_prefix_length(prompt, whole)
        probe = Probe("alone", whole[:start], whole[start:-1])
        bench(name).run(probe)
        total = 0.0
        for row, token in zip(probe.rows, whole[start:], strict=True):
            values = row.astype(np.float64)
            total += values[token] - np.log(np.exp(values - values.max()).sum()) - values.max()
        return total, len(whole) - start

    return score


SETS = {
    "one token each": ("a", "b", "c"),
    "several tokens": ("positive!", "negative?", "quite unlike"),
    "a common beginning": ("abcx", "abcy", "abd"),
    "one begins another": ("no", "no way", "no way out"),
    "one alone": ("hello you",),
    "one alone of one token": ("a",),
    "twice the same": ("yes!", "no", "yes!"),
    "many": tuple(f"label {i}" for i in range(60)),
    "long": ("ab " * 90, "cd " * 40),
}


@pytest.mark.parametrize("candidates", SETS.values(), ids=SETS.keys())
@grid("name", ["chatml", "gemma3", "lfm2"])
def test_scores_are_those_of_each_candidate_alone(engines, brute_force, name, candidates):
    """Every score sums the log-probabilities of all tokens of its candidate, in the candidates' order."""
    outcome = answer(engines(name), req("s", TEXT, candidates=candidates))["s"]
    assert [score.candidate for score in outcome.scores] == list(candidates)
    for score in outcome.scores[:: max(1, len(candidates) // 6)]:
        expected, tokens = brute_force(name, score.candidate)
        assert score.tokens == tokens
        assert score.logprob == pytest.approx(expected, abs=0.04 * tokens + 0.05)


@each_model
def test_deterministic_scores_do_not_depend_on_the_batch(engines, name):
    """Alone, and among fifteen other scoring or generating requests, the scores are the same numbers."""
    engine = engines(name, deterministic=True, threads=1)
    request = req("s", TEXT, candidates=("yes", "no way", "abc", "abd"))
    alone = answer(engine, request)["s"].scores
    others = [req(f"g{i}", TEXT + str(i), max_tokens=9) for i in range(8)]
    others += [req(f"s{i}", "hello " * i, candidates=("no", "yes it is", "no no no")) for i in range(7)]
    assert answer(engine, *others[:8], request, *others[8:])["s"].scores == alone


@each_model
def test_probabilities_of_single_tokens_sum_to_less_than_one(engines, name):
    """Single tokens exclude each other."""
    outcome = answer(engines(name), req("s", TEXT, candidates=tuple("abcdefghijklmnopqrstuvwxyz")))["s"]
    one_token = [score.logprob for score in outcome.scores if score.tokens == outcome.scores[0].tokens]
    assert len(one_token) == 26
    assert 0 < math.fsum(map(math.exp, one_token)) <= 1


def test_the_prompt_is_evaluated_once_for_all_candidates(bench, models):
    """Sixty candidates take the time of their own tokens, not of sixty prompts."""
    tokenizer = Tokenizer(models("chatml"))
    prompt = tokenizer.encode(TEXT * 5)
    candidates = [prompt + tokenizer.encode(f"no {i}") for i in range(60)]
    request = req("s", candidates=tuple(f"no {i}" for i in range(60)))
    for config in ({}, {"unified": False, "kv_type": "q8_0"}):
        scheduler = bench("chatml", **config)
        sink = ListSink()
        scheduler.run(ScoringSequence(request, prompt, candidates, sink))
        assert len(sink.events) == 2
        assert scheduler.kv_cache.context.evaluated_tokens < 2 * len(prompt) + 60 * 6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chatml", "mamba"])
def test_many_scoring_requests_all_end(engines, name):
    """Hundreds of requests with several candidates each are answered, and nothing is left over."""
    requests = [req(f"s{i}", f"{i} {TEXT}", candidates=("yes!", "no!", f"it is {i}")) for i in range(200)]
    outcomes = answer(engines(name), *requests)
    assert all(len(o.scores) == 3 and o.reason == FinishReason.STOP for o in outcomes.values())


def test_an_empty_candidate_is_refused(engines):
    """Nothing has no probability."""
    assert isinstance(answer(engines("chatml"), req("s", candidates=("a", "")))["s"].error, UsageError)


def test_a_candidate_without_a_preceding_token_is_refused(engines):
    """The first token of a text has no probability: an empty prompt is an error, not an endless wait."""
    engine = engines("chatml")
    assert answer(engine, req("s", candidates=("a", "b"), messages=()))["s"].scores  # the template alone is a prompt


def test_candidates_that_do_not_fit_are_refused(tiny):
    """A candidate longer than the context is an overflow with figures."""
    with engine_of(tiny("llama"), ctx=256) as engine:
        error = answer(engine, req("s", candidates=("a", "x" * 300)))["s"].error
    assert isinstance(error, ContextOverflow)
    assert error.context == 256 < error.tokens


@pytest.mark.parametrize("aborted_step", [2, 3, 4, 6])
def test_scoring_that_starts_again_counts_every_token_once(models, aborted_step):
    """When an abort loses the evaluated tokens of long candidates, their sums start again as well."""
    prompt, shared = numbers(20, 1), numbers(150, 2)
    candidates = [prompt + shared + numbers(100, 3), prompt + shared + numbers(90, 4)]
    aborting = {"now": False}

    def scores(aborted_at):
        bench = Bench(models("mamba"), abort=lambda: aborting["now"], unified=False, kv_type="q8_0")
        sink = ListSink()
        bench.add(ScoringSequence(req("s", candidates=("a", "b")), prompt, candidates, sink))
        for number in range(60):
            aborting["now"] = number == aborted_at
            if bench.scheduler.has_work:
                bench.step()
        bench.close()
        return sink.events[0].scores

    assert scores(aborted_step) == scores(None)


def test_target_tokens_are_scored_in_any_number_of_steps(monkeypatch):
    """Each output scores one token, outputs beyond the last token none; a reset starts again."""
    monkeypatch.setattr(scoring_sequence, "token_logprobs", lambda _context, output, tokens: [output + tokens[0] / 8])
    targets = TargetTokens([1, 2, 3])
    assert targets.score(None, [10, 20]) == 2 and not targets.all_scored
    assert targets.score(None, [30, 40]) == 1 and targets.all_scored
    assert sum(targets.logprobs) == 60 + (1 + 2 + 3) / 8 and len(targets) == 3
    targets.reset()
    assert targets.logprobs == [] and not targets.all_scored
    assert targets.score(None, [1, 1, 1]) == 3 and sum(targets.logprobs) == 3 + 6 / 8


@pytest.mark.parametrize("name", ["chatml", "mamba"])
def test_tokens_are_reported_if_the_request_asks_for_it(engines, name):
    """Their log-probabilities sum to that of the candidate, and their bytes are those of its text."""
    request = req("s", TEXT, candidates=("It is so.", "no"), logprobs=0)
    for score in answer(engines(name), request)["s"].scores:
        assert sum(score.token_logprobs) == pytest.approx(score.logprob)
        assert len(score.token_logprobs) == len(score.token_bytes) == score.tokens
        assert sum(score.token_bytes) - len(score.candidate) in {0, 1}
    plain = answer(engines(name), req("s", TEXT, candidates=("It is so.", "no")))["s"].scores
    assert all(score.token_logprobs == score.token_bytes == () for score in plain)


@pytest.mark.parametrize("name", ["chatml", "gemma3", "mamba"])
def test_candidates_may_continue_a_text_without_the_template(engines, models, bench, name):
    """The tokens of text and candidate are those of both together, and each has the score that it has alone."""
    tokenizer = Tokenizer(models(name))
    request = req("s", messages=(), prompt="Good day", candidates=(" to you all!", " to"), logprobs=0)
    outcome = answer(engines(name), request)["s"]
    for score in outcome.scores:
        prompt, whole = tokenizer.encode_prompt("Good day"), tokenizer.encode_prompt("Good day" + score.candidate)
        start = common_prefix_length(prompt, whole)
        probe = Probe("alone", whole[:start], whole[start:-1])
        bench(name).run(probe)
        assert len(score.token_logprobs) == len(whole) - start
        for row, token, logprob in zip(probe.rows, whole[start:], score.token_logprobs, strict=True):
            values = row.astype(np.float64)
            expected = values[token] - np.log(np.exp(values - values.max()).sum()) - values.max()
            assert logprob == pytest.approx(expected, abs=0.07)


def test_a_long_text_is_scored_token_by_token(engines):
    """One candidate of hundreds of tokens takes many steps; all of its tokens are reported."""
    text = "It is a long text. " * 20
    outcome = answer(engines("llama"), req("s", messages=(), prompt="\n", candidates=(text,), logprobs=0))["s"]
    (score,) = outcome.scores
    assert sum(score.token_bytes) == len(text) and len(score.token_logprobs) == score.tokens
    assert sum(score.token_logprobs) == pytest.approx(score.logprob)
