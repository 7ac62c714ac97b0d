"""Past bugs in choosing settings, moving states, caching and measuring."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from engine.profiles import FREE_WEIGHTS
from engine.tools import Engine, Probe, answer, engine_of, equal, numbers, req
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.kv import disk_prefix_cache, disk_prefix_store
from llmcli.engine.kv.disk_prefix_cache import DiskPrefixCache
from llmcli.engine.kv.disk_prefix_store import PrefixStore
from llmcli.engine.kv.sequence_ids import CachedPrefix, SequenceIdPool
from llmcli.engine.llama import hardware
from llmcli.engine.llama.context import CacheSettings
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.tuning import background_tuning
from llmcli.engine.tuning.cost_profile import CostProfile, load_profile, save_profile
from llmcli.engine.tuning.planner import Planner
from llmcli.files import private_files
from llmcli.prompts.prompt_parser import parse_prompt
from llmcli.types import Finished, FinishReason, Message, Role

STREAMS = {"unified": False, "kv_type": "q8_0"}
SYSTEM = "you are in the world of yes and no and it is hello to you"


def with_system(name, text):
    messages = (Message(Role.SYSTEM, SYSTEM), Message(Role.USER, text))
    return req(name, messages=messages, public_prefix=True)


@pytest.fixture
def public(tiny, tmp_path, monkeypatch):
    """Return functions that make an engine with a prefix cache, and read what it stored."""
    monkeypatch.setattr(disk_prefix_cache, "_DISK_BYTES_PER_S", 1e15)

    def start(name="chatml", **options):
        options = EngineOptions(cache=tmp_path, prefix_bytes=1 << 24, threads=1, **options)
        return Engine(tiny(name), name, "5e" * 32, options, lambda: None)

    def stored():
        found = []
        for file in sorted((tmp_path / "prefixes").glob("*.state")):
            data = file.read_bytes()
            count = disk_prefix_store._HEADER.unpack_from(data)[3]
            found.append(list(struct.unpack_from(f"<{count}i", data, disk_prefix_store._HEADER.size)))
        return found

    return start, stored


# ---- silent wrong answers ---- In separate buffers a move is a copy that llama.cpp makes at the next decode. Without a
# decode, the next resize saved the state of the target: garbage, which restores without an error. Logits were off by
# 13.8, with --deterministic too.


def test_a_stalled_sequence_that_was_moved_survives_a_larger_context(bench):
    """Its consumer is behind, a neighbour ended, a longer prompt comes: its answer is bit-identical to that alone."""
    scheduler = bench("chatml", **STREAMS)
    short, stalled = Probe("short", numbers(10, 1), numbers(2, 1)), Probe("stalled", numbers(40, 2), numbers(30, 2))
    scheduler.add(short, stalled)
    while not short.ended:
        scheduler.step()
    stalled.sink.full = True
    assert not scheduler.step()
    long = Probe("long", numbers(1200, 30), numbers(3, 3))
    scheduler.add(long)
    scheduler.step()
    stalled.sink.full = False
    scheduler.run()
    alone = Probe("alone", numbers(40, 2), numbers(30, 2))
    bench("chatml", **STREAMS).run(alone)
    equal(stalled.rows, alone.rows)


# ---- silent wrong answers ---- A state is written to an id at once. If that id had just been copied to a sequence
# admitted in the same step, and the copy was still pending, that sequence got the other state's keys and values. Logits
# were off by 10.6.


def test_restoring_does_not_disturb_a_pending_copy(models, bench, tmp_path, monkeypatch):
    """Three requests join in one step, one from memory and two from disk; each is bit-identical to the one alone."""
    monkeypatch.setattr(disk_prefix_cache, "_DISK_BYTES_PER_S", 1e15)
    store = PrefixStore(tmp_path / "p", 1 << 24, "x")

    def four_ids():
        scheduler = bench("chatml", **STREAMS)
        scheduler.scheduler._prefix_cache = DiskPrefixCache(scheduler.kv_cache, scheduler.prefix_index, lambda _: store)
        scheduler.run(Probe("x", numbers(5, 1), []), Probe("y", numbers(6, 2), []))
        return scheduler

    def probe(name, prompt, public=0):
        made = Probe(name, prompt, numbers(5, 3))
        made.public_prefix_length = public
        return made

    first, second, donor = (numbers(60, salt) for salt in (101, 102, 50))
    earlier = four_ids()
    for public in (first, second):
        earlier.run(probe("earlier", public + numbers(5, 1), 60))
    scheduler = four_ids()
    while scheduler.prefix_index.evict_lru():
        pass
    scheduler.run(Probe("donor", donor, []))
    joined = [
        probe("memory", donor + numbers(9, 7)),
        probe("disk1", first + numbers(8, 3), 60),
        probe("disk2", second + numbers(8, 4), 60),
    ]
    scheduler.run(*joined)
    for each in joined:
        alone = Probe("alone", each.tokens[: each.prompt_length], numbers(5, 3))
        bench("chatml", **STREAMS).run(alone)
        equal(each.rows, alone.rows)


# ---- the smaller cache is never tried ----


def test_memory_for_half_a_cache_is_enough(models, bench, monkeypatch):
    """If f16 does not fit, the job runs with q8_0 in the same layout."""
    room = int(700 * models("chatml").header.kv_bytes_per_token("f16", "f16"))
    monkeypatch.setattr(hardware, "available_memory", lambda: room)
    scheduler = bench("chatml")
    scheduler.kv_cache._planner = Planner(models("chatml"), EngineOptions(kv_unified=True), 1)
    probe = Probe("p", numbers(900, 1), [5, 6])
    scheduler.run(probe)
    (end,) = [event for event in probe.sink.events if isinstance(event, Finished)]
    assert end.reason is FinishReason.STOP and scheduler.kv_cache.settings == CacheSettings(kv_type="q8_0")


# ---- private tokens on disk ---- With a tokenizer that falls back on bytes, a message that begins with a character of
# U+F000-FFFF has the same first token as one that begins with a private-use character.


@pytest.mark.parametrize("name", ["chatml", "llama", "gemma3"])
def test_no_first_character_extends_the_public_prefix(public, name):
    """Whatever the first message begins with, nothing of a later one is stored."""
    start, stored = public
    engine = start(name)
    try:
        answer(engine, with_system("a", "\uff08x"))
        answer(engine, with_system("b", "world secret"))
        for tokens in stored():
            said = b"".join(map(engine._setup.tokenizer.token_to_piece, tokens))
            assert b"\xef" not in said and said.count(b"world") == 1
    finally:
        engine.close()


# ---- a damaged file is replaced one command late ----


def test_a_damaged_file_is_replaced_at_once(public, tmp_path):
    """The process that finds it evaluates the prefix and stores it again."""
    start, _ = public
    cached = []
    for number in range(3):
        engine = start()
        cached.append(answer(engine, with_system("a", "hello"))["a"].cached)
        engine.close()
        if number == 0:
            (file,) = (tmp_path / "prefixes").iterdir()
            file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert cached[:2] == [0, 0] and cached[2] > 0


# ---- smaller ones ----


def test_stats_may_be_read_before_the_model_is_loaded(tiny):
    """While loading, and after a failure to load, nothing is known and nothing is raised."""
    with engine_of(tiny("chatml"), threads=1) as engine:
        assert engine.stats().width is None


def test_closing_twice_measures_once(tiny, tmp_path, monkeypatch):
    """A second close() does not start a second measurement."""
    started = []
    monkeypatch.setattr(background_tuning, "start_process", started.append)
    monkeypatch.setattr(background_tuning, "_MIN_TOKENS", 1)
    monkeypatch.setattr(background_tuning, "pays", lambda *_: True)
    with engine_of(tiny("chatml"), model_id="5" * 64, threads=1, tune=True, cache=tmp_path) as engine:
        answer(engine, req("a", max_tokens=2))
        engine.close()
    assert len(started) == 1


@pytest.mark.parametrize("change", [1e400, float("nan"), -1.0, 10**400])
def test_a_profile_with_impossible_costs_is_ignored(tmp_path, change):
    """Infinite, NaN and negative costs, and an integer of 400 digits: none of them is used."""
    path = tmp_path / "p.json"
    save_profile(CostProfile({}, 0.0, FREE_WEIGHTS), path, 1)
    data = json.loads(path.read_text())
    assert load_profile(path, 1) is not None
    path.write_text(json.dumps(data | {"copy": change}))
    assert load_profile(path, 1) is None


def test_a_deeply_nested_profile_is_ignored(tmp_path):
    """JSON that is nested too deeply is ignored without an error."""
    (tmp_path / "p.json").write_text("[" * 100_000)
    assert load_profile(tmp_path / "p.json", 1) is None


def test_a_profile_that_could_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    """After an error (a full disk) no temporary file is left."""

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(private_files, "write_file", full)
    with pytest.raises(OSError, match="space"):
        save_profile(CostProfile({}, 0.0, FREE_WEIGHTS), tmp_path / "tuning" / "p.json", 1)
    assert not list((tmp_path / "tuning").iterdir())


def test_a_prefix_is_evicted_only_for_a_real_move():
    """A gap is cleared only when a sequence moves into it."""

    class Cells:
        def remove_sequence(self, slot):
            pass

        def move_sequence(self, source, target):
            pass

    places = SequenceIdPool(Cells(), 3)
    places.free_ids, places.cached = [], {0: CachedPrefix([1])}
    assert places.compact({1: 100, 2: 3}, 8) == {}
    assert places.cached == {0: CachedPrefix([1])}


def test_another_job_is_not_a_disturbance():
    """Steps behind a longer prompt take longer than those before, and that is no reason for fewer threads."""

    class Unknown:
        def busy_cores(self, *, rested=False):
            return None

    threads = ThreadPolicy(4, load=Unknown())
    for _ in range(20):
        threads.record(threads.pick(1), 1, 0.010)
    threads.record(threads.pick(512, prompt=True), 512, 2.0, prompt=True)  # a prompt of thousands of tokens
    for _ in range(8):
        threads.record(threads.pick(1), 1, 0.025)
    assert threads.pick(1) == 4 and "leave free" in threads.explanation


def test_a_users_own_variable_is_not_public():
    """A variable target_language of a prompt below generate/ has the value of --var, which stays private."""
    text = "description: d\nsystem: 'About {{ target_language }}'\nuser: u\nvariables: {target_language: {}}\n"
    assert not parse_prompt("generate/x", Path("x.yaml"), text).public_prefix


def test_tune_without_a_writable_cache_does_not_crash(tiny, tmp_path):
    """A cache that cannot be written is 73 or 74."""
    import subprocess
    import sys

    (tmp_path / "file").write_text("")
    code = "from llmcli.cli.main import run; import sys; sys.argv[1:] = ['models', 'tune', sys.argv[1]]; run()"
    environ = {**os.environ, "LLMCLI_CACHE_DIR": str(tmp_path / "file")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny("chatml"))], env=environ, check=False, capture_output=True, text=True
    )
    assert done.returncode in {73, 74}, done.stderr
