"""Five hundred LoRA adapters with a broken header: refused with a reason, or answered with; few crash native code."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path

import pytest
from mutations import KINDS, mutated, run_trials
from tiny_adapters import write_adapter

from llmcli.errors import MissingError
from llmcli.errors.model_errors import BadAdapter, UnsupportedAdapter
from llmcli.models.gguf.adapter_header import check_adapter, read_adapter_header
from llmcli.models.gguf.header_parser import read_header

ROOT = Path(__file__).parents[3]
FEW, MANY = 28, 500
MODELS = ("llama", "gemma3", "qwen3moe")

# A process that runs a model with one mutated adapter after another, and reports which one it starts and how it ends.
TRIALS = """
import resource, signal, sys
from pathlib import Path
from llmcli.config.engine_options import LoraAdapter
from llmcli.engine.smoke_test import smoke_test
from llmcli.errors import LlmError
from mutations import mutated

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
path = Path(sys.argv[1])
for argument in sys.argv[2:]:
    seed, model, good = argument.split(":", 2)
    content = mutated(Path(good).read_bytes(), int(seed))[1]
    path.write_bytes(content)
    print(seed, end=" ", flush=True)
    signal.alarm(20)  # for a file that takes milliseconds
    try:
        smoke_test(Path(model), 0, (LoraAdapter(str(path), 1.0, "0" * 64, len(content)),))
    except (LlmError, MemoryError) as error:
        print(type(error).__name__, flush=True)
    else:
        print("answers", flush=True)
"""


@pytest.fixture(scope="module")
def good(tiny, tmp_path_factory):
    """Return a function from a seed to a model and the good adapter that it mutates, which has an array too."""
    directory = tmp_path_factory.mktemp("adapters")

    @functools.cache
    def adapter(name):
        array = {"general.tags": lambda writer, key: writer.add_array(key, ["one", "two", "three"])}
        return write_adapter(directory / f"{name}.gguf", tiny(name), metadata=array)

    def pair(seed):
        name = MODELS[seed // len(KINDS) % len(MODELS)]
        return tiny(name), adapter(name)

    return pair


def accepted_seeds(good, tmp_path, count):
    """Return the seeds of the files that the checks pass on to native code, and the reasons for the others."""
    path, seeds, refusals = tmp_path / "a.gguf", [], []
    for seed in range(count):
        model, adapter = good(seed)
        path.write_bytes(mutated(adapter.read_bytes(), seed)[1])
        header = read_header(model)
        try:
            check_adapter(read_adapter_header(path), header, header.tensors, str(path))
        except (BadAdapter, UnsupportedAdapter, MissingError) as error:
            refusals.append(error)
        else:
            seeds.append(seed)
    return seeds, refusals


def check_outcomes(good, tmp_path, count):
    """Check the files of the seeds below ``count``."""
    seeds, refusals = accepted_seeds(good, tmp_path, count)
    assert len(refusals) > count / 3 and all(error.detail for error in refusals)
    arguments = {seed: ":".join([str(seed), *map(str, good(seed))]) for seed in seeds}
    outcomes = run_trials(TRIALS, tmp_path / "a.gguf", arguments)
    counts = Counter(outcomes.values())
    assert len(outcomes) == len(seeds) and counts["answers"] > count / 20, counts
    killed = [seed for seed in seeds if outcomes[seed].isdecimal()]
    assert not killed, {seed: (outcomes[seed], KINDS[seed % len(KINDS)].__name__) for seed in killed}


def test_broken_adapters_are_refused_or_answer(good, tmp_path):
    """The checks let nothing pass that crashes llama.cpp, which shares its process with other requests."""
    check_outcomes(good, tmp_path, FEW)


@pytest.mark.stress
def test_many_broken_adapters_are_refused_or_answer(good, tmp_path):
    """The same with more of them."""
    check_outcomes(good, tmp_path, MANY)
