"""Calls that would crash llama.cpp or corrupt its results are refused, or never made."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from pathlib import Path

import pytest

import llmcli.engine
from engine.tools import Probe, answer, bench_of, each_model, engine_of, model_of, numbers, one_by_one, req, texts, wild
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.embedding import Embedder
from llmcli.engine.kv.layouts import RecurrentState, StreamKV, UnifiedKV
from llmcli.engine.llama import bindings
from llmcli.engine.llama.compute_thread import InlineExecutor
from llmcli.engine.llama.context import MAX_SEQUENCES, Batch, Context, ContextConfig
from llmcli.errors import BadModelFile, ContextOverflow, InternalError
from llmcli.interrupt import Interrupt
from llmcli.runtime.backend_factory import open_local_backend
from llmcli.types import FinishReason, Sampling

STREAMS = {"unified": False, "kv_type": "q8_0"}


@contextlib.contextmanager
def context_of(path, **config):
    with model_of(path) as model:
        context = Context(model, ContextConfig(**config), lambda: False)
        try:
            yield context
        finally:
            context.close()


def called(monkeypatch, name):
    """Record the arguments of every call of a function of llama.cpp."""
    calls: list[tuple] = []
    original = getattr(bindings.lib(), name)

    def record(*arguments):
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(bindings.lib(), name, record)
    return calls


# ---- n_tokens > n_batch, and of an encoder n_tokens > n_ubatch -------------------------------------------------------


def test_a_batch_takes_no_more_tokens_than_it_holds():
    """One token too many is an error of ours, and leaves the batch unchanged."""
    batch = Batch(8)
    batch.add([1] * 5, 0, 0)
    with pytest.raises(InternalError, match="batch"):
        batch.add([1] * 4, 5, 0)
    assert batch.size == batch.struct.n_tokens == 5


@pytest.mark.parametrize("config", [{}, STREAMS], ids=["unified", "streams"])
@pytest.mark.parametrize(("cells", "batch"), [(1, 512), (100, 512), (256, 512), (300, 512), (1024, 512), (1024, 64)])
def test_the_batch_holds_no_more_than_the_context_takes(tiny, cells, batch, config):
    """llama.cpp lowers its own limit for a smaller cache; ours is never larger, and a full batch works."""
    with context_of(tiny("chatml"), cells=cells, batch=batch, sequences=2, **config) as context:
        lib = bindings.lib()
        assert context.batch.capacity <= min(lib.llama_n_batch(context.handle), lib.llama_n_ubatch(context.handle))
        context.batch.add([5] * context.batch.capacity, 0, 0, [0])
        assert context.evaluate(abortable=False) == 0


def test_a_model_that_only_encodes_is_refused(tiny):
    """An encoder cannot take a prompt in chunks, so the engine refuses it before any evaluation."""
    backend = open_local_backend(tiny("bert"), name="bert", model_id="", options=EngineOptions(), interrupt=Interrupt())
    with pytest.raises(BadModelFile, match="embedding"):
        backend.info()
    backend.close()


def test_a_text_for_an_encoder_is_evaluated_whole_or_refused(tiny):
    """A chunk is as long as the text, up to the context, since a longer text would fail an assertion."""
    with model_of(tiny("bert")) as model:
        embedder = Embedder(model, "", 1, InlineExecutor())
        for count in (2, model.context_length, 3):
            assert len(embedder.embed([5] * count, lambda: False)) == embedder.dimension
        with pytest.raises(ContextOverflow):
            embedder.tokenize([5] * (model.context_length + 1))
        embedder.close()


# ---- outputs > n_outputs_max, n_seq_max > n_outputs_max --------------------------------------------------------------


def test_more_outputs_than_the_context_was_made_for_are_refused(tiny):
    """One output too many is an error of ours; the allowed number works."""
    with context_of(tiny("chatml"), cells=256, sequences=4) as context:
        most = context.max_outputs
        context.batch.add([5] * (most + 1), 0, 0, range(most + 1))
        with pytest.raises(InternalError, match="batch"):
            context.evaluate(abortable=False)
        context.batch.clear()
        context.batch.add([5] * most, 0, 0, range(most))
        assert context.evaluate(abortable=False) == 0


@pytest.mark.parametrize("batch", [16, 512])
@pytest.mark.parametrize("sequences", [1, 16, 64, 65, MAX_SEQUENCES, 1000])
@pytest.mark.parametrize("config", [{}, STREAMS], ids=["unified", "streams"])
def test_every_sequence_of_a_context_can_have_an_output(tiny, batch, sequences, config):
    """For any number of sequences a context can be created, and a whole batch of them sampled in one step."""
    with context_of(tiny("chatml"), cells=256, sequences=sequences, batch=batch, **config) as context:
        assert context.config.sequences == min(sequences, MAX_SEQUENCES) <= context.max_outputs
        count = min(context.config.sequences, context.batch.capacity)
        for sequence in range(count):
            context.batch.add([5], 0, sequence, [0])
        assert context.evaluate(abortable=False) == 0


def test_scoring_more_tokens_than_outputs_goes_in_pieces(engines):
    """A candidate with more tokens than the outputs of one evaluation gets the same score as beside others."""
    engine = engines("chatml", deterministic=True, threads=1)
    long = req("long", candidates=("yes", "to the world " * 60))
    alone = answer(engine, long)["long"].scores
    assert alone[1].tokens > 200
    others = [req(f"o{i}", f"no {i}", max_tokens=30) for i in range(8)]
    assert answer(engine, long, *others)["long"].scores == alone


# ---- a part copied between streams, an id that there is not ----------------------------------------------------------


@pytest.mark.parametrize("config", [{}, STREAMS], ids=["unified", "streams"])
@each_model
def test_copies_are_whole_between_streams_and_within_the_ids(tiny, monkeypatch, name, config):
    """With more requests than ids, parts are copied only in a unified cache, and only to existing ids."""
    copy = bindings.lib().llama_memory_seq_cp
    copies = 0
    with bench_of(tiny(name), **config) as scheduler:

        def check(memory, source, target, start, end):
            nonlocal copies
            copies += 1
            assert source != target
            assert {source, target} <= set(range(scheduler.kv_cache.context.config.sequences))
            assert (start, end) == (-1, -1) or not (config or scheduler.kv_cache._model.recurrent)
            copy(memory, source, target, start, end)

        monkeypatch.setattr(bindings.lib(), "llama_memory_seq_cp", check)
        shared = numbers(80, 1)
        scheduler.run(
            *[Probe(f"p{i}", shared[: 40 + 10 * (i % 5)] + numbers(4, 20 + i), numbers(3, i)) for i in range(60)]
        )
    assert copies > 10


def test_streams_and_states_never_copy_a_part(models, monkeypatch):
    """Whatever length is requested, they copy the whole; a unified cache copies what was requested."""
    calls = called(monkeypatch, "llama_memory_seq_cp")
    for kind, config in ((StreamKV, STREAMS), (RecurrentState, {}), (RecurrentState, STREAMS), (UnifiedKV, {})):
        context = Context(models("chatml"), ContextConfig(cells=256, sequences=3, **config), lambda: False)
        context.batch.add([5] * 9, 0, 0, [8])
        assert context.evaluate(abortable=False) == 0
        kind(context).copy_prefix(0, 1, 4)
        context.close()
    assert [call[3:] for call in calls] == [(-1, -1), (-1, -1), (-1, -1), (0, 4)]


def test_llama_cpp_never_gets_more_sequences_than_it_supports(tiny):
    """A context for 300 sequences has 256; a higher id is refused and nothing is evaluated."""
    with context_of(tiny("chatml"), cells=256, sequences=300) as context:
        assert context.config.sequences == MAX_SEQUENCES == 256
        context.batch.add([5], 0, 256, [0])
        with pytest.raises(InternalError):
            context.evaluate(abortable=False)


def test_three_hundred_forks_are_scored(engines):
    """With more candidates than ids, the candidates take turns."""
    engine = engines("chatml")
    words = tuple(f"{a}{b} yes" for a in "abcdefghijklmnopqr" for b in "abcdefghijklmnopqr")[:300]
    outcome = answer(engine, req("a", candidates=words))["a"]
    assert outcome.error is None
    assert len(outcome.scores) == 300


# ---- sampling --------------------------------------------------------------------------------------------------------


@each_model
def test_only_positions_with_logits_are_sampled(tiny, monkeypatch, name):
    """Every sampled index had its logits requested in the evaluation before."""
    wanted: set[int] = set()
    sampled: list[int] = []
    evaluate, sample = Context.evaluate, bindings.lib().llama_sampler_sample

    def remember(self, **named):
        code = evaluate(self, **named)
        wanted.clear()
        wanted.update(i for i in range(self.batch.size) if code == 0 and self.batch.struct.logits[i])
        return code

    def check(chain, context, index):
        assert index in wanted
        sampled.append(index)
        return sample(chain, context, index)

    monkeypatch.setattr(Context, "evaluate", remember)
    monkeypatch.setattr(bindings.lib(), "llama_sampler_sample", check)
    with engine_of(tiny(name)) as engine:
        requests = [req(f"r{i}", "hello world " * (1 + 40 * (i % 3)), max_tokens=2 + i % 5) for i in range(20)]
        outcomes = answer(engine, *requests)
    assert all(outcome.error is None for outcome in outcomes.values())
    assert len(sampled) == sum(outcome.finished.usage.completion_tokens for outcome in outcomes.values())


FIELDS = {
    "temperature": (0.0, 0.8),
    "top_k": (None, 1, 40),
    "top_p": (None, 0.0, 0.9),
    "min_p": (None, 0.05),
    "repeat_penalty": (1.0, 1.1),
}


def test_every_chain_selects_a_token(engines):
    """With any combination of options the chain ends with a sampler that selects."""
    chosen = [dict(zip(FIELDS, values, strict=True)) for values in itertools.product(*FIELDS.values())]
    requests = [req(f"r{i}", sampling=Sampling(**options, seed=1), max_tokens=2) for i, options in enumerate(chosen)]
    assert len(requests) == 72
    assert all(outcome.error is None for outcome in answer(engines("chatml"), *requests).values())


GRAMMARS = ['start: "a"', "start: /[a-c] [0-9]/", 'start: ("no" | "not" | "nothing") "."', 'start: "é" "ß"?']
SENTENCES = ["a", "[a-c] [0-9]", r"(no|not|nothing)\.", "éß?"]


@pytest.mark.parametrize("ignore_eos", [False, True], ids=["", "past the end"])
@pytest.mark.parametrize("name", ["llama", "chatml", "mamba"])
def test_a_grammar_gets_no_token_that_it_does_not_allow(engines, name, ignore_eos):
    """Drawn wildly, before its end and past it, the answer is a sentence of its grammar."""
    requests = [
        req(f"g{i}", grammar=GRAMMARS[i % 4], sampling=wild(i, 3.0), max_tokens=12, ignore_eos=ignore_eos)
        for i in range(16)
    ]
    outcomes = answer(engines(name), *requests)
    for i in range(16):
        outcome = outcomes[f"g{i}"]
        assert outcome.error is None and re.fullmatch(SENTENCES[i % 4], outcome.text), outcome.text
        assert outcome.reason is (FinishReason.LENGTH if ignore_eos else FinishReason.STOP)


# ---- positions, threads ----------------------------------------------------------------------------------------------


def test_positions_are_never_shifted():
    """``seq_add`` and ``seq_div`` crash some models, so no module calls them."""
    directory = Path(llmcli.engine.__file__).parent
    used = {name for file in directory.rglob("*.py") for name in re.findall(r"llama_memory_\w+", file.read_text())}
    assert "llama_memory_seq_rm" in used
    assert not used & {"llama_memory_seq_add", "llama_memory_seq_div", "llama_memory_seq_keep"}


def test_one_thread_evaluates_for_all_callers(tiny, monkeypatch):
    """Requests from several threads at once, also cancelled ones, are evaluated and sampled by a single thread."""
    threads: set[int] = set()
    for name in ("llama_decode", "llama_sampler_sample"):
        original = getattr(bindings.lib(), name)

        def noted(*arguments, original=original):
            threads.add(threading.get_ident())
            return original(*arguments)

        monkeypatch.setattr(bindings.lib(), name, noted)
    found: dict[int, dict[str, str]] = {}
    with engine_of(tiny("chatml"), deterministic=True, threads=1) as engine:
        engine.info()
        threads.clear()  # the self-test of a load runs in a thread that has ended

        def work(number):
            requests = [req(f"r{i}", f"yes {number} {i}", sampling=wild(i)) for i in range(4)]
            with engine.open() as job:  # left at once: all of it is cancelled
                job.submit(req("left", "no " * 200, max_tokens=500))
            found[number] = texts(answer(engine, *requests))

        workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        expected = texts(one_by_one(engine, *[req(f"r{i}", f"yes 2 {i}", sampling=wild(i)) for i in range(4)]))
    assert len(threads) == 1
    assert not threads & {threading.get_ident(), *(worker.ident for worker in workers)}
    assert found[2] == expected
