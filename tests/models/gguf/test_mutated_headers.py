"""Six hundred model files with a broken header: a clear error or an answer, never a crash or a hang."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from forked_processes import ForkedCode
from mutations import KINDS, mutated, run_trials

from llmcli.errors import BadModelFile
from llmcli.models.gguf import header_parser
from llmcli.models.gguf.header_parser import parse_header
from llmcli.models.memory_estimate import MachineResources, estimate_memory, planned_context

ROOT = Path(__file__).parents[3]
COUNT = 600
CRASHES, BATCH = 3, 20
"""How many files that crash a process are tried in commands, and how many files are loaded at a time to find them."""
MODELS = ("llama", "chatml", "gemma3", "qwen3moe", "mamba", "lfm2", "falcon-h1", "qwen35")

# A process that loads one mutated file after another as the engine does, and reports which one it starts and how it
# ends.
TRIALS = """
import resource, signal, sys
from pathlib import Path
from llmcli.engine.smoke_test import smoke_test
from llmcli.errors import LlmError
from mutations import mutated

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
path = Path(sys.argv[1])
for argument in sys.argv[2:]:
    seed, good = argument.split(":", 1)
    path.write_bytes(mutated(Path(good).read_bytes(), int(seed))[1])
    print(seed, end=" ", flush=True)
    signal.alarm(20)  # for a file that takes milliseconds
    try:
        smoke_test(path, 0)
    except (LlmError, MemoryError) as error:
        print(type(error).__name__, flush=True)
    else:
        print("answers", flush=True)
"""


@pytest.fixture(scope="module")
def good(tiny):
    """Return a function from a seed to the good file that it mutates."""
    return lambda seed: tiny(MODELS[seed // len(KINDS) % len(MODELS)])


@pytest.fixture(scope="module")
def make(good):
    """Return a function from a seed to a description of the mutation and the mutated content."""
    content = functools.cache(lambda path: path.read_bytes())
    return lambda seed: mutated(content(good(seed)), seed)


@pytest.fixture(scope="module")
def accepted(make):
    """Return the seeds of the files that the reader and its checks pass on to native code."""
    seeds = []
    for seed in range(COUNT):
        what, content = make(seed)
        try:
            header_parser.check_header(parse_header(io.BytesIO(content), len(content), what), what)
        except BadModelFile:
            continue
        seeds.append(seed)
    return seeds


def trials(path: Path, seeds: list[int], good) -> dict[int, str]:
    """Return the result of each file in native code, see ``run_trials``."""
    return run_trials(ForkedCode(TRIALS), path, {seed: f"{seed}:{good(seed)}" for seed in seeds})


def test_the_reader_refuses_most_of_them(accepted):
    """Every file gives a header or an error with a message, and most of the bad ones are refused."""
    assert 100 < len(accepted) < COUNT / 2


def test_facts_of_any_header_can_be_read(make):
    """Any accepted header can be listed and rated: a number, a text or nothing, and no other error."""
    for seed in range(COUNT):
        what, content = make(seed)
        with contextlib.suppress(BadModelFile):
            header = parse_header(io.BytesIO(content), len(content), what)
            fit = estimate_memory(
                header, header.size, planned_context(header, None), MachineResources(1 << 30, memory_bandwidth=1e9)
            )
            assert fit.needed_bytes >= 0 and fit.fits in {True, False, None}
            texts = [header.architecture, header.name, header.licence, header.quantization, header.chat_template]
            assert all(isinstance(text, str | None) for text in texts)
            assert all(isinstance(number, int | None) for number in [header.context_length, header.vocabulary_size])


def ask(path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Return the result of ``llm ask`` with a model file."""
    command = [sys.executable, "-m", "llmcli", "ask", "hi", "-m", str(path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, accepted, good):
    """Return the result of each accepted file in native code."""
    return trials(tmp_path_factory.mktemp("mutated") / "m.gguf", accepted, good)


@pytest.mark.slow
def test_native_code_answers_or_refuses(accepted, outcomes):
    """llama.cpp refuses accepted files or answers; a few crash the process, and none hangs."""
    counts = Counter(outcomes.values())
    assert len(outcomes) == len(accepted)
    assert counts["answers"] > 50 and counts["BadModelFile"] > 50
    ended = {outcome for outcome in counts if outcome.isdecimal()}
    assert str(int(signal.SIGALRM)) not in ended and sum(counts[outcome] for outcome in ended) < 20


@pytest.fixture(scope="module")
def fatal(tmp_path_factory, accepted, good):
    """Return the first files that crash a process that loads them."""
    path, found = tmp_path_factory.mktemp("fatal") / "m.gguf", []
    for start in range(0, len(accepted), BATCH):
        outcomes = trials(path, accepted[start : start + BATCH], good)
        found += [seed for seed, outcome in outcomes.items() if outcome.isdecimal()]
        if len(found) >= CRASHES:
            break
    return found[:CRASHES]


def test_a_crash_is_an_error(tmp_path, fatal, make):
    """Only the child crashes: the command reports that the file is bad, and why, with 65."""
    path = tmp_path / "m.gguf"
    assert fatal
    for seed in fatal:
        path.write_bytes(make(seed)[1])
        done = ask(path)
        assert (done.returncode, done.stdout) == (65, ""), done.stderr
        assert done.stderr.startswith(f"llm: {path} is not a valid model file: llama.cpp cannot run it: ")


@pytest.mark.slow
def test_a_file_that_crashes_starts_no_worker(tmp_path, fatal, make):
    """A file that a worker would load is checked before one is started."""
    path = tmp_path / "m.gguf"
    path.write_bytes(make(fatal[0])[1])
    with tempfile.TemporaryDirectory(prefix="llm", dir="/tmp") as runtime:  # a path short enough for sockets
        done = ask(path, LLMCLI_WORKER="on", LLMCLI_RUNTIME_DIR=runtime)
        assert list(Path(runtime).glob("*.sock")) == []
    assert (done.returncode, done.stdout) == (65, ""), done.stderr
