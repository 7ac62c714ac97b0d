"""Reuse of evaluated tokens: correct within the limits of the default mode, and really used."""

from __future__ import annotations

import numpy as np
import pytest
from engine.tools import Probe, answer, close, each_model, numbers, one_by_one, req

from llmcli.types import Message, Role


def differ(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return max(np.abs(x - y).max() for x, y in zip(a, b, strict=True)) > 1.5


@pytest.fixture
def fresh(bench):
    """Return a function that evaluates a prompt and its continuation in a new context."""

    def rows(name, prompt, forced):
        probe = Probe("fresh", prompt, forced)
        bench(name).run(probe)
        return probe.rows

    return rows


FORCED = numbers(4, 77)


@each_model
def test_a_continued_sequence_has_the_logits_of_a_fresh_one(bench, fresh, name):
    """A prompt that continues a cached one is evaluated correctly, also beyond an attention window of 32."""
    long, more = numbers(120, 1), numbers(30, 2)
    scheduler = bench(name)
    scheduler.run(Probe("first", long, []))
    second = Probe("second", long + more, FORCED)
    scheduler.run(second)
    assert second.num_cached_tokens == 120
    close(second.rows, fresh(name, long + more, FORCED))


@each_model
def test_a_shared_prefix_has_the_logits_of_a_fresh_one(bench, fresh, name):
    """Prompts that share a prefix and then differ are each evaluated correctly, in one batch and one after another."""
    shared = numbers(90, 3)
    prompts = [shared + numbers(5 + 9 * i, 10 + i) for i in range(5)]
    scheduler = bench(name)
    batch = [Probe(f"b{i}", prompt, FORCED) for i, prompt in enumerate(prompts)]
    scheduler.run(*batch)
    later = [Probe(f"l{i}", prompt, FORCED) for i, prompt in enumerate(prompts)]
    for probe in later:
        scheduler.run(probe)
    rows = [fresh(name, prompt, FORCED) for prompt in prompts]
    assert differ(rows[0], rows[1])
    for probe, expected in zip((*batch, *later), rows * 2, strict=True):
        close(probe.rows, expected)


@each_model
def test_an_identical_prompt_is_evaluated_only_at_its_end(bench, fresh, name):
    """The same prompt again gives the same logits."""
    prompt = numbers(70, 5)
    scheduler = bench(name)
    scheduler.run(Probe("first", prompt, FORCED))
    again = Probe("again", prompt, FORCED)
    scheduler.run(again)
    close(again.rows, fresh(name, prompt, FORCED))


@each_model
def test_copying_from_a_running_sequence_does_not_disturb_it(bench, fresh, name):
    """A running sequence whose prefix others copy keeps its own logits, and they have theirs."""
    prompt = numbers(100, 6)
    scheduler = bench(name)
    donor = Probe("donor", prompt, numbers(12, 8))
    scheduler.add(donor)
    while not donor.rows:
        scheduler.step()
    taker = Probe("taker", prompt + numbers(20, 9), FORCED)
    scheduler.run(taker)
    close(donor.rows, fresh(name, prompt, numbers(12, 8)))
    close(taker.rows, fresh(name, prompt + numbers(20, 9), FORCED))


@each_model
def test_moving_to_a_larger_context_keeps_running_sequences(bench, fresh, name):
    """Sequences of different lengths, some with a shared prefix, survive the move together."""
    shared = numbers(60, 3)
    prompts = [shared + numbers(7, 30), shared + numbers(40, 31), numbers(150, 32)]
    scheduler = bench(name)
    probes = [Probe(f"p{i}", prompt, numbers(8, 40 + i)) for i, prompt in enumerate(prompts)]
    scheduler.add(*probes)
    while not all(probe.rows for probe in probes):
        scheduler.step()
    assert scheduler.kv_cache.grow_context(scheduler.scheduler._running)
    scheduler.check()
    scheduler.run()
    for i, probe in enumerate(probes):
        close(probe.rows, fresh(name, prompts[i], numbers(8, 40 + i)))


@pytest.mark.parametrize("config", [{}, {"unified": False, "kv_type": "q8_0"}], ids=["unified", "streams"])
@each_model
def test_a_common_prefix_is_evaluated_once(bench, name, config):
    """Sixteen requests with a long common prefix evaluate it once and copy it."""
    scheduler = bench(name, **config)
    probes = [Probe(f"p{i}", numbers(200, 1) + numbers(5 + i, 20 + i), []) for i in range(16)]
    scheduler.run(*probes)
    assert sorted(probe.num_cached_tokens for probe in probes)[1:] == [200] * 15
    assert scheduler.kv_cache.context.evaluated_tokens == 200 + sum(5 + i for i in range(16))


@pytest.mark.parametrize("config", [{}, {"unified": False, "kv_type": "q8_0"}], ids=["unified", "streams"])
@each_model
def test_a_common_prefix_is_evaluated_at_most_once_more_in_a_larger_context(bench, name, config):
    """Where states cannot move, one of the running requests evaluates it for all, also for those that come later."""
    scheduler = bench(name, **config)
    probes = [Probe(f"p{i}", numbers(200, 1) + numbers(5, 20 + i), numbers(20, i)) for i in range(8)]
    scheduler.add(*probes)
    while not all(probe.rows for probe in probes):
        scheduler.step()
    before = scheduler.kv_cache.evaluated_tokens
    assert scheduler.kv_cache.grow_context(scheduler.scheduler._running)
    scheduler.run(Probe("late", numbers(200, 1) + numbers(5, 90), []))
    assert scheduler.kv_cache.evaluated_tokens - before <= 200 + 8 * (5 + 20) + 5


@each_model
def test_a_growing_chat_evaluates_only_the_new_turn(engines, name):
    """Each turn reuses the whole prompt of the previous one."""
    engine = engines(name)
    turns = [Message(Role.USER, "hello world, is it in you? " * 8)]
    previous = 0
    for number in range(4):
        outcome = answer(engine, req(f"t{number}", messages=tuple(turns), max_tokens=1))[f"t{number}"]
        assert outcome.cached >= previous
        # on models without control tokens the first new token may merge with the prompt's last one
        previous = outcome.finished.usage.prompt_tokens - (3 if name in {"llama", "gemma3"} else 0)
        turns += [Message(Role.ASSISTANT, "yes"), Message(Role.USER, f"and {number}?")]


@pytest.mark.parametrize("config", [{}, {"unified": False, "kv_type": "q8_0"}], ids=["unified", "streams"])
@each_model
def test_conversations_that_go_on_do_not_evict_each_other(bench, name, config):
    """Four of them stay evaluated, whichever goes on first: what an earlier turn left is evicted before the others."""
    scheduler = bench(name, **config)
    talks = [numbers(60, 50 + i) for i in range(4)]
    scheduler.run(*(Probe(f"t{i}", talk, numbers(8, i)) for i, talk in enumerate(talks)))
    for i in (3, 0, 2, 1):
        more = Probe(f"m{i}", talks[i] + numbers(8, i) + numbers(20, 90), [])
        scheduler.run(more)
        assert more.num_cached_tokens >= 60 + 8 - 1


@pytest.mark.parametrize("unified", [True, False])
@each_model
def test_the_cache_stays_bounded_over_hundreds_of_requests(bench, name, unified):
    """After every step each sequence id is free, cached or running, and few are cached in the end."""
    config = {} if unified else {"unified": False, "kv_type": "q8_0"}
    scheduler = bench(name, **config)
    for wave in range(20):
        probes = [
            Probe(f"w{wave}.{i}", numbers(3 + (wave * 7 + i * 5) % 60, i % 4), numbers(i % 3, 1)) for i in range(15)
        ]
        scheduler.run(*probes)
    assert len(scheduler.kv_cache.id_pool.cached) <= 4
    assert scheduler.kv_cache.context.config.sequences <= 64


def test_cached_tokens_count_what_was_not_evaluated(bench):
    """``cached_tokens`` and the tokens that the context evaluated add up to the prompts."""
    scheduler = bench("llama")
    probes = [Probe(f"p{i}", numbers(100, 1) + numbers(9, 20 + i), []) for i in range(6)]
    scheduler.run(*probes)
    evaluated = scheduler.kv_cache.context.evaluated_tokens
    assert sum(109 - probe.num_cached_tokens for probe in probes) == evaluated
    assert evaluated <= 109 + 5 * 10


def test_a_repeated_question_after_other_work_has_the_same_answer(engines):
    """In deterministic mode a greedy answer stays the same, whatever else was evaluated in between."""
    engine = engines("gemma3", deterministic=True)
    first = one_by_one(engine, req("a", "is it yes " * 10, max_tokens=20))["a"].text
    answer(engine, *[req(f"o{i}", f"{i} no " * (i + 1)) for i in range(12)])
    assert one_by_one(engine, req("a", "is it yes " * 10, max_tokens=20))["a"].text == first
