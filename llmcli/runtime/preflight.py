"""Checks of what a model and this machine can do, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.errors import ConfigError, OutOfMemory, TemporaryFailure, UsageError

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.memory_estimate import MemoryEstimate
    from llmcli.runtime.observer import RunObserver
    from llmcli.settings import Settings


def check_context(model: ModelFile, settings: Settings) -> None:
    """Refuse a context larger than the model's. Raises ``UsageError`` for an option, otherwise ``ConfigError``."""
    context_tokens = None if settings["ctx"] == "auto" else settings["ctx"]
    if context_tokens is not None and model.context is not None and context_tokens > model.context:
        origin, problem = settings.origin("ctx"), f"is larger than the context of {model.name}, {model.context}"
        if origin.startswith("--"):
            raise UsageError(
                f"{origin} {context_tokens} {problem}",
                detail=f"Try: --ctx {model.context}, or another model with -m: llm models list",
            )
        raise ConfigError("ctx", origin=origin, detail=f"{context_tokens} {problem}")


def check_adapters(model: ModelFile, observer: RunObserver) -> None:
    """Check the adapters of a model against its file, and warn about those that apply only in part.

    Raises as ``adapter_files.check_adapters``.
    """
    if model.adapters:
        from llmcli.models.library import adapter_files

        for notice in adapter_files.check_adapters(model):
            observer.warn(notice)


def check_memory(model: ModelFile, settings: Settings, models: ModelLibrary) -> None:
    """Refuse a model that, with the configured context, does not fit the memory of this machine.

    Raises ``OutOfMemory``, and ``BadModelFile`` or ``MissingError`` for a file that cannot be read. ``models`` may
    offer one that would fit.
    """
    from dataclasses import replace

    from llmcli.runtime.hardware_fit import measure_machine

    context_tokens = None if settings["ctx"] == "auto" else settings["ctx"]
    fit = estimate_memory(model, settings)
    if fit.fits is False:  # GPUs have their own memory; llama.cpp is loaded only now, to ask about them
        fit = replace(fit, machine=measure_machine(settings))
    if fit.fits is not False or fit.available_bytes is None:
        return
    if fit.max_context_tokens:
        fits = f"--ctx {fit.max_context_tokens}"
    else:
        import shlex

        fits = next((f"-m {shlex.quote(m.name)}" for m in _smaller_models(models, fit.available_bytes)), "")
    raise OutOfMemory(
        model.name if context_tokens is None else f"{model.name} with a context of {context_tokens} tokens",
        needed=fit.needed_bytes,
        available=fit.available_bytes,
        weights=fit.weight_bytes,
        per_token=fit.kv_bytes_per_token,
        fits=fits,
    )


def estimate_memory(model: ModelFile, settings: Settings) -> MemoryEstimate:
    """Return what the model needs, and whether it fits the memory that is free now, without GPUs."""
    from llmcli.engine.llama import hardware
    from llmcli.models.gguf.header_parser import read_header
    from llmcli.models.memory_estimate import CONTEXT_STEP_TOKENS, MachineResources, estimate_memory
    from llmcli.runtime.hardware_fit import planned_kv_type

    tokens = (
        min(model.context or CONTEXT_STEP_TOKENS, CONTEXT_STEP_TOKENS) if settings["ctx"] == "auto" else settings["ctx"]
    )
    on_cpu = MachineResources(hardware.available_memory())
    return estimate_memory(
        read_header(model.path), model.memory_bytes, tokens, on_cpu, kv_type=planned_kv_type(settings)
    )


def evict_idle_workers(model: ModelFile, settings: Settings, workers: Path) -> None:
    """Stop idle workers until the model fits the free memory and the memory limit for all workers.

    Raises ``TemporaryFailure`` if it does not fit that limit even then.
    """
    from llmcli.worker.client import worker_stop

    needed = estimate_memory(model, settings).needed_bytes
    most = None if settings["worker.memory"] == "auto" else settings["worker.memory"] << 20

    if most is not None and needed > most:  # even if all other workers stop
        raise TemporaryFailure("the worker", detail=f"the setting worker.memory is too low for {model.name}")

    def too_much(running: Sequence[Mapping[str, Any]]) -> bool:
        return most is not None and sum(status["memory"] or 0 for status in running) + needed > most

    left = worker_stop.stop_idle_workers(
        workers, lambda running: too_much(running) or estimate_memory(model, settings).fits is False
    )
    if too_much(left):
        raise TemporaryFailure("the worker", detail=f"the setting worker.memory is too low for {model.name}")


def _smaller_models(models: ModelLibrary, free: int) -> list[ModelFile]:
    """Return the models on this machine that fit into so many bytes, the largest first."""
    return sorted((m for m in models.list() if m.size < free), key=lambda m: m.size, reverse=True)
