"""What a model or this machine cannot do, found out before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.errors import ConfigError, OutOfMemory, UsageError

if TYPE_CHECKING:
    from llmcli.models.library import Library, ModelFile
    from llmcli.settings import Settings

_SMALLEST = "q8_0"
_LEAST_CONTEXT = 256
"""Tokens of the smallest context that llama.cpp makes."""


def check_fit(model: ModelFile, settings: Settings, models: Library) -> None:
    """Refuse a model, or a context that somebody asked for, that cannot be had here.

    Raises ``UsageError`` (``ConfigError`` where it was not an option) for more tokens than the model's, ``OutOfMemory``
    for more than the memory holds, and ``BadModelFile`` or ``MissingError`` for a file that cannot be read. ``models``
    are asked for one that would fit.
    """
    ctx = None if settings["ctx"] == "auto" else settings["ctx"]
    if ctx is not None and model.context is not None and ctx > model.context:
        origin, problem = settings.origin("ctx"), f"is larger than the context of {model.name}, {model.context}"
        if origin.startswith("--"):
            raise UsageError(f"{origin} {ctx} {problem}")
        raise ConfigError("ctx", origin=origin, detail=f"{ctx} {problem}")
    _check_memory(model, settings, ctx, models)


def _check_memory(model: ModelFile, settings: Settings, ctx: int | None, models: Library) -> None:
    """Compare weights and cache with the memory that is free; GPUs have memory of their own."""
    from llmcli.engine import machine
    from llmcli.models.gguf import read_header

    kind = _SMALLEST if settings["kv_type"] == "auto" else settings["kv_type"]  # of "auto", what takes least
    per_token = read_header(model.path).kv_bytes_per_token(kind, kind) or 0  # 0: states of a fixed, small size
    free = machine.available_memory()
    tokens = ctx or min(model.context or _LEAST_CONTEXT, _LEAST_CONTEXT)
    needed = model.size + per_token * tokens
    if free is None or needed <= free or (settings["gpu_layers"] != 0 and machine.gpus()):
        return
    room = (free - model.size) // per_token if per_token else 0
    if room >= _LEAST_CONTEXT:
        fits = f"--ctx {room // _LEAST_CONTEXT * _LEAST_CONTEXT}"
    else:
        fits = next((f"-m {m.name}" for m in _smaller(models, free)), "")
    subject = model.name if ctx is None else f"{model.name} with a context of {ctx} tokens"
    raise OutOfMemory(subject, needed=needed, available=free, weights=model.size, per_token=per_token, fits=fits)


def _smaller(models: Library, free: int) -> list[ModelFile]:
    """Return the models on this machine that fit into so many bytes, the largest first."""
    return sorted((m for m in models.list() if m.size < free), key=lambda m: m.size, reverse=True)
