"""``--lora`` through ``main(argv)``: with a worker and without, the identity of workers and caches, and refusals."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny_adapters import write_adapter

from llmcli.cli import main
from llmcli.cli.console.environment import Environment
from llmcli.models.library.registry import ModelRegistry
from llmcli.runtime import preflight

from .conftest import SHORT

ASK = ("ask", "hello world", *SHORT)


@pytest.fixture
def llm(shell, tmp_path):
    """Run ``main(argv)`` in this process, with workers in ``shell``'s directory; return code, output, errors."""

    def call(*argv, env=None):
        with (
            (tmp_path / "out").open("wb") as out,
            (tmp_path / "err").open("wb") as err,
            Path("/dev/null").open("rb") as null,
        ):
            environment = Environment(null.fileno(), out.fileno(), err.fileno(), shell.environ(**(env or {})))
            code = main.main(list(argv), environment)
        return code, (tmp_path / "out").read_text(), (tmp_path / "err").read_text()

    return call


@pytest.fixture
def lora(shell, tmp_path):
    """Return a function that writes an adapter for the model."""

    def write(name="style.gguf", **how):
        return str(write_adapter(tmp_path / name, shell.model, **how))

    return write


def test_answers_agree_with_and_without_a_worker(llm, lora, shell):
    """Another answer than without the adapter; scale 0 gives the same as no adapter."""
    path = lora()
    adapted = llm(*ASK, "--lora", path)
    assert adapted[0] == 0 and adapted[1:] == llm(*ASK, "--lora", path, "--set", "worker=off")[1:]
    assert adapted[1] != llm(*ASK)[1] == llm(*ASK, "--lora", f"{path}:0")[1]
    assert len(shell.statuses()) == 3  # without, with, with scale 0


def test_results_name_the_adapters(llm, lora):
    """--json, --stats and -v say which file with which hash and scale answered."""
    path = lora()
    entry = {"path": path, "scale": 0.5, "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    code, out, err = llm(*ASK, "--lora", f"{path}:0.5", "--set", "worker=off", "--json", "--stats")
    assert code == 0 and json.loads(out)["adapters"] == [entry]
    assert json.loads(err.splitlines()[-1])["stats"]["adapters"] == [entry]
    _, _, err = llm(*ASK, "--lora", f"{path}:0.5", "--set", "worker=off", "-v", "--stats")
    assert f"LoRA adapter {path}, scale 0.5, SHA-256 {entry['sha256']}" in err and "LoRA style.gguf * 0.5" in err
    code, out, err = llm(*ASK, "--set", "worker=off", "--json", "--stats")
    assert '"adapters"' not in out + err


def test_workers_are_listed_with_their_adapters(llm, lora, shell):
    """In JSON and for people; restart keeps them."""
    path = lora()
    llm(*ASK, "--lora", f"{path}:0.25")
    (row,) = map(json.loads, llm("worker", "list", "--json")[1].splitlines())
    assert [(each["path"], each["scale"]) for each in row["adapters"]] == [(path, 0.25)]
    assert llm("worker", "list")[1].rstrip("\n").endswith(f"{path}:0.25")
    assert llm("worker", "restart")[0] == 0
    assert shell.worker()["pid"] != row["pid"] and shell.worker()["adapters"] == row["adapters"]
    assert f"adapter {path} * 0.25" in llm("worker", "log")[1]


def test_a_changed_adapter_gets_another_worker(llm, lora, shell):
    """The file is hashed again, and the answer is that of the new file."""
    path = lora()
    before = llm(*ASK, "--lora", path)[1]
    lora(seed=9)
    os.utime(path, ns=(1, 1))
    after = llm(*ASK, "--lora", path)[1]
    assert len(shell.statuses()) == 2 and before != after == llm(*ASK, "--lora", path, "--set", "worker=off")[1]


def test_the_hash_is_kept_while_the_file_is_unchanged(llm, lora, monkeypatch):
    """A second command neither hashes nor parses the adapter if a worker runs."""
    path = lora()
    llm(*ASK, "--lora", path)
    monkeypatch.setattr("llmcli.models.library.adapter_files.hash_file", pytest.fail)
    monkeypatch.setattr("llmcli.models.gguf.adapter_header.read_adapter_header", pytest.fail)
    assert llm(*ASK, "--lora", path)[0] == 0
    registry = ModelRegistry(Path(os.environ["LLMCLI_DATA_DIR"]) / "models.json")
    assert registry.current_record(Path(path)).architecture == "llama"


def test_adapters_come_from_the_configuration_too(llm, lora):
    """Environment over file, option over both; none switches them off."""
    path, other = lora(), lora("other.gguf", seed=4)
    config = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"lora:\n- {path}\n- {other}:0.5\n")

    def used(*argv, env=None):
        found = json.loads(llm(*ASK, "--set", "worker=off", "--json", *argv, env=env)[1]).get("adapters", [])
        return [(Path(each["path"]).name, each["scale"]) for each in found]

    assert used() == [("style.gguf", 1.0), ("other.gguf", 0.5)]
    assert used(env={"LLMCLI_LORA": f"{other}:2,{path}"}) == [("other.gguf", 2.0), ("style.gguf", 1.0)]
    assert used("--lora", path, env={"LLMCLI_LORA": other}) == [("style.gguf", 1.0)]
    assert used("--lora", "none") == [] == used(env={"LLMCLI_LORA": "none"})
    shown = json.loads(llm("config", "show", "lora", "--json")[1])
    assert shown["value"] == [path, f"{other}:0.5"] and shown["origin"] == str(config)


def test_evaluated_prompts_are_kept_apart(llm, lora, monkeypatch):
    """A state on disk of one adapter is never read for another, or for none."""
    monkeypatch.setattr("llmcli.engine.kv.disk_prefix_cache._DISK_BYTES_PER_S", 1e15)
    path = lora()
    command = ("generate", "poem", "--var", "topic=no", "--set", "worker=off", *SHORT)
    names = []
    for adapter in ((), ("--lora", path), ("--lora", f"{path}:0.5")):
        assert llm(*command, *adapter)[0] == 0
        names.append({file.name for file in (Path(os.environ["LLMCLI_CACHE_DIR"]) / "prefixes").glob("*.state")})
    assert len(names[0]) < len(names[1]) < len(names[2])
    identities = {name.partition("-")[0] for name in names[2]}
    assert len(identities) == 3


def test_memory_counts_the_adapter(llm, lora, monkeypatch, shell):
    """An adapter that does not fit is refused before anything is loaded."""
    path = lora()
    needed = []
    estimate = preflight.estimate_memory
    monkeypatch.setattr(
        preflight, "estimate_memory", lambda model, *rest: needed.append(model.memory_bytes) or estimate(model, *rest)
    )
    llm(*ASK, "--lora", path, "--set", "worker=off")
    assert set(needed) == {shell.model.stat().st_size + Path(path).stat().st_size}


@pytest.mark.parametrize(
    "worker",
    [
        (),
        (
            "--set",
            "worker=off",
        ),
    ],
)
def test_an_adapter_of_another_architecture_is_refused_before_loading(llm, lora, shell, worker):
    """One line and what to do; no worker is started."""
    base = {"general.base_model.0.name": "Gemma 3"}
    path = lora(architecture="gemma3", metadata=base)
    code, out, err = llm(*ASK, "--lora", path, *worker)
    assert (code, out) == (65, "") and shell.statuses() == []
    first, second = err.splitlines()
    assert first == f"llm: the LoRA adapter {path} does not fit the model: it is for gemma3, the model is llama"
    assert "Gemma 3" in second and "--lora none" in second
    llm("ask", "x", "--lora", path)
    assert llm(*ASK, "--lora", path, *worker)[0] == 65  # also when its hash is known


def test_bad_files_and_values(llm, lora, shell, tmp_path):
    """Each with its exit code, and nothing is loaded."""
    good = lora()
    (tmp_path / "cut.gguf").write_bytes(Path(good).read_bytes()[:-100])
    cases = {
        (str(tmp_path / "none.gguf"),): (66, "cannot read the LoRA adapter"),
        (f"{good}:half",): (66, "cannot read the LoRA adapter"),
        (str(tmp_path / "cut.gguf"),): (65, "truncated"),
        (str(tmp_path),): (65, "it is a directory"),
        (str(shell.model),): (65, "no general.type"),
        (f"{good}:nan",): (2, "finite scale"),
        ("",): (2, "expected FILE"),
        (good, "none"): (2, "excludes"),
    }
    for values, (expected, words) in cases.items():
        options = [word for value in values for word in ("--lora", value)]
        code, out, err = llm(*ASK, *options)
        assert (code, out) == (expected, "") and words in err, (values, err)
        assert err.startswith("llm: ") and "Traceback" not in err and len(err.splitlines()) == 2
    assert shell.statuses() == []


def test_what_the_header_cannot_show_costs_a_child_process(llm, lora, shell):
    """llama.cpp aborts over an alpha of 64 bits; the command reports it and goes on."""
    path = lora(metadata={"adapter.lora.alpha": lambda w, key: w.add_float64(key, 8.0)})
    code, out, err = llm(*ASK, "--lora", path)
    assert (code, out) == (65, "") and f"the LoRA adapter {path} does not fit the model" in err and "failed" in err
    assert shell.statuses() == [] and llm(*ASK)[0] == 0


def test_ignored_norms_are_reported(llm, lora):
    """llama.cpp leaves them out, and the user learns it once."""
    path = lora(tensors={"blk.0.attn_norm.weight": np.ones(64, np.float32)})
    code, _, err = llm(*ASK, "--lora", path, "--set", "worker=off")
    assert code == 0 and "changes 1 norm" in err
    assert llm(*ASK, "--lora", path, "--set", "worker=off", "-q")[2] == ""


def test_several_adapters_exclude_deterministic(llm, lora):
    """Their order differs between processes."""
    options = ("--lora", lora(), "--lora", lora("other.gguf", seed=2))
    code, out, err = llm(*ASK, *options, "--deterministic", "--set", "worker=off")
    assert (code, out) == (69, "") and "one LoRA adapter" in err
    assert llm(*ASK, *options, "--set", "worker=off")[0] == 0


def test_quantized_adapters_work(llm, lora, shell, tmp_path):
    """As convert_lora_to_gguf.py writes them with --outtype q8_0 or bf16; the rank is a multiple of 32 then."""
    quantize, types = gguf.quants.quantize, gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(tmp_path / "q.gguf", "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 64.0)
    rng = np.random.default_rng(1)
    for half, shape in (("a", (32, 64)), ("b", (64, 32))):
        values = rng.standard_normal(shape).astype(np.float32)
        stored = quantize(values, types.Q8_0)
        writer.add_tensor(f"blk.0.attn_q.weight.lora_{half}", stored, raw_dtype=types.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    code, out, _ = llm(*ASK, "--lora", str(tmp_path / "q.gguf"), "--set", "worker=off")
    assert code == 0 and out != llm(*ASK, "--set", "worker=off")[1]
