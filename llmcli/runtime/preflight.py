"""Checks of what a model, its draft model and this machine can do, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.errors import ConfigError, OutOfMemory, TemporaryFailure, UsageError
from llmcli.fast_dataclass import replace
from llmcli.settings import NO_DRAFT

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.memory_estimate import MemoryEstimate
    from llmcli.runtime.run_config import RunConfig, RunObserver
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
    """Refuse a model that, with the configured context and its draft model, does not fit the memory of this machine.

    Raises ``OutOfMemory``, and ``BadModelFile`` or ``MissingError`` for a file that cannot be read. ``models`` may
    offer one that would fit.
    """
    from llmcli.runtime.hardware_fit import measure_machine

    context_tokens = None if settings["ctx"] == "auto" else settings["ctx"]
    fit = estimate_memory(model, settings)
    if fit.fits is False:  # GPUs have their own memory; llama.cpp is loaded only now, to ask about them
        fit = replace(fit, machine=measure_machine(settings))
    if fit.fits is not False or fit.available_bytes is None:
        return
    if model.draft is not None and estimate_memory(replace(model, draft=None), settings).fits:
        fits = f"--set draft={NO_DRAFT}"
    elif fit.max_context_tokens:
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


def check_address_space(model: ModelFile, settings: Settings) -> None:
    """Raise ``OutOfMemory`` if a limit on address space (``ulimit -v``) leaves no room to run the model here."""
    from llmcli import address_space

    if address_space.limit_bytes() is not None:
        address_space.check_engine_room(model.name, estimate_memory(model, settings).model_bytes)


def estimate_memory(model: ModelFile, settings: Settings) -> MemoryEstimate:
    """Return what the model and its draft model need, and whether they fit the free memory, without GPUs."""
    from llmcli.engine.llama import hardware
    from llmcli.models.gguf.header_parser import read_header
    from llmcli.models.memory_estimate import CONTEXT_STEP_TOKENS, MachineResources, estimate_memory
    from llmcli.runtime.hardware_fit import planned_kv_type

    tokens = (
        min(model.context or CONTEXT_STEP_TOKENS, CONTEXT_STEP_TOKENS) if settings["ctx"] == "auto" else settings["ctx"]
    )
    on_cpu = MachineResources(hardware.available_memory())
    header, kv_type = read_header(model.path), planned_kv_type(settings)
    fit = estimate_memory(header, model.memory_bytes, tokens, on_cpu, kv_type=kv_type)
    return fit if model.draft is None else replace(fit, weight_bytes=fit.weight_bytes + _draft_bytes(model.draft))


def _draft_bytes(draft: ModelFile) -> int:
    """Return the bytes of a draft model's weights and of its context."""
    from llmcli.models.footprint import MAX_DRAFT_CONTEXT_TOKENS, ContextShape, context_bytes
    from llmcli.models.gguf.header_parser import read_header

    header = read_header(draft.path)
    tokens = min(header.context_length or MAX_DRAFT_CONTEXT_TOKENS, MAX_DRAFT_CONTEXT_TOKENS)
    return draft.size + context_bytes(header, ContextShape(tokens, 1, batch=256, flash_attention=False))


def evict_idle_workers(model: ModelFile, settings: Settings, workers: Path) -> None:
    """Stop idle workers until the model and its draft model fit the free memory and the memory limit for all workers.

    Raises ``TemporaryFailure`` if it does not fit that limit even then.
    """
    from llmcli.worker.client import worker_status

    needed = estimate_memory(model, settings).needed_bytes
    most = None if settings["worker.memory"] == "auto" else settings["worker.memory"] << 20

    if most is not None and needed > most:  # even if all other workers stop
        raise TemporaryFailure("the worker", detail=f"the setting worker.memory is too low for {model.name}")

    def too_much(running: Sequence[Mapping[str, Any]]) -> bool:
        return most is not None and sum(status["memory"] or 0 for status in running) + needed > most

    left = worker_status.stop_idle_workers(
        workers, lambda running: too_much(running) or estimate_memory(model, settings).fits is False
    )
    if too_much(left):
        raise TemporaryFailure("the worker", detail=f"the setting worker.memory is too low for {model.name}")


def _smaller_models(models: ModelLibrary, free: int) -> list[ModelFile]:
    """Return the models on this machine that fit into so many bytes, the largest first."""
    return sorted((m for m in models.list() if m.size < free), key=lambda m: m.size, reverse=True)


def find_draft(config: RunConfig, model: ModelFile, find_verified: Callable[[str], ModelFile]) -> ModelFile | None:
    """Return the draft model of the settings, found and verified by ``find_verified``, to draft for ``model``.

    None if the configuration, not the command line, names ``model`` itself. A file that was never loaded here is
    tried first, in a separate process. Raises ``UsageError`` for a draft model that is the model itself, and what
    ``find_verified`` and ``check_once`` raise.
    """
    draft, origin = find_verified(config.settings["draft"]), config.settings.origin("draft")
    if draft.path.samefile(model.path):
        if origin.startswith("--"):
            raise UsageError(
                f"{draft.name} cannot draft for itself", detail="Choose a smaller model of the same family."
            )
        config.observer.explain(f"no draft model: {draft.name} is the model itself ({origin})")
        return None
    from llmcli.engine.llama import load_check

    load_check.check_once(
        draft.path,
        draft.model_id,
        config.paths.cache,
        gpu_layers=config.gpu_layers,
        stop=lambda: config.interrupt.error,
    )
    config.observer.explain(f"draft model {draft.name} ({origin})")
    return draft
