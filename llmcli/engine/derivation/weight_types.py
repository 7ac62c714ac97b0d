"""The types in which the weights of a model may be stored again, and how many bytes that takes."""

from __future__ import annotations

import math

from llmcli.models.gguf.header import Header, TensorInfo
from llmcli.models.gguf.tensor_types import TENSOR_TYPES

FILE_TYPES = {"bf16": 32, "q8_0": 7, "f16": 1}
"""``llama_ftype`` of llama.h by the name of a type."""
_ALIGNMENT = 32
"""Bytes: the quantizer aligns tensors so (``GGUF_DEFAULT_ALIGNMENT``)."""
_HEADER_GROWTH_BYTES = 1024
"""More than the keys that the quantizer adds to the header."""
_KEPT_NAMES = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "position_embd.weight",
    "token_types.weight",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "time_mix_",
    "attn_rel_b.weight",
)
"""Parts of the names of matrices that the quantizer leaves as they are."""


def refusal_reason(header: Header, weights: str) -> str:
    """Return why a model with this header cannot be stored in a type, "" if it can."""
    if is_stored_as(header, weights):
        return f"its weights are {weights} already"
    return ""


def is_stored_as(header: Header, weights: str) -> bool:
    """Return whether all tensors that the quantizer would convert are of this type already."""
    return all(tensor.type == weights.upper() for tensor in header.tensors if _is_converted(tensor))


def derived_bytes(header: Header, weights: str) -> int:
    """Return the bytes of a copy of the model in a type; for rare architectures it is an estimate."""
    return (
        _HEADER_GROWTH_BYTES
        + header.data_offset
        + sum(-(-_tensor_bytes(tensor, weights) // _ALIGNMENT) * _ALIGNMENT for tensor in header.tensors)
    )


def _tensor_bytes(tensor: TensorInfo, weights: str) -> int:
    if not _is_converted(tensor):
        return tensor.nbytes
    block, block_bytes = next(sizes for name, *sizes in TENSOR_TYPES.values() if name == weights.upper())
    if tensor.shape[0] % block:  # the quantizer then falls back to F16
        block, block_bytes = 1, 2
    return math.prod(tensor.shape) // block * block_bytes


def _is_converted(tensor: TensorInfo) -> bool:
    """Return whether the quantizer converts a tensor: a matrix of weights that is none of the small exceptions.

    As in ``tensor_allows_quantization`` of llama-quant.cpp, without the exceptions of rare architectures.
    """
    is_matrix = any(length > 1 for length in tensor.shape[1:])
    return is_matrix and tensor.name.endswith("weight") and not any(mark in tensor.name for mark in _KEPT_NAMES)
