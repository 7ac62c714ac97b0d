"""Copies in other types: they evaluate like the original, and nothing that goes wrong leaves half of one."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from engine.tools import GENERATIVE, Probe, bench_of, each_smooth_model, numbers
from grid import grid
from terminal import ROOT
from waiting import wait_until

from llmcli.cli.console.error_messages import describe
from llmcli.engine import derivation, quantize_child
from llmcli.engine.derivation import DerivationSource, derive_copy
from llmcli.engine.embedding import Embedder
from llmcli.engine.llama.compute_thread import InlineExecutor
from llmcli.engine.llama.model import Model
from llmcli.errors import InternalError, Interrupted, OutOfMemory, OutputError, TemporaryFailure, TimedOut, Unsupported
from llmcli.errors.model_errors import DerivationRefused, NoRoomForWeights
from llmcli.interrupt import Interrupt
from llmcli.models.gguf.header_parser import read_header
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.settings import DERIVED_TYPES

CHANGED_TYPES = [weights for weights in DERIVED_TYPES if weights != "q8_0"]  # the tiny models are Q8_0
TOLERANCE = 0.2
"""The most that a logit may differ, as a fraction of the standard deviation of all logits."""
DERIVE = """
import sys
from pathlib import Path
from llmcli.engine.derivation import DerivationSource, derive_copy
from llmcli.interrupt import Interrupt
from llmcli.models.library.derived_weights import DerivedWeightsStore
source = DerivationSource(Path(sys.argv[1]), "tiny", sys.argv[2])
print(derive_copy(source, "bf16", DerivedWeightsStore(Path(sys.argv[3]), 1 << 30), Interrupt()).path, flush=True)
"""
DERIVE_SLOWLY = f"""
import sys
from llmcli import child_processes
child_processes.module_command = lambda _, *given: [sys.executable, sys.argv[4], *given]
{DERIVE}"""
SLOW_CHILD = """
import sys, threading, time
from llmcli.engine.derivation import quantize_child
def quantize(source, target, *_):
    open(target, "wb").write(b"half a copy")
    print("writing", file=sys.stderr, flush=True)
    time.sleep(60)
quantize_child.quantize = quantize
quantize_child._main(*sys.argv[1:])
"""


@pytest.fixture
def store(tmp_path):
    """Return an empty store."""
    return DerivedWeightsStore(tmp_path / "derived", 1 << 30)


@pytest.fixture
def source(tiny, tmp_path):
    """Return a function that returns a tiny model of its own as a source."""

    def make(name="llama"):
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(tiny(name).read_bytes())
        return DerivationSource(path, "tiny", hashlib.sha256(path.read_bytes()).hexdigest())

    return make


@pytest.fixture
def slow_child(monkeypatch, tmp_path):
    """Let the child write a few bytes and then wait; return its script."""
    script = tmp_path / "child.py"
    script.write_text(SLOW_CHILD)
    monkeypatch.setattr(
        derivation.child_processes, "module_command", lambda _, *given: [sys.executable, str(script), *given]
    )
    return script


def child_that(code, message=""):
    """Return what stands for a child that ends at once."""

    def run(*_, **__):
        return code, message

    return run


def evaluate(path):
    """Return the logits after a prompt and a few tokens."""
    prompt = numbers(40, 3, 260)
    with bench_of(path) as bench:
        probe = Probe("p", prompt, prompt[:4])
        bench.run(probe)
        return np.array(probe.rows)


def files(store):
    return sorted(path.name for path in store.directory.iterdir())


@each_smooth_model
@pytest.mark.parametrize("weights", DERIVED_TYPES)
def test_every_architecture_evaluates_like_the_original(store, source, name, weights):
    """In every type: recurrent, hybrid, mixtures and windows too. Q8_0 is made from a copy in f16."""
    model = source(name)
    if weights == "q8_0":
        wide = derive_copy(model, "f16", store, Interrupt())
        model = DerivationSource(wide.path, "tiny", wide.sha256)
    copy = derive_copy(model, weights, store, Interrupt())
    original, derived = evaluate(model.path), evaluate(copy.path)
    assert np.abs(original - derived).max() < TOLERANCE * np.std(original)
    assert not np.array_equal(original, derived)


@pytest.mark.parametrize("weights", CHANGED_TYPES)
def test_an_embedding_model_embeds_like_the_original(store, source, weights):
    """The vectors have length 1 and nearly the same direction."""
    model = source("bert")
    vectors = []
    for path in (model.path, derive_copy(model, weights, store, Interrupt()).path):
        loaded = Model(path, keep_going=lambda: True)
        embedder = Embedder(loaded, "", 1, InlineExecutor())
        vectors.append(np.array(embedder.embed(embedder.tokenize("hello world"), lambda: False)))
        embedder.close()
        loaded.close()
    assert vectors[0] @ vectors[1] > 0.99


@grid("name", [*GENERATIVE, "bert"], rows=4)
@pytest.mark.parametrize("weights", CHANGED_TYPES)
def test_the_size_is_known_before(store, source, name, weights):
    """The estimate is at most a kilobyte too large, and never too small."""
    model = source(name)
    expected = derivation.derived_bytes(read_header(model.path), weights)
    assert 0 <= expected - derive_copy(model, weights, store, Interrupt()).size <= 1024


def test_the_copy_has_the_type_and_the_same_vocabulary(store, source):
    """Only matrices change."""
    model = source()
    copy = derive_copy(model, "bf16", store, Interrupt())
    before, after = read_header(model.path), read_header(copy.path)
    assert {t.type for t in after.tensors} == {"BF16", "F32"} and after.quantization == "BF16"
    assert after.chat_template == before.chat_template and after.vocabulary_size == before.vocabulary_size


def test_a_finished_copy_is_not_made_again(store, source, monkeypatch):
    """No child is started, and no header is read."""
    first = derive_copy(source(), "bf16", store, Interrupt())
    monkeypatch.setattr(derivation, "_run_child", None)
    monkeypatch.setattr(derivation, "load_checked_header", None)
    assert derive_copy(source(), "bf16", store, Interrupt()).path == first.path


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x"), Path.unlink])
def test_a_damaged_copy_is_made_again(store, source, damage):
    """Truncated or gone."""
    first = derive_copy(source(), "bf16", store, Interrupt())
    damage(first.path)
    second = derive_copy(source(), "bf16", store, Interrupt())
    assert second.sha256 == first.sha256 and second.path.stat().st_size == first.size


def test_a_model_of_that_type_is_refused(store, source):
    """There would be nothing to change."""
    with pytest.raises(DerivationRefused) as caught:
        derive_copy(source(), "q8_0", store, Interrupt())
    assert "q8_0 already" in caught.value.detail and caught.value.exit_code == 69


def test_progress_ends_at_the_expected_size(store, source):
    """It never exceeds it."""
    reports = []
    derive_copy(source(), "bf16", store, Interrupt(), on_progress=lambda *report: reports.append(report))
    total = derivation.derived_bytes(read_header(source().path), "bf16")
    assert reports and all(done <= of == total for done, of in reports)


def test_a_background_derivation_gives_the_same_copy(store, source, tmp_path):
    """One thread at the lowest priority writes the same bytes."""
    slow = derive_copy(source(), "bf16", store, Interrupt(), background=True)
    other = DerivedWeightsStore(tmp_path / "other", 1 << 30)
    assert derive_copy(source(), "bf16", other, Interrupt()).sha256 == slow.sha256


@pytest.mark.parametrize(
    "stop", [lambda given: given.set(signal.SIGINT), lambda given: setattr(given, "deadline", 0.0)]
)
def test_an_interrupt_kills_the_child_at_once(store, source, slow_child, stop):
    """A signal and a deadline; the copy is discarded."""
    interrupt = Interrupt()

    def report(_done, _total):
        (temporary,) = store.directory.glob("*.tmp")
        if temporary.stat().st_size:
            stop(interrupt)

    with pytest.raises((Interrupted, TimedOut)):
        derive_copy(source(), "bf16", store, interrupt, on_progress=report)
    assert files(store) == []


def test_a_child_ends_with_its_parent(store, source, slow_child, tmp_path):
    """Also one that is killed: its standard input ends."""
    temporary = tmp_path / "copy.tmp"
    command = [
        sys.executable,
        str(tmp_path / "child.py"),
        str(source().path),
        str(temporary),
        "bf16",
        "1",
        "normal",
        "pure",
    ]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
    with child:
        assert child.stderr.readline() == b"writing\n"
        child.stdin.close()
        assert child.wait(60) == 1


def test_a_killed_parent_leaves_no_half_copy(store, source, slow_child, monkeypatch):
    """What it left is removed by the next derivation, which makes the copy."""
    model = source()
    process = subprocess.Popen(
        [sys.executable, "-c", DERIVE_SLOWLY, str(model.path), model.sha256, str(store.directory), str(slow_child)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        wait_until(lambda: any(file.stat().st_size for file in store.directory.glob("*.tmp")))
        process.kill()
    assert store.find(model.key("bf16")) is None
    monkeypatch.undo()
    derive_copy(model, "bf16", store, Interrupt())
    stem = model.key("bf16").stem
    assert files(store) == [f"{stem}.gguf", f"{stem}.json"]


def test_a_killed_child_is_named(store, source, monkeypatch):
    """The system kills what takes too much memory."""
    monkeypatch.setattr(derivation, "_run_child", child_that(-signal.SIGKILL))
    with pytest.raises(OutOfMemory):
        derive_copy(source(), "bf16", store, Interrupt())
    assert files(store) == []


@pytest.mark.parametrize(
    ("ended", "error"),
    [
        ((quantize_child.EXIT_QUANTIZE_FAILED, "failed: reason"), (InternalError, "failed: reason")),
        ((-signal.SIGABRT, "GGML_ASSERT(x) failed"), (InternalError, "GGML_ASSERT(x) failed")),
        ((-signal.SIGSEGV, ""), (InternalError, "Segmentation fault")),
        ((3, ""), (InternalError, "it exited with code 3")),
        ((-signal.SIGILL, ""), (Unsupported, "built for another processor")),
        ((quantize_child.EXIT_UNSUPPORTED, "not installed"), (Unsupported, "not installed")),
    ],
)
def test_the_error_of_the_child_is_named(store, source, monkeypatch, ended, error):
    """With llama.cpp's own words, where it has some."""
    kind, detail = error
    monkeypatch.setattr(derivation, "_run_child", child_that(*ended))
    with pytest.raises(kind) as caught:
        derive_copy(source(), "bf16", store, Interrupt())
    assert detail in caught.value.detail and files(store) == []


def test_a_full_disk_during_the_copy_is_named(store, source, monkeypatch):
    """Another process may have filled it after the check."""
    monkeypatch.setattr(derivation, "_run_child", child_that(quantize_child.EXIT_QUANTIZE_FAILED, "iostream error"))
    monkeypatch.setattr(store, "make_room", lambda *_: None)
    monkeypatch.setattr(derivation.os, "statvfs", lambda _: SimpleNamespace(f_bavail=0, f_frsize=4096))
    with pytest.raises(OutputError) as caught:
        derive_copy(source(), "bf16", store, Interrupt())
    assert caught.value.detail == os.strerror(28) and files(store) == []


def test_llama_cpp_reports_a_full_disk(source):
    """The child that writes to a full device ends with a reason, and does not crash."""
    assert "failed to quantize" in quantize_child.quantize(str(source().path), "/dev/full", "bf16", 1)


def test_a_disk_that_is_too_small_is_refused_before(store, source, monkeypatch):
    """No child is started; both figures are named."""
    monkeypatch.setattr(derivation, "_run_child", None)
    small = DerivedWeightsStore(store.directory, 1000)
    with pytest.raises(NoRoomForWeights) as caught:
        derive_copy(source(), "bf16", small, Interrupt())
    assert caught.value.needed > 200_000 and caught.value.available == 1000


@pytest.mark.parametrize("change", ["replace", "write", "remove"])
def test_a_source_that_changes_meanwhile_discards_the_copy(store, source, monkeypatch, change):
    """The copy could be of either file."""
    model, real = source(), derivation._run_child

    def run(*given, **named):
        ended = real(*given, **named)
        other = model.path.with_name("other.gguf")
        if change == "replace":
            other.write_bytes(model.path.read_bytes())
            other.replace(model.path)
        elif change == "write":
            os.utime(model.path, ns=(1, 1))
        else:
            model.path.unlink()
        return ended

    monkeypatch.setattr(derivation, "_run_child", run)
    with pytest.raises(TemporaryFailure) as caught:
        derive_copy(model, "bf16", store, Interrupt())
    assert describe(caught.value)[0].endswith(" changed while it was being copied")
    assert caught.value.exit_code == 75 and files(store) == []


def test_two_processes_make_one_copy(store, source):
    """The second one waits, and uses the result of the first."""
    model = source()
    command = [sys.executable, "-c", DERIVE, str(model.path), model.sha256, str(store.directory)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) for _ in range(2)]
    paths = {process.communicate(timeout=60)[0] for process in both}
    assert len(paths) == 1 and [process.returncode for process in both] == [0, 0]
    assert len(files(store)) == 2


def test_two_threads_make_one_copy(store, source, monkeypatch):
    """Only one child runs."""
    runs, real = [], derivation._run_child
    monkeypatch.setattr(derivation, "_run_child", lambda *given, **named: runs.append(1) or real(*given, **named))
    model, made = source(), []
    threads = [
        threading.Thread(target=lambda: made.append(derive_copy(model, "bf16", store, Interrupt()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1 and len({copy.sha256 for copy in made}) == 1
