"""Scores and hidden states of requests that generate nothing are the same bits in any order, company, shape and process."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
from engine.label_requests import SHARED, Answer, labelling, run
from engine.tools import engine_of

from llmcli.app_paths import DERIVED_DIRECTORY
from llmcli.engine.derivation import DerivationSource, derive_copy, write_quantized
from llmcli.engine.engine import Engine
from llmcli.engine.schedule.scheduler import Scheduler
from llmcli.engine.schedule.scheduler_thread import SchedulerThread
from llmcli.interrupt import Interrupt
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.types import Finished, Message, Request, Role

TYPES = ("f32", "f16", "bf16", "q8_0", "q4_1", "q4_k_m", "q6_k")
ARCHITECTURES = ("chatml", "gemma3", "qwen3moe")


@pytest.fixture(scope="session")
def typed(tmp_path_factory):
    """Return a function from an architecture and a type of weights to a tiny model with rows of 256 numbers."""
    directory = tmp_path_factory.mktemp("typed")

    def path(name: str, weights: str) -> Path:
        exact, file = directory / f"{name}.gguf", directory / f"{name}-{weights}.gguf"
        if not exact.exists():
            with pytest.MonkeyPatch.context() as patch:
                for constant, value in {"Q8": False, "D": 256, "F": 256}.items():
                    patch.setattr(tiny_models, constant, value)
                tiny_models.make(str(directory), [name])
        if weights == "f32":
            return exact
        if not file.exists():
            with file.open("wb") as target:
                write_quantized(exact, target.fileno(), weights, 1 << 24, lambda: None)
        return file

    return path


def one_by_one(engine: Engine, requests: list[Request]) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    for request in requests:
        found |= run(engine, [request])
    return found


@contextlib.contextmanager
def cold(path: Path, **options) -> Iterator[Engine]:
    with engine_of(path, **options) as engine:
        yield engine


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weights"), [*(("llama", each) for each in TYPES), *((each, "f32") for each in ARCHITECTURES)]
)
def test_company_order_and_threads_change_nothing(typed, name, weights):
    """All at once in two threads, the same in another order, and one after another in one thread, cold and warm."""
    check_invariance(typed(name, weights))


@pytest.mark.slow
def test_company_order_and_threads_change_nothing_of_a_copy_in_bf16(typed, tmp_path):
    """States of its layers are computed with a cache in BF16."""
    path = typed("llama", "f32")
    source = DerivationSource(path, "tiny", hashlib.sha256(path.read_bytes()).hexdigest())
    derive_copy(source, "bf16", DerivedWeightsStore(tmp_path / DERIVED_DIRECTORY, 1 << 30), Interrupt())
    check_invariance(path, model_id=source.sha256, cache=tmp_path, prefix_bytes=0, weights="bf16")


def check_invariance(path: Path, **options) -> None:
    requests = labelling()
    shuffled = random.Random(2).sample(requests, len(requests))
    with cold(path, threads=2, **options) as engine:
        together = run(engine, requests)
        assert run(engine, shuffled) == together
    with cold(path, threads=1, **options) as engine:
        assert one_by_one(engine, shuffled) == together
        assert run(engine, requests) == together
    for request in requests[:3]:
        with cold(path, threads=1, **options) as engine:
            assert run(engine, [request])[request.id] == together[request.id]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_prefixes_on_disk_change_nothing(typed, tmp_path, name):
    """A process that finds the common prefix on disk answers as the one that evaluated it."""
    path, requests = typed(name, "f16"), labelling()
    options = {"model_id": "a" * 64, "cache": tmp_path, "prefix_bytes": 1 << 26}
    with cold(path) as engine:
        expected = run(engine, requests)
    for _ in range(3):
        with cold(path, **options) as engine:
            assert run(engine, requests) == expected


def test_a_prefix_on_disk_is_reused(typed, tmp_path):
    """By a process that scores one text, as by one that scores many."""
    path, (request, *_) = typed("llama", "f16"), labelling()
    cached = []
    for _ in range(2):
        with cold(path, model_id="a" * 64, cache=tmp_path, prefix_bytes=1 << 26) as engine, engine.open() as job:
            job.submit(request)
            job.close_input()
            (finished,) = [event for event in job if isinstance(event, Finished)]
            cached.append(finished.usage.cached_tokens)
    assert cached[0] == 0 and cached[1] >= 16


@pytest.mark.parametrize("seed", [0, 2])
def test_an_aborted_evaluation_changes_no_bits(tiny, monkeypatch, seed):
    """Also where llama.cpp had not begun with some of its sequences, whose ids do not follow each other.

    It leaves those with the place of another sequence's next token (``llama_kv_cache::prepare``, 0.3.36).
    """
    words = random.Random(seed)
    texts = [" ".join(words.choices(tiny_models.WORDS, k=words.randint(1, 6))) for _ in range(60)]
    requests = [
        Request(str(number), (Message(Role.USER, SHARED + text),), candidates=("positive in it", "no and yes"))
        for number, text in enumerate(texts)
    ]
    source, aborting, aborted = random.Random(seed), [False], []
    evaluate = Scheduler._evaluate

    def evaluate_some(scheduler, entries, *, abortable):
        slots = [entry.sequence.slot for entry in entries]
        has_gap = slots != list(range(slots[0], slots[0] + len(slots)))
        aborting[0] = has_gap and source.random() < 0.5
        aborted.extend([slots] if aborting[0] else [])
        return evaluate(scheduler, entries, abortable=abortable or aborting[0])

    monkeypatch.setattr(SchedulerThread, "_should_abort", lambda _thread: aborting[0])
    with cold(tiny("llama")) as engine:
        expected = run(engine, requests)
        monkeypatch.setattr(Scheduler, "_evaluate", evaluate_some)
        for _ in range(4):
            source.shuffle(requests)
            assert run(engine, requests) == expected
    assert aborted
