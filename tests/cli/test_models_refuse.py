"""``llm models`` and what it is given by mistake: empty names, pipes and devices, files that cannot be read or written."""

from __future__ import annotations

import json
import os

import pytest
from fake_hub import REPO


@pytest.fixture
def models(llm):
    """Run ``llm models`` with no model configured."""
    return lambda *argv, env=None, **how: llm("models", *argv, env={"LLMCLI_MODEL": None, **(env or {})}, **how)


@pytest.fixture
def mine(tiny, tmp_path):
    """Return a model file of the user's own."""
    file = tmp_path / "mine.gguf"
    file.write_bytes(tiny("llama").read_bytes())
    return file


def rows(run):
    return [json.loads(line) for line in run.out.splitlines()]


# ---- empty names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ["rm", "", "-y"],
        ["show", ""],
        ["pull", ""],
        ["verify", ""],
        ["verify", "smollm2-135m", ""],
        ["tune", ""],
        ["alias", ""],
        ["alias", "", REPO],
        ["alias", "small", ""],
        ["alias", "--remove", ""],
        ["default", ""],
        ["default", "--for", "", REPO],
        ["import", ""],
        ["import", "MINE", "--name", ""],
        ["import", "--from", "ollama", ""],
        ["search", ""],
        ["recommend", "--language", ""],
    ],
)
def test_an_empty_name_is_no_default(models, here, mine, argv):
    """A variable that is not set must not become the default model, and least of all delete it."""
    models("default", here)
    before = models("list").out
    run = models(*(str(mine) if word == "MINE" else word for word in argv))
    assert (run.code, run.out, len(run.err.splitlines())) == (2, "", 2)
    assert models("list").out == before and models("default").out == f"{here}\n"
