"""``llm models quantize``: the file, its size and divergence; what is refused, and that nothing half-written stays."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import tiny_models
from grid import grid
from waiting import wait_until

from llmcli.engine import derivation, quantize_child
from llmcli.errors import OutputError
from llmcli.interrupt import Interrupt
from llmcli.models.files import file_bytes
from llmcli.models.gguf.header_parser import read_header
from llmcli.models.gguf.tensor_types import FILE_TYPES, QUANTIZATIONS, find_quantization
from llmcli.runtime import quantization

NEEDS_MATRIX = {"q2_k_s", "iq3_xs", "iq3_xxs", "iq2_m", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s"}


@pytest.fixture
def quantize(llm, tmp_path, monkeypatch):
    """Run ``llm models quantize`` in a directory of its own."""
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return lambda *argv, **how: llm("models", "quantize", str(llm.model), *argv, **how)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Return a model whose rows are long enough for blocks of 256, so that no type falls back to another."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("D", 256), ("F", 256), ("H", 8)):  # 8 heads of 32
            patch.setattr(tiny_models, name, value)
        directory = tmp_path_factory.mktemp("wide")
        tiny_models.make(directory, ["chatml"])
    return directory / "chatml.gguf"


def files():
    """Return the names of the files here."""
    return sorted(path.name for path in Path.cwd().iterdir())


def test_the_file_is_of_the_type_and_runs(quantize, llm):
    """Its default name has the model's and the type's; --json gives sizes and divergence, and the model stays."""
    before = llm.model.read_bytes()
    made = quantize("--type", "q4_0", "--json")
    assert (made.code, made.err) == (0, "")
    record = json.loads(made.out)
    path = Path.cwd() / "llama-Q4_0.gguf"
    assert record["path"] == str(path) and record["size"] == path.stat().st_size < len(before)
    assert (record["type"], record["source"], record["source_size"]) == ("q4_0", str(llm.model), len(before))
    assert 0 < record["divergence"] < 1
    header = read_header(path)
    assert header.quantization == "Q4_0" and "Q4_0" in {tensor.type for tensor in header.tensors}
    assert llm.model.read_bytes() == before and files() == [path.name]
    assert llm("ask", "hi", "-m", str(path)).code == 0


def test_divergence_falls_with_the_size(quantize):
    """The same type gives almost none."""
    sizes, divergences = [], []
    for name in ("q2_k", "q4_0", "q8_0"):
        record = json.loads(quantize("--type", name, "--json", "-o", "a.gguf").out)
        sizes.append(record["size"])
        divergences.append(record["divergence"])
    assert sizes == sorted(sizes) and divergences == sorted(divergences, reverse=True) and divergences[-1] < 1e-4


def test_people_get_sizes_and_a_note(quantize):
    """A model that is quantized already loses more; -v shows the note off a terminal too."""
    made = quantize("--type", "F16", "-v")
    assert made.code == 0 and "is quantized already" in made.err
    assert made.out.splitlines()[1] == "type\tf16"
    assert quantize("--type", "f16", "-o", "b.gguf").err == ""


@grid("name", sorted(set(QUANTIZATIONS) - NEEDS_MATRIX), rows=6)
def test_every_type_can_be_made(wide, tmp_path, name):
    """The computed size is that of the file, or a little more; the header reader accepts the file."""
    source, target = wide, tmp_path / "out.gguf"
    expected = derivation.estimate_bytes(source, read_header(source), name, Interrupt())
    with target.open("wb") as file:
        derivation.write_quantized(source, file.fileno(), name, expected, lambda: None)
    size = target.stat().st_size
    assert size <= expected < size + 40_000
    assert read_header(target).quantization == FILE_TYPES[QUANTIZATIONS[name]]


@pytest.mark.parametrize("name", sorted(NEEDS_MATRIX))
def test_types_that_need_an_importance_matrix_are_refused(llm, wide, tmp_path, monkeypatch, name):
    """Before anything is written, with other types to try."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    made = llm("models", "quantize", str(wide), "--type", name)
    assert (made.code, made.out) == (2, "") and "importance matrix" in made.err and "Try: --type" in made.err
    assert files() == []


def test_names_of_types():
    """Any case, llama-quantize's aliases, and nothing that llama.cpp cannot make."""
    assert find_quantization("Q4_K_M") == "q4_k_m" == find_quantization("q4_K")
    assert find_quantization("MXFP4_MOE") == "mxfp4_moe"
    assert find_quantization("nvfp4") is find_quantization("q9") is None


def test_refusals(quantize, llm, tmp_path):
    """Each with its exit code, one line and a next step; no file is touched."""
    Path("llama-Q8_0.gguf").write_bytes(b"mine")
    link = tmp_path / "link.gguf"
    link.symlink_to(llm.model)
    cases = {
        ("--type", "q9"): (2, "q4_k_m"),
        ("--type", "q1_0"): (69, "no tensor type fallback"),  # rows of 64 are too short
        ("--type", "q8_0"): (73, "exists"),
        ("--type", "q8_0", "-o", str(llm.model)): (2, "the model itself"),
        ("--type", "q8_0", "-o", str(link)): (2, "the model itself"),
        ("--type", "q8_0", "-o", "nowhere/a.gguf"): (73, "No such directory"),
        ("--type", "q8_0", "-o", "."): (73, "not a regular file"),
        ("--type", "q8_0", "-o", "/dev/null"): (73, "not a regular file"),
    }
    for words, (code, said) in cases.items():
        made = quantize(*words)
        assert (made.code, made.out) == (code, "") and said in made.err, words
        assert len(made.err.splitlines()) == 2
    assert files() == ["llama-Q8_0.gguf"] and Path("llama-Q8_0.gguf").read_bytes() == b"mine"
    assert quantize("--type", "q8_0", "--force").code == 0 and Path("llama-Q8_0.gguf").stat().st_size > 1000


def test_the_disk_is_checked_before(quantize, monkeypatch):
    """No child writes, and an earlier file stays."""

    def full(directory, needed):
        assert needed > 100_000
        raise OutputError(str(directory), detail=os.strerror(28))

    monkeypatch.setattr(file_bytes, "check_disk_space", full)
    Path("a.gguf").write_bytes(b"earlier")
    made = quantize("--type", "q8_0", "-o", "a.gguf")
    assert made.code == 74 and "Free some space" in made.err
    assert files() == ["a.gguf"] and Path("a.gguf").read_bytes() == b"earlier"


@pytest.mark.parametrize(
    ("ended", "code", "reason"),
    [
        ((quantize_child.EXIT_QUANTIZE_FAILED, "failed: why"), 70, "failed: why"),
        (
            (quantize_child.EXIT_QUANTIZE_FAILED, "failed to quantize: basic_ios::clear: iostream error"),
            74,
            "ulimit -f",
        ),
        ((-signal.SIGKILL, ""), 71, ""),
    ],
)
def test_a_failing_child_leaves_no_file(quantize, monkeypatch, ended, code, reason):
    """Its reason is reported; a write that the system refuses is no bug."""
    real = derivation.run_quantizer

    def fail(source, target, weights, mode, **how):
        return real(source, target, weights, mode, **how) if mode == "estimate" else ended

    monkeypatch.setattr(derivation, "run_quantizer", fail)
    made = quantize("--type", "q8_0")
    assert made.code == code and reason in made.err and files() == []


@pytest.mark.parametrize("name", ["-", ""])
def test_standard_output_is_refused(quantize, name):
    """A model is never written to another file than the one that was named."""
    made = quantize("--type", "q8_0", "-o", name)
    assert made.code == 2 and "-o FILE" in made.err and files() == []


def test_without_memory_for_the_measurement_the_file_is_complete(quantize, monkeypatch):
    """The divergence is missing, with a warning, and the exit code is that of a complete result."""

    def exhaust(*_):
        raise MemoryError("Unable to allocate 12 MiB")

    monkeypatch.setattr(quantization, "_measure_divergence", exhaust)
    made = quantize("--type", "q8_0", "--json")
    assert made.code == 0 and "too little memory is free" in made.out + made.err
    assert json.loads(made.out)["divergence"] is None and files() == ["llama-Q8_0.gguf"]


def test_a_signal_ends_the_child_at_once(process, tiny, tmp_path):
    """Neither a temporary file nor a process stays."""
    slow = (
        "import sys, time; from llmcli.engine.derivation import quantize_child as child\n"
        "real = child.quantize\n"
        "def slowly(source, target, *rest):\n"
        "    if rest[-1] == 'estimate': return real(source, target, *rest)\n"
        "    open(target, 'wb').write(b'half'); print('writing', file=sys.stderr, flush=True); time.sleep(60)\n"
        "child.quantize = slowly\n"
        "child._main(*sys.argv[1:])\n"
    )
    (tmp_path / "slow_quantizer.py").write_text(slow)
    site = tmp_path / "sitecustomize.py"
    site.write_text(
        "import importlib.util, sys\n"
        "if 'llmcli' in ' '.join(sys.orig_argv) and 'quantize_child' not in ' '.join(sys.orig_argv):\n"
        "    from llmcli.engine import derivation\n"
        "    derivation._CHILD_MODULE = 'slow_quantizer'\n"
    )
    root = Path(__file__).parents[4]
    child = process(
        "models", "quantize", str(tiny("llama")), "--type", "q8_0", env={"PYTHONPATH": f"{tmp_path}:{root}"}
    )
    wait_until(lambda: any(path.stat().st_size == len(b"half") for path in tmp_path.glob(".llm-*.tmp")))
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == -signal.SIGINT
    assert list(tmp_path.glob(".llm-*")) == [] and not list(tmp_path.glob("*.gguf"))


def test_an_embedding_model_has_no_divergence(llm, tiny, tmp_path, monkeypatch):
    """It is quantized, and the reason is given."""
    monkeypatch.chdir(tmp_path)
    made = llm("models", "quantize", str(tiny("bert")), "--type", "f16", "--json")
    assert made.code == 0 and json.loads(made.out)["divergence"] is None and "predicts no tokens" in made.err
