"""Weights in other types through a real worker: loaded beside the original, named, and kept apart."""

from __future__ import annotations

import json

import pytest

from llmcli.app_paths import DERIVED_DIRECTORY
from worker.conftest import SHORT


@pytest.fixture
def ask(shell):
    """Return the weights that answered, by the results and by the statistics of the worker."""

    def run(*argv, env=None):
        done = shell("ask", "hello", *SHORT, "--json", "--stats", *argv, env=env)
        assert done.code == 0, done.err
        return json.loads(done.out)["weights"], json.loads(done.err.splitlines()[-1])["stats"]["weights"]

    return run


def test_one_worker_answers_with_several_forms_of_the_weights(shell, ask):
    """Each command gets the one that it chose, whichever was loaded first."""
    assert ask("--set", "weights=bf16") == ("bf16", "bf16")
    first = shell.worker()["pid"]
    for weights in ("original", "bf16", "f16", "original"):
        assert ask("--set", f"weights={weights}") == (weights, weights)
    assert shell.worker()["pid"] == first


def test_a_copy_in_use_by_a_worker_stays(shell, ask):
    """Another copy that needs its place is refused, since the worker has it loaded."""
    assert ask("--set", "weights=bf16") == ("bf16", "bf16")
    (copy,) = (shell.directory / "home" / "cache" / DERIVED_DIRECTORY).glob("*.gguf")
    limit = {"LLMCLI_DERIVED_WEIGHTS": "0"}
    done = shell("ask", "hello", *SHORT, "--set", "weights=f16", env=limit)
    assert done.code == 2 and copy.exists()
    assert ask("--set", "weights=bf16", env=limit) == ("bf16", "bf16")


def test_a_worker_can_be_started_with_other_weights(shell, ask):
    """By the setting, as in the configuration."""
    assert ask(env={"LLMCLI_WEIGHTS": "bf16"}) == ("bf16", "bf16")
    assert shell("worker", "restart", env={"LLMCLI_WEIGHTS": "bf16"}).code == 0
    assert ask("--set", "weights=bf16") == ("bf16", "bf16")
