"""Sequences that join, are cancelled and aborted at random, on every kind of memory: answers stay correct."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from engine.tools import Bench, Probe, close, each_model, each_smooth_model, equal, numbers

from llmcli.engine.llama.context import CacheSettings

STREAMS = {"unified": False, "kv_type": "q8_0"}
each_seed = pytest.mark.parametrize("seed", range(4))
STARTS = [numbers(12, 1), numbers(30, 2), numbers(90, 3), numbers(60, 4)]


def subject(number: int) -> Probe:
    """Return one of the sequences whose logits are compared; they begin alike in groups."""
    prompt = STARTS[number % 4] + numbers(3 * (number // 4) + 1, 20 + number // 4)
    return Probe(f"r{number}", prompt, numbers(5 + number % 7, 50 + number))


class Turmoil:
    """A scheduler with random arrivals, cancellations and aborted evaluations; the same for the same seed."""

    def __init__(self, model, seed: int, config: dict[str, object]) -> None:
        self.random = random.Random(seed)
        self.calls_left: int | None = None
        self.bench = Bench(model, abort=self.should_abort, **config)
        self.guests: list[Probe] = []

    def should_abort(self) -> bool:
        if self.calls_left is None:
            return False
        self.calls_left -= 1
        return self.calls_left < 0

    def run(self, subjects: list[Probe]) -> None:
        waiting = list(subjects)
        for turn in range(3000):
            calm = turn > 40
            while waiting and (calm or self.random.random() < 0.6):
                self.bench.add(waiting.pop(0))
            if not calm:
                self.disturb()
            if self.bench.scheduler.has_work:
                self.bench.step()
            self.calls_left = None
            if not waiting and all(probe.ended for probe in subjects):
                return
        raise AssertionError("the scheduler never ends")

    def disturb(self) -> None:
        if self.random.random() < 0.3:
            prompt = self.random.choice(STARTS) + numbers(self.random.choice([5, 40, 300]), self.random.randint(5, 9))
            self.guests.append(Probe(f"g{len(self.guests)}", prompt, numbers(self.random.choice([3, 30, 300]), 1)))
            self.bench.add(self.guests[-1])
        if self.guests and self.random.random() < 0.3:
            victim = self.random.choice(self.guests)
            self.bench.scheduler.cancel(lambda sequence: sequence is victim)
            self.calls_left = self.random.choice([0, 1, 5, 20, 60])


@pytest.fixture(scope="module")
def expected(models):
    """Return a function from a model's name and settings to the logits of all subjects, each evaluated alone."""
    known: dict[object, list[Probe]] = {}

    def get(name, config):
        key = (name, *config)
        if key not in known:
            known[key] = [subject(number) for number in range(16)]
            for probe in known[key]:
                bench = Bench(models(name), **config)
                bench.run(probe)
                bench.close()
        return known[key]

    return get


@each_seed
@each_model
def test_exact_answers_survive_random_events(models, expected, name, seed):
    """With deterministic settings all logits are bit-identical to those of each sequence alone."""
    turmoil = Turmoil(models(name), seed, STREAMS)
    subjects = [subject(number) for number in range(16)]
    try:
        turmoil.run(subjects)
    finally:
        turmoil.bench.close()
    for probe, alone in zip(subjects, expected(name, STREAMS), strict=True):
        equal(probe.rows, alone.rows)


@each_seed
@each_smooth_model
def test_answers_survive_random_events(models, expected, name, seed):
    """In the default mode all logits are close to those of each sequence alone."""
    turmoil = Turmoil(models(name), seed, {})
    subjects = [subject(number) for number in range(16)]
    try:
        turmoil.run(subjects)
    finally:
        turmoil.bench.close()
    for probe, alone in zip(subjects, expected(name, {}), strict=True):
        close(probe.rows, alone.rows)


class Fickle:
    """A planner that prefers another layout at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.moves = 0

    def choose(self, _waiting, _width, current, _capacity, _reusable):
        return current or CacheSettings()

    def choose_layout(self, _together, _width, current, _capacity):
        wanted = replace(current, unified=self.random.random() < 0.5)
        self.moves += wanted != current
        return wanted


@each_seed
@each_smooth_model
def test_answers_survive_changes_of_the_layout(models, expected, name, seed, monkeypatch):
    """Layouts change again and again during random events; states that cannot move stay."""
    turmoil = Turmoil(models(name), seed, {"exact": False})
    cache = turmoil.bench.kv_cache
    cache._planner = planner = Fickle(seed)
    lay_out = cache._change_layout

    def at_once(together, running):
        cache._layout_concurrency = 0
        lay_out(together, running)

    monkeypatch.setattr(cache, "_change_layout", at_once)
    subjects = [subject(number) for number in range(16)]
    try:
        turmoil.run(subjects)
    finally:
        turmoil.bench.close()
    assert (planner.moves > 3) is not cache._model.sliding_window
    for probe, alone in zip(subjects, expected(name, {}), strict=True):
        close(probe.rows, alone.rows)
