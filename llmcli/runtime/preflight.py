"""What a model or this machine cannot do, found out before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.errors import ConfigError, OutOfMemory, TemporaryFailure, UsageError

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.memory_estimate import MemoryEstimate
    from llmcli.settings import Settings


def check_context(model: ModelFile, settings: Settings) -> None:
    """Refuse a context of more tokens than the model's. Raises ``UsageError``, ``ConfigError`` where it was no option."""
    context_tokens = None if settings["ctx"] == "auto" else settings["ctx"]
    if context_tokens is not None and model.context is not None and context_tokens > model.context:
        origin, problem = settings.origin("ctx"), f"is larger than the context of {model.name}, {model.context}"
        if origin.startswith("--"):
            raise UsageError(
                f"{origin} {context_tokens} {problem}",
                detail=f"Try: --ctx {model.context}, or -m with another: llm models list",
            )
        raise ConfigError("ctx", origin=origin, detail=f"{context_tokens} {problem}")


def check_memory(model: ModelFile, settings: Settings, models: ModelLibrary) -> None:
    """Refuse a model that, with the configured context, does not fit the memory of this machine.

    Raises ``OutOfMemory``, and ``BadModelFile`` or ``MissingError`` for a file that cannot be read. ``models`` are
    asked for one that would fit.
    """
    from dataclasses import replace

    from llmcli.runtime.hardware_fit import measure_machine

    context_tokens = None if settings["ctx"] == "auto" else settings["ctx"]
    fit = estimate_memory(model, settings)
    if fit.fits is False:  # only now is llama.cpp loaded, to ask about GPUs, which have memory of their own
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
    """Return what the model needs of the memory that is free now, GPUs aside."""
    from llmcli.engine.llama import hardware
    from llmcli.models.gguf.header_parser import read_header
    from llmcli.models.memory_estimate import CONTEXT_STEP_TOKENS, MachineResources, estimate_memory
    from llmcli.runtime.hardware_fit import planned_kv_type

    tokens = (
        min(model.context or CONTEXT_STEP_TOKENS, CONTEXT_STEP_TOKENS) if settings["ctx"] == "auto" else settings["ctx"]
    )
    on_cpu = MachineResources(hardware.available_memory())
    return estimate_memory(read_header(model.path), model.size, tokens, on_cpu, kv_type=planned_kv_type(settings))


def evict_idle_workers(model: ModelFile, settings: Settings, workers: Path) -> None:
    """Ask idle workers to end until the model fits the memory, and with theirs what the workers may take together.

    Raises ``TemporaryFailure`` where the latter stays too little for it.
    """
    from llmcli.worker.client import worker_stop

    needed = estimate_memory(model, settings).needed_bytes
    most = None if settings["worker.memory"] == "auto" else settings["worker.memory"] << 20

    if most is not None and needed > most:  # even if all other workers stop
        raise TemporaryFailure("the worker", detail=f"worker.memory leaves too little for {model.name}")

    def too_much(running: Sequence[Mapping[str, Any]]) -> bool:
        return most is not None and sum(status["memory"] or 0 for status in running) + needed > most

    left = worker_stop.stop_idle_workers(
        workers, lambda running: too_much(running) or estimate_memory(model, settings).fits is False
    )
    if too_much(left):
        raise TemporaryFailure("the worker", detail=f"worker.memory leaves too little for {model.name}")


def _smaller_models(models: ModelLibrary, free: int) -> list[ModelFile]:
    """Return the models on this machine that fit into so many bytes, the largest first."""
    return sorted((m for m in models.list() if m.size < free), key=lambda m: m.size, reverse=True)
