"""Write tiny LoRA adapters with random weights for the tiny models. The same bytes for the same arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from llmcli.models.gguf.header_parser import read_header

TARGETS = ("attn_q", "attn_v", "attn_output", "ffn_up", "ffn_down", "output")
"""What an adapter changes by default: these matrices of every layer."""
RANK, ALPHA = 4, 8.0


def write_adapter(
    path: Path,
    model: Path,
    *,
    seed: int = 0,
    targets: tuple[str, ...] = TARGETS,
    rank: int = RANK,
    alpha: float | None = ALPHA,
    architecture: str | None = None,
    metadata: Mapping[str, Callable[[gguf.GGUFWriter, str], None] | str] | None = None,
    tensors: Mapping[str, Any] | None = None,
) -> Path:
    """Write an adapter for the matrices of ``model`` called ``targets``; return its path.

    ``metadata``: further keys, a text or a function that adds the key to the writer. ``tensors``: further ones, or
    other values for a name; None leaves it out.
    """
    header = read_header(model)
    writer = gguf.GGUFWriter(path, architecture or header.architecture)
    fields = {"general.type": "adapter", "adapter.type": "lora", **(metadata or {})}
    for key, value in fields.items():
        if callable(value):
            value(writer, key)
        elif value:
            writer.add_string(key, value)
    if alpha is not None and "adapter.lora.alpha" not in fields:
        writer.add_float32("adapter.lora.alpha", alpha)
    for name, value in {**random_pairs(header, targets, rank, seed), **(tensors or {})}.items():
        if value is not None:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def random_pairs(header, targets, rank, seed):
    """Return the matrices lora_a and lora_b for the targets, in numpy's order of dimensions (out, in)."""
    rng = np.random.default_rng(seed)
    pairs = {}
    for tensor in header.tensors:
        kind = tensor.name.split(".")[-2]
        if kind in targets and tensor.name.endswith(".weight"):
            width, height, *experts = tensor.shape
            a, b = (rank, width), (height, rank)
            if kind == "token_embd":
                a, b = (height, rank), (width, rank)
            for suffix, shape in (("a", a), ("b", b)):
                values = rng.standard_normal((*experts, *shape)) * 0.3
                pairs[f"{tensor.name}.lora_{suffix}"] = values.astype(np.float32)
    return pairs
