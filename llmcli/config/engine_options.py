"""The options of an engine, and LoRA adapters: the text ``FILE[:SCALE]`` of ``--lora``, and an adapter of a run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmcli.fast_dataclass import frozen

_NO_ADAPTERS = "none"
"""The value of ``--lora`` that overrides adapters of the configuration."""
_MAX_SCALE = 3.4028234663852886e38
"""The largest finite 32-bit float, as which llama.cpp takes a scale."""
_SCALE = r"(?ai:[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf|infinity))"


@frozen
class LoraAdapter:
    """An adapter for a model: its absolute ``path``, the factor of its change, SHA-256 and bytes of the file."""

    path: str
    scale: float
    sha256: str
    size: int

    def to_json(self) -> dict[str, Any]:
        """Return what ``--json`` says about it."""
        return {"path": self.path, "scale": self.scale, "sha256": self.sha256}


def split_scale(text: str) -> tuple[str, float]:
    """Return path and scale of ``FILE[:SCALE]``: what follows the last colon is a scale if it is a number, else 1.

    So a file whose name ends in a colon and a number needs a scale. Raises ``ValueError``.
    """
    path, separator, tail = text.rpartition(":")
    if not separator or not re.fullmatch(_SCALE, tail):
        path, tail = text, "1"
    scale = float(tail)
    if not math.isfinite(scale) or abs(scale) > _MAX_SCALE:
        raise ValueError("expected FILE or FILE:SCALE with a finite scale")
    if not path.strip() or path.endswith(":"):
        raise ValueError("expected FILE or FILE:SCALE")
    return path, scale


def parse_adapters(value: Any) -> tuple[str, ...]:
    """Return the texts of the setting ``lora``: a list, or a string with commas; "none" alone is no adapter.

    Raises ``ValueError``.
    """
    texts = [text.strip() for text in value.split(",")] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError("expected a list of FILE or FILE:SCALE")
    if list(texts) == [_NO_ADAPTERS]:
        return ()
    if _NO_ADAPTERS in texts:
        raise ValueError(f"{_NO_ADAPTERS} excludes other adapters (a file of that name: ./{_NO_ADAPTERS})")
    for text in texts:
        split_scale(text)
    return tuple(texts)


def adapted_model_id(model_id: str, adapters: Sequence[LoraAdapter]) -> str:
    """Return the id of the weights ``model_id`` with ``adapters``: the same if there are none.

    It is the key of everything that was computed with them: evaluated prompts, translations, checks.
    """
    if not adapters:
        return model_id
    import hashlib

    content = repr([(adapter.sha256, adapter.scale) for adapter in adapters])
    return f"{model_id}+lora-{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def dump_adapters(adapters: Sequence[LoraAdapter]) -> str:
    """Return adapters as text, for another process of this program; "" for none."""
    fields = [[each.path, each.scale, each.sha256, each.size] for each in adapters]
    return json.dumps(fields) if fields else ""


def load_adapters(text: str) -> tuple[LoraAdapter, ...]:
    """Return what ``dump_adapters`` was given."""
    return tuple(LoraAdapter(*fields) for fields in json.loads(text)) if text else ()


def adapter_bytes(adapters: Sequence[LoraAdapter]) -> int:
    """Return the bytes of memory that adapters take: llama.cpp reads their matrices as they are in the files."""
    return sum(adapter.size for adapter in adapters)


@frozen
class EngineOptions:
    """The user's options of the engine; None leaves the choice to the engine.

    ``ctx``: tokens of context that a request may use; ``threads``; ``gpu_layers``: layers to offload; ``kv_type``:
    "f16", "q8_0" or "bf16"; ``flash_attention``; ``kv_unified``: one buffer for all sequences instead of one for each;
    ``deterministic``: bit-identical answers alone and in any batch. ``cache``: a directory for measurements and
    prompt prefixes, None to keep nothing; ``prefix_bytes``: the most bytes of these; ``tune``: measure in the
    background when it pays; ``derived_bytes``: the most bytes of copies. ``weights``: "original", or the copy's type;
    ``adapters``;
    ``draft``: the file of a draft model.
    """

    ctx: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    kv_type: str | None = None
    flash_attention: bool | None = None
    kv_unified: bool | None = None
    deterministic: bool = False
    cache: Path | None = None
    prefix_bytes: int = 0
    tune: bool = False
    derived_bytes: int = 0
    weights: str = "original"
    adapters: tuple[LoraAdapter, ...] = ()
    draft: Path | None = None
