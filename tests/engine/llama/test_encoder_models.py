"""Models that need an encoder's output first: llama.cpp crashes if their decoder runs without it."""

from __future__ import annotations

import pytest
import tiny_models
from engine.tools import model_of
from tiny_models import D, F, H

from llmcli.errors import BadModelFile


@pytest.fixture
def t5(tmp_path):
    """Return the file of a tiny T5: an encoder and a decoder of one layer each."""
    path = tmp_path / "t5.gguf"
    w = tiny_models.W(path, "t5", tiny_models.vocab_spm, 1)
    w.u32("attention.head_count", H)
    w.u32("attention.key_length", D // H)
    w.u32("attention.value_length", D // H)
    w.u32("attention.relative_buckets_count", 8)
    w.u32("decoder_start_token_id", 0)
    w.f32("attention.layer_norm_rms_epsilon", 1e-5)
    w.rand("token_embd.weight", w.V, D)
    for side, parts in (("enc", ("attn",)), ("dec", ("attn", "cross_attn"))):
        block = f"{side}.blk.0."
        w.const(f"{side}.output_norm.weight", D)
        for part in parts:
            w.const(f"{block}{part}_norm.weight", D)
            for matrix in "qkvo":
                w.rand(f"{block}{part}_{matrix}.weight", D, D)
        w.rand(f"{block}attn_rel_b.weight", 8, H)
        w.const(f"{block}ffn_norm.weight", D)
        w.rand(f"{block}ffn_up.weight", F, D)
        w.rand(f"{block}ffn_down.weight", D, F)
    w.done()
    return path


def test_a_model_with_an_encoder_is_refused(t5):
    """It is refused with a reason when it is loaded, instead of crashing at the first evaluation."""
    with pytest.raises(BadModelFile, match="encoder"), model_of(t5):
        pass
