"""Evaluated documents that are kept in files: later sequences begin with them, and only what is worth it is kept."""

from __future__ import annotations

import resource

import pytest
from engine.tools import SMOOTH, Engine, EngineOptions, Probe, answer, close, each_smooth_model, equal, numbers, req
from grid import grid

from llmcli.engine.kv import document_prefix_cache
from llmcli.engine.kv.document_prefix_cache import DocumentPrefixCache
from llmcli.engine.llama.state_files import NativeStateFile, StateFile

MODEL_ID = "5e" * 32
EXACT = {"unified": False, "kv_type": "q8_0"}
KINDS = [(name, config) for config in ({}, EXACT) for name in SMOOTH]
each_kind = grid(("name", "config"), KINDS, ids=[f"{n}-{'exact' if c else 'unified'}" for n, c in KINDS], rows=4)
PASSAGE = numbers(150, 3)
FORCED = numbers(4, 77)


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch):
    """Make the disk count as fast on any machine, since tiny models evaluate about as fast as a slow disk reads."""
    monkeypatch.setattr(document_prefix_cache, "_DISK_BYTES_PER_S", 1e15)


def ask(name, document, question, forced=()):
    """Return a sequence that begins with a document."""
    probe = Probe(name, [*document, *question], list(forced))
    probe.document_prefix_length = len(document)
    return probe


@pytest.fixture
def keeping(bench, tmp_path):
    """Return a function that makes a scheduler that keeps documents."""
    made = []

    def make(name, max_bytes=1 << 30, **config):
        scheduler = bench(name, **config)
        made.append(DocumentPrefixCache(tmp_path, max_bytes))
        scheduler.kv_cache.document_prefix_cache = made[-1]
        return scheduler

    yield make
    for each in made:
        each.close()


def forget(scheduler):
    """Empty the KV cache."""
    while scheduler.prefix_index.evict_lru():
        pass


@each_kind
def test_a_second_question_evaluates_no_token_of_the_document(bench, keeping, name, config):
    """Although the KV cache has lost it; the logits are those of a fresh evaluation."""
    scheduler = keeping(name, **config)
    scheduler.run(ask("first", PASSAGE, numbers(20, 5)))
    forget(scheduler)
    second = ask("second", PASSAGE, numbers(30, 6), FORCED)
    scheduler.run(second)
    restorable = scheduler.kv_cache.state_restorable
    assert second.num_cached_tokens == (len(PASSAGE) if restorable else 0)
    fresh = Probe("fresh", [*PASSAGE, *numbers(30, 6)], FORCED)
    bench(name, **config).run(fresh)
    (equal if config else close)(second.rows, fresh.rows)


@each_smooth_model
def test_more_documents_than_the_cache_holds_are_evaluated_once(keeping, name):
    """Two dozen passages, ranked for two questions after each other."""
    scheduler = keeping(name)
    passages = [numbers(60 + n, 100 + n) for n in range(24)]
    scheduler.run(*[ask(f"a{n}", each, numbers(20, 5)) for n, each in enumerate(passages)])
    before = scheduler.kv_cache.evaluated_tokens
    scheduler.run(*[ask(f"b{n}", each, numbers(25, 6)) for n, each in enumerate(passages)])
    again = scheduler.kv_cache.evaluated_tokens - before - 24 * 25
    # where each sequence has its own buffer, a state is only restored to one that is free
    assert again <= (2 * max(map(len, passages)) if scheduler.kv_cache.per_sequence_buffers else 0)
    assert len(scheduler.kv_cache.document_prefix_cache) == 24


@pytest.mark.parametrize(("name", "reused"), [("llama", 100), ("gemma3", 0), ("mamba", 0)])
def test_a_part_of_a_document_is_reused_where_the_memory_allows(keeping, name, reused):
    """Full attention can; windows and recurrent states cannot."""
    scheduler = keeping(name)
    scheduler.run(ask("first", PASSAGE, numbers(20, 5)))
    forget(scheduler)
    other = ask("other", [*PASSAGE[:100], *numbers(60, 8)], numbers(20, 6))
    scheduler.run(other)
    assert other.num_cached_tokens == reused


@pytest.mark.parametrize("unified", [True, False])
def test_a_state_serves_the_other_layout(bench, keeping, unified):
    """Passages are ranked in a buffer for all, and quoted with a buffer for each."""
    scheduler = keeping("llama", unified=unified, exact=False)
    scheduler.run(ask("first", PASSAGE, numbers(20, 5)))
    other = keeping("llama", unified=not unified, exact=False)
    other.kv_cache.document_prefix_cache = scheduler.kv_cache.document_prefix_cache
    second = ask("second", PASSAGE, numbers(30, 6), FORCED)
    other.run(second)
    assert second.num_cached_tokens == len(PASSAGE)
    fresh = Probe("fresh", [*PASSAGE, *numbers(30, 6)], FORCED)
    bench("llama", unified=not unified, exact=False).run(fresh)
    close(second.rows, fresh.rows)


def test_a_full_buffer_makes_room_for_a_state(keeping):
    """The cached prefix of the sequence before, with which it shares a beginning, keeps only that."""
    scheduler = keeping("llama", cells=512)
    shared, first, second = numbers(60, 2), numbers(190, 3), numbers(190, 4)
    for name, document in (("a", first), ("b", second)):
        scheduler.run(ask(name, [*shared, *document], numbers(20, 5)))
        forget(scheduler)
    scheduler.run(ask("c", [*shared, *first], numbers(200, 6)))
    again = ask("d", [*shared, *second], numbers(20, 7))
    scheduler.run(again)
    assert again.num_cached_tokens == 250


def test_a_small_part_is_not_worth_reading_the_state(keeping):
    """Passages have the instructions before them in common, at least."""
    scheduler = keeping("llama")
    scheduler.run(ask("first", PASSAGE, numbers(20, 5)))
    forget(scheduler)
    other = ask("other", [*PASSAGE[:30], *numbers(130, 8)], numbers(20, 6))
    scheduler.run(other)
    assert other.num_cached_tokens == 0


def test_the_state_survives_the_release_of_the_memory(keeping):
    """An idle worker frees its context; the next question about the document finds it all the same."""
    scheduler = keeping("llama")
    scheduler.kv_cache.idle_states._max_bytes = 0
    scheduler.run(ask("first", PASSAGE, numbers(20, 5)))
    scheduler.scheduler.on_idle()
    scheduler.scheduler.release_memory()
    second = ask("second", PASSAGE, numbers(30, 6))
    scheduler.run(second)
    assert second.num_cached_tokens == len(PASSAGE)


def test_ordinary_requests_are_not_kept(keeping):
    """No state is written without a document, nor for one that is cached already."""
    scheduler = keeping("llama")
    scheduler.run(Probe("a", [*PASSAGE, *numbers(20, 5)], []))
    assert len(scheduler.kv_cache.document_prefix_cache) == 0
    scheduler.run(ask("b", PASSAGE, numbers(20, 6)))
    assert len(scheduler.kv_cache.document_prefix_cache) == 0


def test_claims_about_one_document_write_it_once(keeping):
    """The others copy it from the one that runs first."""
    scheduler = keeping("llama")
    probes = [ask(f"p{n}", PASSAGE, numbers(20, 5 + n)) for n in range(6)]
    scheduler.run(*probes)
    assert len(scheduler.kv_cache.document_prefix_cache) == 1
    assert sorted(probe.num_cached_tokens for probe in probes) == [0] + [len(PASSAGE)] * 5


def test_states_stay_within_their_limit(keeping):
    """The least recently used one is evicted; a job does not evict what it uses itself."""
    scheduler = keeping("llama", max_bytes=0)
    kept = scheduler.kv_cache.document_prefix_cache
    scheduler.run(ask("a", PASSAGE, numbers(20, 5)))
    assert len(kept) == 0
    kept._max_bytes = int(2.5 * scheduler.kv_cache.context.state_size(next(iter(scheduler.kv_cache.id_pool.cached))))
    documents = [numbers(150, 40 + n) for n in range(3)]

    def run(*chosen):
        forget(scheduler)
        scheduler.scheduler.on_idle()
        probes = [ask(f"p{n}", documents[n], numbers(20, 6)) for n in chosen]
        scheduler.run(*probes)
        assert kept.total_bytes <= kept._max_bytes
        return [probe.num_cached_tokens > 0 for probe in probes]

    assert run(0, 1, 2) == [False, False, False]
    assert run(0, 1, 2) == [True, True, False]
    assert run(1, 2) == [True, False]
    assert run(1, 2) == [True, True]


@pytest.mark.parametrize(("limit", "kept"), [(8, 2), (resource.RLIM_INFINITY, 5)])
def test_the_number_of_files_is_limited(keeping, monkeypatch, limit, kept):
    """Each state takes a descriptor of the process."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    scheduler = keeping("llama")
    scheduler.run(*[ask(f"p{n}", numbers(60, 40 + n), numbers(20, 6)) for n in range(5)])
    assert len(scheduler.kv_cache.document_prefix_cache) == kept


def test_files_have_no_names(keeping, tmp_path):
    """No other process can open them, and none is left behind."""
    scheduler = keeping("llama")
    scheduler.run(ask("a", PASSAGE, numbers(20, 5)))
    assert len(scheduler.kv_cache.document_prefix_cache) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [NativeStateFile, StateFile])
def test_without_a_file_the_document_is_evaluated_again(keeping, monkeypatch, kind):
    """A full disk costs only the time."""
    monkeypatch.setattr(kind, "save" if kind is NativeStateFile else "write", lambda *_a, **_k: None)
    if kind is StateFile:
        monkeypatch.setattr(NativeStateFile, "save", lambda *_a, **_k: None)
    scheduler = keeping("llama")
    scheduler.run(ask("first", PASSAGE, numbers(20, 5)))
    forget(scheduler)
    second = ask("second", PASSAGE, numbers(30, 6))
    scheduler.run(second)
    assert second.num_cached_tokens == (len(PASSAGE) if kind is NativeStateFile else 0)


def test_an_unusable_directory_costs_only_the_time(keeping, tmp_path):
    """Requests are answered."""
    (tmp_path / "file").write_text("")
    scheduler = keeping("llama")
    scheduler.kv_cache.document_prefix_cache._directory = tmp_path / "file" / "below"
    scheduler.run(ask("first", PASSAGE, numbers(20, 5)))
    assert len(scheduler.kv_cache.document_prefix_cache) == 0


def test_an_evicted_state_is_not_restored(keeping):
    """It may have been evicted between the search and the use."""
    scheduler = keeping("llama")
    scheduler.run(ask("first", PASSAGE, numbers(20, 5)))
    kept = scheduler.kv_cache.document_prefix_cache
    _, found = kept.find_longest(PASSAGE, 150, scheduler.kv_cache.state_format, whole=True)
    kept.close()
    assert not kept.restore(found, scheduler.kv_cache.context, 9)


def test_a_slow_evaluation_is_worth_a_file_and_a_fast_one_is_not(keeping, monkeypatch):
    """If the disk is slower than the processor, nothing is kept."""
    monkeypatch.setattr(document_prefix_cache, "_DISK_BYTES_PER_S", 1.0)
    scheduler = keeping("llama")
    scheduler.run(ask("first", PASSAGE, numbers(20, 5)))
    assert len(scheduler.kv_cache.document_prefix_cache) == 0


# ---- engines ---------------------------------------------------------------------------------------------------------

TEXT = "the world of hello and yes and no is in it " * 12


def about(name, question, **fields):
    """Return a request with a document before the question."""
    return req(name, f"{TEXT}\n\n{question}", document_chars=len(TEXT) + 2, **fields)


@pytest.fixture
def engine(tiny, tmp_path):
    """Return a function that makes an engine."""
    made = []

    def make(name="chatml", *, keeps_documents=True, **options):
        options = {"cache": tmp_path, "prefix_bytes": 1 << 24, "threads": 1, **options}
        given = EngineOptions(**options)
        made.append(Engine(tiny(name), name, MODEL_ID, given, lambda: None, keeps_documents=keeps_documents))
        return made[-1]

    yield make
    for each in made:
        each.close()


def flood(engine):
    """Send requests about other things, until the KV cache has lost the document."""
    answer(engine, *[req(f"x{n}", f"{n} yes {n} no " * 12, max_tokens=1) for n in range(8)])


@each_smooth_model
def test_an_engine_that_serves_several_commands_keeps_documents(engine, name):
    """Of the second request only the question is evaluated, whether it scores or generates."""
    made = engine(name)
    scored = {"candidates": ("yes", "no"), "max_tokens": None}
    first = answer(made, about("a", "is it yes", **scored))["a"]
    for fields in (scored, {}):
        flood(made)
        second = answer(made, about("b", "what is it", **fields))["b"]
        question = second.finished.usage.prompt_tokens - second.cached
        assert first.finished.usage.prompt_tokens > 100
        assert 0 < question < 60


def test_an_engine_of_one_command_keeps_none(engine):
    """Nor one whose prefixes are switched off."""
    for options in ({"keeps_documents": False}, {"prefix_bytes": 0}):
        made = engine(**options)
        answer(made, about("a", "is it yes"))
        flood(made)
        second = answer(made, about("b", "what is it"))["b"]
        assert made._setup.document_prefix_cache is None
        assert second.cached < 60


def test_closing_an_engine_removes_the_files(engine):
    """At once, not with the process."""
    made = engine()
    answer(made, about("a", "is it yes"))
    states = made._setup.document_prefix_cache
    assert len(states) == 1
    made.close()
    assert len(states) == 0
