"""Drafts of the next tokens: made while they prove right; they never change an answer."""

from __future__ import annotations

import dataclasses
import random

import pytest
from engine.tools import Probe, answer, close, each_smooth_model, engine_of, numbers, only_scheduler_thread, req

from llmcli.engine.schedule.speculative_decoder import draft_row_cost
from llmcli.engine.sequences import generation_sequence
from llmcli.engine.sequences.generation_sequence import (
    MAX_DRAFT_TOKENS,
    MIN_DRAFT_TOKENS,
    GenerationSequence,
    PromptLookupDrafter,
)
from llmcli.types import FinishReason, Sampling, TokenLogprobs

STREAMS = {"unified": False, "kv_type": "f16", "exact": False}


def guesses_over(tokens, start, cost=0.45, most=MAX_DRAFT_TOKENS):
    """Return the drafts made at each length of ``tokens`` from ``start`` on, one token at a time."""
    some = PromptLookupDrafter()
    return [some.draft(tokens[:end], most, cost) for end in range(start, len(tokens))]


# ---- what is guessed -------------------------------------------------------------------------------------------------


def test_repeated_text_is_drafted_once_drafts_prove_right():
    """The first drafts are only compared; then they grow as long as they are right."""
    period = numbers(20, 1)
    made = guesses_over(period * 4, 25)
    lengths = [len(guess) for guess in made]
    assert lengths[0] == 0
    assert lengths[:30] == sorted(lengths[:30])
    assert max(lengths) == MAX_DRAFT_TOKENS
    for end, guess in enumerate(made, 25):
        assert guess == (period * 6)[end : end + len(guess)]


def test_text_that_never_repeats_is_not_drafted():
    """Without an earlier occurrence of the last tokens there is no draft."""
    assert not any(guesses_over(list(range(500)), 1))


def test_wrong_drafts_stop():
    """If something else follows each time, drafts are compared but not evaluated."""
    rng = random.Random(7)
    tokens = [token for _ in range(80) for token in (1, 2, 3, rng.randrange(10, 10_000))]
    assert not any(guesses_over(tokens, 4))


def test_one_wrong_draft_shortens_the_next_ones():
    """After a wrong draft fewer tokens are drafted, and more again if it was the only one."""
    period = numbers(12, 3)
    tokens = [*period * 4, 777, *period * 4]
    lengths = [len(guess) for guess in guesses_over(tokens, 13)]
    surprised = 12 * 4 + 1 - 13
    assert lengths[surprised - 1] == MAX_DRAFT_TOKENS
    assert max(lengths[surprised : surprised + 4]) < MAX_DRAFT_TOKENS
    assert max(lengths[surprised + 12 :]) == MAX_DRAFT_TOKENS


@pytest.mark.parametrize("most", [0, 1, MIN_DRAFT_TOKENS - 1, MIN_DRAFT_TOKENS, 5])
def test_drafts_fit_the_token_limit(most):
    """A draft fits the remaining tokens; very short drafts are not worth it."""
    longest = max(map(len, guesses_over(numbers(8, 1) * 9, 9, most=most)))
    assert longest == (most if most >= MIN_DRAFT_TOKENS else 0)


def test_expensive_rows_are_hardly_drafted():
    """The more a row costs, the more certain a draft has to be; the cost grows with the number of sequences."""
    tokens = [token for number in range(60) for token in (1, 2, 3, 4, 5, 6, 7, 8, 9, 1000 + number)]
    cheap, dear = (sum(map(len, guesses_over(tokens, 10, cost))) for cost in (0.2, 0.9))
    assert dear < cheap
    assert [draft_row_cost(count) for count in (1, 2, 16, 64)] == pytest.approx([0.45, 0.47, 0.75, 0.9])


def test_a_very_short_text():
    """Fewer tokens than a key have no draft."""
    some = PromptLookupDrafter()
    for tokens in ([], [1], [1, 1], [1, 1, 1], [1, 1, 1, 1]):
        assert some.draft(tokens, MAX_DRAFT_TOKENS, 0.4) == []


# ---- what is evaluated -----------------------------------------------------------------------------------------------


class Guesser(Probe):
    """A probe with drafts: some right tokens, then some wrong ones, in random numbers."""

    def __init__(self, name, prompt, forced, seed, **fields):
        super().__init__(name, prompt, forced, **fields)
        self._random = random.Random(seed)
        self._wants = list(forced)

    def propose_draft(self, cost):
        del cost
        said = len(self.tokens) - self.prompt_length
        right = self._wants[said : said + self._random.randrange(5)]
        self.draft_tokens = [*right, *self._random.choices(range(3, 200), k=self._random.randrange(4))][
            : self.tokens_left
        ]

    def process_logits(self, context, outputs):
        for output, guess in zip(outputs, [*self.draft_tokens[: len(outputs) - 1], None], strict=True):
            super().process_logits(context, [output])
            if self.ended or self.tokens[-1] != guess:
                break
        return []


@pytest.mark.parametrize("config", [{}, STREAMS], ids=["unified", "streams"])
@each_smooth_model
@pytest.mark.parametrize("count", [1, 5])
def test_drafts_change_no_logits(bench, name, config, count):
    """With right and wrong drafts side by side, all logits are those of a fresh evaluation without drafts."""
    scheduler = bench(name, **config)
    jobs = [(numbers(30 + 7 * i, i), numbers(40, 50 + i)) for i in range(count)]
    probes = [Guesser(f"p{i}", *job, seed=i) for i, job in enumerate(jobs)]
    for probe in probes:
        probe.sink = probes[0].sink
    scheduler.run(*probes)
    for probe, job in zip(probes, jobs, strict=True):
        fresh = Probe("fresh", *job)
        bench(name, **config).run(fresh)
        close(probe.rows, fresh.rows)
    made = scheduler.scheduler.speculative_decoder
    guessing = scheduler.kv_cache.can_speculate and not (scheduler.kv_cache.per_sequence_buffers and count > 1)
    assert (made.num_drafted_tokens > made.num_accepted_tokens > 0) if guessing else made.num_drafted_tokens == 0


def test_another_client_does_not_wait_for_drafts(bench):
    """A step with draft tokens takes longer, so none are evaluated while other sequences decode."""
    scheduler = bench("chatml")
    one, other = (Guesser(name, numbers(30, i), numbers(40, 9 + i), seed=i) for i, name in enumerate("ab"))
    scheduler.add(one, other)
    while not (one.ended or other.ended):
        scheduler.step()
    assert scheduler.scheduler.speculative_decoder.num_drafted_tokens == 0
    scheduler.run(Guesser("c", numbers(30, 3), numbers(40, 4), seed=3))
    assert scheduler.scheduler.speculative_decoder.num_drafted_tokens > 0


def test_deterministic_answers_use_no_drafts(bench):
    """Bit-identical answers are evaluated token by token."""
    scheduler = bench("chatml", unified=False, kv_type="q8_0")
    scheduler.run(Guesser("p", numbers(30, 1), numbers(40, 2), seed=1))
    assert scheduler.scheduler.speculative_decoder.num_drafted_tokens == 0


def test_a_sequence_with_drafts_leaves_a_valid_prefix(bench):
    """The cached tokens of an ended sequence contain no wrong draft."""
    scheduler = bench("chatml")
    prompt, said = numbers(60, 1), numbers(40, 2)
    scheduler.run(Guesser("p", prompt, said, seed=4))
    later = Probe("later", [*prompt, *said, *numbers(9, 3)], numbers(5, 4))
    scheduler.run(later)
    assert later.num_cached_tokens >= 99
    fresh = Probe("fresh", later.tokens[: later.prompt_length], numbers(5, 4))
    bench("chatml").run(fresh)
    close(later.rows, fresh.rows)


def test_a_full_cache_has_no_room_for_drafts(bench, monkeypatch):
    """If draft tokens do not fit, the step runs without them; no sequence waits or is preempted for them."""
    scheduler = bench("chatml")
    monkeypatch.setattr(type(scheduler.kv_cache), "grow_context", lambda *_: False)
    prompt = numbers(200, 1)
    probe = Guesser("p", prompt, numbers(55, 2), seed=2)
    scheduler.run(Guesser("q", numbers(200, 3), numbers(55, 4), seed=5))
    scheduler.run(probe, Guesser("r", prompt, numbers(300, 6), seed=3))
    fresh = Probe("fresh", prompt, numbers(55, 2))
    bench("chatml").run(fresh)
    close(probe.rows, fresh.rows)


# ---- what is said ----------------------------------------------------------------------------------------------------


@pytest.fixture
def oracle(monkeypatch):
    """Return a function that makes drafts from the answer of a first run, except every n-th token."""

    def set_to(tokens, wrong_every=0):
        def propose(_self, so_far, most, cost):
            del cost
            ahead = tokens[len(so_far) : len(so_far) + 6]
            if wrong_every:
                ahead = [7 if (len(so_far) + i) % wrong_every == 0 else token for i, token in enumerate(ahead)]
            return ahead[: max(0, most)]

        monkeypatch.setattr(PromptLookupDrafter, "draft", propose)

    return set_to


def run_noting(engine, request, monkeypatch):
    """Answer a request; return its outcome, its tokens and the number of evaluations."""
    noted = []
    real = GenerationSequence.finish
    monkeypatch.setattr(
        GenerationSequence, "finish", lambda self, *rest, **more: (noted.append(self), real(self, *rest, **more))
    )
    outcome = answer(engine, request)[request.id]
    monkeypatch.setattr(GenerationSequence, "finish", real)
    return outcome, list(noted[0].tokens)


@pytest.mark.parametrize("wrong_every", [0, 4])
@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 40},
        {"max_tokens": 1},
        {"max_tokens": 2},
        {"max_tokens": 40, "sampling": Sampling(temperature=0, repeat_penalty=1.3)},
        {"max_tokens": 30, "grammar": 'start: ("yes it is in the world " | "no ")+'},
    ],
    ids=["limit", "one", "two", "penalties", "grammar"],
)
def test_answers_are_the_same_and_end_the_same(tiny, monkeypatch, oracle, fields, wrong_every):
    """Limits, penalties and grammars apply token by token, whatever the drafts; only generated tokens are counted."""
    request = req("a", "hello world is it", ignore_eos="grammar" not in fields, **fields)
    monkeypatch.setattr(generation_sequence, "MIN_DRAFT_TOKENS", 99)
    with engine_of(tiny("chatml"), threads=1) as engine:
        plain, tokens = run_noting(engine, request, monkeypatch)
    oracle(tokens, wrong_every)
    with engine_of(tiny("chatml"), threads=1) as engine:
        guessed, again = run_noting(engine, request, monkeypatch)
        made = only_scheduler_thread(engine).scheduler.speculative_decoder
    assert (guessed.text, guessed.reason, guessed.finished.usage.completion_tokens) == (
        plain.text,
        plain.reason,
        plain.finished.usage.completion_tokens,
    )
    assert again == tokens
    assert (made.num_drafted_tokens > 0) == (plain.finished.usage.completion_tokens > 2)


def test_a_stop_string_within_a_draft(tiny, monkeypatch, oracle):
    """The answer ends before the stop string although more was drafted and evaluated."""
    request = req("a", "hello world is it", max_tokens=40, ignore_eos=True)
    with engine_of(tiny("chatml"), threads=1) as engine:
        plain, tokens = run_noting(engine, request, monkeypatch)
    stop = plain.text[12:15]
    oracle(tokens)
    with engine_of(tiny("chatml"), threads=1) as engine:
        outcome = answer(engine, req("a", "hello world is it", max_tokens=40, ignore_eos=True, stop=(stop,)))["a"]
        again = answer(engine, request)["a"]
    assert outcome.reason is FinishReason.STOP
    assert outcome.text == plain.text[: plain.text.index(stop)]
    assert again.text == plain.text


def test_log_probabilities_of_draft_tokens(tiny, oracle, monkeypatch):
    """Each token's own are reported once, in order."""
    request = req("a", "hello world is it", max_tokens=20, ignore_eos=True, logprobs=2)

    def told(engine):
        with engine.open() as job:
            job.submit(request)
            job.close_input()
            return [event for event in job if isinstance(event, TokenLogprobs)]

    with engine_of(tiny("chatml"), threads=1) as engine:
        plain = told(engine)
        _, tokens = run_noting(engine, dataclasses.replace(request, logprobs=None), monkeypatch)
    oracle(tokens)
    with engine_of(tiny("chatml"), threads=1) as engine:
        guessed = told(engine)
        assert only_scheduler_thread(engine).scheduler.speculative_decoder.num_accepted_tokens > 10
    assert [event.token for event in guessed] == [event.token for event in plain]
    assert [event.logprob for event in guessed] == pytest.approx([event.logprob for event in plain], abs=0.5)


def test_accepted_drafts_are_reported(tiny, monkeypatch, oracle):
    """``stats`` reports how many drafts were right, and nothing without drafts."""
    request = req("a", "hello world is it", max_tokens=20, ignore_eos=True)
    monkeypatch.setattr(generation_sequence, "MIN_DRAFT_TOKENS", 99)
    with engine_of(tiny("chatml"), threads=1) as engine:
        _, tokens = run_noting(engine, request, monkeypatch)
        assert not any("speculative decoding" in choice for choice in engine.stats().choices)
    oracle(tokens)
    with engine_of(tiny("chatml"), threads=1) as engine:
        answer(engine, request)
        made = only_scheduler_thread(engine).scheduler.speculative_decoder
        assert f"{made.num_accepted_tokens} of {made.num_drafted_tokens} draft tokens" in "\n".join(
            engine.stats().choices
        )
