"""The layers of a model after which its hidden states are read.

What a model knows about a text is in its middle; its last layers turn that into the next token (Skean et al. 2025,
Layer by Layer: Uncovering Hidden Representations in Language Models). Layers that are not needed are not evaluated.
Below a certain depth accuracy falls steeply, so the layers are measured: those of known models are here, and ``llm
models tune`` finds those of others (``tasks.layer_choice``).
"""

from __future__ import annotations

import json
from pathlib import Path

from llmcli.fast_dataclass import asdict
from llmcli.files import private_files
from llmcli.types import BackendInfo, StateLayers

_KNOWN_LAYERS = {
    "b179c9523d0e6a0f98a330c7562b6827": StateLayers((17, 22), 24),  # SmolLM2-135M-Instruct, 30 layers
    "a5fd3b62230aa5ec60212297dc9d20ea": StateLayers((11, 13), 13),  # gemma-3-270m, 18 layers
}
"""By the first half of the SHA-256 of a model's file (``benchmarks/layers.py``, ``benchmarks/vector_layers.py``)."""
_LABEL_SHARES, _VECTOR_SHARE = (0.6, 0.75), 0.8
"""Of the layers of a model that was not measured: further down accuracy falls steeply, further up only the time
grows."""
_SENTENCE_SHARE = 0.4


def choose_layers(info: BackendInfo) -> StateLayers | None:
    """Return the layers to read of a model: known, measured, or at a share of its depth.

    None: only the last one can be read.
    """
    if info.layers is None or info.layers < 2:  # noqa: PLR2004 (the last one has another name)
        return None
    return find_known_layers(info.model_id) or info.measured_layers or _assume_layers(info.layers)


def find_known_layers(model_id: str) -> StateLayers | None:
    """Return the layers of a model that were measured for llm, None for any other model."""
    return _KNOWN_LAYERS.get(model_id[:32])


def _assume_layers(layers: int) -> StateLayers:
    *labels, vector = (min(layers - 1, max(1, round(share * layers))) for share in (*_LABEL_SHARES, _VECTOR_SHARE))
    return StateLayers(tuple(sorted({*labels})), vector)


def sentence_layers(info: BackendInfo) -> tuple[int, ...]:
    """Return the layer by whose states key sentences are chosen, as ``Request.state_layers``.

    Unlike labels and vectors of other texts, they are told apart as well by early layers, at less than half the time.
    """
    if choose_layers(info) is None or info.layers is None:
        return ()
    return (min(info.layers - 1, max(1, round(_SENTENCE_SHARE * info.layers))),)


def vector_layers(info: BackendInfo) -> tuple[int, ...]:
    """Return the layer of vectors, as ``Request.state_layers``."""
    chosen = choose_layers(info)
    return () if chosen is None else (chosen.vector,)


# ---- files ------------------------------------------------------------------------------------------------------------


def layers_file(cache: Path, model_id: str) -> Path:
    """Return the file for the layers that were measured of a model."""
    return cache / "layers" / f"{model_id[:32]}.json"


def load_layers(cache: Path, model_id: str) -> StateLayers | None:
    """Return what ``save_layers`` wrote for a model, None if there is nothing usable."""
    try:
        kept = json.loads(layers_file(cache, model_id).read_bytes())
        return StateLayers.from_json(kept)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # not measured, or damaged
        return None


def save_layers(cache: Path, model_id: str, layers: StateLayers) -> None:
    """Keep the layers that were measured of a model. Raises ``OSError``."""
    file = layers_file(cache, model_id)
    private_files.make_directory(file.parent)
    private_files.replace_file(file, json.dumps(asdict(layers)).encode())
