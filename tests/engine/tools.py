"""Shared by the engine's tests: engines that are closed again, collected answers, schedulers stepped by hand."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from grid import grid
from hypothesis import given, settings

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.engine import Engine
from llmcli.engine.kv.manager import KVCacheManager
from llmcli.engine.kv.prefix_index import PrefixIndex
from llmcli.engine.llama import bindings
from llmcli.engine.llama.context import ContextConfig
from llmcli.engine.llama.model import Model
from llmcli.engine.schedule.scheduler import Scheduler
from llmcli.engine.schedule.scheduler_thread import SchedulerThread
from llmcli.engine.sequences.sequence import Sequence
from llmcli.types import (
    CandidateScores,
    Event,
    Finished,
    FinishReason,
    Message,
    ReasoningDelta,
    Request,
    Role,
    Sampling,
    Score,
    TextDelta,
)


def for_all(*strategies, examples: int | None = None):
    """Like hypothesis' ``given``, with the same examples in every run and without a deadline."""

    def decorate(test):
        return settings(deadline=None, max_examples=examples or settings.default.max_examples)(given(*strategies)(test))

    return decorate


GENERATIVE = ("llama", "chatml", "gemma3", "qwen3moe", "mamba", "lfm2", "falcon-h1", "qwen35")
SMOOTH = tuple("qwen3moe-all" if name == "qwen3moe" else name for name in GENERATIVE)
"""Models whose logits move little when sums are rounded otherwise: where a router chooses two of four experts, the
slightest difference can make it choose another, in a fresh evaluation as well."""
each_model = grid("name", GENERATIVE, rows=3)
each_smooth_model = grid("name", SMOOTH, rows=3)
GREEDY = Sampling(temperature=0)


def wild(seed: int, temperature: float = 0.9) -> Sampling:
    """Sample from the whole vocabulary, so that the slightest difference of logits shows."""
    return Sampling(temperature=temperature, top_k=None, top_p=None, min_p=None, seed=seed)


def user(text: str) -> tuple[Message, ...]:
    return (Message(Role.USER, text),)


def req(name: str, text: str = "hello world", **fields) -> Request:
    fields.setdefault("sampling", GREEDY)
    fields.setdefault("max_tokens", 8)
    return Request(name, fields.pop("messages", user(text)), **fields)


@dataclasses.dataclass
class Outcome:
    """The complete result of one request."""

    pieces: list[str] = dataclasses.field(default_factory=list)
    reasoning: str = ""
    scores: tuple[Score, ...] = ()
    finished: Finished | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def reason(self) -> FinishReason:
        assert self.finished is not None
        return self.finished.reason

    @property
    def error(self) -> Exception | None:
        assert self.finished is not None
        return self.finished.error

    @property
    def cached(self) -> int:
        assert self.finished is not None
        return self.finished.usage.cached_tokens

    def take(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self.pieces.append(event.text)
        elif isinstance(event, ReasoningDelta):
            self.reasoning += event.text
        elif isinstance(event, CandidateScores):
            self.scores = event.scores
        else:
            assert self.finished is None, "a second last event"
            self.finished = event


def collect(events: Iterable[Event]) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for event in events:
        outcome = outcomes.setdefault(event.id, Outcome())
        assert outcome.finished is None, "an event after the last one"
        outcome.take(event)
    return outcomes


def answer(engine: Engine, *requests: Request) -> dict[str, Outcome]:
    """Send all requests in one job and return the result of each."""
    with engine.open() as job:
        for request in requests:
            job.submit(request)
        job.close_input()
        outcomes = collect(job)
    assert set(outcomes) == {request.id for request in requests}
    return outcomes


def one_by_one(engine: Engine, *requests: Request) -> dict[str, Outcome]:
    return {request.id: answer(engine, request)[request.id] for request in requests}


def texts(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.text for name, outcome in outcomes.items()}


@contextlib.contextmanager
def engine_of(path: Path, stop=lambda: None, model_id="tiny-id", **options) -> Iterator[Engine]:
    engine = Engine(path, "tiny", model_id, EngineOptions(**options), stop)
    try:
        yield engine
    finally:
        engine.close()


def only_scheduler_thread(engine: Engine) -> SchedulerThread:
    """Return the scheduler thread of an engine whose requests all had one priority."""
    (thread,) = engine._scheduler_threads.values()
    return thread


# ---- schedulers driven by hand ---------------------------------------------------------------------------------------


class ListSink:
    """Keeps events; the test sets ``full``."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.full = False

    def emit(self, event: Event) -> None:
        self.events.append(event)


class Probe(Sequence):
    """Evaluates a prompt, then ``forced`` tokens one a step, and keeps a copy of every row of logits it gets."""

    def __init__(self, name: str, prompt: list[int], forced: list[int], **fields) -> None:
        super().__init__(req(name, max_tokens=None, **fields), list(prompt), ListSink())
        self._forced = list(forced)
        self.rows: list[np.ndarray] = []

    @property
    def tokens_left(self) -> int:  # type: ignore[override]  # a property in the place of a variable
        return len(self._forced)

    def process_logits(self, context, outputs):
        self.rows.append(logits(context, outputs[-1]))
        self.num_generated_tokens += 1
        if self._forced:
            self.tokens.append(self._forced.pop(0))
            self.first_logit = len(self.tokens) - 1
        else:
            self.finish(FinishReason.STOP)
        return []


def logits(context, index: int) -> np.ndarray:
    """Return a copy of the logits at a batch index."""
    lib = bindings.lib()
    size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(lib.llama_get_model(context)))
    return np.ctypeslib.as_array(lib.llama_get_logits_ith(context, index), (size,)).copy()


def close(found: list[np.ndarray], fresh: list[np.ndarray]) -> None:
    """Assert that logits agree within 1.5, and their greedy token wherever it leads by more than 3."""
    assert len(found) == len(fresh)
    for a, b in zip(found, fresh, strict=True):
        assert np.abs(a - b).max() < 1.5
        second, first = np.sort(b)[-2:]
        if first - second > 3:
            assert a.argmax() == b.argmax()


def equal(found: list[np.ndarray], fresh: list[np.ndarray]) -> None:
    """Assert that logits are bit-identical."""
    assert [row.tobytes() for row in found] == [row.tobytes() for row in fresh]


@contextlib.contextmanager
def model_of(path: Path) -> Iterator[Model]:
    model = Model(path, keep_going=lambda: True)
    try:
        yield model
    finally:
        model.close()


class Bench:
    """A scheduler and its KV cache, stepped by the test. Checks after every step that no sequence id is lost."""

    def __init__(
        self, model: Model, *, limit: int = 4096, abort=lambda: False, exact=None, gives_states=False, **config
    ) -> None:
        """``exact``: as in deterministic mode; by default if each sequence has a stream."""
        settings = {"cells": 0, "sequences": 256, **config}
        config = ContextConfig(**settings)
        self.kv_cache = KVCacheManager(
            model,
            config,
            limit,
            abort,
            deterministic=not config.unified if exact is None else exact,
            gives_states=gives_states,
        )
        self.prefix_index = PrefixIndex(self.kv_cache)
        self.scheduler = Scheduler(self.kv_cache, self.prefix_index)

    def add(self, *sequences: Sequence) -> None:
        for sequence in sequences:
            self.scheduler.add(sequence)

    def step(self) -> bool:
        moved = self.scheduler.step()
        self.check()
        return moved

    def run(self, *sequences: Sequence, steps: int = 20_000) -> None:
        """Step until everything is done; a scheduler that loops fails the test."""
        self.add(*sequences)
        for _ in range(steps):
            if not self.scheduler.has_work:
                return
            assert self.step(), "nothing moves though no consumer is behind"
        raise AssertionError("the scheduler never ends")

    def run_until(self, sequences: Iterable[Sequence], steps: int = 20_000) -> None:
        """Step until all of ``sequences`` ended."""
        for _ in range(steps):
            if all(sequence.ended for sequence in sequences):
                return
            assert self.step(), "nothing moves"
        raise AssertionError("they never end")

    def check(self) -> None:
        cache, context = self.kv_cache, self.kv_cache._context
        if context is None:
            return
        running = [s.slot for s in self.scheduler._running]
        ids = [*cache.id_pool.free_ids, *cache.id_pool.cached, *running]
        assert sorted(ids) == list(range(context.config.sequences)), "a sequence id was lost or given twice"
        lib = bindings.lib()
        for sequence in self.scheduler._running:
            last = lib.llama_memory_seq_pos_max(context.memory, sequence.slot)
            assert last == sequence.num_computed_tokens - 1, (
                "the memory holds another length than the sequence believes"
            )
            if cache.deterministic and not cache._model.recurrent and sequence.num_computed_tokens:
                first = lib.llama_memory_seq_pos_min(context.memory, sequence.slot)
                assert first == 0, "cells of the sequence's beginning were given away"
        for slot, kept in cache.id_pool.cached.items():
            assert lib.llama_memory_seq_pos_max(context.memory, slot) == len(kept.tokens) - 1

    def close(self) -> None:
        self.kv_cache.close()


@contextlib.contextmanager
def bench_of(path: Path, **config) -> Iterator[Bench]:
    with model_of(path) as model:
        bench = Bench(model, **config)
        try:
            yield bench
        finally:
            bench.close()


def numbers(count: int, salt: int, size: int = 300) -> list[int]:
    """Return token numbers that never repeat in the same order; none below 3 (control tokens of the tiny models)."""
    return [3 + (salt * 7919 + 31 * i * i + 17 * i + i * salt) % (size - 3) for i in range(count)]


def regex_grammar(pattern: str) -> str:
    """Return a grammar of the texts that match a regular expression as a whole (Rust's syntax, no look-around)."""
    escaped = re.sub(r"\\.|/|\n", lambda found: {"/": r"\/", "\n": r"\n"}.get(found[0], found[0]), pattern)
    return f"start: /(?:{escaped})/"
