"""``llm models`` and what it is given by mistake: empty names, pipes and devices, files that cannot be read or written."""

from __future__ import annotations

import json
import os
from pathlib import Path

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


# ---- what is no file --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["pipe", "device", "link"])
def odd(request, tmp_path):
    """Return the path of something that is no regular file: a pipe without a writer, a device without an end."""
    file = tmp_path / "odd.gguf"
    if request.param == "device":
        return Path("/dev/zero")
    target = file if request.param == "pipe" else tmp_path / "pipe"
    os.mkfifo(target)
    if request.param == "link":
        file.symlink_to(target)
    return file


@pytest.mark.parametrize(
    "argv",
    [
        ["ask", "x", "-m"],
        ["models", "pull"],
        ["models", "verify"],
        ["models", "show"],
        ["models", "tune"],
        ["models", "import"],
        ["models", "default"],
        ["models", "alias", "small"],
    ],
)
def test_a_pipe_or_a_device_is_no_model(llm, odd, argv):
    """65 at once: opening or reading one would wait for ever, or never come to an end."""
    run = llm(*argv, str(odd), env={"LLMCLI_MODEL": None})
    assert (run.code, run.out) == (65, "") and "not a regular file" in run.err


def test_a_split_model_with_a_pipe_is_no_model(models, tmp_path, mine):
    """In whichever part."""
    mine.rename(tmp_path / "x-00001-of-00002.gguf")
    os.mkfifo(tmp_path / "x-00002-of-00002.gguf")
    run = models("pull", str(tmp_path / "x-00001-of-00002.gguf"))
    assert run.code == 65 and "x-00002-of-00002.gguf" in run.err and "not a regular file" in run.err


def test_a_file_that_becomes_a_pipe_is_not_waited_for(monkeypatch, mine, models):
    """What was a file a moment ago is asked again once it is open."""
    monkeypatch.setattr("llmcli.models.shelf.check_regular", lambda *_: None)
    mine.unlink()
    os.mkfifo(mine)
    run = models("pull", str(mine))
    assert run.code == 65 and "not a regular file" in run.err
