"""Clients of ``llm serve`` read no path of this machine in the error of a broken model."""

from __future__ import annotations

import json

import pytest
from tiny_adapters import write_adapter

from .conftest import serving
from .test_serve import HELLO


def truncate(file):
    file.write_bytes(file.read_bytes()[:20_000])


def cut_header(file):
    file.write_bytes(file.read_bytes()[:200])


def write_text(file):
    file.write_text("This is no model.")


def remove(file):
    file.unlink()


def make_directory(file):
    file.unlink()
    file.mkdir()


HARMS = {
    "truncated": truncate,
    "header": cut_header,
    "text": write_text,
    "removed": remove,
    "directory": make_directory,
}


@pytest.mark.slow
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
@pytest.mark.parametrize("harm", HARMS)
def test_an_error_about_a_broken_model_names_no_path(tiny, tmp_path, harm, path):
    """It has the name of the file, whether the model was named by its alias or not at all."""
    model = tmp_path / "secret-directory" / "broken.gguf"
    model.parent.mkdir()
    model.write_bytes(tiny("chatml").read_bytes())
    with serving(model) as served:
        assert served.llm("models", "alias", "mine", str(model)).returncode == 0
        HARMS[harm](model)
        for name in ({}, {"model": "mine"}):
            status, answer = served.post(path, messages=HELLO, max_tokens=1, **name)
            said = json.dumps(answer)
            assert status >= 400 and str(tmp_path) not in said and "broken.gguf" in said


@pytest.mark.slow
def test_an_error_about_a_broken_adapter_names_no_path(tiny, tmp_path):
    """Which is found when a worker loads it."""
    adapter = write_adapter(tmp_path / "adapter.gguf", tiny("chatml"))
    with serving(tiny("chatml"), LLMCLI_LORA=str(adapter)) as served:
        adapter.write_bytes(adapter.read_bytes()[:300])
        status, answer = served.post("chat/completions", messages=HELLO, max_tokens=1)
        said = json.dumps(answer)
        assert status >= 400 and str(tmp_path) not in said and "adapter.gguf" in said
