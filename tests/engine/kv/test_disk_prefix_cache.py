"""Evaluated prefixes on disk, tested through the engine: the next process uses them, they are correct and private."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import struct

import pytest
from engine.tools import GENERATIVE, Bench, Engine, Probe, answer, each_model, equal, numbers, req, wild
from grid import grid

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.kv import disk_prefix_cache, disk_prefix_store
from llmcli.engine.kv.disk_prefix_cache import DiskPrefixCache
from llmcli.engine.kv.disk_prefix_store import PrefixStore
from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import Context
from llmcli.engine.schedule import invariant_batches
from llmcli.engine.sequences.sequence import common_prefix_length
from llmcli.errors import BadModelFile, InternalError, LlmError
from llmcli.types import Message, Role

MODEL_ID = "5e" * 32
SYSTEM = "you are in the world of yes and no and it is hello to you"
SECRET = "positive quartz"
EXACT = {"deterministic": True}


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch):
    """Make the disk count as fast on any machine, since tiny models evaluate about as fast as a slow disk reads."""
    monkeypatch.setattr(disk_prefix_cache, "_DISK_BYTES_PER_S", 1e15)


def with_system(name, text, system=SYSTEM, **fields):
    """Return a request whose system message comes from a prompt file."""
    messages = (Message(Role.SYSTEM, system), Message(Role.USER, text))
    return req(name, messages=messages, **{"public_prefix": True, **fields})


@pytest.fixture
def process(tiny, tmp_path):
    """Return a function that makes an engine, as a new command would, and closes it at the end of the block."""

    @contextlib.contextmanager
    def start(name="chatml", model_id=MODEL_ID, **options):
        options = {"cache": tmp_path, "prefix_bytes": 1 << 24, "threads": 1, **options}
        engine = Engine(tiny(name), name, model_id, EngineOptions(**options), lambda: None)
        try:
            yield engine
        finally:
            engine.close()

    return start


@pytest.fixture
def ask(process):
    """Return a function that answers a request in a new process."""

    def run(name, request, **how):
        with process(name, **how) as engine:
            return answer(engine, request)[request.id]

    return run


@pytest.fixture
def stored(tmp_path):
    """Return a function that reads the tokens of all stored files."""

    def tokens():
        found = []
        for file in sorted((tmp_path / "prefixes").glob("*")):
            data = file.read_bytes()
            count = disk_prefix_store._HEADER.unpack_from(data)[3]
            found.append(list(struct.unpack_from(f"<{count}i", data, disk_prefix_store._HEADER.size)))
        return found

    return tokens


# ---- the next process ------------------------------------------------------------------------------------------------


@each_model
def test_the_next_process_does_not_evaluate_the_prefix_again(ask, stored, name):
    """The second process starts where the file ends, and gives the same greedy answer."""
    request = with_system("a", "hello", max_tokens=20)
    first, second = ask(name, request), ask(name, request)
    (tokens,) = stored()
    assert first.cached == 0 and second.cached == len(tokens) >= 16
    assert second.text == first.text and second.finished.usage.completion_tokens > 1


@each_model
def test_another_message_is_answered_as_without_a_file(ask, name):
    """The file only has the prefix: the rest is evaluated, and the answer is the same as without a file."""
    ask(name, with_system("a", "hello world", max_tokens=2))
    request = with_system("b", "is it no", max_tokens=20)
    with_file, without = ask(name, request), ask(name, request, cache=None)
    assert with_file.cached > 0 and without.cached == 0
    assert with_file.text == without.text


@each_model
def test_deterministic_answers_are_bit_identical(ask, stored, name):
    """With --deterministic, random samples and all scores equal those of a process that evaluated everything."""
    ask(name, with_system("a", "hello world", max_tokens=2), **EXACT)
    drawn = with_system("b", "is it no", sampling=wild(7), max_tokens=40, ignore_eos=True)
    scored = with_system("c", "is it no", candidates=("yes", "no", "the world"))
    for request in (drawn, scored):
        with_file, without = ask(name, request, **EXACT), ask(name, request, cache=None, **EXACT)
        assert with_file.text == without.text and with_file.scores == without.scores
        assert with_file.text or with_file.scores
    # a sliding window in separate buffers is not stored: a restored state would lose cells
    assert bool(stored()) is (name != "gemma3")


def test_a_deterministic_process_starts_where_the_file_ends(ask, stored):
    """Bit-identical answers do not require a new evaluation."""
    request = with_system("a", "hello")
    ask("chatml", request, **EXACT)
    assert ask("chatml", request, **EXACT).cached == len(stored()[0])


def test_all_requests_of_a_job_share_the_file(process, stored):
    """The state is loaded once, and all requests of the job share it."""
    with process() as engine:
        answer(engine, with_system("first", "hello"))
    with process() as engine:
        outcomes = answer(engine, *[with_system(f"r{i}", f"{i} is it") for i in range(8)])
    (tokens,) = stored()
    assert {outcome.cached for outcome in outcomes.values()} == {len(tokens)}


def test_scoring_uses_the_file_too(ask, stored):
    """A classification is a short question after a long prompt file."""
    request = with_system("a", "hello world", candidates=("yes", "no"))
    first, second = ask("chatml", request), ask("chatml", request)
    assert 0 <= len(stored()[0]) - second.cached < 2 * invariant_batches.MIN_ROWS and first.cached == 0
    assert second.scores == first.scores


def test_a_prefix_in_memory_is_not_read_again(process, monkeypatch):
    """Within a process a prefix is written once and read at most once."""
    calls = []
    for name in ("load", "save"):
        monkeypatch.setattr(PrefixStore, name, _noted(calls, name))
    for expected in (["save"], ["load"]):
        with process() as engine:
            for number in range(3):
                answer(engine, with_system(f"r{number}", f"{number} hello"))
        assert calls == expected
        calls.clear()


def _noted(calls, name):
    real = getattr(PrefixStore, name)

    def call(store, *arguments):
        calls.append(name)
        return real(store, *arguments)

    return call


def test_a_longer_prefix_extends_a_shorter_one(ask, stored):
    """A prompt file that continues another one is evaluated from there, and stored whole."""
    ask("chatml", with_system("a", "hello"))
    longer = (
        Message(Role.SYSTEM, SYSTEM),
        Message(Role.USER, "is it in the world"),
        Message(Role.ASSISTANT, "yes it is"),
        Message(Role.USER, "hello"),
    )
    request = dataclasses.replace(with_system("b", ""), messages=longer)
    first, second = ask("chatml", request), ask("chatml", request)
    short, long = sorted(stored(), key=len)
    assert long[: len(short)] == short
    assert (first.cached, second.cached) == (len(short), len(long))
    assert first.text == second.text


# ---- what is kept ----------------------------------------------------------------------------------------------------


@each_model
def test_the_last_message_is_never_stored(ask, process, stored, name):
    """The stored tokens are those with which every prompt of that file begins, whatever the user writes."""
    ask(name, with_system("a", SECRET))
    (tokens,) = stored()
    with process(name) as engine:
        engine.info()
        for text in (SECRET, "no", "7", "the world is hello"):
            prompt, _ = engine._setup.template.tokenize(with_system("b", text).messages, reasoning=False)
            assert prompt[: len(tokens)] == tokens
        said = b"".join(map(engine._setup.tokenizer.token_to_piece, tokens)).decode()
    assert said.rstrip().endswith(("hello to you", "user"))
    assert not any(word in said for word in SECRET.split())


def test_requests_of_one_file_share_one_prefix(process, stored):
    """However many messages are answered, one prefix is stored."""
    with process() as engine:
        answer(engine, *[with_system(f"r{i}", f"{text} hello") for i, text in enumerate(["no", "yes", "7", "x", "is"])])
    assert len(stored()) == 1


@each_model
def test_a_private_prompt_leaves_no_file(ask, tmp_path, name):
    """Without ``public_prefix`` (a conversation) nothing is written or read."""
    private = with_system("a", "hello", public_prefix=False)
    ask(name, private)
    assert not list(tmp_path.iterdir())
    ask(name, with_system("b", "hello"))
    assert ask(name, private).cached == 0


@pytest.mark.parametrize(
    "how", [{"prefix_bytes": 0}, {"cache": None}, {"model_id": "/a/path.gguf"}, {"model_id": MODEL_ID[:-1] + "G"}]
)
def test_nothing_is_stored_when_storing_is_disabled(ask, tmp_path, how):
    """With a size limit of 0, no directory, or weights without a known hash there is no file and no reuse."""
    for number in range(2):
        assert ask("chatml", with_system(f"r{number}", "hello"), **how).cached == 0
    assert not list(tmp_path.iterdir())


def test_a_short_prefix_is_not_stored(ask, stored):
    """Reading fifteen tokens is not worth a file."""
    ask("chatml", req("a", "hello world " * 20, public_prefix=True))
    ask("chatml", with_system("b", "hello", system="no"))
    assert not stored()


def test_a_prefix_that_is_quick_to_evaluate_is_not_stored(ask, stored, monkeypatch):
    """If the disk is slower than the model, nothing is written."""
    monkeypatch.setattr(disk_prefix_cache, "_DISK_BYTES_PER_S", 1e-9)
    ask("chatml", with_system("a", "hello"))
    assert not stored()


def test_files_stay_within_the_limit(ask, stored, tmp_path):
    """The least recently used prefixes are evicted when the limit is reached."""
    ask("chatml", with_system("a", "hello"))
    (one,) = (tmp_path / "prefixes").iterdir()
    limit = int(2.5 * one.stat().st_size)
    for number in range(4):
        ask("chatml", with_system("b", "hello", system=f"{number} {SYSTEM}"), prefix_bytes=limit)
    assert len(stored()) == 2
    assert sum(file.stat().st_size for file in (tmp_path / "prefixes").iterdir()) <= limit


# ---- what is not used ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"model_id": "6f" * 32},
        {"kv_type": "q8_0"},
        {"kv_type": "bf16"},
        {"flash_attention": False},
        EXACT,
    ],
    ids="-".join,
)
def test_other_weights_and_settings_do_not_use_the_file(ask, stored, other):
    """A state is only valid for the weights, cache type and kernel that it was made with."""
    fixed = {"kv_type": "f16", "kv_unified": True, "flash_attention": True}
    request = with_system("a", "hello")
    ask("chatml", request, **fixed)
    if "deterministic" in other:
        fixed = {}
    assert ask("chatml", request, **{**fixed, **other}).cached == 0
    assert len(stored()) == 2
    assert ask("chatml", request, **{**fixed, **other}).cached > 0


@pytest.mark.parametrize("unified", [True, False])
def test_both_layouts_use_the_same_file(ask, stored, unified):
    """The state of one sequence is the same in a buffer for all and in its own."""
    request = with_system("a", "hello")
    ask("chatml", request, kv_type="f16", kv_unified=unified)
    assert ask("chatml", request, kv_type="f16", kv_unified=not unified).cached > 0
    assert len(stored()) == 1


def test_another_prompt_file_does_not_use_it(ask):
    """A prompt that differs in its first words does not use the prefix."""
    ask("chatml", with_system("a", "hello"))
    assert ask("chatml", with_system("a", "hello", system=f"no {SYSTEM}")).cached == 0


@grid("name", ["chatml", "gemma3", "mamba", "lfm2"])
@pytest.mark.parametrize("place", [0.5, 0.9, 1.0])
def test_a_damaged_file_is_evaluated_again_and_replaced(ask, tmp_path, name, place):
    """With one wrong bit the file is unusable: the answer is the same as without it, and it is written again."""
    request = with_system("a", "hello", max_tokens=20)
    first = ask(name, request)
    (file,) = (tmp_path / "prefixes").iterdir()
    whole = bytearray(file.read_bytes())
    whole[int((len(whole) - 1) * place)] ^= 1
    file.write_bytes(whole)
    again = ask(name, request)
    assert again.cached == 0 and again.text == first.text
    ask(name, request)
    last = ask(name, request)
    assert last.cached > 0 and last.text == first.text


@pytest.mark.parametrize("content", [b"", b"llmstate", bytes(1000)])
def test_a_foreign_file_of_that_name_is_ignored(ask, tmp_path, content):
    """Whatever the file contains, the answer is the same."""
    request = with_system("a", "hello")
    first = ask("chatml", request)
    (file,) = (tmp_path / "prefixes").iterdir()
    file.write_bytes(content)
    again = ask("chatml", request)
    assert again.cached == 0 and again.text == first.text


def test_a_state_that_the_context_refuses_is_evaluated_again(ask, monkeypatch):
    """If llama.cpp refuses a state, only time is lost."""
    request = with_system("a", "hello")
    first = ask("chatml", request)
    monkeypatch.setattr("llmcli.engine.llama.context.Context.restore_state", lambda *_: False)
    again = ask("chatml", request)
    assert again.cached == 0 and again.text == first.text


def test_an_unwritable_directory_is_no_failure(ask, tmp_path):
    """The answer does not depend on the file."""
    (tmp_path / "prefixes").write_text("in the way")
    outcome = ask("chatml", with_system("a", "hello"))
    assert outcome.error is None and outcome.text


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.EMFILE, "too many"), InternalError("context")], ids=repr
)
@pytest.mark.parametrize(
    "where", ["PrefixStore.find_longest", "PrefixStore.load", "PrefixStore.save", "Context.restore_state"]
)
def test_a_failure_of_the_prefix_cache_loses_only_the_reuse(ask, monkeypatch, where, error):
    """The request is answered as without the cache, whatever failed on disk or in memory."""
    request = with_system("a", "hello", max_tokens=20)
    first = ask("chatml", request) if where != "PrefixStore.save" else ask("chatml", request, cache=None)

    def fail(*_):
        raise error

    kind, name = where.split(".")
    monkeypatch.setattr({"PrefixStore": PrefixStore, "Context": Context}[kind], name, fail)
    again = ask("chatml", request)
    assert again.error is None and again.cached == 0 and again.text == first.text


@pytest.mark.parametrize("error", [BadModelFile("chat template", detail="roles must alternate"), ZeroDivisionError()])
def test_a_template_that_refuses_the_probes_loses_only_the_reuse(process, monkeypatch, error):
    """No sampler is leaked, even if the failure is a bug and ends the request."""
    lib, samplers = bindings.lib(), []
    add, free = lib.llama_sampler_chain_init, lib.llama_sampler_free
    monkeypatch.setattr(lib, "llama_sampler_chain_init", lambda *given: samplers.append(1) or add(*given))
    monkeypatch.setattr(lib, "llama_sampler_free", lambda *given: samplers.pop() and free(*given))
    with process() as engine:
        engine.info()
        request = with_system("a", "hello")
        real = engine._setup.template.tokenize_with_prefixes

        def each(prefixes, messages, **how):
            if messages != request.messages:
                raise error
            return real(prefixes, messages, **how)

        monkeypatch.setattr(engine._setup.template, "tokenize_with_prefixes", each)
        if isinstance(error, LlmError):
            outcome = answer(engine, request)["a"]
            assert outcome.error is None and outcome.text
        else:
            with pytest.raises(ZeroDivisionError), engine.open() as job:
                job.submit(request)
    assert not samplers


# ---- how long the public part is -------------------------------------------------------------------------------------


@each_model
def test_the_public_prefix_is_computed_once_for_many_messages(process, name):
    """The template is rendered twice more, only for the first request of a prompt file."""
    with process(name) as engine:
        engine.info()
        rendered = []
        real = engine._setup.template.tokenize_with_prefixes

        def each(prefixes, messages, **how):
            rendered.append(messages)
            return real(prefixes, messages, **how)

        engine._setup.template.tokenize_with_prefixes = each
        answer(engine, *[with_system(f"r{i}", f"{i} hello", max_tokens=1) for i in range(6)])
        assert len(rendered) == 8
        answer(engine, with_system("other", "hello", system=f"no {SYSTEM}", max_tokens=1))
        assert len(rendered) == 11


@each_model
def test_the_public_prefix_is_all_that_prompts_share(process, name):
    """Prompts of one file with different messages share exactly that prefix, or less than a word more."""
    with process(name) as engine:
        engine.info()
        requests = [with_system("a", text) for text in ("hello", "7 worlds")]
        prompts = [engine._setup.template.tokenize(request.messages, reasoning=False)[0] for request in requests]
        lengths = {
            engine._setup.sequence_builder._prefix_hints.public_prefix_length(request, prompt)
            for request, prompt in zip(requests, prompts, strict=True)
        }
    assert lengths == {common_prefix_length(*prompts)}


# ---- exactly, with probes --------------------------------------------------------------------------------------------


@pytest.fixture
def remembering(models, tmp_path):
    """Return a function that makes a scheduler with a prefix cache on disk."""
    made = []

    def make(name, **config):
        bench = Bench(models(name), **config)
        stores = PrefixStore(tmp_path / "prefixes", 1 << 24, name)
        bench.scheduler._prefix_cache = DiskPrefixCache(bench.kv_cache, bench.prefix_index, lambda _: stores)
        made.append(bench)
        return bench

    yield make
    for each in made:
        each.close()


@grid("name", [name for name in GENERATIVE if name != "gemma3"], rows=3)
def test_logits_after_a_restored_prefix_are_exact(remembering, bench, name):
    """In deterministic mode no bit of any row differs from an evaluation without the file."""
    config = {"unified": False, "kv_type": "q8_0"}
    public = numbers(100, 3)

    def probe(salt):
        made = Probe("p", public + numbers(30, salt), numbers(20, salt))
        made.public_prefix_length = len(public)
        return made

    remembering(name, **config).run(probe(1))
    found, fresh = probe(2), Probe("fresh", public + numbers(30, 2), numbers(20, 2))
    remembering(name, **config).run(found)
    bench(name, **config).run(fresh)
    assert found.num_cached_tokens == 100
    equal(found.rows, fresh.rows)


def test_a_preempted_sequence_is_saved_correctly(remembering):
    """A prompt whose evaluation is interrupted before the end of its public prefix is stored once, and whole."""
    scheduler = remembering("chatml")
    probe = Probe("p", numbers(700, 1), numbers(3, 1))
    probe.public_prefix_length = 650
    scheduler.add(probe)
    scheduler.step()
    assert 0 < probe.num_computed_tokens < 650
    scheduler.prefix_index.preempt(probe)
    scheduler.scheduler._running.remove(probe)
    scheduler.scheduler._enqueue(probe)
    scheduler.run()
    later = Probe("later", numbers(700, 1), numbers(3, 1))
    later.public_prefix_length = 650
    again = remembering("chatml")
    again.run(later)
    assert later.num_cached_tokens == 650
    for a, b in zip(probe.rows, later.rows, strict=True):
        assert abs(a - b).max() < 1.5
