"""Adapters and drafts with the right form and the wrong content, through a real process: an error, never an answer."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_adapters import RANK, TARGETS, random_pairs, write_adapter

from llmcli.models.gguf.header_parser import read_header


def nan_adapter(tiny, path):
    pairs = random_pairs(read_header(tiny("llama")), TARGETS, RANK, 1)
    broken = {name: np.full_like(pair, np.nan) for name, pair in pairs.items()}
    return ["--lora", str(write_adapter(path / "nan.gguf", tiny("llama"), tensors=broken))]


def adapter_of_another_architecture(tiny, path):
    return ["--lora", str(write_adapter(path / "other.gguf", tiny("gemma3")))]


def adapter_that_names_this_architecture(tiny, path):
    return ["--lora", str(write_adapter(path / "other.gguf", tiny("gemma3"), architecture="llama"))]


def draft_with_another_vocabulary(tiny, path):
    return ["--set", f"draft={tiny('chatml')}"]


def adapter_as_draft(tiny, path):
    return ["--set", f"draft={write_adapter(path / 'a.gguf', tiny('llama'))}"]


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (nan_adapter, 65, "nan.gguf"),
        (adapter_of_another_architecture, 65, "other.gguf"),
        (adapter_that_names_this_architecture, 65, "other.gguf"),
        (draft_with_another_vocabulary, 2, "another kind of vocabulary"),
        (adapter_as_draft, 65, "LoRA adapter"),
    ],
)
def test_wrong_weights_are_an_error(process, tiny, tmp_path, make, code, words):
    """With one line and an advice, before anything is answered."""
    run = process("ask", "hi", "--max-tokens", "4", *make(tiny, tmp_path))
    out, err = (each.decode() for each in run.communicate(timeout=60))
    assert (run.returncode, out) == (code, "") and words in err and len(err.splitlines()) <= 2, err
