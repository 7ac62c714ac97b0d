"""Tells whether this build of llama.cpp can generate text with a model, before its weights are downloaded."""

from __future__ import annotations

import functools
import os
import struct
import tempfile
from pathlib import Path

from llmcli.engine.llama import bindings
from llmcli.models.gguf.header import Header, show_name

_ENCODER_DECODER_ARCHITECTURES = frozenset({"t5", "t5encoder"})
_PROJECTOR_ARCHITECTURES = frozenset({"clip"})

EMBEDDING_MODEL = "an embedding model, which cannot generate text"
ENCODER_DECODER_MODEL = "a model with an encoder (such as T5), which is not supported"


def unsupported_reason(header: Header) -> str:
    """Return why a model cannot generate text here, "" if its header gives no reason.

    Raises ``Unsupported`` without llama.cpp.
    """
    name = header.architecture
    if not (wrong := non_generative_reason(header)) and not is_known_architecture(name):
        return f"llama-cpp-python {bindings.version()} does not know its architecture {show_name(name)}; a newer version may"
    return wrong


def non_generative_reason(header: Header) -> str:
    """Return which kind of non-generative model it is, "" if it may generate text."""
    name = header.architecture
    if header.metadata.get(f"{name}.attention.causal") is False or "bert" in name:
        return EMBEDDING_MODEL
    if name in _ENCODER_DECODER_ARCHITECTURES:
        return ENCODER_DECODER_MODEL
    if name in _PROJECTOR_ARCHITECTURES:
        return "a projector for images or sounds, which belongs to another model"
    return ""


@functools.cache
def is_known_architecture(name: str) -> bool:
    """Return whether llama.cpp knows an architecture: it loads a file that contains only the name (0.1 ms)."""
    lib = bindings.lib()
    params = lib.llama_model_default_params()
    params.vocab_only = True
    try:
        with tempfile.TemporaryDirectory(prefix="llmcli-") as directory:
            file = Path(directory) / "architecture.gguf"
            file.write_bytes(_named_file(name))
            bindings.log.clear()
            model = lib.llama_model_load_from_file(os.fsencode(file), params)
    except OSError:  # a full disk: loading the model itself will report the error
        return True
    if model:  # the file has no vocabulary, so this does not happen
        lib.llama_model_free(model)
    return "unknown model architecture" not in bindings.log.error_summary()


def _named_file(architecture: str) -> bytes:
    """Return a GGUF file (version 3; docs/gguf.md of ggml) whose only content is the name of an architecture."""
    text_kind, key, name = 8, b"general.architecture", architecture.encode("utf-8", "replace")
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", text_kind, len(name)) + name
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry
