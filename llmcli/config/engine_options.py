"""The options with which an engine is created."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.frozen_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.config.lora_adapters import LoraAdapter


@frozen
class EngineOptions:
    """The user's options of the engine; None leaves the choice to the engine.

    ``ctx``: tokens of context that a request may use; ``threads``; ``gpu_layers``: layers to offload; ``kv_type``:
    "f16", "q8_0" or "bf16"; ``flash_attention``; ``kv_unified``: one buffer for all sequences instead of one for each;
    ``deterministic``: bit-identical answers alone and in any batch. ``cache``: a directory for measurements and
    prompt prefixes, None to keep nothing; ``prefix_bytes``: the most bytes of these; ``tune``: measure in the background
    when it pays; ``derived_bytes``: the most bytes of copies. ``weights``: "original", or the copy's type; ``adapters``;
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
