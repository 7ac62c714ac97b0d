"""What a model or this machine cannot do, found out before anything is loaded."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.errors import ConfigError, OutOfMemory, TryAgain, UsageError

if TYPE_CHECKING:
    from llmcli.models.fit import Fit
    from llmcli.models.library import Library, ModelFile
    from llmcli.settings import Settings


def check_context(model: ModelFile, settings: Settings) -> None:
    """Refuse a context of more tokens than the model's. Raises ``UsageError``, ``ConfigError`` where it was no option."""
    ctx = None if settings["ctx"] == "auto" else settings["ctx"]
    if ctx is not None and model.context is not None and ctx > model.context:
        origin, problem = settings.origin("ctx"), f"is larger than the context of {model.name}, {model.context}"
        if origin.startswith("--"):
            raise UsageError(
                f"{origin} {ctx} {problem}", detail=f"Try: --ctx {model.context}, or -m with another: llm models list"
            )
        raise ConfigError("ctx", origin=origin, detail=f"{ctx} {problem}")


def check_fit(model: ModelFile, settings: Settings, models: Library) -> None:
    """Refuse a model, with the context that somebody asked for, that the memory of this machine does not hold.

    Raises ``OutOfMemory``, and ``BadModelFile`` or ``MissingError`` for a file that cannot be read. ``models`` are
    asked for one that would fit.
    """
    from dataclasses import replace

    from llmcli.cli.fitting import figures

    ctx = None if settings["ctx"] == "auto" else settings["ctx"]
    fit = _fit(model, settings)
    if fit.fits is False:  # only now is llama.cpp loaded, to ask about GPUs, which have memory of their own
        fit = replace(fit, machine=figures(settings))
    if fit.fits is not False or fit.available is None:
        return
    if fit.longest:
        fits = f"--ctx {fit.longest}"
    else:
        fits = next((f"-m {shlex.quote(m.name)}" for m in _smaller(models, fit.available)), "")
    raise OutOfMemory(
        model.name if ctx is None else f"{model.name} with a context of {ctx} tokens",
        needed=fit.needed,
        available=fit.available,
        weights=fit.weights,
        per_token=fit.per_token,
        fits=fits,
    )


def _fit(model: ModelFile, settings: Settings) -> Fit:
    """Return what the model needs of the memory that is free now, GPUs aside."""
    from llmcli.cli.fitting import cache_type
    from llmcli.engine import machine
    from llmcli.models.fit import STEP, Machine, estimate
    from llmcli.models.gguf import read_header

    tokens = min(model.context or STEP, STEP) if settings["ctx"] == "auto" else settings["ctx"]
    on_cpu = Machine(machine.available_memory())
    return estimate(read_header(model.path), model.size, tokens, on_cpu, kv_type=cache_type(settings))


def make_room(model: ModelFile, settings: Settings, workers: Path) -> None:
    """Ask idle workers to end until the model fits the memory, and with theirs what the workers may take together.

    Raises ``TryAgain`` where the latter stays too little for it.
    """
    from llmcli.worker import start

    needed = _fit(model, settings).needed
    most = None if settings["worker.memory"] == "auto" else settings["worker.memory"] << 20

    if most is not None and needed > most:  # whoever else goes
        raise TryAgain("the worker", detail=f"worker.memory leaves too little for {model.name}")

    def too_much(running: Sequence[Mapping[str, Any]]) -> bool:
        return most is not None and sum(status["memory"] or 0 for status in running) + needed > most

    left = start.make_room(workers, lambda running: too_much(running) or _fit(model, settings).fits is False)
    if too_much(left):
        raise TryAgain("the worker", detail=f"worker.memory leaves too little for {model.name}")


def _smaller(models: Library, free: int) -> list[ModelFile]:
    """Return the models on this machine that fit into so many bytes, the largest first."""
    return sorted((m for m in models.list() if m.size < free), key=lambda m: m.size, reverse=True)
