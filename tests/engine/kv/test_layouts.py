"""Every kind of memory under pressure: a full cache and more sequences than run at once, against fresh evaluations."""

from __future__ import annotations

import pytest
from engine.tools import GENERATIVE, SMOOTH, Bench, Probe, close, equal, numbers
from grid import grid

from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.llama.context import Context
from llmcli.errors import OutOfMemory
from llmcli.types import Finished, FinishReason

EXACT = {"unified": False, "kv_type": "q8_0"}
CONFIGS = {"unified": {}, "streams": {"unified": False, "exact": False}, "plain": {"flash_attention": False}}
KINDS = [(n, c) for c in CONFIGS.values() for n in SMOOTH] + [(n, EXACT) for n in GENERATIVE]
IDS = [f"{n}-{i}" for i in CONFIGS for n in SMOOTH] + [f"{n}-exact" for n in GENERATIVE]
each_kind = grid(("name", "config"), KINDS, ids=IDS, rows=6)
STARTS = [numbers(12, 1), numbers(50, 2), numbers(40, 2) + numbers(20, 3), []]


def subject(number: int) -> Probe:
    """Return one of many sequences; they begin alike in groups, and some begin where others end."""
    prompt = STARTS[number % 4] + numbers(2 + 3 * (number // 4), 20 + number // 8)
    return Probe(f"s{number}", prompt, numbers(3 + number % 9, 50 + number))


@pytest.fixture(scope="module")
def fresh(models):
    """Return a function from a model and settings to the logits of subjects, each evaluated in its own context."""
    known: dict[object, Probe] = {}

    def rows(name, config, number):
        key = (name, *config.items(), number)
        if key not in known:
            known[key] = subject(number)
            scheduler = Bench(models(name), **config)
            scheduler.run(known[key])
            scheduler.close()
        return known[key].rows

    return rows


def compare(name, config, probes, fresh):
    """Assert that all ended well, with logits close to fresh evaluations, or bit-identical if that is promised."""
    for probe in probes:
        assert [e.reason for e in probe.sink.events if isinstance(e, Finished)] == [FinishReason.STOP]
        expected = fresh(name, config, int(probe.request.id[1:]))
        (equal if config == EXACT else close)(probe.rows, expected)


@pytest.fixture(params=[True, False], ids=["counted", "crowded"])
def counted(request, monkeypatch):
    """Return whether the cells are counted before a sequence joins the running ones."""
    if not request.param:
        monkeypatch.setattr(KVCacheManager, "has_cells_for", lambda *_: True)
    return request.param


@pytest.fixture
def room_for(monkeypatch):
    """Return a function that limits contexts to this many cells; it returns the return codes of evaluations."""

    def limit(cells):
        codes: list[int] = []

        class Small(Context):
            def __init__(self, model, config, *more, **named):
                if config.tokens > cells:
                    raise OutOfMemory("a context", needed=config.tokens, available=cells)
                super().__init__(model, config, *more, **named)

            def evaluate(self, **named):
                codes.append(super().evaluate(**named))
                return codes[-1]

        monkeypatch.setattr("llmcli.engine.kv.manager.Context", Small)
        return codes

    return limit


@each_kind
def test_a_full_cache_changes_no_answer(bench, room_for, fresh, counted, *, name, config):
    """If the cache cannot hold all sequences, they take turns, and each has the logits of a fresh evaluation.

    This is the case when more run than there is room for. If cells are counted before a sequence joins, the cache is
    never full.
    """
    numbers_of = range(20, 36)
    for number in numbers_of:
        fresh(name, config, number)
    codes = room_for(512 if config.get("unified", True) else 256 * 5)
    scheduler = bench(name, **config)
    probes = [subject(number) for number in numbers_of]
    scheduler.run(*probes, steps=3000)
    if (
        config.get("unified", True) and name != "mamba"
    ):  # a recurrent state is no longer for a longer text; streams are never too short
        assert (1 in codes) is not counted
    compare(name, config, probes, fresh)


@each_kind
def test_many_sequences_have_the_logits_of_fresh_evaluations(bench, fresh, name, config):
    """Forty sequences that begin alike in groups, more than run at once, are each evaluated correctly."""
    probes = [subject(number) for number in range(40)]
    scheduler = bench(name, **config)
    scheduler.run(*probes)
    assert sum(probe.num_cached_tokens for probe in probes) > 0
    compare(name, config, probes, fresh)
