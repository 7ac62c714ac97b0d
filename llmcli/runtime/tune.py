"""Measuring a model's weights and cache settings for ``llm models tune``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import LlmError, OutputError, Unsupported
from llmcli.errors.model_errors import CannotStoreCopies, NoRoomForWeights
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files
from llmcli.runtime import model_weights
from llmcli.settings import AUTO_WEIGHTS, ORIGINAL_WEIGHTS

if TYPE_CHECKING:
    from llmcli.config.engine_options import EngineOptions
    from llmcli.engine.tuning.tuning_plan import TuningPlan
    from llmcli.interrupt import Interrupt
    from llmcli.models.library.derived_weights import DerivedWeightsStore
    from llmcli.models.library.model_library import ModelFile
    from llmcli.runtime.run_config import RunConfig
    from llmcli.settings import Settings
    from llmcli.weights_times import WeightsMeasurement

MAX_SECONDS = 120.0
"""How long ``llm models tune`` may take unless more was asked for."""
_BUSY_CORES = 0.5
"""Cores that other processes may keep busy; the child that makes the copies counts among them for a moment."""


@frozen
class MeasuredWeights:
    """One type of weights: its measurement, whether it is faithful enough to be used, and the work it is best for."""

    name: str
    measurement: WeightsMeasurement
    faithful: bool
    chosen_for: tuple[str, ...]


@frozen
class TuningResult:
    """What was measured; ``skipped``: types that were not, and why; ``settings``: of the KV cache by task.

    ``postponed``: types that were not measured since that would have taken too long.
    ``disturbed``: other processes used the processor meanwhile, so the times are too long. ``label_change``: a
    sentence, if labels come from other weights from now on, else "".
    """

    weights: tuple[MeasuredWeights, ...]
    skipped: dict[str, str]
    settings: dict[str, str]
    disturbed: bool
    label_change: str = ""
    postponed: tuple[str, ...] = ()


def tune_model(
    model: ModelFile,
    settings: Settings,
    cache: Path,
    store: DerivedWeightsStore,
    *,
    interrupt: Interrupt,
    max_seconds: float,
    on_plan: Callable[[TuningPlan], None],
    on_progress: Callable[[int, int], None],
) -> TuningResult:
    """Measure a verified model, store the results, and return them.

    ``cache``: the directory for the results.
    ``store``: the store of copies in other types.
    ``max_seconds``: the plan is shortened to take no longer, as far as possible.
    ``on_plan``: told before it begins; it may raise an error.
    ``on_progress``: gets the number of finished steps and their total.

    Raises ``Unsupported`` for a model without a choice, ``OutputError``, what making a copy, loading a model and
    creating a context raise, and what ``interrupt.check`` raises, at once.
    """
    from llmcli.app_paths import tuning_file
    from llmcli.engine.derivation import DerivationSource
    from llmcli.engine.llama import hardware, load_check
    from llmcli.engine.llama.threads import SystemLoad
    from llmcli.engine.tuning.cost_profile import save_profile
    from llmcli.engine.tuning.model_tuning import tuner_class
    from llmcli.engine.tuning.tuning_plan import make_plan
    from llmcli.runtime.run_config import engine_options

    options = engine_options(settings, cache)
    threads = options.threads or hardware.detect_cores().max_threads
    reason = _unmeasurable_reason(model, options)
    if reason:
        raise Unsupported(model.name, detail=reason)
    plan = make_plan(model.path, store, max_seconds)
    if plan.is_empty:
        raise Unsupported(model.name, detail="it has no choice of weights or settings here")
    sha256 = model.weights_sha256 or ""
    load_check.check_once(model.path, sha256, cache, gpu_layers=0, stop=lambda: interrupt.error)
    path = tuning_file(cache, sha256, options.threads)
    _require_writable(path.parent)
    on_plan(plan)
    load = SystemLoad()
    source = DerivationSource(model.path, model.name, sha256)
    try:
        profile = tuner_class(plan)(source, plan, store, threads, interrupt, on_progress=on_progress).run()
    except (NoRoomForWeights, CannotStoreCopies) as error:
        error.replaceable = False  # a measurement needs the copy
        raise
    disturbed = (load.busy_cores() or 0.0) > _BUSY_CORES
    try:
        save_profile(profile, path, threads)
    except OSError as error:
        raise OutputError(str(error.filename or path), detail=error.strerror or str(error)) from error
    choices, faithful = profile.weights.choices(), profile.weights.faithful
    weights = tuple(
        MeasuredWeights(name, each, name in faithful, tuple(work for work, chosen in choices.items() if chosen == name))
        for name, each in profile.weights.types.items()
    )
    label_change = _keep_for_labels(model, cache, model_weights.labelling_type(profile.weights))
    planned = _planned_settings(model, settings, cache)
    return TuningResult(weights, plan.skipped, planned, disturbed, label_change, plan.postponed)


def measure_in_background(config: RunConfig, model: ModelFile) -> None:
    """Measure a model in a process of its own once the machine is idle: where possible, before its first labels.

    Nothing happens with ``tune: off``, without an engine that works, for a model that was not verified or that runs on
    a GPU, and if nothing is left to measure.
    """
    from llmcli.engine.tuning import background_tuning
    from llmcli.engine_library import find_library
    from llmcli.runtime.run_config import engine_options

    settings = config.settings
    weights = ORIGINAL_WEIGHTS if settings["weights"] == AUTO_WEIGHTS else settings["weights"]
    options = engine_options(settings, config.paths.cache, weights=weights)
    task = background_tuning.make_task(model.path, model.name, model.weights_sha256 or "", options)
    if task is None or not model.verified or find_library(config.environ) is None:
        return
    try:
        if not _unmeasurable_reason(model, options):
            plan = background_tuning.start_if_unmeasured(task)
            if plan is not None:
                config.observer.explain(f"{model.name} is measured in the background, in about {plan.seconds:.0f} s")
    except LlmError as error:  # of the engine, or of a file that is gone; the command itself has done its work
        config.observer.explain(f"{model.name} is not measured: {error.detail or error.subject}")
    except OSError as error:
        config.observer.explain(f"{model.name} is not measured: {error.filename}: {error.strerror}")


def _unmeasurable_reason(model: ModelFile, options: EngineOptions) -> str:
    """Return why a model cannot be measured with ``options``, "" if it can. Raises what loading the engine raises."""
    from llmcli.engine.llama import architecture, hardware
    from llmcli.models.gguf.header_parser import read_header

    if options.gpu_layers != 0 and hardware.list_gpus():
        return "its layers run on a GPU, and only the processor is measured"
    # evaluating it as a generative model would fail an assertion
    return architecture.non_generative_reason(read_header(model.path))


def _keep_for_labels(model: ModelFile, cache: Path, weights: str) -> str:
    """Label with these weights from now on; return a sentence if earlier labels came from others, else ""."""
    kept = model_weights.load_choice(cache, model.weights_sha256 or "")
    model_weights.save_choice(cache, model.weights_sha256 or "", weights)
    return model_weights.describe_change(model.name, kept, weights) if kept not in {None, weights} else ""


def _require_writable(directory: Path) -> None:
    """Raise ``OutputError`` if no file can be made in a directory, before a measurement whose result it would lose."""
    try:
        private_files.make_directory(directory)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise OutputError(str(error.filename or directory), detail=error.strerror or str(error)) from error


def _planned_settings(model: ModelFile, settings: Settings, cache: Path) -> dict[str, str]:
    """Return the settings of the KV cache that the engine will choose, by task."""
    from llmcli.models.footprint import WORKLOADS
    from llmcli.models.gguf.header_parser import read_header
    from llmcli.runtime.hardware_fit import kv_settings_chooser, measure_machine

    choose = kv_settings_chooser(settings, cache, model.weights_sha256 or "")
    header, memory = read_header(model.path), measure_machine(settings).free_bytes
    return {task: str(choose(header, work, memory or 1 << 62)) for task, work in WORKLOADS.items()}
