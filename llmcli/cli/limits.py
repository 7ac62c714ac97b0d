"""What a model or this machine cannot do, found out before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.errors import ConfigError, OutOfMemory, UsageError

if TYPE_CHECKING:
    from llmcli.models.library import ModelFile
    from llmcli.settings import Settings

_SMALLEST = "q8_0"


def check_context(model: ModelFile, settings: Settings) -> None:
    """Refuse a context that somebody asked for and that cannot be had.

    Raises ``UsageError`` (``ConfigError`` where it was not an option) for more tokens than the model's, ``OutOfMemory``
    for more than the memory holds, and ``BadModelFile`` or ``MissingError`` for a file that cannot be read.
    """
    ctx = settings["ctx"]
    if ctx == "auto":
        return
    if model.context is not None and ctx > model.context:
        origin, problem = settings.origin("ctx"), f"is larger than the context of {model.name}, {model.context}"
        if origin.startswith("--"):
            raise UsageError(f"{origin} {ctx} {problem}")
        raise ConfigError("ctx", origin=origin, detail=f"{ctx} {problem}")
    _check_memory(model, settings, ctx)


def _check_memory(model: ModelFile, settings: Settings, ctx: int) -> None:
    """Compare the cache with the memory that the weights leave; with all of it where they do not fit themselves.

    Weights are mapped, so that a model larger than the memory still runs, slowly. GPUs have memory of their own.
    """
    from llmcli.engine import machine
    from llmcli.models.gguf import read_header

    kind = _SMALLEST if settings["kv_type"] == "auto" else settings["kv_type"]  # of "auto", what takes least
    per_token = read_header(model.path).kv_bytes_per_token(kind, kind)
    available = machine.available_memory()
    if per_token is None or available is None:
        return
    cache = per_token * ctx
    room = available - model.size if model.size < available else available
    if cache > room and (settings["gpu_layers"] == 0 or not machine.gpus()):
        subject = f"{model.name} with a context of {ctx} tokens"
        raise OutOfMemory(subject, needed=model.size + cache, available=available)
