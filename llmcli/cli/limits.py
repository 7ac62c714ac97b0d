"""What a model or this machine cannot do, found out before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.errors import ConfigError, OutOfMemory, UsageError

if TYPE_CHECKING:
    from llmcli.models.library import Library, ModelFile
    from llmcli.settings import Settings


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
    """Compare what is needed with the memory that is free; GPUs have memory of their own."""
    from dataclasses import replace

    from llmcli.cli.fitting import cache_type, figures
    from llmcli.engine import machine
    from llmcli.models.fit import STEP, Machine, estimate
    from llmcli.models.gguf import read_header

    tokens = ctx or min(model.context or STEP, STEP)
    on_cpu = Machine(machine.available_memory())
    fit = estimate(read_header(model.path), model.size, tokens, on_cpu, kv_type=cache_type(settings))
    if fit.fits is False:  # only now is llama.cpp loaded, to ask about GPUs
        fit = replace(fit, machine=figures(settings))
    if fit.fits is not False or fit.available is None:
        return
    if fit.longest:
        fits = f"--ctx {fit.longest}"
    else:
        fits = next((f"-m {m.name}" for m in _smaller(models, fit.available)), "")
    raise OutOfMemory(
        model.name if ctx is None else f"{model.name} with a context of {ctx} tokens",
        needed=fit.needed,
        available=fit.available,
        weights=fit.weights,
        per_token=fit.per_token,
        fits=fits,
    )


def _smaller(models: Library, free: int) -> list[ModelFile]:
    """Return the models on this machine that fit into so many bytes, the largest first."""
    return sorted((m for m in models.list() if m.size < free), key=lambda m: m.size, reverse=True)
