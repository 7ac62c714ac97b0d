"""A library of llama.cpp of another version, or one that computes nonsense, is recognized."""

from __future__ import annotations

import ctypes
import json
import os
import types

import check_models
import pytest

from llmcli.engine import abi_check
from llmcli.engine.llama import bindings
from llmcli.engine_library import find_library


@pytest.fixture
def module():
    return bindings.lib()


@pytest.fixture
def declarations(monkeypatch):
    """Return what llm relies on, to be changed by the test."""
    data = abi_check.load_declarations()
    monkeypatch.setattr(abi_check, "load_declarations", lambda: data)
    return data


def test_the_engine_of_these_tests_passes(module):
    """The library that the tests use has the declared functions and structs, and gives the known logits."""
    assert abi_check.find_problem(module) == ""


def test_the_data_is_what_its_script_writes(tmp_path):
    """The models, and the functions and defaults that llm relies on, are those of the sources and of the binding."""
    for name, write in check_models.MODELS.items():
        write(str(tmp_path / f"{name}.gguf"))
        stored = (abi_check.CHECK_DATA / f"{name}.gguf").read_bytes()
        assert (tmp_path / f"{name}.gguf").read_bytes() == stored, f"{name}: run tests/check_models.py"
    assert check_models.read_declarations() == abi_check.load_declarations()
    assert sum(path.stat().st_size for path in abi_check.CHECK_DATA.iterdir()) < 700_000


def test_a_library_without_a_function_is_refused(module, declarations):
    """A function that llm calls is missing."""
    declarations["functions"].append("llama_future")
    assert abi_check.find_problem(module) == "it lacks functions: llama_future"


def test_a_struct_with_another_default_is_refused(module, declarations):
    """A field has another value than this version's, as after a field that was inserted before it."""
    declarations["defaults"]["llama_context_default_params"]["n_ubatch"] = 2048
    problem = abi_check.find_problem(module)
    assert problem == "llama_context_default_params: n_ubatch is 512, not 2048: it is of another version"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="elsewhere a struct's size cannot be seen")
def test_a_struct_that_has_grown_is_refused(module):
    """The library writes more than the struct that the binding declares."""
    params = module.llama_model_quantize_default_params()

    class Shorter(ctypes.Structure):
        _fields_ = type(params)._fields_[:-1]

    functions = {name: getattr(module, name) for name in abi_check.load_declarations()["defaults"]}
    functions["llama_model_quantize_default_params"] = lambda: Shorter.from_buffer(params)
    older = types.SimpleNamespace(_lib=module._lib, **functions)
    problem = abi_check.find_problem(older)
    assert problem.startswith("llama_model_quantize_default_params writes 64 bytes instead of 56")


@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_other_logits_are_refused(module, monkeypatch, wrong):
    """A kernel that computes something else changes logits; one that fails gives what is not a number."""
    right = json.loads((abi_check.CHECK_DATA / "logits.json").read_bytes())

    def evaluate(path):
        rows = right[path.stem]
        return [[*rows[0][:-1], rows[0][-1] + wrong], *rows[1:]] if path.stem == "gemma3" else rows

    monkeypatch.setattr(abi_check, "evaluate_model", evaluate)
    assert abi_check.find_problem(module).startswith("its logits of the model gemma3 are off by ")


def test_the_backends_in_memory_are_found():
    """The variant of a library is read off the files that are loaded."""
    bindings.lib()
    library = find_library(os.environ)
    backends = abi_check.loaded_backends(library)
    assert any(name.startswith("libggml-cpu") for name in backends)
    assert not any(name.startswith(("libllama", "libggml.", "libggml-base")) for name in backends)
    assert abi_check.variant_of(["libggml-blas.so", "libggml-cpu-zen4.so"]) == "zen4"
    assert abi_check.variant_of(["libggml-cpu.so"]) == ""
