"""Saved states of sequences are valid in another context with the same settings and any number of sequences."""

from __future__ import annotations

import pytest
from engine.tools import GREEDY, engine_of, logits, numbers, only_scheduler_thread, user
from grid import grid

from llmcli.engine.llama import state_files
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.state_files import NativeStateFile, StateFile
from llmcli.engine.sequences.sequence import Sequence
from llmcli.types import Finished, Request

CONFIGS = {
    "unified": {"unified": True, "sequences": 4},
    "few streams": {"unified": False, "sequences": 3},
    "many streams": {"unified": False, "sequences": 9},
}


@pytest.fixture
def contexts(models):
    """Make contexts of a tiny model, and free them."""
    made = []

    def make(name, **config):
        made.append(Context(models(name), ContextConfig(cells=256, **config), lambda: False))
        return made[-1]

    yield make
    for context in made:
        context.close()


def evaluate(context, sequence, tokens, start):
    """Return the logits after ``tokens`` of a sequence."""
    context.batch.clear()
    context.batch.add(tokens, start, sequence, [len(tokens) - 1])
    assert context.evaluate(abortable=False) == 0
    return logits(context.handle, len(tokens) - 1)


@pytest.mark.parametrize("kernel", [{}, {"flash_attention": False}, {"kv_type": "q8_0"}], ids=["FA", "plain", "q8_0"])
@pytest.mark.parametrize("target", CONFIGS)
@pytest.mark.parametrize("source", CONFIGS)
@grid("name", ["llama", "qwen3moe"])
def test_a_state_moves_between_caches(contexts, name, source, target, kernel):
    """For any number of sequences and buffers, a sequence continues as in the first context."""
    old, new = contexts(name, **CONFIGS[source], **kernel), contexts(name, **CONFIGS[target], **kernel)
    evaluate(old, 0, numbers(20, 1), 0)
    evaluate(old, 2, numbers(30, 2), 0)
    state = old.save_state(2)
    expected = evaluate(old, 2, numbers(1, 9), 30)
    evaluate(new, 0, numbers(10, 3), 0)
    assert new.restore_state(1, state)
    assert abs(evaluate(new, 1, numbers(1, 9), 30) - expected).max() < 0.5


@pytest.mark.parametrize("source", CONFIGS)
@pytest.mark.parametrize("kind", [NativeStateFile, StateFile])
def test_a_file_is_restored_to_one_cache_after_the_other(contexts, monkeypatch, tmp_path, source, kind):
    """With any number of buffers, in any order; also where llama.cpp cannot write the file itself."""
    if kind is StateFile:
        monkeypatch.setattr(state_files, "_FD_DIR", tmp_path / "none")
    old = contexts("llama", **CONFIGS[source])
    evaluate(old, 0, numbers(20, 1), 0)
    evaluate(old, 2, numbers(30, 2), 0)
    state = old.save_state_file(2, tmp_path)
    assert isinstance(state, kind)
    expected = evaluate(old, 2, numbers(1, 9), 30)
    for target in [*CONFIGS, *reversed(CONFIGS)]:
        new = contexts("llama", **CONFIGS[target])
        for sequence in (1, 0):
            assert new.restore_state(sequence, state)
            assert abs(evaluate(new, sequence, numbers(1, 9), 30) - expected).max() < 0.5
    state.close()


def test_a_file_that_cannot_be_converted_is_not_used(contexts, monkeypatch, tmp_path):
    """On a full disk the state is copied when it is saved, and refused when it is restored."""

    def full(*_args):
        raise OSError(28, "No space left on device")

    old, new = contexts("llama", **CONFIGS["few streams"]), contexts("llama", **CONFIGS["many streams"])
    evaluate(old, 2, numbers(30, 2), 0)
    state = old.save_state_file(2, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(state_files.os, "ftruncate", full)
        assert isinstance(old.save_state_file(2, tmp_path), StateFile)
        assert not new.restore_state(0, state)
    assert new.restore_state(0, state)
    state.close()


def test_a_state_of_another_kind_is_refused(contexts):
    """A state of another cache type, or invalid bytes."""
    state = contexts("llama", unified=False, sequences=3)
    evaluate(state, 1, numbers(8, 1), 0)
    saved = state.save_state(1)
    other = contexts("llama", unified=False, sequences=3, kv_type="q8_0")
    assert not other.restore_state(0, saved)
    assert (
        not other.restore_state(0, b"")
        and not other.restore_state(0, bytes(4))
        and not other.restore_state(0, bytes(100))
    )
    assert not state.restore_state(0, saved[: len(saved) // 2])


def test_nothing_is_evaluated_twice_when_the_context_grows(tiny, monkeypatch):
    """A job that gets more streams in the middle keeps its running sequences."""
    restarted = []
    monkeypatch.setattr(Sequence, "reset", restarted.append)
    requests = [
        Request(str(number), user(f"{number} hello"), max_tokens=60, sampling=GREEDY, ignore_eos=True)
        for number in range(40)
    ]
    with engine_of(tiny("llama"), kv_unified=False) as backend, backend.open() as job:
        for request in requests:
            job.submit(request)
        job.close_input()
        ends = []
        for event in job:
            only_scheduler_thread(backend).scheduler.kv_cache.concurrency_tuner.concurrency = 32
            if isinstance(event, Finished):
                ends.append(event)
        assert len(ends) == 40 and not restarted and only_scheduler_thread(backend).scheduler.max_batch_sequences > 16
