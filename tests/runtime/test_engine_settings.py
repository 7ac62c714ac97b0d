"""Settings of the engine: how they reach it, and what is refused before a model is loaded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llmcli.engine.llama import hardware
from llmcli.engine.llama.hardware import Gpu
from llmcli.models.files.model_file import ModelFile
from llmcli.models.footprint import PROCESS_BYTES
from llmcli.models.gguf.header_parser import read_header
from llmcli.models.library.model_library import ModelLibrary
from llmcli.models.memory_estimate import CONTEXT_STEP_TOKENS, MachineResources, estimate_memory


@pytest.fixture
def file(monkeypatch):
    """Return the configuration file's path; its directory exists."""
    monkeypatch.delenv("LLMCLI_TUNE")  # the tests' own
    path = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    path.parent.mkdir(parents=True)
    return path


def test_without_settings_the_choice_is_the_engine_s(llm):
    """Settings without a value are None; measurements and prefixes of prompts are kept in the cache directory."""
    assert llm("ask", "Q").code == 0
    options = llm.options
    assert (options.ctx, options.threads, options.kv_type) == (None, None, None)
    assert (options.flash_attention, options.kv_unified, options.deterministic) == (None, None, False)
    assert options.cache == Path(os.environ["LLMCLI_CACHE_DIR"]) and options.prefix_bytes == 512 << 20


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("flash_attention: on", "flash_attention", True),
        ("flash_attention: 'off'", "flash_attention", False),
        ("flash_attention: auto", "flash_attention", None),
        ("kv_layout: unified", "kv_unified", True),
        ("kv_layout: streams", "kv_unified", False),
        ("kv_layout: auto", "kv_unified", None),
        ("kv_type: q8_0", "kv_type", "q8_0"),
        ("prefix_cache: 3", "prefix_bytes", 3 << 20),
        ("prefix_cache: 0", "prefix_bytes", 0),
    ],
)
def test_a_setting_reaches_the_engine(llm, file, text, name, value):
    """From the file, and from the environment in the same form."""
    file.write_text(text + "\n")
    assert llm("ask", "Q").code == 0 and getattr(llm.options, name) == value
    file.unlink()
    key, _, word = text.partition(": ")
    assert llm("ask", "Q", env={f"LLMCLI_{key.upper()}": word.strip("'")}).code == 0
    assert getattr(llm.options, name) == value


@pytest.mark.parametrize(
    "text",
    ["flash_attention: 1", "kv_layout: on", "kv_type: q4", "tune: always", "prefix_cache: -1", "prefix_cache: auto"],
)
def test_a_bad_value_is_78_and_names_key_and_file(llm, file, text):
    """One line says what is wrong and where, the next what to do; no model is loaded."""
    file.write_text(text + "\n")
    run = llm("ask", "Q")
    happened, advice = run.err.splitlines()
    assert run.code == 78 and run.backend is None and run.out == ""
    assert happened.startswith(f"llm: {text.split(':')[0]} ({file}): expected ") and advice == "Try: llm config edit"


def test_an_unknown_kv_type_is_usage_on_the_command_line(llm):
    """One line lists the valid types."""
    run = llm("ask", "Q", "--set", "kv_type=q3_k")
    assert run.code == 2 and run.backend is None
    assert run.err.splitlines()[0] == "llm: --set kv_type: expected one of auto, f16, q8_0, bf16, not 'q3_k'"


def test_a_context_larger_than_the_model_s_is_usage(llm):
    """The error has both numbers, and nothing is loaded."""
    run = llm("ask", "Q", "--ctx", "8193")
    assert run.code == 2 and run.backend is None and run.out == ""
    assert run.err.splitlines()[0] == f"llm: --ctx 8193 is larger than the context of {llm.model}, 8192"
    assert llm("ask", "Q", "--ctx", "8192").code == 0 and llm.options.ctx == 8192


def test_a_context_larger_than_the_model_s_is_78_where_it_was_configured(llm):
    """The variable has to change."""
    run = llm("ask", "Q", env={"LLMCLI_CTX": "8193"})
    assert run.code == 78 and run.backend is None
    assert run.err.splitlines()[0] == f"llm: ctx (LLMCLI_CTX): 8193 is larger than the context of {llm.model}, 8192"


@pytest.fixture
def loaded(llm):
    """Return a function from a context to what a process takes without a cache: itself, weights, compute buffers."""

    def without_cache(context):
        fit = estimate_memory(read_header(llm.model), llm.model.stat().st_size, context, MachineResources(None))
        return fit.needed_bytes - fit.kv_cache_bytes

    return without_cache


def test_a_context_larger_than_the_memory_is_71_with_figures(llm, loaded, monkeypatch):
    """The process, weights, buffers and cache against the free memory; nothing is loaded."""
    free = loaded(8000) + 3000 * 256
    monkeypatch.setattr(hardware, "available_memory", lambda: free)
    run = llm("ask", "Q", "--ctx", "8000", "--set", "kv_type=f16")
    needed = loaded(8000) + 8000 * 256
    assert run.code == 71 and run.backend is None and run.out == ""
    happened, advice = run.err.splitlines()
    assert happened.startswith(
        f"llm: out of memory for {llm.model} with a context of 8000 tokens ({needed / 1e6:.1f} MB"
    )
    assert "of it weights" in happened and f"256 bytes per token of context, {free / 1e6:.1f} MB free" in happened
    fits = max(
        ctx for ctx in range(CONTEXT_STEP_TOKENS, 8000, CONTEXT_STEP_TOKENS) if loaded(ctx) + ctx * 256 <= free
    )  # buffers grow with it too
    assert advice == f"Try: --ctx {fits}"
    assert llm("ask", "Q", "--ctx", str(fits), "--set", "kv_type=f16").code == 0
    error = json.loads(llm("ask", "Q", "--ctx", "8000", "--json").err)["error"]
    assert (error["code"], error["type"]) == (71, "OutOfMemory")


@pytest.mark.parametrize(("ctx", "code"), [(3000, 0), (3001, 71)])
def test_the_weights_take_memory_too(llm, loaded, monkeypatch, ctx, code):
    """The cache has what they and the buffers leave: here room for 3000 tokens of 256 bytes each."""
    monkeypatch.setattr(hardware, "available_memory", lambda: loaded(3000) + 3000 * 256)
    assert llm("ask", "Q", "--ctx", str(ctx), "--set", "kv_type=f16").code == code


def test_a_smaller_type_of_cache_holds_a_longer_context(llm, loaded, monkeypatch):
    """If the engine may choose the type, only a context that no type can hold is refused."""
    per_token = read_header(llm.model).kv_bytes_per_token("q8_0", "q8_0")
    monkeypatch.setattr(hardware, "available_memory", lambda: loaded(8000) + 8000 * per_token)
    assert llm("ask", "Q", "--ctx", "8000", "--set", "kv_type=f16").code == 71
    assert llm("ask", "Q", "--ctx", "8000", "--set", "kv_type=q8_0").code == 0
    assert llm("ask", "Q", "--ctx", "8000").code == 0 and llm("ask", "Q", "--ctx", "8001").code == 71


def test_weights_that_are_larger_than_the_memory_are_refused(llm, monkeypatch):
    """71 with the figures before anything is loaded, and a model on this machine that would fit."""
    monkeypatch.setattr(hardware, "available_memory", lambda: 100_000)
    run = llm("ask", "Q")
    assert run.code == 71 and run.backend is None and run.out == ""
    assert run.err.startswith(f"llm: out of memory for {llm.model} (") and "100.0 kB free" in run.err
    sizes = {"large": 10**9, "small": 50_000, "tiny": 20}
    others = [ModelFile(name=name, path=llm.model, size=size) for name, size in sizes.items()]
    monkeypatch.setattr(ModelLibrary, "list", lambda _: others)
    assert llm("ask", "Q").err.splitlines()[1] == "Try: -m small"


def test_a_gpu_has_memory_of_its_own(llm, monkeypatch):
    """Offloaded layers do not count against the machine's memory; without offloading they do."""
    monkeypatch.setattr(hardware, "available_memory", lambda: 1_000_000)
    monkeypatch.setattr(hardware, "list_gpus", lambda: [Gpu("GPU", 10**9, 10**9)])
    assert llm("ask", "Q", "--ctx", "8000").code == 0
    assert llm("ask", "Q", "--ctx", "8000", "--set", "gpu_layers=0").code == 71


def test_unknown_memory_refuses_nothing(llm, monkeypatch):
    """If the system does not report it, the engine finds out."""
    monkeypatch.setattr(hardware, "available_memory", lambda: None)
    assert llm("ask", "Q", "--ctx", "8000").code == 0


@pytest.mark.parametrize(("name", "code"), [("mamba", 0), ("lfm2", 71), ("gemma3", 71), ("qwen3moe", 71)])
def test_only_computable_needs_are_refused(llm, tiny, monkeypatch, name, code):
    """A recurrent state does not grow with the context; the attention layers of a hybrid model have a cache."""
    monkeypatch.setattr(hardware, "available_memory", lambda: PROCESS_BYTES + 2_000_000)
    assert llm("ask", "Q", "-m", str(tiny(name)), "--ctx", "8000").code == code
