"""Whether this build of llama.cpp can generate text with a model at all: asked before its weights are there."""

from __future__ import annotations

import functools
import os
import struct
import tempfile
from pathlib import Path

from llmcli.engine import native
from llmcli.models.gguf import Header

_ENCODERS = frozenset({"t5", "t5encoder"})
_PROJECTORS = frozenset({"clip"})
_TEXT = 8  # the type of a text among the metadata of a GGUF file


EMBEDS = "an embedding model, which cannot generate text"
WITH_ENCODER = "a model with an encoder (T5 and the like), which is not supported"


def obstacle(header: Header) -> str:
    """Return why a model cannot generate text here, "" where its header gives no reason.

    Raises ``Unsupported`` without llama.cpp.
    """
    name = header.architecture
    if not (wrong := wrong_kind(header)) and not known(name):
        return f"its architecture {name} is not known to llama-cpp-python {native.version()}; a newer one may know it"
    return wrong


def wrong_kind(header: Header) -> str:
    """Return what a model is that does not generate text, "" for one that may."""
    name = header.architecture
    if header.metadata.get(f"{name}.attention.causal") is False or "bert" in name:
        return EMBEDS
    if name in _ENCODERS:
        return WITH_ENCODER
    if name in _PROJECTORS:
        return "a projector of images or sounds, which goes with a model"
    return ""


@functools.cache
def known(name: str) -> bool:
    """Return whether llama.cpp knows an architecture: it is shown a file that has nothing but its name (0.1 ms)."""
    lib = native.lib()
    params = lib.llama_model_default_params()
    params.vocab_only = True
    entry = _text("general.architecture") + struct.pack("<I", _TEXT) + _text(name)
    try:
        with tempfile.TemporaryDirectory(prefix="llmcli-") as directory:
            file = Path(directory) / "architecture.gguf"
            file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry)
            native.log.clear()
            model = lib.llama_model_load_from_file(os.fsencode(file), params)
    except OSError:  # a full disk: loading the model itself will tell
        return True
    if model:  # it has no vocabulary, so this does not happen
        lib.llama_model_free(model)
    return "unknown model architecture" not in native.log.cause()


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return struct.pack("<Q", len(data)) + data
