"""Hidden states of prompts agree with those of a context that evaluates one whole text, however they are computed."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
from grid import grid

from engine.tools import GREEDY, SMOOTH, Bench, ListSink, answer, collect, each_smooth_model, engine_of, numbers, req
from llmcli.engine.llama.context import ContextConfig, HiddenStateContext
from llmcli.engine.llama.memory_budget import MemoryBudget
from llmcli.engine.schedule import invariant_batches
from llmcli.engine.schedule.batch import TokenBudget
from llmcli.engine.sequences.scoring_sequence import HiddenStateSequence
from llmcli.engine.sequences.sequence import TokenStates
from llmcli.errors import ContextOverflow, InternalError, Unsupported
from llmcli.models.footprint import ContextDemand, ContextShape, context_bytes, state_batch_tokens, state_step_tokens
from llmcli.types import CandidateScores, FinishReason, HiddenStates, Priority, Request

TEXTS = ("hello world", "yes no", "positive negative you and the world in it is " * 6)
MAX_ERROR = 0.02
"""Largest difference of a mean from the reference, as a fraction of the reference's largest number: kernels round sums
in a buffer shared with other sequences differently."""
MAX_LAST_ERROR = 0.1
"""The same for one state, which no mean makes smoother."""


def states(name: str, text: str = "hello world", **fields) -> Request:
    return req(name, text, **{"max_tokens": None, **fields}, hidden_states=True)


def reference(model, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the last state from a context that computes the whole graph for one text at once."""
    config = ContextConfig(1024, sequences=1, batch=1024, unified=False)
    with contextlib.closing(HiddenStateContext(model, config, lambda: False)) as context:
        context.needs_logits = True
        context.batch.add(tokens, 0, 0, range(len(tokens)))
        assert context.evaluate(abortable=False) == 0
        rows = context.read_states()
        return rows.mean(axis=0, dtype=np.float64), rows[-1].copy()


def error(found: bytes, expected: np.ndarray) -> float:
    vector = np.frombuffer(found, "<f4")
    return float(np.abs(vector - expected).max() / np.abs(expected).max())


def assert_close(event: HiddenStates, model, tokens: list[int]) -> None:
    mean, last = reference(model, tokens)
    assert error(event.mean, mean) < MAX_ERROR
    assert error(event.last, last) < MAX_LAST_ERROR


def events_of(engine, *requests: Request) -> dict[str, list]:
    """Return the events of each request of one job."""
    found: dict[str, list] = {request.id: [] for request in requests}
    with engine.open() as job:
        for request in requests:
            job.submit(request)
        job.close_input()
        for event in job:
            found[event.id].append(event)
    return found


def only_states(events: list) -> HiddenStates:
    (event,) = [each for each in events if isinstance(each, HiddenStates)]
    return event


def prompt_tokens(engine, request: Request) -> list[int]:
    return engine._tokenize_prompt(request)[0][0]


@each_smooth_model
def test_states_of_a_batch_agree_with_the_reference(engines, models, name):
    """Texts of different lengths evaluated together, each with its own states; nothing is generated."""
    engine = engines(name)
    requests = [states(str(number), text) for number, text in enumerate(TEXTS)]
    for request, events in zip(requests, events_of(engine, *requests).values(), strict=True):
        tokens = prompt_tokens(engine, request)
        assert_close(only_states(events), models(name), tokens)
        finished = events[-1]
        assert (finished.reason, finished.usage.completion_tokens) == (FinishReason.STOP, 0)
        assert finished.usage.prompt_tokens == len(tokens)


@each_smooth_model
def test_states_with_a_reused_prefix_agree_with_the_reference(engines, models, name):
    """The states of a prefix whose evaluation is reused count as if they had been evaluated again."""
    engine = engines(name)
    text = "the world is in you and it is yes " * 5
    first = states("first", text)
    again = [first, states("other", text + "negative"), states("same", text)]
    cached = []
    for request in again:
        events = events_of(engine, request)[request.id]
        assert_close(only_states(events), models(name), prompt_tokens(engine, request))
        cached.append(events[-1].usage.cached_tokens)
    if name in {"llama", "chatml", "qwen3moe-all"}:
        assert len(prompt_tokens(engine, first)) - cached[2] == invariant_batches.MIN_ROWS


@grid("name", [name for name in SMOOTH if name != "lfm2"], rows=3)
def test_scores_come_with_states_of_the_prompt(engines, models, name):
    """The scores are those of a request without states, and the states those of the prompt without a candidate."""
    engine = engines(name)
    candidates = ("yes", "no", "positive in it")
    plain = [req(f"p{number}", text, candidates=candidates) for number, text in enumerate(TEXTS)]
    wanted = [dataclasses.replace(each, id=f"s{number}", hidden_states=True) for number, each in enumerate(plain)]
    expected = answer(engine, *plain)
    for number, (name_, events) in enumerate(events_of(engine, *wanted).items()):
        assert_close(only_states(events), models(name), prompt_tokens(engine, wanted[number]))
        (scores,) = [each for each in events if isinstance(each, CandidateScores)]
        for score, other in zip(scores.scores, expected[f"p{name_[1:]}"].scores, strict=True):
            assert abs(score.logprob - other.logprob) < 1.5 * score.tokens


@pytest.mark.parametrize("name", ["llama", "gemma3", "mamba", "falcon-h1"])
def test_an_answer_may_follow(engines, models, name):
    """The states precede the text, which is greedily the same as without them wherever the model is sure."""
    engine = engines(name)
    request = states("a", max_tokens=5, ignore_eos=True)
    events = events_of(engine, request)["a"]
    assert isinstance(events[0], HiddenStates)
    assert_close(events[0], models(name), prompt_tokens(engine, request))
    assert events[-1].usage.completion_tokens == 5


def test_a_model_that_cannot_give_both_says_so(engines):
    """The graph of LFM2 has no output matrix when llama.cpp returns states."""
    engine = engines("lfm2")
    for request in (states("a", candidates=("yes", "no")), states("a", max_tokens=3)):
        assert isinstance(events_of(engine, request)["a"][-1].error, Unsupported)


def test_a_prompt_may_fill_the_context(tiny):
    """No cell is needed for an answer; a longer prompt is refused."""
    with engine_of(tiny("llama"), ctx=256) as engine:
        fitting, longer = (Request(str(n), (), prompt="a" * n, hidden_states=True) for n in (200, 2000))
        found = events_of(engine, fitting, longer)
        only_states(found["200"])
        assert isinstance(found["2000"][-1].error, ContextOverflow)


def test_deterministic_states_are_bit_identical(tiny):
    """Alone, in a batch, and with a reused prefix."""
    with engine_of(tiny("llama"), deterministic=True) as engine:
        requests = [states(str(number), text) for number, text in enumerate((*TEXTS, TEXTS[2] + "no"))]
        together = events_of(engine, *requests)
        alone = {request.id: events_of(engine, request)[request.id] for request in requests}
    with engine_of(tiny("llama"), deterministic=True) as engine:
        fresh = events_of(engine, requests[2])["2"]
    for request in requests:
        assert only_states(together[request.id]) == only_states(alone[request.id])
    assert only_states(fresh) == only_states(alone["2"])


def test_interactive_and_bulk_requests_run_beside_each_other(engines, models):
    """Each kind of work has its own context; one request's end does not depend on the others'."""
    engine = engines("llama")
    requests = [
        states("bulk"),
        states("interactive", priority=Priority.INTERACTIVE),
        req("text", sampling=GREEDY, max_tokens=3, ignore_eos=True),
    ]
    found = events_of(engine, *requests)
    for name in ("bulk", "interactive"):
        assert_close(only_states(found[name]), models("llama"), prompt_tokens(engine, requests[0]))
    assert found["text"][-1].usage.completion_tokens == 3


def test_cancellation_and_deadlines_end_requests_without_states(engines):
    """As with any other request."""
    engine = engines("llama")
    found = events_of(engine, states("late", deadline=0.0))
    assert [each.reason for each in found["late"]] == [FinishReason.TIMEOUT]
    with engine.open() as job:
        job.submit(states("gone", TEXTS[2] * 50))
        job.cancel("gone")
        job.close_input()
        assert collect([e for e in job if not isinstance(e, HiddenStates)])["gone"].reason in {
            FinishReason.CANCELLED,
            FinishReason.STOP,
        }


# ---- scheduler stepped by hand ---------------------------------------------------------------------------------------


def sequence(tokens: list[int], name: str = "a") -> HiddenStateSequence:
    return HiddenStateSequence(states(name), tokens, ListSink())


def emitted(one: HiddenStateSequence) -> HiddenStates:
    return only_states(one.sink.events)


@pytest.mark.parametrize("name", ["llama", "gemma3", "mamba", "falcon-h1", "qwen35"])
@pytest.mark.parametrize("unified", [True, False])
def test_an_aborted_batch_counts_once(bench, models, name, unified):
    """Its tokens are evaluated again, or all of the sequence where the memory cannot be truncated."""
    aborts = iter([False] * 60 + [True] + [False] * 100_000)
    disturbed: Bench = bench(
        name, unified=unified, gives_states=True, batch=64, exact=False, abort=lambda: next(aborts)
    )
    first, second = sequence(numbers(150, 1)), sequence(numbers(90, 2), "b")
    disturbed.run(first, second)
    for each in (first, second):
        assert_close(emitted(each), models(name), each.tokens)


@pytest.mark.parametrize("name", ["llama", "mamba"])
def test_a_preempted_sequence_starts_again(bench, models, name):
    """States of its first attempt do not count twice."""
    preempting: Bench = bench(name, gives_states=True, batch=64)
    one = sequence(numbers(150, 1))
    preempting.add(one)
    preempting.step()
    assert 0 < one.num_computed_tokens < len(one.tokens)
    preempting.scheduler._preempt(one)
    preempting.run()
    assert_close(emitted(one), models(name), one.tokens)


def test_states_survive_the_release_of_the_memory(bench, models):
    """An idle context is freed; its prefixes are restored with their states."""
    idle: Bench = bench("llama", gives_states=True, batch=64)
    first, second = sequence(numbers(150, 1)), sequence([*numbers(150, 1), 7])
    idle.run(first)
    idle.scheduler.release_memory()
    idle.run(second)
    assert second.num_cached_tokens == 150
    assert_close(emitted(second), models("llama"), second.tokens)


def test_a_larger_context_keeps_the_states(bench, models):
    """Running sequences move to it with what was computed."""
    growing: Bench = bench("llama", gives_states=True, batch=64)
    first = sequence(numbers(200, 1))
    growing.add(first)
    growing.step()
    others = [sequence(numbers(200, 2 + n), f"o{n}") for n in range(4)]
    growing.run(*others)
    for each in (first, *others):
        assert_close(emitted(each), models("llama"), each.tokens)


def test_a_larger_context_keeps_sequences_that_have_not_begun(bench, models):
    """A running sequence without a computed token gets its states in the context that replaces the first one."""
    growing: Bench = bench("llama", gives_states=True, batch=64)
    first, second = sequence(numbers(150, 1)), sequence([*numbers(150, 1), 7], "b")
    growing.run(sequence(numbers(20, 9), "w"))
    growing.add(first)
    growing.scheduler._admit()
    assert first.slot is not None and first.num_computed_tokens == 0
    assert growing.scheduler.kv_cache.grow_context(growing.scheduler._running)
    growing.run(second)
    for each in (first, second):
        assert_close(emitted(each), models("llama"), each.tokens)


def test_token_states_share_prefixes():
    """A prefix has the rows of its tokens, however they arrived."""
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    whole = TokenStates()
    for part in (rows[:1], rows[1:4], rows[4:]):
        whole.append(part)
    part = whole.prefix(3)
    assert (len(whole), len(part), len(whole.prefix(0))) == (6, 3, 0)
    assert np.frombuffer(part.mean(0, 3), "<f4").tolist() == rows[:3].mean(axis=0).tolist()
    assert np.frombuffer(whole.mean(2, 5), "<f4").tolist() == rows[2:5].mean(axis=0).tolist()
    assert np.frombuffer(whole.row(4), "<f4").tolist() == rows[4].tolist()
    part.append(rows[:1])
    assert len(whole) == 6
    with pytest.raises(InternalError):  # never a mean of too few
        whole.prefix(7)


@pytest.mark.parametrize("unified", [True, False])
def test_steps_and_memory_are_those_that_are_promised(tiny, monkeypatch, unified):
    """No evaluation takes more tokens than the memory estimate counts logits for, and what was allocated is recorded."""
    sizes, allocated = [], []
    evaluate, allocate = HiddenStateContext.evaluate, MemoryBudget.allocate

    def noting(context, **how):
        sizes.append(context.batch.size)
        shapes.append(context.config.shape)
        return evaluate(context, **how)

    def noting_bytes(budget, owner, size):
        allocated.append(size)
        allocate(budget, owner, size)

    shapes: list[ContextShape] = []
    monkeypatch.setattr(HiddenStateContext, "evaluate", noting)
    monkeypatch.setattr(MemoryBudget, "allocate", noting_bytes)
    monkeypatch.setattr(TokenBudget, "prefill_tokens", lambda _budget, _runnable, _longest_s, capacity: capacity)
    with engine_of(tiny("llama"), kv_unified=unified) as engine:
        requests = [Request(str(n), (), prompt=f"{n:02} is a number" * 2, hidden_states=True) for n in range(40)]
        lengths, model = engine.count(requests)[0], engine._setup.model
        assert len(events_of(engine, *requests)) == 40
    demand = ContextDemand((max(lengths) + 1,) * 16)
    batch = state_batch_tokens(model.vocab_size, None)
    assert 100 < max(sizes) <= state_step_tokens(demand, batch, unified=unified)
    assert all(shape.hidden_states and shape.unified is unified for shape in shapes)
    assert allocated[-1] == context_bytes(model.header, shapes[-1])
