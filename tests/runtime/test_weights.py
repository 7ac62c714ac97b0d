"""The weights that a command uses by default."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest
from declared_commands import DECLARED
from engine.profiles import weights_table
from silent_observer import SilentObserver

from llmcli.app_paths import find_paths, tuning_file
from llmcli.interrupt import Interrupt
from llmcli.models.files.model_file import ModelFile
from llmcli.models.library.derived_weights import DerivedKey
from llmcli.runtime import model_weights
from llmcli.runtime.model_weights import choose_weights
from llmcli.runtime.run_config import RunConfig
from llmcli.settings import resolve_settings
from llmcli.weights_times import JobSize, dump_profile, estimate_job

SHA256 = "5" * 64
STARTER = {
    "original": (1 / 384, 1 / 151, 1 / 235, 1 / 216),
    "bf16": (1 / 937, 1 / 103, 1 / 321, 1 / 429),
    "q8_0": (1 / 759, 1 / 138, 1 / 350, 1 / 424),
}
DECODES_FASTER = STARTER | {"q8_0": (1 / 759, 1 / 200, 1 / 350, 1 / 424)}


@pytest.fixture
def choose(tiny, monkeypatch):
    """Return a function that chooses for a command and its input, with the types of which copies exist."""
    path = tiny("llama")
    model = ModelFile("tiny", path, path.stat().st_size, sha256=SHA256, parts=(path,))
    monkeypatch.setattr(model_weights, "_worker_runs", lambda *_: False)

    def run(verb, characters, *, copies=("bf16", "q8_0"), **given):
        settings = resolve_settings({name: (f"--{name}", value) for name, value in given.items()}, {}, None)
        config = RunConfig(settings, find_paths(os.environ), dict(os.environ), Interrupt(), SilentObserver())
        directory = config.paths.derived_weights
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for key in [*(DerivedKey(SHA256, name, "") for name in copies), DerivedKey("6" * 64, "f16", "")]:
            (directory / f"{key.stem}.json").touch()
        return choose_weights(config, None, model, DECLARED[verb].needs, characters)

    return run


@pytest.fixture
def measured():
    """Return a function that stores a profile of these times."""

    def store(times=STARTER, threads=None):
        table = weights_table(**times)
        path = tuning_file(find_paths(os.environ).cache, SHA256, threads)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dump_profile({"weights": table.to_json(), "choices": table.choices()}))
        return path

    return store


@pytest.mark.parametrize(("verb", "characters"), [("ask", 20), ("summarize", 50_000), ("serve", 0)])
def test_without_a_measurement_the_original_answers(choose, verb, characters):
    """Nothing is believed about a machine."""
    assert choose(verb, characters) == "original"


@pytest.mark.parametrize(
    ("verb", "characters", "chosen"),
    [
        ("ask", 20, "original"),
        ("chat", 0, "original"),
        ("ask", 50_000, "bf16"),
        ("summarize", 50_000, "bf16"),
        ("summarize", 200, "original"),
        ("sentiment", 40_000, "bf16"),
        ("sentiment", None, "bf16"),
        ("translate", 20_000, "q8_0"),
        ("generate", 0, "original"),
        ("serve", 0, "q8_0"),
    ],
)
def test_each_command_gets_the_fastest_weights_for_its_job(choose, measured, verb, characters, chosen):
    """A question keeps the file's own; long inputs and many records get the type that is best for them."""
    measured()
    assert choose(verb, characters) == chosen


def test_a_question_gets_faster_weights_where_there_are_any(choose, measured):
    """If another type decodes clearly faster, it answers questions too."""
    measured(DECODES_FASTER)
    assert choose("ask", 20) == "q8_0"


def test_only_copies_of_this_model_count(choose, measured):
    """A type without a copy is not chosen: nothing is made here."""
    measured()
    assert choose("summarize", 50_000, copies=["q8_0"]) == "q8_0"
    assert choose("summarize", 50_000, copies=[]) == "original"


def test_a_running_worker_has_the_original_loaded(choose, measured, monkeypatch):
    """Loading a copy must pay in the job."""
    measured({"original": (0.001, 0.001, 0.001, 0.001), "bf16": (0.0004, 0.001, 0.001, 0.001)})
    assert choose("summarize", 400) == "bf16"
    monkeypatch.setattr(model_weights, "_worker_runs", lambda *_: True)
    assert choose("summarize", 400) == "original"
    assert choose("summarize", 100_000) == "bf16"


@pytest.mark.parametrize("verb", ["sentiment", "classify", "filter", "label"])
def test_labels_do_not_depend_on_the_size_of_the_input_or_on_a_worker(choose, measured, monkeypatch, verb):
    """Or on copies that exist: one that is missing is told where it is looked for."""
    measured()
    for running in (False, True):
        monkeypatch.setattr(model_weights, "_worker_runs", lambda *_, running=running: running)
        assert {choose(verb, characters, copies=[]) for characters in (None, 0, 1000, 10**7)} == {"bf16"}


def test_a_measurement_counts_for_its_number_of_threads(choose, measured):
    """The setting threads selects the profile."""
    measured(threads=2)
    assert choose("summarize", 50_000) == "original"
    assert choose("summarize", 50_000, threads=2) == "bf16"


@pytest.mark.parametrize(
    "content", [b"", b"[", b"{}", b'{"format": 99}', b'{"choices": {"short answers": "../x"}}', b"[[1]]"]
)
@pytest.mark.parametrize(("verb", "characters"), [("ask", 20), ("summarize", 50_000)])
def test_a_damaged_profile_is_ignored(choose, measured, verb, characters, content):
    """The original answers, and nothing fails."""
    measured().write_bytes(content)
    assert choose(verb, characters) == "original"


def test_a_question_reads_one_file_and_imports_nothing(choose, measured, monkeypatch):
    """The choice must not slow a warm command down."""
    measured()
    read = []
    load = json.loads
    monkeypatch.setattr(json, "loads", lambda content: read.append(len(content)) or load(content))
    before = set(sys.modules)
    assert choose("ask", 20) == "original"
    assert set(sys.modules) == before and len(read) == 1 and read[0] < 10_000


@pytest.mark.parametrize(
    ("verb", "characters", "most", "job"),
    [
        ("ask", 4000, None, JobSize(1060, 256)),
        ("ask", 4000, 16, JobSize(1060, 16)),
        ("summarize", 4000, None, JobSize(1060, 512)),
        ("sentiment", 4000, None, JobSize(1250, 0, 16)),
        ("sentiment", None, None, JobSize(1250, 0, 16)),
        ("translate", 400, None, JobSize(190, 130, 2)),
        ("translate", 40_000, None, JobSize(13_060, 13_000, 16)),
    ],
)
def test_the_size_of_a_job_is_estimated_from_its_input(verb, characters, most, job):
    """Four characters a token, instructions, and what each command generates."""
    assert estimate_job(DECLARED[verb].needs, characters, most) == job
