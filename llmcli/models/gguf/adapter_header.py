"""Checks of a LoRA adapter's header against the model, before llama.cpp sees the file.

Format: convert_lora_to_gguf.py and llama-adapter.cpp of llama.cpp. For a matrix of the shape (in, out), an adapter has
the tensors ``NAME.lora_a`` (in, rank) and ``NAME.lora_b`` (rank, out); for the token embedding (width, tokens) it has
(rank, tokens) and (rank, width); for experts each has the number of experts as its last dimension. llama.cpp compares
some of these shapes only, and aborts the process over others and over metadata of another type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from llmcli.errors import BadModelFile, MissingError
from llmcli.errors.model_errors import BadAdapter, UnsupportedAdapter
from llmcli.models.gguf.header import Header, TensorInfo, quote_value, show_name
from llmcli.models.gguf.header_parser import UNSUPPORTED_WEIGHT_TYPES, read_header

_SUFFIXES = (".lora_a", ".lora_b")
_NORM_SUFFIX = "_norm.weight"
"""Tensors of this name may be in an adapter, and llama.cpp ignores them."""
_TOKEN_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"


def read_adapter_header(path: Path) -> Header:
    """Return the header of the LoRA adapter at ``path``.

    Raises ``BadAdapter``, ``MissingError`` (kind "adapter") and ``UnsupportedAdapter`` for another kind of adapter.
    """
    subject = str(path)
    try:
        header = read_header(path)
    except BadModelFile as error:
        raise BadAdapter(subject, detail="it is a directory" if path.is_dir() else error.detail) from error
    except MissingError as error:
        raise MissingError(subject, kind="adapter", detail=error.detail) from error
    kind = header.metadata.get("general.type")
    if kind != "adapter":
        what = f"general.type is {quote_value(kind)}" if kind is not None else "it has no general.type"
        raise BadAdapter(subject, detail=f"{what}, expected 'adapter'")
    if header.metadata.get("adapter.type") != "lora":
        raise UnsupportedAdapter(
            subject, detail=f"its adapter.type is {quote_value(header.metadata.get('adapter.type'))}, not 'lora'"
        )
    if any(key.startswith("adapter.alora.") for key in header.metadata):
        raise UnsupportedAdapter(subject, detail="it is an activated LoRA, which applies only after certain tokens")
    alpha = header.metadata.get("adapter.lora.alpha", 0.0)
    if not isinstance(alpha, float) or not math.isfinite(alpha):
        raise BadAdapter(subject, detail=f"its adapter.lora.alpha is {quote_value(alpha)}")
    return header


def check_adapter(adapter: Header, model: Header, weights: Iterable[TensorInfo], subject: str) -> tuple[str, ...]:
    """Check the adapter called ``subject`` against a ``model`` with the tensors ``weights``, of all parts.

    Return the names of its tensors that llama.cpp ignores. Raises ``BadAdapter`` and ``UnsupportedAdapter``.
    """
    base = adapter.metadata.get("general.base_model.0.name")
    base_model = show_name(base) if isinstance(base, str) else ""

    def refuse(detail: str, *, mismatch: bool = False) -> NoReturn:
        raise BadAdapter(subject, detail=detail, mismatch=mismatch, base_model=base_model)

    if adapter.architecture != model.architecture:
        refuse(
            f"it is for {show_name(adapter.architecture) or 'no architecture'}, the model is {show_name(model.architecture)}",
            mismatch=True,
        )
    by_name = {tensor.name: tensor for tensor in weights}
    pairs, ignored = _pair_matrices(adapter, refuse)
    if not pairs:
        refuse("it has no matrices")
    for name, halves in pairs.items():
        if len(halves) < len(_SUFFIXES):
            refuse(f"{show_name(name)} has only one of the matrices lora_a and lora_b")
        target = by_name.get(name)
        if target is None or len(target.shape) == 1:
            refuse(f"the model has no matrix {show_name(name)}", mismatch=True)
        if name == _TOKEN_EMBEDDING and _OUTPUT not in by_name:
            raise UnsupportedAdapter(
                subject, detail="it changes the token embedding, which is also the output matrix of this model"
            )
        a, b = (_matrix_shape(halves[suffix]) for suffix in _SUFFIXES)
        if (a, b) != _expected_shapes(target, a, b):
            refuse(
                f"its matrices for {show_name(name)} have the shapes {a} and {b}, the model's is {target.shape}",
                mismatch=True,
            )
    return ignored


def _pair_matrices(
    adapter: Header, refuse: Callable[[str], NoReturn]
) -> tuple[dict[str, dict[str, TensorInfo]], tuple[str, ...]]:
    """Return the matrices by suffix for each tensor of the model, and the names of ignored tensors."""
    pairs: dict[str, dict[str, TensorInfo]] = {}
    ignored = []
    for tensor in adapter.tensors:
        suffix = next((each for each in _SUFFIXES if tensor.name.endswith(each)), None)
        if suffix is None and tensor.name.endswith(_NORM_SUFFIX):
            ignored.append(tensor.name)
            continue
        if suffix is None:
            refuse(f"its tensor {quote_value(tensor.name)} is neither lora_a nor lora_b")
        if tensor.type in UNSUPPORTED_WEIGHT_TYPES:
            refuse(f"its tensor {quote_value(tensor.name)} is of type {tensor.type}, which weights cannot have")
        pairs.setdefault(tensor.name.removesuffix(suffix), {})[suffix] = tensor
    return pairs, tuple(ignored)


def _matrix_shape(tensor: TensorInfo) -> tuple[int, ...]:
    """Return the shape with two dimensions, and with a third one unless that is 1: writers drop trailing ones."""
    width, height, *others = (*tensor.shape, 1)[: max(2, len(tensor.shape))]
    while others and others[-1] == 1:
        del others[-1]
    return width, height, *others


def _expected_shapes(
    target: TensorInfo, a: tuple[int, ...], b: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of lora_a and lora_b for a matrix of the model, for the rank of the given ones."""
    width, height, *experts = _matrix_shape(target)
    if target.name == _TOKEN_EMBEDDING:
        return (a[0], height), (a[0], width)
    return (width, b[0], *experts), (b[0], height, *experts)
