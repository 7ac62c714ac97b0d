"""Write a GGUF file with the shape of a model that people use and random weights, to measure speed and memory.

    python benchmarks/random_model.py OUT.gguf [--shape 1.7b] [--model STARTER.gguf]

The types are those of Q4_K_M: Q6_K for the embeddings, and for half of the value and down projections; Q4_K for the
others. The tokenizer and the chat template are the starter's. Speed does not depend on the values of weights; what the
model writes is noise. The shapes: 1.7b has 1.5 billion weights (0.9 GiB), 4b 3.8 (2.1 GiB), 8b 6.3 (3.6 GiB).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import common
import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Type

_BLOCK_WEIGHTS = 256


@dataclass(frozen=True)
class Shape:
    """The sizes of a transformer: layers, width, heads, and width of the feed-forward network."""

    layers: int
    width: int
    heads: int
    key_heads: int
    head_width: int
    feed_forward: int


SHAPES = {
    "1.7b": Shape(28, 2048, 16, 8, 128, 6144),
    "4b": Shape(36, 2560, 32, 8, 128, 9728),
    "8b": Shape(36, 4096, 32, 8, 128, 12288),
}


def write(starter: Path, path: Path, shape: Shape) -> None:
    """Write the file; ``starter`` gives the tokenizer."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Random weights")
    writer.add_context_length(32768)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    vocabulary = _copy_tokenizer(gguf.GGUFReader(starter), writer)
    writer.add_vocab_size(vocabulary)
    _add_tensors(writer, shape, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _copy_tokenizer(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> int:
    """Copy the fields of the tokenizer, and return the number of tokens."""
    for key, field in reader.fields.items():
        if key.startswith("tokenizer."):
            value = field.contents()
            if isinstance(value, list):
                writer.add_array(key, value)
            else:
                writer.add_key_value(key, value, field.types[0])
    return len(reader.fields["tokenizer.ggml.tokens"].data)


def _add_tensors(writer: gguf.GGUFWriter, shape: Shape, vocabulary: int) -> None:
    random = np.random.default_rng(1)

    def add(name: str, rows: int, columns: int, kind: Type = Type.Q4_K) -> None:
        blocks = _random_blocks(random, kind, rows * columns // _BLOCK_WEIGHTS)
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=kind)

    def add_norm(name: str) -> None:
        writer.add_tensor(name, np.ones(shape.width, np.float32))

    query, key, eighth = shape.heads * shape.head_width, shape.key_heads * shape.head_width, shape.layers // 8
    add("token_embd.weight", vocabulary, shape.width, Type.Q6_K)
    add_norm("output_norm.weight")
    for layer in range(shape.layers):
        is_outer = layer < eighth or layer >= 7 * shape.layers // 8
        finer = Type.Q6_K if is_outer or (layer - eighth) % 3 == 2 else Type.Q4_K
        block = f"blk.{layer}"
        add_norm(f"{block}.attn_norm.weight")
        add_norm(f"{block}.ffn_norm.weight")
        add(f"{block}.attn_q.weight", query, shape.width)
        add(f"{block}.attn_k.weight", key, shape.width)
        add(f"{block}.attn_v.weight", key, shape.width, finer)
        add(f"{block}.attn_output.weight", shape.width, query)
        add(f"{block}.ffn_gate.weight", shape.feed_forward, shape.width)
        add(f"{block}.ffn_up.weight", shape.feed_forward, shape.width)
        add(f"{block}.ffn_down.weight", shape.width, shape.feed_forward, finer)


def _random_blocks(random: np.random.Generator, kind: Type, count: int) -> npt.NDArray[np.uint8]:
    """Return blocks of random weights: their scales are small enough for finite states."""
    size = {Type.Q4_K: 144, Type.Q6_K: 210}[kind]
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    if kind is Type.Q4_K:  # scale and minimum stand first
        blocks[:, 0:2] = np.frombuffer(np.float16(2e-4).tobytes(), np.uint8)
        blocks[:, 2:4] = np.frombuffer(np.float16(1.5e-3).tobytes(), np.uint8)
    else:  # the scale stands last
        blocks[:, 208:210] = np.frombuffer(np.float16(2e-5).tobytes(), np.uint8)
    return blocks


def main() -> None:
    """Write the file that the command line names."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("path", type=Path, help="the file to write")
    options.add_argument("--shape", choices=SHAPES, default="1.7b", help="billions of weights (default: 1.7b)")
    options.add_argument("--model", help="a GGUF file whose tokenizer it gets (default: the starter)")
    given = options.parse_args()
    write(Path(common.model_path(given.model)), given.path, SHAPES[given.shape])


if __name__ == "__main__":
    main()
