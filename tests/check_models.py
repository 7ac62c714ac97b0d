"""Write ``llmcli/engine/check_data``: tiny models, their logits, and the declarations of llama.h that llm relies on.

    python tests/check_models.py OUTDIR        # with the compiled engine; the same bytes every run

Each has one thing that a library of llama.cpp can get wrong: a vocabulary and shared key-value heads (llama), a sliding
window (gemma3), experts (qwen3moe), a recurrent state (mamba). Their matrices are Q4_K, Q8_0 and F32. Needs numpy and
gguf.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import gguf
import gguf.quants
import numpy as np
import tiny_models

from llmcli.engine import abi_check
from llmcli.engine.llama import bindings

# rows of Q4_K have a multiple of 256 numbers, those of Q8_0 one of 32, and AMX is not used for 32
WIDTH, HEAD, HIDDEN = 256, 64, 64
TOKENS = 32
Q4_K_BLOCK, Q4_K_SUB_BLOCKS = 256, 8


def quantize_q4_k(weights):
    """Return rows as ``block_q4_K`` of ggml: the gguf package reads this type and does not write it."""
    blocks = weights.reshape(-1, Q4_K_SUB_BLOCKS, Q4_K_BLOCK // Q4_K_SUB_BLOCKS)
    low = np.minimum(blocks.min(axis=2), 0)
    step = np.maximum((blocks.max(axis=2) - low) / 15, 1e-9)
    scale, offset = (np.float16(each.max(axis=1) / 63) for each in (step, -low))
    steps = np.clip(np.rint(step / np.float32(scale)[:, None]), 1, 63).astype(np.uint8)
    lows = np.clip(np.rint(-low / np.maximum(np.float32(offset), 1e-9)[:, None]), 0, 63).astype(np.uint8)
    unit = (np.float32(scale)[:, None] * steps)[:, :, None]
    numbers = np.clip(np.rint((blocks + (np.float32(offset)[:, None] * lows)[:, :, None]) / unit), 0, 15).astype(
        np.uint8
    )
    packed = np.zeros((len(blocks), 12), np.uint8)  # eight scales and eight offsets of six bits
    packed[:, 0:4] = steps[:, :4] | (steps[:, 4:] >> 4 << 6)
    packed[:, 4:8] = lows[:, :4] | (lows[:, 4:] >> 4 << 6)
    packed[:, 8:12] = (steps[:, 4:] & 15) | ((lows[:, 4:] & 15) << 4)
    pairs = numbers.reshape(len(blocks), 4, 2, 32)
    halves = np.stack([scale, offset], axis=1).view(np.uint8)
    quantized = np.concatenate(
        [halves, packed, (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(len(blocks), 128)], axis=1
    )
    return quantized.reshape(weights.shape[0], -1)


class Writer:
    """A GGUF file of random weights."""

    def __init__(self, path, architecture, layers, *, width=WIDTH, heads=1, kv_heads=1, vocabulary=None):
        self.file, self.architecture, self.width = gguf.GGUFWriter(path, architecture), architecture, width
        self.random = np.random.default_rng([39, *architecture.encode()])
        self.file.add_name(f"check-{architecture}")
        for key, value in (("context_length", 512), ("embedding_length", width), ("block_count", layers)):
            self.number(key, value)
        self.number("feed_forward_length", HIDDEN)
        self.heads, self.kv_heads = heads, kv_heads
        if heads:
            self.number("attention.head_count", heads)
            self.number("attention.head_count_kv", kv_heads)
            for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
                self.number(key, HEAD)
        self.file.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5)
        if vocabulary is None:
            self.file.add_tokenizer_model("no_vocab")
        self.tokens = TOKENS if vocabulary is None else vocabulary(self.file)
        self.number("vocab_size", self.tokens)

    def number(self, key, value):
        self.file.add_uint32(f"{self.architecture}.{key}", value)

    def matrix(self, name, *shape, kind="Q8_0", gain=1.0):
        weights = (self.random.standard_normal(shape) * gain * shape[-1] ** -0.5).astype(np.float32)
        if kind == "F32":
            self.file.add_tensor(name, weights)
        elif kind == "Q4_K":
            quantized = quantize_q4_k(weights.reshape(-1, shape[-1])).reshape(*shape[:-1], -1)
            self.file.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q4_K)
        else:
            quantized = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
            self.file.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    def ones(self, name, size=None, value=1.0):
        self.file.add_tensor(name, np.full(size or self.width, value, np.float32))

    def attention(self, block, *, norms=False):
        self.ones(f"{block}.attn_norm.weight")
        self.matrix(f"{block}.attn_q.weight", self.heads * HEAD, self.width, kind="Q4_K", gain=2)
        self.matrix(f"{block}.attn_k.weight", self.kv_heads * HEAD, self.width, kind="Q4_K", gain=2)
        self.matrix(f"{block}.attn_v.weight", self.kv_heads * HEAD, self.width)
        self.matrix(f"{block}.attn_output.weight", self.width, self.heads * HEAD)
        if norms:
            self.ones(f"{block}.attn_q_norm.weight", HEAD)
            self.ones(f"{block}.attn_k_norm.weight", HEAD)

    def feed_forward(self, block):
        self.ones(f"{block}.ffn_norm.weight")
        self.matrix(f"{block}.ffn_gate.weight", HIDDEN, self.width, kind="Q4_K")
        self.matrix(f"{block}.ffn_up.weight", HIDDEN, self.width)
        self.matrix(f"{block}.ffn_down.weight", self.width, HIDDEN)

    def close(self, *, kind="Q8_0"):
        self.matrix("token_embd.weight", self.tokens, self.width, kind=kind, gain=self.width**0.5)
        self.ones("output_norm.weight", value=self.width**-0.5 * 2)
        self.file.write_header_to_file()
        self.file.write_kv_data_to_file()
        self.file.write_tensors_to_file()
        self.file.close()


def llama(path):
    """Two heads share keys and values; it has a vocabulary, and an output matrix of Q4_K."""
    writer = Writer(path, "llama", 1, heads=2, vocabulary=tiny_models.vocab_chatml)
    writer.attention("blk.0")
    writer.feed_forward("blk.0")
    writer.close(kind="Q4_K")


def gemma3(path):
    """A layer that sees 16 tokens, and one that sees all."""
    writer = Writer(path, "gemma3", 2)
    writer.number("attention.sliding_window", 16)
    writer.number("attention.sliding_window_pattern", 2)
    for block in ("blk.0", "blk.1"):
        writer.attention(block, norms=True)
        writer.feed_forward(block)
        writer.ones(f"{block}.post_attention_norm.weight")
        writer.ones(f"{block}.post_ffw_norm.weight")
    writer.close()


def qwen3moe(path, experts=3):
    """Two of three experts for each token, and a router of F32."""
    writer = Writer(path, "qwen3moe", 1)
    for key, value in (("expert_count", experts), ("expert_used_count", 2), ("expert_feed_forward_length", HIDDEN)):
        writer.number(key, value)
    writer.attention("blk.0", norms=True)
    writer.ones("blk.0.ffn_norm.weight")
    writer.matrix("blk.0.ffn_gate_inp.weight", experts, WIDTH, kind="F32", gain=4)
    writer.matrix("blk.0.ffn_gate_exps.weight", experts, HIDDEN, WIDTH, kind="Q4_K")
    writer.matrix("blk.0.ffn_up_exps.weight", experts, HIDDEN, WIDTH)
    writer.matrix("blk.0.ffn_down_exps.weight", experts, WIDTH, HIDDEN)
    writer.close()


def mamba(path, state=8, rank=4, kernel=4):
    """A recurrent state instead of attention."""
    writer = Writer(path, "mamba", 1, width=32, heads=0)
    inner = 2 * writer.width
    writer.number("attention.head_count", 0)
    for key, value in (("conv_kernel", kernel), ("inner_size", inner), ("state_size", state), ("time_step_rank", rank)):
        writer.number(f"ssm.{key}", value)
    writer.ones("blk.0.attn_norm.weight")
    writer.matrix("blk.0.ssm_in.weight", 2 * inner, writer.width)
    writer.matrix("blk.0.ssm_conv1d.weight", inner, kernel, kind="F32")
    writer.matrix("blk.0.ssm_conv1d.bias", inner, kind="F32")
    writer.matrix("blk.0.ssm_x.weight", rank + 2 * state, inner, kind="F32")
    writer.matrix("blk.0.ssm_dt.weight", inner, rank, kind="F32")
    writer.ones("blk.0.ssm_dt.bias", inner, value=-3.0)
    writer.file.add_tensor("blk.0.ssm_a", -np.tile(np.arange(1, state + 1, dtype=np.float32) / 4, (inner, 1)))
    writer.ones("blk.0.ssm_d", inner)
    writer.matrix("blk.0.ssm_out.weight", writer.width, inner)
    writer.close()


MODELS = {"llama": llama, "gemma3": gemma3, "qwen3moe": qwen3moe, "mamba": mamba}


PACKAGE = Path(__file__).parents[1] / "llmcli"
STRUCTS = ("model", "context", "model_quantize", "sampler_chain")


def called_functions(library):
    """Return the functions of llama.cpp that the engine names, which a library must have."""
    text = "".join(path.read_text("utf-8") for path in (PACKAGE / "engine").rglob("*.py"))
    return [name for name in sorted(set(re.findall(r"\.((?:llama|ggml)_\w+)", text))) if hasattr(library, name)]


def read_declarations():
    """Return what ``abi_check.load_declarations`` returns, by the engine that is loaded."""
    module = bindings.lib()
    defaults = {}
    for name in STRUCTS:
        params = getattr(module, f"llama_{name}_default_params")()
        defaults[f"llama_{name}_default_params"] = {
            field: abi_check.number_of(getattr(params, field)) for field, _ in params._fields_
        }
    return {"functions": called_functions(module._lib), "defaults": defaults}


def evaluate(path):
    """Return the logits of a model by the engine that is loaded, rounded."""
    return [[round(logit, 4) for logit in row] for row in abi_check.evaluate_model(path)]


def main(directory):
    """Write the data of the check."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, write in MODELS.items():
        write(str(directory / f"{name}.gguf"))
    logits = {name: evaluate(directory / f"{name}.gguf") for name in MODELS}
    text = json.dumps(logits, separators=(",", ":")).replace("]],", "]],\n").replace("],[", "],\n [")
    (directory / "logits.json").write_text(text + "\n", encoding="ascii")
    text = json.dumps(read_declarations(), indent=1)
    (directory / "declarations.json").write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
