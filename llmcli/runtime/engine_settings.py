"""The engine options of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.config.engine_options import EngineOptions
from llmcli.settings import ORIGINAL_WEIGHTS

if TYPE_CHECKING:
    from llmcli.models.files.model_file import ModelFile
    from llmcli.settings import Settings

_FLASH_ATTENTION = {"auto": None, "on": True, "off": False}
_KV_UNIFIED = {"auto": None, "unified": True, "streams": False}


def engine_options(
    settings: Settings, cache: Path, model: ModelFile | None = None, weights: str = ORIGINAL_WEIGHTS
) -> EngineOptions:
    """Return the engine options of the settings, for ``model`` with its adapters and draft model, if it is known.

    ``weights``: the type that was chosen for it. The engine keeps its files in ``cache``.
    """

    def number(name: str) -> int | None:
        return None if settings[name] == "auto" else settings[name]

    return EngineOptions(
        ctx=number("ctx"),
        threads=number("threads"),
        gpu_layers=number("gpu_layers"),
        kv_type=None if settings["kv_type"] == "auto" else settings["kv_type"],
        flash_attention=_FLASH_ATTENTION[settings["flash_attention"]],
        kv_unified=_KV_UNIFIED[settings["kv_layout"]],
        deterministic=settings["deterministic"],
        cache=cache.absolute(),
        prefix_bytes=settings["prefix_cache"] << 20,
        tune=settings["tune"] == "auto",
        derived_bytes=settings["derived_weights"] << 20,
        weights=weights,
        adapters=() if model is None else model.adapters,
        draft=None if model is None else model.draft_path,
    )
