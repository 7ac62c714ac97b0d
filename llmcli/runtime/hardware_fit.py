"""The memory of this machine, and the limits that a model must fit."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import Unsupported
from llmcli.errors.model_errors import EngineRefused
from llmcli.fast_dataclass import replace
from llmcli.settings import ORIGINAL_WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmcli.engine.tuning.cost_profile import JobShape
    from llmcli.models.footprint import KVSettings, TaskWorkload
    from llmcli.models.gguf.header import Header
    from llmcli.models.memory_estimate import FitPolicy, MachineResources
    from llmcli.settings import Settings

_SMALLEST_KV_TYPE = "q8_0"


def planned_kv_type(settings: Settings) -> str:
    """Return the type of KV cache to plan with; for "auto", the smallest."""
    return _SMALLEST_KV_TYPE if settings["kv_type"] == "auto" else str(settings["kv_type"])


def measure_machine(settings: Settings) -> MachineResources:
    """Return the memory of this machine, and of its GPUs if layers may go there; shared memory counts once."""
    from llmcli.engine.llama import hardware, memory_budget
    from llmcli.models.memory_estimate import MachineResources

    try:
        gpus = hardware.list_gpus() if settings["gpu_layers"] != 0 else []
        repacked = memory_budget.list_repacked_types()
    except (Unsupported, EngineRefused):  # without llama.cpp, a model can still be downloaded
        gpus, repacked = [], frozenset()
    memory, shared = hardware.available_memory(), sum(gpu.free for gpu in gpus if gpu.shared)
    free = None if memory is None else max(0, memory - shared)
    return MachineResources(
        free,
        tuple(gpu.free for gpu in gpus),
        repacked_types=repacked,
        releases_pages=memory_budget.CAN_RELEASE,
    )


def build_fit_policy(
    settings: Settings, cache: Path, *, force: bool = False, shown: bool = False, model_id: str = ""
) -> FitPolicy:
    """Return the limits for a model to download; ``force`` removes them.

    Memory bandwidth is measured only if the speed is ``shown``, and kept in ``cache``. ``model_id``: as for
    ``kv_settings_chooser``.
    """
    from llmcli.models.memory_estimate import FitPolicy

    @functools.cache
    def machine() -> MachineResources:

        from llmcli.engine.llama.hardware import load_or_measure_bandwidth

        rate = load_or_measure_bandwidth(cache) if shown else None
        return replace(measure_machine(settings), memory_bandwidth=rate)

    context_tokens = settings["ctx"]
    return FitPolicy(
        machine,
        None if context_tokens == "auto" else context_tokens,
        planned_kv_type(settings),
        force,
        unsupported_reason,
        kv_settings_chooser(settings, cache, model_id),
    )


def kv_settings_chooser(
    settings: Settings, cache: Path, model_id: str
) -> Callable[[Header, TaskWorkload, int], KVSettings]:
    """Return a function that tells which settings of the KV cache the engine would choose for a job.

    ``model_id``: the SHA-256 of the model, "" for any model, which was not measured.
    """
    from llmcli.engine.llama import hardware
    from llmcli.engine.tuning.planner import Planner, UnloadedModel, plan_scoring
    from llmcli.runtime.run_config import engine_options

    options = engine_options(settings, cache)
    threads = options.threads or hardware.detect_cores().max_threads

    def choose(header: Header, workload: TaskWorkload, room: int) -> KVSettings:
        model = UnloadedModel(header)
        scoring = None if any(workload.answer_tokens) else plan_scoring(model, options, threads)
        planner = scoring or Planner(model, options, threads, model_id)
        return planner.choose_for(workload, header, room)

    return choose


def estimate_seconds(
    settings: Settings,
    cache: Path,
    header: Header,
    shape: JobShape,
    *,
    model_id: str = "",
    weights: str = ORIGINAL_WEIGHTS,
    single: float | None = None,
) -> float:
    """Return about how long a job takes with a model on the processor, in the type of ``weights``.

    Times that ``llm models tune`` or an idle worker measured count; else ``single``, the seconds of a token of one
    answer, from which the other times are assumed. Threads of other processes that are runnable now take their share of
    the cores.
    ``model_id``: as for ``kv_settings_chooser``.
    """
    from llmcli.engine.llama import hardware
    from llmcli.engine.llama.threads import SystemLoad
    from llmcli.engine.tuning.planner import Planner, UnloadedModel
    from llmcli.runtime.run_config import engine_options

    options = engine_options(settings, cache, weights=weights)
    cores = hardware.detect_cores().max_threads
    threads = options.threads or cores
    alone = Planner(UnloadedModel(header), options, threads, model_id).estimate_seconds(shape, single)
    others = SystemLoad().busy_cores(rested=True) or 0.0
    if hasattr(os, "getloadavg"):
        others = min(others, os.getloadavg()[0])  # of the last minute: a burst of threads is soon over
    return alone * max(1.0, (others + threads) / cores)


def unsupported_reason(header: Header) -> str:
    """Return why a model with this header cannot run here; "" if no reason is known."""
    from llmcli.engine.llama import architecture

    try:
        return architecture.unsupported_reason(header)
    except (Unsupported, EngineRefused):  # without llama.cpp, a model can still be downloaded
        return ""
