"""Engines on copies in other types: what they answer with is named, and no evaluated state crosses to other weights."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import replace

import pytest
from engine.tools import Engine, answer, req

from llmcli.app_paths import DERIVED_DIRECTORY
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.derivation import DerivationSource, derive_copy
from llmcli.engine.kv import disk_prefix_cache
from llmcli.errors.model_errors import DerivedWeightsMissing, NoRoomForWeights
from llmcli.interrupt import Interrupt
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.types import Message, Role

SESSION = "ab" * 16


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch):
    """Make the disk count as fast, since tiny models evaluate about as fast as a slow disk reads."""
    monkeypatch.setattr(disk_prefix_cache, "_DISK_BYTES_PER_S", 1e15)


@pytest.fixture
def model(tiny):
    """Return a tiny model as a source of copies."""
    path = tiny("chatml")
    return DerivationSource(path, "tiny", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def start(model, tmp_path):
    """Return a function that makes an engine, as a new command would, and closes it at the end of the block."""

    @contextlib.contextmanager
    def run(**options):
        options = {"cache": tmp_path, "prefix_bytes": 1 << 24, "threads": 1, **options}
        engine = Engine(model.path, "tiny", model.sha256, EngineOptions(**options), lambda: None)
        try:
            yield engine
        finally:
            engine.close()

    return run


@pytest.fixture
def derive(model, tmp_path):
    """Return a function that makes a copy where the engines look for it."""
    store = DerivedWeightsStore(tmp_path / DERIVED_DIRECTORY, 1 << 30)
    return lambda weights: derive_copy(model, weights, store, Interrupt())


def test_the_engine_names_its_model_and_its_weights(start, derive):
    """The name and the identity stay those of the model."""
    copy = derive("bf16")
    with start(weights="bf16") as engine:
        info = engine.info()
        answer(engine, req("a"))
        assert (info.model, engine.stats().weights) == ("tiny", "bf16")
        assert "weights: bf16" in engine.stats().choices
        assert engine._setup.model.path == copy.path
    with start() as engine:
        assert engine.info() == replace(info, weights="original")
        assert engine.stats().weights == "original"


def damage(path, old, new):
    """Change bytes of a file, but not its size and time."""
    status, content = path.stat(), path.read_bytes()
    assert len(old) == len(new) and old in content
    path.write_bytes(content.replace(old, new, 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_damaged_copy_that_cannot_be_loaded_is_removed(start, derive):
    """Its size and time are those of before; the next command makes another one."""
    copy = derive("bf16")
    damage(copy.path, b"blk.0.attn_q.weight", b"blk.0.attn_X.weight")
    with start(weights="bf16") as engine, pytest.raises(DerivedWeightsMissing):
        engine.info()
    assert not copy.path.exists() and derive("bf16").path.exists()


def test_a_copy_that_is_missing_is_an_error(start):
    """It may have been evicted since the command looked for it."""
    with start(weights="bf16") as engine, pytest.raises(DerivedWeightsMissing) as caught:
        engine.info()
    assert (caught.value.subject, caught.value.weights, caught.value.exit_code) == ("tiny", "bf16", 75)


def test_a_loaded_copy_is_not_evicted(start, derive, tmp_path):
    """Until the engine is closed."""
    copy = derive("bf16")
    tight = DerivedWeightsStore(tmp_path / DERIVED_DIRECTORY, copy.size + 1000)
    with start(weights="bf16") as engine:
        engine.info()
        with pytest.raises(NoRoomForWeights):
            tight.make_room("tiny", copy.size)
    tight.make_room("tiny", copy.size)
    assert not copy.path.exists()


def test_prefixes_of_other_weights_are_never_reused(start, derive):
    """Each form of the weights finds only what it evaluated itself, however it alternates with others."""
    for weights in ("bf16", "f16"):
        derive(weights)
    messages = (Message(Role.SYSTEM, "you are in the world of yes and no and it is hello"), Message(Role.USER, "is it"))
    cached = []
    for weights in ("original", "bf16", "f16", "bf16", "original", "f16"):
        with start(weights=weights) as engine:
            done = answer(engine, req("a", messages=messages, public_prefix=True))["a"]
            cached.append(done.cached > 0)
    assert cached == [False, False, False, True, True, True]


def test_a_conversation_continues_only_with_its_weights(start, derive):
    """The next answer with other weights evaluates all of it, and its own state replaces the earlier one."""
    derive("bf16")
    first = Message(Role.USER, "you are in the world of yes and no and it is hello to you")
    longer = (first, Message(Role.ASSISTANT, "yes"), Message(Role.USER, "what"))
    longest = (*longer, Message(Role.ASSISTANT, "no"), Message(Role.USER, "is it"))
    cached = []
    for weights, messages in (("original", (first,)), ("original", longer), ("bf16", longer), ("bf16", longest)):
        with start(weights=weights) as engine:
            cached.append(answer(engine, req("a", messages=messages, session=SESSION))["a"].cached > 0)
    assert cached == [False, True, False, True]
